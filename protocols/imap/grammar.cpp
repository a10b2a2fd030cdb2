#include "protocols/imap/grammar.h"

#include <array>
#include <chrono>
#include <limits>

namespace posthouse::imap {

namespace {

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Exactly `count` digits.
std::optional<int> take_digits(Cursor& in, std::size_t count) {
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (!ascii::is_digit(in.peek(i))) return std::nullopt;
        value = value * 10 + (in.peek(i) - '0');
    }
    in.take_octets(count);
    return value;
}

// date-day "-" date-month "-" date-year; date-day = 1*2DIGIT
Result<std::int32_t> take_date_text(Cursor& in) {
    auto day = take_digits(in, 2);
    if (!day) day = take_digits(in, 1);
    if (!day || !in.take('-')) return bad("Invalid date");
    unsigned month = 0;
    for (unsigned i = 0; i < kMonths.size(); ++i) {
        if (in.take_word(kMonths.at(i))) month = i + 1;
    }
    if (month == 0 || !in.take('-')) return bad("Invalid date");
    const auto year = take_digits(in, 4);
    if (!year) return bad("Invalid date");
    const std::chrono::year_month_day date(std::chrono::year(*year), std::chrono::month(month),
                                           std::chrono::day(static_cast<unsigned>(*day)));
    if (!date.ok()) return bad("Invalid date");
    return static_cast<std::int32_t>(std::chrono::sys_days(date).time_since_epoch().count());
}

// quoted = DQUOTE *QUOTED-CHAR DQUOTE; only the quote and the backslash may be escaped.
Result<std::string> take_quoted(Cursor& in) {
    Cursor at = in;
    at.take('"');
    std::string out;
    for (;;) {
        out += at.take_while([](char c) { return c != '"' && c != '\\' && c != '\r' && c != '\n' && c != '\0'; });
        if (at.take('"')) break;
        if (!at.take('\\')) return bad("Unterminated quoted string");
        const char escaped = at.peek();
        if (escaped != '"' && escaped != '\\') return bad("Invalid escape in quoted string");
        out += escaped;
        at.take(escaped);
    }
    if (!ascii::is_valid_utf8(out)) return bad("Invalid octets in quoted string");
    in = at;
    return out;
}

enum class Nul { refused, allowed };

// literal = "{" number ["+"] "}" CRLF *CHAR8; the octets stand in the command text.
Result<std::string> take_literal(Cursor& in, Nul nul = Nul::refused) {
    Cursor at = in;
    at.take('{');
    const auto count = ascii::parse_number(at.take_while(ascii::is_digit));
    at.take('+');
    if (!count || !at.take("}\r\n") || *count > at.rest().size()) return bad("Invalid literal");
    const std::string_view octets = at.take_octets(static_cast<std::size_t>(*count));
    const bool clean = nul == Nul::allowed || octets.find('\0') == std::string_view::npos;
    if (!clean) return bad("NUL in literal");
    in = at;
    return std::string(octets);
}

Result<> take_flag(Cursor& in, FlagList& into, const Limits& limits) {
    if (into.keywords.size() >= limits.flags_max) return bad("Too many flags");
    if (in.take('\\')) {
        TRY(const std::string name, take_atom(in));
        struct Named {
            std::string_view name;
            SystemFlag bit;
        };
        constexpr std::array<Named, 5> kFlags = {{{"Seen", kSeen},
                                                  {"Answered", kAnswered},
                                                  {"Flagged", kFlagged},
                                                  {"Deleted", kDeleted},
                                                  {"Draft", kDraft}}};
        for (const Named& flag : kFlags) {
            if (ascii::equals_ci(name, flag.name)) {
                into.system = static_cast<std::uint8_t>(into.system | flag.bit);
                return {};
            }
        }
        return bad("Invalid system flag");  // \Recent among them: no client may change it
    }
    TRY(std::string keyword, take_atom(in));
    if (keyword.size() > limits.keyword_octets_max) return bad("Keyword is too long");
    into.keywords.push_back(std::move(keyword));
    return {};
}

}  // namespace

bool is_atom_char(char c) {
    if (ascii::is_control(c) || ascii::is_8bit(c)) return false;
    switch (c) {
        case '(':
        case ')':
        case '{':
        case ' ':
        case '%':
        case '*':
        case '"':
        case '\\':
        case ']': return false;
        default: return true;
    }
}

bool is_astring_char(char c) { return c == ']' || is_atom_char(c); }

Result<std::string> take_tag(Cursor& in, const Limits& limits) {
    Cursor at = in;
    const std::string_view tag = at.take_while([](char c) { return c != '+' && is_astring_char(c); });
    if (tag.empty() || tag.size() > limits.tag_octets_max) return bad("Invalid tag");
    if (!at.at_end() && at.peek() != ' ') return bad("Invalid tag");
    in = at;
    return std::string(tag);
}

Result<std::string> take_atom(Cursor& in) {
    const std::string_view atom = in.take_while(is_atom_char);
    if (atom.empty()) return bad("Atom expected");
    return std::string(atom);
}

Result<std::string> take_string(Cursor& in) {
    if (in.peek() == '"') return take_quoted(in);
    if (in.peek() == '{') return take_literal(in);
    return bad("String expected");
}

