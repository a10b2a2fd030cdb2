#include "protocols/smtp/reply.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/smtp/limits.h"

namespace posthouse::smtp {

namespace {

constexpr std::size_t kReadAheadOctets = 64UL * 1024;

// textstring = 1*(%d09 / %d32-126), RFC 5321 4.2; UTF-8 is let through (RFC 6531 3.7.4).
void append_clean(std::string& out, std::string_view text) {
    for (const char c : text) out.push_back(ascii::is_control(c) && c != '\t' ? '?' : c);
}

}  // namespace

std::string Reply::to_string() const {
    std::string out = std::to_string(code);
    if (!enhanced.empty()) out += " " + enhanced;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        out += i == 0 ? " " : "; ";
        append_clean(out, lines[i]);
    }
    return out;
}

void append_reply(std::string& out, const Reply& reply) {
    for (std::size_t i = 0; i < reply.lines.size(); ++i) {
        const std::size_t start = out.size();
        out += std::to_string(reply.code);
        out.push_back(i + 1 < reply.lines.size() ? '-' : ' ');
        if (!reply.enhanced.empty()) {
            out += reply.enhanced;
            out.push_back(' ');
        }
        append_clean(out, reply.lines[i]);
        out.resize(std::min(out.size(), start + kReplyLineOctetsMax - 2));
        out += "\r\n";
    }
}

std::string format_reply(const Reply& reply) {
    std::string out;
    append_reply(out, reply);
    return out;
}

// status-code = class "." subject "." detail;  class = "2"/"4"/"5", subject and detail 1*3digit   RFC 3463 2
std::string_view leading_enhanced_code(std::string_view text, char code_class) {
    if (text.size() < 5 || text[0] != code_class || text[1] != '.') return {};
    std::size_t at = 2;
    std::size_t digits = 0;
    while (at < text.size() && ascii::is_digit(text[at])) ++at, ++digits;
    if (digits < 1 || digits > 3 || at >= text.size() || text[at] != '.') return {};
    ++at;
    digits = 0;
    while (at < text.size() && ascii::is_digit(text[at])) ++at, ++digits;
    if (digits < 1 || digits > 3 || (at < text.size() && text[at] != ' ')) return {};
    return text.substr(0, at);
}

// Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF        RFC 5321 4.2
Result<bool> ReplyParser::add_line(std::string_view line) {
    if (line.size() + 2 > kReplyLineOctetsMax) return Error(Errc::too_large, "a reply line is too long");
    if (count_ >= kReplyLinesMax) return Error(Errc::limit, "a reply has too many lines");
    if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
        return Error(Errc::invalid, "a reply line holds a bare CR, LF or NUL");
    }
    if (line.size() < 3 || line[0] < '2' || line[0] > '5' || !ascii::is_digit(line[1]) || !ascii::is_digit(line[2])) {
        return Error(Errc::invalid, "the answer is no SMTP reply");
    }
    if (line.size() > 3 && line[3] != ' ' && line[3] != '-') {
        return Error(Errc::invalid, "the answer is no SMTP reply");
    }
    const int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
    if (count_ == 0) {
        reply_.code = code;
        reply_.lines.clear();
    } else if (code != reply_.code) {
        return Error(Errc::invalid, "the lines of a reply differ in their code");
    }
    ++count_;
    std::string_view text = line.substr(std::min<std::size_t>(4, line.size()));
    const std::string_view enhanced = leading_enhanced_code(text, line[0]);
    if (!enhanced.empty()) {
        if (reply_.enhanced.empty()) reply_.enhanced = enhanced;
        text.remove_prefix(std::min(text.size(), enhanced.size() + 1));
    }
    reply_.lines.emplace_back(text);
    return line.size() == 3 || line[3] == ' ';
}

Reply ReplyParser::take() {
    count_ = 0;
    Reply out = std::move(reply_);
    reply_ = Reply();
    return out;
}

namespace {

// A line that ends with LF, whether a CR stands before it or not; taken from the stream with its end, given without.
net::Task<Result<std::string>> read_line_to_lf(net::BufferedStream& stream) {
    std::size_t searched = 0;
    for (;;) {
        const std::string_view held = stream.buffered();
        const std::size_t end = held.find('\n', searched);
        if (end != std::string_view::npos) {
            std::string line(held.substr(0, end));
            if (line.ends_with('\r')) line.pop_back();
            stream.consume(end + 1);
            co_return line;
        }
        if (held.size() >= kReplyLineOctetsMax) co_return Error(Errc::too_large, "a reply line is too long");
        searched = held.size();
        // Room for replies to pipelined commands, which come in one packet.
        CO_TRY_VOID(co_await stream.fill_more(kReadAheadOctets));
    }
}

net::Task<Result<std::string>> read_line(net::BufferedStream& stream, LineEnds ends) {
    if (ends == LineEnds::lf_too) co_return co_await read_line_to_lf(stream);
    const auto line = co_await stream.read_line(kReplyLineOctetsMax);
    if (!line) co_return Error(line.error());
    co_return std::string(*line);
}

}  // namespace

net::Task<Result<Reply>> read_reply(net::BufferedStream& stream, LineEnds ends) {
    ReplyParser parser;
    for (;;) {
        const auto line = co_await read_line(stream, ends);
        if (!line) co_return Error(line.error());
        const auto last = parser.add_line(*line);
        if (!last) co_return Error(last.error());
        if (*last) co_return parser.take();
    }
}

}  // namespace posthouse::smtp
