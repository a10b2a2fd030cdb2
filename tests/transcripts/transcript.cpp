#include "tests/transcripts/transcript.h"

#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/net/deflate.h"

namespace posthouse::test {

namespace {

constexpr std::size_t kLineOctetsMax = 1024 * 1024;
constexpr std::chrono::milliseconds kStepMax{20'000};  // nothing waits for time; this only ends a hang

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> out;
    std::istringstream in{std::string(text)};
    for (std::string word; in >> word;) out.push_back(word);
    return out;
}

// "@a x @b y" -> "@a x", "@b y". What is sent as octets is never split, nor is what may hold "@domain".
std::vector<std::string_view> split_directives(std::string_view line) {
    std::vector<std::string_view> out;
    for (const std::string_view whole : {"@raw", "@repeat", "@check", "@alias"}) {
        if (line.starts_with(whole)) return {line};
    }
    std::size_t start = 0;
    for (std::size_t at = 1; at < line.size(); ++at) {
        if (line[at] != '@' || line[at - 1] != ' ') continue;
        out.push_back(line.substr(start, at - start));
        start = at;
    }
    out.push_back(line.substr(start));
    return out;
}

Directive parse_directive(std::string_view text, std::size_t line) {
    Directive out;
    const std::size_t blank = text.find(' ');
    out.name = text.substr(1, blank == std::string_view::npos ? blank : blank - 1);
    if (blank != std::string_view::npos) out.rest = text.substr(blank + 1);
    out.arguments = split(out.rest);
    out.line = line;
    return out;
}

// "C: text", "S2: text"
bool parse_dialogue(std::string_view line, Step& step) {
    if (line.empty() || (line.front() != 'C' && line.front() != 'S')) return false;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view number = line.substr(1, colon - 1);
    const auto value = number.empty() ? std::optional<std::uint64_t>(1) : ascii::parse_number(number);
    if (!value || *value > 1000) return false;
    step.connection = static_cast<int>(*value);
    std::string_view text = line.substr(colon + 1);
    if (text.starts_with(' ')) text.remove_prefix(1);
    step.text = text;
    step.kind = line.front() == 'C' ? Step::Kind::client : Step::Kind::server;
    if (step.kind == Step::Kind::server && text == "...") step.kind = Step::Kind::skip;
    return true;
}

class Player {
 public:
    Player(const Transcript& transcript, World& world) : transcript_(transcript), world_(world) {}

    net::Task<Result<>> run() {
        for (std::size_t i = 0; i < transcript_.steps.size(); ++i) {
            const Step& step = transcript_.steps[i];
            const auto done = co_await play_step(step);
            if (!done) {
                co_return Error(done.error().code,
                                fmt::format("{}:{}: {}", transcript_.path, step.line, done.error().context));
            }
        }
        co_return Result<>();
    }

 private:
    struct Connection {
        explicit Connection(std::unique_ptr<net::Stream> stream) : stream(std::move(stream)) {}
        net::BufferedStream stream;
    };

    net::Task<Result<Connection*>> connection(int number) {
        current_ = number;
        auto& slot = connections_[number];
        if (!slot) {
            auto stream = co_await world_.connect(number);
            if (!stream) co_return Error(stream.error());
            slot = std::make_unique<Connection>(*std::move(stream));
        }
        slot->stream.raw().expires_in(kStepMax);
        co_return slot.get();
    }

    net::Task<Result<>> play_step(const Step& step) {
        switch (step.kind) {
            case Step::Kind::client: {
                CO_TRY(Connection * to, co_await connection(step.connection));
                const std::string line = filled(step.text) + "\r\n";
                co_return co_await to->stream.write(line);
            }
            case Step::Kind::skip: {
                CO_TRY([[maybe_unused]] Connection * to, co_await connection(step.connection));
                skipping_ = true;
                co_return Result<>();
            }
            case Step::Kind::server: co_return co_await expect(step);
            case Step::Kind::directive: co_return co_await direct(step.directive);
        }
        co_return Result<>();
    }

