#include "protocols/report/bounce_text.h"

#include <algorithm>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/bounce/reply_text.h"
#include "protocols/report/report.h"

namespace posthouse::report {
namespace {

constexpr std::size_t kLocalOctetsMax = 255;
constexpr std::size_t kLineOctetsMax = 2000;  // what of a line is looked at

// Phrases that are looked for together.
class Phrases {
 public:
    explicit Phrases(std::span<const std::string_view> phrases) {
        for (const std::string_view phrase : phrases) index_.add(phrase);
    }
    bool any_in(std::string_view text) const {
        while (!text.empty()) {  // words_of() looks at a piece at a time
            const std::vector<bool> found = index_.find(bounce::words_of(text));
            if (std::ranges::find(found, true) != found.end()) return true;
            text.remove_prefix(std::min(text.size(), bounce::kReplyTextMax));
        }
        return false;
    }

 private:
    bounce::PhraseIndex index_;
};

bool is_local_char(char c) {
    return ascii::is_alnum(c) || ascii::is_8bit(c) || std::string_view("!#$%&'*+-/=?^_`{|}~.").contains(c);
}
bool is_domain_char(char c) { return ascii::is_alnum(c) || ascii::is_8bit(c) || c == '-' || c == '.' || c == '_'; }

// local-part "@" domain, as much of it as a notice shows; the cursor stands behind it.
std::optional<std::string> take_address(Cursor& in) {
    Cursor at = in;
    std::string out;
    if (at.take('"')) {
        const std::string_view quoted = at.take_until('"');
        if (quoted.empty() || quoted.size() > kLocalOctetsMax || !at.take('"')) return std::nullopt;
        out.append("\"").append(quoted).append("\"");
    } else {
        out = at.take_while(is_local_char);
    }
    if (out.empty() || out.size() > kLocalOctetsMax || !at.take('@')) return std::nullopt;
    std::string_view domain;
    if (at.peek() == '[') {
        domain = at.rest().substr(0, std::min(at.rest().find(']'), at.rest().size() - 1) + 1);
        at.take_octets(domain.size());
    } else {
        domain = at.take_while(is_domain_char);
    }
    std::size_t dots = 0;
    while (domain.ends_with('.')) {
        domain.remove_suffix(1);
        ++dots;
    }
    if (domain.empty() || domain.size() > 255) return std::nullopt;
    in.take_octets(at.position() - in.position() - dots);
    return out.append("@").append(domain);
}

// The literal text of a rule: '#' is a digit, a blank any run of blanks.
bool take_literal(Cursor& in, std::string_view wanted) {
    Cursor at = in;
    for (const char c : wanted) {
        if (c == ' ') {
            if (at.take_while(ascii::is_space).empty()) return false;
        } else if (c == '#' ? !ascii::is_digit(at.peek()) : ascii::lower(at.peek()) != ascii::lower(c)) {
            return false;
        } else {
            at.take_octets(1);
        }
    }
    in.take_octets(at.position() - in.position());
    return true;
}

struct Hit {
    std::string address;
    std::string_view rest;  // of the line
};

std::optional<Hit> match_in_place(std::string_view line, const TextRule& rule) {
    Cursor in(line);
    if (!take_literal(in, rule.before)) return std::nullopt;
    auto address = take_address(in);
    if (!address || !take_literal(in, rule.after)) return std::nullopt;
    if (rule.place == Place::alone && !ascii::trim(in.rest()).empty()) return std::nullopt;
    return Hit{*std::move(address), in.rest()};
}

std::optional<Hit> match_anywhere(std::string_view line, const TextRule& rule) {
    const std::size_t at = ascii::find_ci(line, rule.before);
    if (at == std::string_view::npos) return std::nullopt;
    Cursor in(line.substr(at + rule.before.size()));  // the sentence itself may tell the cause
    in.take_while([](char c) { return c == ':' || ascii::is_space(c); });
    in.take('<');
    auto address = take_address(in);
    if (!address) return std::nullopt;
    return Hit{*std::move(address), line};
}

std::optional<Hit> match(std::string_view line, std::uint8_t rank, bool introduced, const TextRule** by) {
    for (const TextRule& rule : text_rules()) {
        if (rule.rank != rank || (rule.place == Place::alone && !introduced)) continue;
        auto hit = rule.place == Place::anywhere ? match_anywhere(line, rule) : match_in_place(line, rule);
        if (!hit) continue;
        *by = &rule;
        return hit;
    }
    return std::nullopt;
}

// "--- Below this line ..." -> "Below this line ..."
std::string_view without_ornament(std::string_view line) {
    const auto is_ornament = [](char c) { return ascii::is_space(c) || std::string_view("-=*|_+>#").contains(c); };
    while (!line.empty() && is_ornament(line.front())) line.remove_prefix(1);
    return line;
}

bool starts_returned(std::string_view line) {
    if (ascii::starts_with_ci(line, "return-path:") || ascii::starts_with_ci(line, "received: ")) return true;
    const std::string_view plain = without_ornament(line);
    return std::ranges::any_of(returned_marks(),
                               [&](std::string_view mark) { return ascii::starts_with_ci(plain, mark); });
}

std::string_view take_line(std::string_view& text) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

TextRecipient& recipient_of(std::vector<TextRecipient>& all, const std::string& address) {
    const auto known =
        std::ranges::find_if(all, [&](const TextRecipient& one) { return ascii::equals_ci(one.address, address); });
    if (known != all.end()) return *known;
    return all.emplace_back(address, std::string());
}

std::vector<TextRecipient> find_recipients(std::string_view notice, std::uint8_t rank, bool introduced) {
    std::vector<TextRecipient> out;
    std::string since;
    std::string current;
    while (!notice.empty()) {
        const std::string_view line = ascii::trim(take_line(notice).substr(0, kLineOctetsMax));
        const TextRule* rule = nullptr;
        const auto hit = match(line, rank, introduced, &rule);
        if (hit && out.size() < kRecipientsMax) {
            TextRecipient& one = recipient_of(out, hit->address);
            if (rule->said_before) {
                const std::size_t answer = since.rfind("<<< ");
                if (answer != std::string::npos) {  // what it answered, and to which command
                    const std::size_t command = since.rfind(">>> ", answer);
                    one.said.append(since.substr(command == std::string::npos ? answer : command));
                    one.said.resize(one.said.find('\n', one.said.find("<<< ")) + 1);
                } else {
                    one.said.append(line).append("\n");
                }
                since.clear();
                current.clear();
                continue;
            }
            current = hit->address;
            one.said.append(ascii::trim(hit->rest)).append("\n");
            continue;
        }
        if (!current.empty()) {
            recipient_of(out, current).said.append(line).append("\n");
        } else {
            since.append(line).append("\n");
        }
    }
    return out;
}

bool is_code_at(std::string_view text, std::size_t at) {
    if (at + 3 > text.size() || (text[at] != '4' && text[at] != '5')) return false;
    if (text[at + 1] < '0' || text[at + 1] > '5' || !ascii::is_digit(text[at + 2])) return false;
    const char before = at == 0 ? ' ' : text[at - 1];
    const char after = at + 3 == text.size() ? ' ' : text[at + 3];
    return std::string_view(" \t\n'\":<(,;").contains(before) && std::string_view(" \t\r\n-:;,'\")").contains(after);
}

// The first reply code; one that somebody "said" goes before others.
std::size_t find_code(std::string_view text) {
    std::size_t from = 0;
    for (const std::string_view word : {"said:", "<<< ", "server returned"}) {
        if (const std::size_t at = text.find(word); at != std::string_view::npos) {
            from = at;
            break;
        }
    }
    for (const std::size_t start : {from, std::size_t{0}}) {
        for (std::size_t at = start; at + 3 <= text.size(); ++at) {
            if (is_code_at(text, at)) return at;
        }
        if (start == 0) break;
    }
    return std::string_view::npos;
}

// A transcript: the command before the first answer.
Step step_in_transcript(std::string_view lines) {
    const std::size_t answer = lines.find("<<< ");
    if (answer == std::string_view::npos) return Step::unknown;
    const std::size_t command = lines.rfind(">>> ", answer);
    if (command == std::string_view::npos) return Step::unknown;
    const std::string_view verb = lines.substr(command + 4);
    if (ascii::starts_with_ci(verb, "data")) return Step::data;
    if (ascii::starts_with_ci(verb, "rcpt")) return Step::rcpt;
    if (ascii::starts_with_ci(verb, "mail")) return Step::mail;
    return Step::unknown;
}

Step step_of(std::string_view lines) {
    if (const Step step = step_in_transcript(lines); step != Step::unknown) return step;
    struct Row {
        Step step;
        Phrases phrases;
    };
    static const std::vector<Row> kRows = [] {
        std::vector<Row> out;
        for (const StepWords& one : step_words()) out.push_back({one.step, Phrases(one.words)});
        return out;
    }();
    for (const Row& row : kRows) {
        if (row.phrases.any_in(lines)) return row.step;
    }
    return Step::unknown;
}

std::string joined(std::string_view lines, bool without_idle) {
    static const Phrases kIdleWords(idle_words());
    std::string out;
    while (!lines.empty() && out.size() < kReplyOctetsMax) {
        const std::string_view line = ascii::trim(take_line(lines));
        if (line.empty() || (without_idle && kIdleWords.any_in(line))) continue;
        if (!out.empty()) out.push_back(' ');
        out.append(line.substr(0, kReplyOctetsMax));
    }
    return out.substr(0, kReplyOctetsMax);
}

}  // namespace

std::string_view find_status(std::string_view text) {
    for (std::size_t at = 0; at + 5 <= text.size(); ++at) {
        if (text[at] != '4' && text[at] != '5') continue;
        const char before = at == 0 ? ' ' : text[at - 1];
        if (ascii::is_alnum(before) || before == '.' || ascii::is_8bit(before)) continue;
        Cursor in(text.substr(at + 1));
        if (!in.take('.')) continue;
        const std::size_t subject = in.take_while(ascii::is_digit).size();
        if (subject == 0 || subject > 3 || !in.take('.')) continue;
        const std::size_t detail = in.take_while(ascii::is_digit).size();
        const bool goes_on = in.peek() == '.' && ascii::is_digit(in.peek(1));
        if (detail == 0 || detail > 3 || goes_on || ascii::is_alnum(in.peek())) continue;
        return text.substr(at, 1 + in.position());
    }
    return {};
}

Said find_said(std::string_view lines) {
    Said out;
    out.step = step_of(lines);
    const std::size_t code = find_code(lines);
    if (code == std::string_view::npos) {
        out.text = joined(lines, true);
    } else {
        out.code = static_cast<unsigned>(ascii::parse_number(lines.substr(code, 3)).value_or(0));
        out.text = joined(lines.substr(code), false);
    }
    out.status = find_status(out.text);
    if (out.status.empty()) out.status = find_status(lines);
    return out;
}

BounceText read_bounce_text(std::string_view text) {
    static const Phrases kIntroduced(introductions());
    BounceText out;
    text = text.substr(0, kTextOctetsMax);
    while (!text.empty()) {
        const std::string_view before = text;
        const std::string_view line = take_line(text);
        if (!out.notice.empty() && starts_returned(line)) {
            const bool is_field =
                ascii::starts_with_ci(line, "return-path:") || ascii::starts_with_ci(line, "received:");
            out.returned = is_field ? before : text;
            break;
        }
        out.notice.append(line).append("\n");
    }
    out.has_introduction = kIntroduced.any_in(out.notice);
    for (std::uint8_t rank = 1; rank <= 3 && out.recipients.empty(); ++rank) {
        out.recipients = find_recipients(out.notice, rank, out.has_introduction);
    }
    return out;
}

}  // namespace posthouse::report
