#include "protocols/imap/client_response.h"

#include <algorithm>
#include <array>
#include <limits>

#include "protocols/base/ascii.h"

namespace posthouse::imap {

namespace {

void skip_spaces(Cursor& in) {
    in.take_while([](char c) { return c == ' '; });
}

// A word of a response: up to a blank, a parenthesis or the end. Lenient: servers use more characters than ATOM-CHAR.
std::string_view take_word(Cursor& in) {
    return in.take_while([](char c) { return c != ' ' && c != '(' && c != ')' && !ascii::is_control(c); });
}

std::optional<std::uint64_t> take_u64(Cursor& in) { return ascii::parse_number(in.take_while(ascii::is_digit)); }

// quoted or literal, any octets: the server's spelling is not ours to judge. Nothing where neither stands here.
std::optional<std::string> take_any_string(Cursor& in) {
    Cursor at = in;
    if (at.take('"')) {
        std::string out;
        for (;;) {
            out += at.take_while([](char c) { return c != '"' && c != '\\'; });
            if (at.take('"')) break;
            if (!at.take('\\') || at.at_end()) return std::nullopt;
            out += at.take_octets(1);
        }
        in = at;
        return out;
    }
    if (!at.take('{')) return std::nullopt;
    const auto count = take_u64(at);
    if (!count || !at.take("}\r\n") || *count > at.rest().size()) return std::nullopt;
    std::string out(at.take_octets(static_cast<std::size_t>(*count)));
    in = at;
    return out;
}

// astring or NIL: a mailbox name, lenient in what an atom may hold.
std::optional<std::string> take_name(Cursor& in) {
    if (in.peek() == '"' || in.peek() == '{') return take_any_string(in);
    const std::string_view word = in.take_while([](char c) { return c != ' ' && !ascii::is_control(c); });
    if (word.empty()) return std::nullopt;
    return std::string(word);
}

// Steps over one value of any shape: atom, string, literal, parenthesised list with all within it.
Result<> skip_value(Cursor& in, const ClientLimits& limits) {
    std::size_t depth = 0;
    do {
        skip_spaces(in);
        if (in.take('(')) {
            if (++depth > limits.depth_max) return bad("the server's response is nested too deeply");
        } else if (in.take(')')) {
            if (depth == 0) return bad("a parenthesis closes that was never opened");
            --depth;
        } else if (in.peek() == '"' || in.peek() == '{') {
            if (!take_any_string(in)) return bad("a string in the server's response does not end");
        } else if (take_word(in).empty()) {
            return bad("the server's response ends too early");
        }
    } while (depth > 0);
    return {};
}

// flag-list with flags of any spelling; \Recent and unknown system flags are left out, "\*" too.
Result<FlagList> take_flags(Cursor& in, const ClientLimits& limits) {
    struct Named {
        std::string_view name;
        SystemFlag bit;
    };
    constexpr std::array<Named, 5> kFlags = {{{"\\Seen", kSeen},
                                              {"\\Answered", kAnswered},
                                              {"\\Flagged", kFlagged},
                                              {"\\Deleted", kDeleted},
                                              {"\\Draft", kDraft}}};
    if (!in.take('(')) return bad("the server sent flags without parentheses");
    FlagList out;
    for (;;) {
        skip_spaces(in);
        if (in.take(')')) return out;
        const std::string_view word = take_word(in);
        if (word.empty()) return bad("the server's list of flags does not end");
        const auto known = std::ranges::find_if(kFlags, [&](const Named& f) { return ascii::equals_ci(word, f.name); });
        if (known != kFlags.end()) {
            out.system = static_cast<std::uint8_t>(out.system | known->bit);
        } else if (!word.starts_with('\\') && out.keywords.size() < limits.keywords_max) {
            out.keywords.emplace_back(word);
        }
    }
}

// resp-text = ["[" resp-text-code "]" SP] text
Condition take_condition(Cursor& in, Condition::Kind kind) {
    Condition out;
    out.kind = kind;
    skip_spaces(in);
    if (in.take('[')) {
        const std::string_view inside = in.take_until(']');
        in.take(']');
        const std::size_t blank = std::min(inside.find(' '), inside.size());
        out.code = ascii::to_upper(inside.substr(0, blank));
        out.arguments = std::string(ascii::trim(inside.substr(blank)));
        skip_spaces(in);
    }
    out.text = std::string(in.rest());
    return out;
}

std::optional<Condition::Kind> condition_kind(std::string_view word) {
    if (ascii::equals_ci(word, "OK")) return Condition::Kind::ok;
    if (ascii::equals_ci(word, "NO")) return Condition::Kind::no;
    if (ascii::equals_ci(word, "BAD")) return Condition::Kind::bad;
    if (ascii::equals_ci(word, "PREAUTH")) return Condition::Kind::preauth;
    if (ascii::equals_ci(word, "BYE")) return Condition::Kind::bye;
    return std::nullopt;
}

// mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox
Result<ListEntry> take_list(Cursor& in) {
    ListEntry out;
    skip_spaces(in);
    if (!in.take('(')) return bad("a LIST response has no attributes");
    for (;;) {
        skip_spaces(in);
        if (in.take(')')) break;
        const std::string_view word = take_word(in);
        if (word.empty()) return bad("the attributes of a LIST response do not end");
        out.attributes.emplace_back(word);
    }
    skip_spaces(in);
    if (in.peek() == '"' || in.peek() == '{') {
        const auto delimiter = take_any_string(in);
        if (!delimiter || delimiter->size() > 1) return bad("a LIST response has no proper delimiter");
        out.delimiter = delimiter->empty() ? '\0' : delimiter->front();
    } else if (!in.take_word("NIL")) {
        return bad("a LIST response has no delimiter");
    }
    skip_spaces(in);
    auto name = take_name(in);
    if (!name) return bad("a LIST response names no mailbox");
    out.name = *std::move(name);
    return out;
}

// "STATUS" SP mailbox SP "(" [status-att-list] ")"
Result<StatusEntry> take_status(Cursor& in, const ClientLimits& limits) {
    StatusEntry out;
    skip_spaces(in);
    auto name = take_name(in);
    if (!name) return bad("a STATUS response names no mailbox");
    out.name = *std::move(name);
    skip_spaces(in);
    if (!in.take('(')) return bad("a STATUS response has no values");
    for (;;) {
        skip_spaces(in);
        if (in.take(')')) return out;
        const std::string_view item = take_word(in);
        if (item.empty()) return bad("the values of a STATUS response do not end");
        skip_spaces(in);
        if (!ascii::is_digit(in.peek())) {
            TRY_VOID(skip_value(in, limits));
            continue;
        }
        const auto value = take_u64(in);
        if (ascii::equals_ci(item, "MESSAGES")) out.messages = value;
        if (ascii::equals_ci(item, "UIDNEXT")) out.uid_next = value;
        if (ascii::equals_ci(item, "UIDVALIDITY")) out.uid_validity = value;
        if (ascii::equals_ci(item, "UNSEEN")) out.unseen = value;
        if (ascii::equals_ci(item, "SIZE")) out.size_octets = value;
        if (ascii::equals_ci(item, "HIGHESTMODSEQ")) out.highest_modseq = value;
    }
}

// One item of a FETCH response and its value.
Result<> take_fetch_item(Cursor& in, Fetched& out, bool had_body, const ClientLimits& limits) {
    std::string name(in.take_while([](char c) { return c != ' ' && c != '(' && c != ')' && c != '['; }));
    if (in.peek() == '[') {  // a section may hold blanks and parentheses: BODY[HEADER.FIELDS (Subject)]<0>
        name += in.take_until(']');
        if (!in.take(']')) return bad("a section of a FETCH response does not end");
        name += ']';
        if (in.peek() == '<') {
            in.take_until('>');
            in.take('>');
        }
    }
    if (name.empty()) return bad("a FETCH response is not what it should be");
    skip_spaces(in);
    const auto is = [&](std::string_view wanted) { return ascii::equals_ci(name, wanted); };
    if (is("FLAGS")) {
        TRY(out.flags, take_flags(in, limits));
        return {};
    }
    if (is("UID") || is("RFC822.SIZE") || is("X-GM-MSGID")) {
        const auto value = take_u64(in);
        if (!value) return bad("a FETCH response has a number that is none");
        if (is("X-GM-MSGID")) out.lasting_id = value;
        if (is("RFC822.SIZE")) out.size_octets = value;
        if (is("UID") && *value <= std::numeric_limits<std::uint32_t>::max()) {
            out.uid = static_cast<std::uint32_t>(*value);
        }
        return {};
    }
    if (is("MODSEQ") && in.take('(')) {
        out.modseq = take_u64(in);
        if (!in.take(')')) return bad("a FETCH response has a MODSEQ that is none");
        return {};
    }
    if (is("INTERNALDATE") && in.peek() == '"') {
        Cursor at = in;
        if (const auto date = take_date_time(at)) {
            out.internal_date_s = *date;
            in = at;
            return {};
        }
        return skip_value(in, limits);  // a date that is none: the import falls back on the message's own
    }
    if (is("BODY[]") || is("RFC822") || is("BINARY[]")) {
        if (in.peek() != '"' && in.peek() != '{') {
            out.body = Fetched::Body::nil;
            return skip_value(in, limits);
        }
        auto text = take_any_string(in);
        if (!text) return bad("a body in a FETCH response does not end");
        out.body = had_body ? Fetched::Body::streamed : Fetched::Body::quoted;
        out.quoted_body = *std::move(text);
        return {};
    }
    return skip_value(in, limits);
}

// "FETCH" SP msg-att
Result<Fetched> take_fetched(Cursor& in, std::uint32_t number, bool had_body, const ClientLimits& limits) {
    Fetched out;
    out.number = number;
    skip_spaces(in);
    if (!in.take('(')) return bad("a FETCH response has no values");
    for (;;) {
        skip_spaces(in);
        if (in.take(')')) return out;
        TRY_VOID(take_fetch_item(in, out, had_body, limits));
    }
}

// namespace = nil / "(" 1*("(" string SP (QUOTED-CHAR / nil) *(extension) ")") ")"     RFC 2342 5
Result<std::vector<Namespaces::One>> take_namespace(Cursor& in, const ClientLimits& limits) {
    std::vector<Namespaces::One> out;
    skip_spaces(in);
    if (in.take_word("NIL")) return out;
    if (!in.take('(')) return bad("a NAMESPACE response is not what it should be");
    for (;;) {
        skip_spaces(in);
        if (in.take(')')) return out;
        if (!in.take('(')) return bad("a NAMESPACE response is not what it should be");
        Namespaces::One one;
        auto prefix = take_any_string(in);
        if (!prefix) return bad("a NAMESPACE response has no prefix");
        one.prefix = *std::move(prefix);
        skip_spaces(in);
        if (const auto delimiter = take_any_string(in)) {
            one.delimiter = delimiter->empty() ? '\0' : delimiter->front();
        } else if (!in.take_word("NIL")) {
            return bad("a NAMESPACE response has no delimiter");
        }
        for (skip_spaces(in); !in.take(')'); skip_spaces(in)) TRY_VOID(skip_value(in, limits));
        out.push_back(std::move(one));
    }
}

// "*" SP number SP word ...
Result<ResponseData> take_numbered(Cursor& in, bool had_body, const ClientLimits& limits) {
    const auto number = take_u64(in);
    if (!number || *number > std::numeric_limits<std::uint32_t>::max()) return bad("a message number is too large");
    const auto small = static_cast<std::uint32_t>(*number);
    skip_spaces(in);
    const std::string_view word = take_word(in);
    if (ascii::equals_ci(word, "EXISTS")) return ResponseData(Count{Count::Kind::exists, small});
    if (ascii::equals_ci(word, "RECENT")) return ResponseData(Count{Count::Kind::recent, small});
    if (ascii::equals_ci(word, "EXPUNGE")) return ResponseData(Count{Count::Kind::expunge, small});
    if (!ascii::equals_ci(word, "FETCH")) return ResponseData(OtherResponse{ascii::to_upper(word)});
    TRY(Fetched fetched, take_fetched(in, small, had_body, limits));
    return ResponseData(std::move(fetched));
}

Result<ResponseData> take_untagged(Cursor& in, bool had_body, const ClientLimits& limits) {
    if (ascii::is_digit(in.peek())) return take_numbered(in, had_body, limits);
    const std::string_view word = take_word(in);
    if (const auto kind = condition_kind(word)) return ResponseData(take_condition(in, *kind));
    if (ascii::equals_ci(word, "CAPABILITY")) return ResponseData(parse_capabilities(in.rest()));
    if (ascii::equals_ci(word, "LIST") || ascii::equals_ci(word, "LSUB") || ascii::equals_ci(word, "XLIST")) {
        TRY(ListEntry entry, take_list(in));
        entry.subscribed_list = ascii::equals_ci(word, "LSUB");
        return ResponseData(std::move(entry));
    }
    if (ascii::equals_ci(word, "STATUS")) {
        TRY(StatusEntry entry, take_status(in, limits));
        return ResponseData(std::move(entry));
    }
    if (ascii::equals_ci(word, "SEARCH")) {
        std::vector<std::uint32_t> numbers;
        for (skip_spaces(in); ascii::is_digit(in.peek()); skip_spaces(in)) {
            const auto number = take_u64(in);
            if (number && *number <= std::numeric_limits<std::uint32_t>::max()) {
                numbers.push_back(static_cast<std::uint32_t>(*number));
            }
        }
        return ResponseData(std::move(numbers));
    }
    if (ascii::equals_ci(word, "NAMESPACE")) {
        Namespaces out;
        TRY(out.personal, take_namespace(in, limits));
        TRY(out.others, take_namespace(in, limits));
        TRY(out.shared, take_namespace(in, limits));
        return ResponseData(std::move(out));
    }
    return ResponseData(OtherResponse{ascii::to_upper(word)});
}

}  // namespace

Capabilities parse_capabilities(std::string_view text) {
    Capabilities out;
    Cursor in(text);
    for (skip_spaces(in); !in.at_end(); skip_spaces(in)) {
        const std::string_view word = in.take_until(' ');
        out.names.push_back(ascii::to_upper(ascii::trim(word)));
    }
    return out;
}

// response = continue-req / response-data / response-tagged
Result<ServerResponse> parse_response(std::string_view text, bool had_body, const ClientLimits& limits) {
    Cursor in(text);
    ServerResponse out;
    if (in.take('+')) {
        skip_spaces(in);
        out.data = Continuation{std::string(in.rest())};
        return out;
    }
    if (in.take("*")) {
        skip_spaces(in);
        TRY(out.data, take_untagged(in, had_body, limits));
        return out;
    }
    const std::string_view tag = take_word(in);
    skip_spaces(in);
    const auto kind = condition_kind(take_word(in));
    if (tag.empty() || !kind || *kind > Condition::Kind::bad) {
        return bad("the server's answer is no IMAP; is this the right port?");
    }
    out.tag = std::string(tag);
    out.data = take_condition(in, *kind);
    return out;
}

}  // namespace posthouse::imap