    net::Task<Result<>> expect(const Step& step) {
        CO_TRY(Connection * from, co_await connection(step.connection));
        std::string wanted = filled(step.text);
        // "250-*...": all lines of one reply.
        const bool whole_reply = wanted.size() > 7 && wanted.ends_with("*...") && wanted[3] == '-';
        if (whole_reply) wanted.resize(wanted.size() - 3);
        const bool skip = std::exchange(skipping_, false);
        for (;;) {
            const auto line = co_await from->stream.read_line(kLineOctetsMax);
            if (!line) {
                co_return Error(line.error().code,
                                fmt::format("wanted \"{}\", got {} instead", step.text, to_string(line.error().code)));
            }
            const bool last = whole_reply && line->size() > 3 && (*line)[3] == ' ';
            std::string pattern = wanted;
            if (last) pattern[3] = ' ';
            if (matches(pattern, *line)) {
                if (!keeping_.empty()) kept_[std::exchange(keeping_, "")] = kept_of(pattern, *line);
                if (whole_reply && !last) continue;
                co_return Result<>();
            }
            if (skip) continue;
            co_return Error(Errc::invalid, fmt::format("wanted \"{}\", got \"{}\"", wanted, log::escape(*line)));
        }
    }

    net::Task<Result<>> send(std::string octets) {
        CO_TRY(Connection * to, co_await connection(current_));
        co_return co_await to->stream.write(octets);
    }

    net::Task<Result<>> direct(const Directive& directive) {
        if (directive.name == "raw") {
            const std::string text = filled(directive.rest);
            CO_TRY(std::string octets, unescape(text));
            co_return co_await send(std::move(octets));
        }
        if (directive.name == "literal") {
            std::string octets(static_cast<std::size_t>(ascii::parse_number(directive.rest).value_or(0)), 'x');
            co_return co_await send(std::move(octets));
        }
        if (directive.name == "compress") {
            CO_TRY(Connection * to, co_await connection(current_));
            to->stream.replace(net::deflated(to->stream.release()));
            co_return Result<>();
        }
        if (directive.name == "keep") {
            keeping_ = directive.arguments.empty() ? "" : directive.arguments.front();
            if (keeping_.empty()) co_return Error(Errc::invalid, "@keep takes a name");
            co_return Result<>();
        }
        if (directive.name == "repeat") co_return co_await repeat(directive);
        if (directive.name == "closed") co_return co_await expect_end();
        if (directive.name == "hangup") {
            CO_TRY(Connection * to, co_await connection(current_));
            to->stream.raw().close();
            connections_.erase(current_);
            co_return Result<>();
        }
        co_return co_await world_.perform(directive);
    }

    net::Task<Result<>> repeat(const Directive& directive) {
        const std::size_t blank = directive.rest.find(' ');
        const auto times = ascii::parse_number(directive.rest.substr(0, blank));
        if (!times || blank == std::string::npos) co_return Error(Errc::invalid, "@repeat takes a number and a text");
        const std::string text = directive.rest.substr(blank + 1);
        std::string octets;
        for (std::uint64_t i = 1; i <= *times; ++i) {
            for (const char c : text) octets += c == '#' ? std::to_string(i) : std::string(1, c);
            octets += "\r\n";
        }
        co_return co_await send(std::move(octets));
    }

    net::Task<Result<>> expect_end() {
        CO_TRY(Connection * from, co_await connection(current_));
        const auto line = co_await from->stream.read_line(kLineOctetsMax);
        if (line) co_return Error(Errc::invalid, fmt::format("wanted the end, got \"{}\"", log::escape(*line)));
        if (line.error().code != Errc::closed) co_return Error(line.error());
        connections_.erase(current_);
        co_return Result<>();
    }

    // The text with what was kept in the places of its names.
    std::string filled(std::string text) const {
        for (const auto& [name, value] : kept_) {
            const std::string place = "<" + name + ">";
            for (std::size_t at = text.find(place); at != std::string::npos; at = text.find(place, at + value.size())) {
                text.replace(at, place.size(), value);
            }
        }
        return text;
    }
    // What the first '*' stands for: up to the octet that follows it in the pattern.
    static std::string kept_of(std::string_view pattern, std::string_view line) {
        // The '*' that a line of IMAP begins with stands for itself.
        const std::size_t star = pattern.find('*', pattern.starts_with("* ") ? 1 : 0);
        if (star == std::string_view::npos) return "";
        const std::string_view rest = line.substr(star);
        return std::string(star + 1 < pattern.size() ? rest.substr(0, rest.find(pattern[star + 1])) : rest);
    }