Result<std::string> take_literal8(Cursor& in) {
    Cursor at = in;
    if (!at.take('~') || at.peek() != '{') return bad("Literal8 expected");
    TRY(std::string octets, take_literal(at, Nul::allowed));
    in = at;
    return octets;
}

Result<std::string> take_astring(Cursor& in) {
    if (in.peek() == '"' || in.peek() == '{') return take_string(in);
    const std::string_view text = in.take_while(is_astring_char);
    if (text.empty()) return bad("Argument expected");
    return std::string(text);
}

Result<std::optional<std::string>> take_nstring(Cursor& in) {
    if (in.take_word("NIL")) return std::optional<std::string>();
    TRY(std::string text, take_string(in));
    return std::optional<std::string>(std::move(text));
}

Result<std::uint32_t> take_number(Cursor& in) {
    Cursor at = in;
    const auto value = ascii::parse_number(at.take_while(ascii::is_digit));
    if (!value || *value > std::numeric_limits<std::uint32_t>::max()) return bad("Number expected");
    in = at;
    return static_cast<std::uint32_t>(*value);
}

Result<std::uint64_t> take_number64(Cursor& in) {
    Cursor at = in;
    const auto value = ascii::parse_number(at.take_while(ascii::is_digit));
    if (!value || *value > std::numeric_limits<std::int64_t>::max()) return bad("Number expected");
    in = at;
    return *value;
}

Result<std::uint32_t> take_nz_number(Cursor& in) {
    Cursor at = in;
    TRY(const std::uint32_t value, take_number(at));
    if (value == 0) return bad("Zero is not allowed here");
    in = at;
    return value;
}

Result<> take_space(Cursor& in) {
    if (in.take_while([](char c) { return c == ' '; }).empty()) return bad("Missing argument");
    return {};
}

Result<> take_end(Cursor& in) {
    in.take_while([](char c) { return c == ' '; });
    if (!in.at_end()) return bad("Unexpected extra arguments");
    return {};
}

std::optional<LiteralMark> literal_at_end(std::string_view line) {
    if (!line.ends_with('}')) return std::nullopt;
    const std::size_t open = line.rfind('{');
    if (open == std::string_view::npos) return std::nullopt;
    std::string_view inside = line.substr(open + 1, line.size() - open - 2);
    LiteralMark mark;
    mark.mark_octets = line.size() - open;
    if (inside.ends_with('+')) {
        mark.synchronising = false;
        inside.remove_suffix(1);
    }
    const auto octets = ascii::parse_number(inside);
    if (!octets) return std::nullopt;
    mark.octets = *octets;
    mark.literal8 = open > 0 && line[open - 1] == '~';
    if (mark.literal8) ++mark.mark_octets;
    return mark;
}

Result<FlagList> take_flag_list(Cursor& in, const Limits& limits) {
    if (!in.take('(')) return bad("Flag list expected");
    FlagList out;
    if (in.take(')')) return out;
    for (;;) {
        TRY_VOID(take_flag(in, out, limits));
        if (in.take(')')) return out;
        TRY_VOID(take_space(in));
    }
}

Result<FlagList> take_store_flags(Cursor& in, const Limits& limits) {
    if (in.peek() == '(') return take_flag_list(in, limits);
    FlagList out;
    for (;;) {
        TRY_VOID(take_flag(in, out, limits));
        if (in.at_end()) return out;
        TRY_VOID(take_space(in));
    }
}

Result<std::int64_t> take_date_time(Cursor& in) {
    Cursor at = in;
    if (!at.take('"')) return bad("Invalid date-time");
    at.take(' ');  // date-day-fixed = (SP DIGIT) / 2DIGIT
    TRY(const std::int32_t day, take_date_text(at));
    if (!at.take(' ')) return bad("Invalid date-time");
    const auto hour = take_digits(at, 2);
    if (!hour || !at.take(':')) return bad("Invalid date-time");
    const auto minute = take_digits(at, 2);
    if (!minute || !at.take(':')) return bad("Invalid date-time");
    const auto second = take_digits(at, 2);
    if (!second || !at.take(' ')) return bad("Invalid date-time");
    const bool west = at.peek() == '-';
    if (!at.take('-') && !at.take('+')) return bad("Invalid date-time");
    const auto zone = take_digits(at, 4);
    // A second of 60 is a leap second; zones are bounded so that odd ones pass and nonsense does not.
    if (!zone || !at.take('"') || *hour > 23 || *minute > 59 || *second > 60 || *zone % 100 > 59 || *zone > 2400) {
        return bad("Invalid date-time");
    }
    const std::int64_t offset = (*zone / 100 * 60 + *zone % 100) * 60;
    in = at;
    return std::int64_t{day} * 86400 + *hour * 3600 + *minute * 60 + *second - (west ? -offset : offset);
}

Result<std::int32_t> take_date(Cursor& in) {
    Cursor at = in;
    const bool quoted = at.take('"');
    TRY(const std::int32_t day, take_date_text(at));
    if (quoted && !at.take('"')) return bad("Invalid date");
    in = at;
    return day;
}

}  // namespace posthouse::imap
