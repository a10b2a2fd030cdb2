#include "protocols/imap/append.h"

#include <algorithm>

#include "protocols/base/ascii.h"

namespace posthouse::imap {

Result<std::vector<AppendEvent>> AppendParser::take(std::string_view text, Follows follows) {
    Cursor in(text);
    std::vector<AppendEvent> out;
    for (;;) {
        switch (state_) {
            case State::head: TRY_VOID(take_head(in, follows, out)); break;
            case State::part: TRY_VOID(take_part(in, follows, out)); break;
            case State::after_part:
                if (in.take(')'))
                    state_ = State::after_message;
                else if (in.take(' '))
                    state_ = State::part;
                else
                    return bad("CATENATE is not closed");
                break;
            case State::after_utf8:
                if (!in.take(')')) return bad("UTF8 is not closed");
                state_ = State::after_message;
                break;
            case State::after_message:
                if (in.at_end() && follows == Follows::nothing) return out;
                if (messages_ == Messages::one || !in.take(' ')) return bad("Unexpected arguments after the message");
                state_ = State::head;
                break;
        }
        if (!out.empty() && out.back().kind == AppendEvent::Kind::octets) return out;
    }
}

// The literal that the piece ends with.
Result<> AppendParser::take_octets(Cursor& in, Follows follows, std::vector<AppendEvent>& out) {
    if (!in.at_end() || follows == Follows::nothing) return bad("Message literal expected");
    AppendEvent event;
    event.kind = AppendEvent::Kind::octets;
    out.push_back(std::move(event));
    return {};
}

Result<> AppendParser::take_head(Cursor& in, Follows follows, std::vector<AppendEvent>& out) {
    if (++count_ > limits_.append_parts_max) return bad("Too many messages at once");
    AppendEvent begin;
    if (in.peek() == '(') {
        TRY(begin.flags, take_flag_list(in, limits_));
        TRY_VOID(take_space(in));
    }
    if (in.peek() == '"') {
        TRY(begin.internal_date_s, take_date_time(in));
        TRY_VOID(take_space(in));
    }
    begin.catenate = in.take_word("CATENATE (");
    if (begin.catenate) {
        out.push_back(std::move(begin));
        state_ = State::part;
        return {};
    }
    begin.utf8 = in.take_word("UTF8 (");
    if (begin.utf8 && follows != Follows::literal8) return bad("UTF8 takes a literal8");
    state_ = begin.utf8 ? State::after_utf8 : State::after_message;
    out.push_back(std::move(begin));
    return take_octets(in, follows, out);
}

// cat-part = "TEXT" SP literal / "URL" SP astring
Result<> AppendParser::take_part(Cursor& in, Follows follows, std::vector<AppendEvent>& out) {
    if (++count_ > limits_.append_parts_max) return bad("Too many parts");
    state_ = State::after_part;
    if (in.take_word("TEXT ")) return take_octets(in, follows, out);
    if (!in.take_word("URL ")) return bad("TEXT or URL expected");
    AppendEvent event;
    event.kind = AppendEvent::Kind::url;
    TRY(event.url, take_astring(in));
    out.push_back(std::move(event));
    return {};
}

bool opens_message(std::string_view text, Follows follows, const Limits& limits) {
    Cursor in(text);
    if (!take_tag(in, limits) || !in.take(' ')) return false;
    Messages messages = Messages::many;
    if (!in.take_word("APPEND ")) {
        static_cast<void>(in.take_word("UID "));
        if (!in.take_word("REPLACE ")) return false;
        in.take_while([](char c) { return c == '*' || ascii::is_digit(c); });
        if (!in.take(' ')) return false;
        messages = Messages::one;
    }
    if (!take_astring(in) || !in.take(' ')) return false;
    AppendParser parser(messages, limits);
    const auto events = parser.take(in.rest(), follows);
    return events && !events->empty() && events->back().kind == AppendEvent::Kind::octets;
}

namespace {

// Octets "%XX" decoded; nothing where one is broken.
std::optional<std::string> percent_decode(std::string_view text) {
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '%') {
            out += text[at];
            continue;
        }
        if (at + 2 >= text.size() || !ascii::is_hex(text[at + 1]) || !ascii::is_hex(text[at + 2])) return std::nullopt;
        out += static_cast<char>(ascii::hex_value(text[at + 1]) * 16 + ascii::hex_value(text[at + 2]));
        at += 2;
    }
    return out;
}

// What stands between `mark` (any case) and the next "/", taken off the front.
std::optional<std::string_view> take_marked(std::string_view& rest, std::string_view mark) {
    if (!ascii::starts_with_ci(rest, mark)) return std::nullopt;
    rest.remove_prefix(mark.size());
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const std::string_view out = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return out;
}

Result<> take_partial(std::string_view text, MessageUrl& out) {
    const std::size_t dot = text.find('.');
    const auto offset = ascii::parse_number(text.substr(0, dot));
    if (!offset) return bad("Invalid PARTIAL in the URL");
    out.offset = *offset;
    if (dot == std::string_view::npos) return {};
    const auto octets = ascii::parse_number(text.substr(dot + 1));
    if (!octets || *octets == 0) return bad("Invalid PARTIAL in the URL");
    out.octets = *octets;
    return {};
}

}  // namespace

Result<MessageUrl> parse_message_url(std::string_view url) {
    MessageUrl out;
    std::string_view rest = url;
    if (rest.starts_with("//") || rest.find(':') < rest.find('/'))
        return bad("Only URLs of one's own mail are allowed");
    const bool absolute = rest.starts_with('/');
    if (absolute) rest.remove_prefix(1);
    const std::size_t mark = ascii::to_upper(rest).find("/;UID=");
    if (mark != std::string::npos) {
        std::string_view name = rest.substr(0, mark);
        rest.remove_prefix(mark + 1);
        const std::size_t validity = ascii::to_upper(name).find(";UIDVALIDITY=");
        if (validity != std::string::npos) {
            const auto number = ascii::parse_number(name.substr(validity + 13));
            if (!number || *number == 0 || *number > 0xffffffffU) return bad("Invalid UIDVALIDITY in the URL");
            out.uid_validity = static_cast<std::uint32_t>(*number);
            name = name.substr(0, validity);
        }
        out.mailbox = percent_decode(name);
        if (!out.mailbox || out.mailbox->empty()) return bad("Invalid mailbox in the URL");
    } else if (absolute) {
        return bad("The URL names no message");
    }
    const auto uid = take_marked(rest, ";UID=");
    const auto number = uid ? ascii::parse_number(*uid) : std::nullopt;
    if (!number || *number == 0 || *number > 0xffffffffU) return bad("Invalid UID in the URL");
    out.uid = static_cast<std::uint32_t>(*number);
    if (const auto section = take_marked(rest, ";SECTION=")) {
        const auto decoded = percent_decode(*section);
        if (!decoded || decoded->empty()) return bad("Invalid SECTION in the URL");
        out.section = *decoded;
    }
    if (const auto partial = take_marked(rest, ";PARTIAL=")) TRY_VOID(take_partial(*partial, out));
    if (!rest.empty() || url.ends_with('/')) return bad("Something is left at the URL's end");
    return out;
}

}  // namespace posthouse::imap