    const Transcript& transcript_;
    World& world_;
    std::map<std::string, std::string> kept_;
    std::string keeping_;
    std::map<int, std::unique_ptr<Connection>> connections_;
    int current_ = 1;
    bool skipping_ = false;
};

}  // namespace

std::string Transcript::setting(std::string_view key, std::string_view fallback) const {
    std::string out(fallback);
    for (const Directive& directive : setup) {
        if (directive.name != "set") continue;
        const std::size_t equals = directive.rest.find('=');
        if (equals != std::string::npos && directive.rest.substr(0, equals) == key) {
            out = ascii::trim(std::string_view(directive.rest).substr(equals + 1));
        }
    }
    return out;
}

const Directive* Transcript::find(std::string_view name) const {
    for (const Directive& directive : setup) {
        if (directive.name == name) return &directive;
    }
    return nullptr;
}

Result<Transcript> parse_transcript(std::string_view text, std::string path) {
    Transcript out;
    out.path = std::move(path);
    std::size_t number = 0;
    while (!text.empty()) {
        ++number;
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.starts_with('#')) {
            const std::size_t covers = line.find("covers:");
            if (covers == std::string_view::npos) continue;
            std::string names(line.substr(covers + 7));
            for (char& c : names) c = c == ',' ? ' ' : c;
            for (std::string& name : split(names)) out.covers.push_back(std::move(name));
            continue;
        }
        if (ascii::trim(line).empty()) continue;
        Step step;
        step.line = number;
        if (line.starts_with('@')) {
            for (const std::string_view one : split_directives(line)) {
                step.kind = Step::Kind::directive;
                step.directive = parse_directive(one, number);
                const bool sends = step.directive.name == "raw" || step.directive.name == "repeat";
                if (out.steps.empty() && !sends) {
                    out.setup.push_back(step.directive);
                } else {
                    out.steps.push_back(step);
                }
            }
        } else if (parse_dialogue(line, step)) {
            out.steps.push_back(std::move(step));
        } else {
            return Error(Errc::invalid, fmt::format("{}:{}: not a line of a transcript", out.path, number));
        }
    }
    if (out.steps.empty()) return Error(Errc::invalid, out.path + ": an empty transcript");
    return out;
}

Result<Transcript> load_transcript(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return Error(Errc::not_found, "cannot read " + path);
    std::ostringstream text;
    text << in.rdbuf();
    return parse_transcript(text.str(), path);
}

bool matches(std::string_view pattern, std::string_view line) {
    // Greedy with one point to go back to: linear in practice, no recursion.
    std::size_t p = 0;
    std::size_t l = 0;
    std::size_t star = std::string_view::npos;
    std::size_t mark = 0;
    while (l < line.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            mark = l;
        } else if (p < pattern.size() && pattern[p] == line[l]) {
            ++p;
            ++l;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            l = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

Result<std::string> unescape(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out.push_back(text[i]);
            continue;
        }
        const char kind = ++i < text.size() ? text[i] : '\0';
        if (kind == 'r') {
            out.push_back('\r');
        } else if (kind == 'n') {
            out.push_back('\n');
        } else if (kind == 't') {
            out.push_back('\t');
        } else if (kind == '0') {
            out.push_back('\0');
        } else if (kind == '\\') {
            out.push_back('\\');
        } else if (kind == 'x' && i + 2 < text.size() && ascii::is_hex(text[i + 1]) && ascii::is_hex(text[i + 2])) {
            out.push_back(static_cast<char>(ascii::hex_value(text[i + 1]) * 16 + ascii::hex_value(text[i + 2])));
            i += 2;
        } else {
            return Error(Errc::invalid, "unknown escape in \"" + std::string(text) + "\"");
        }
    }
    return out;
}

net::Task<Result<>> play(const Transcript& transcript, World& world) {
    Player player(transcript, world);
    co_return co_await player.run();
}

}  // namespace posthouse::test
