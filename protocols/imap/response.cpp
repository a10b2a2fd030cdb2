#include "protocols/imap/response.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <iterator>

#include "protocols/imap/grammar.h"
#include "protocols/mime/envelope.h"

namespace posthouse::imap {

namespace {

void append_quoted(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    out += '"';
}

}  // namespace

void append_number(std::string& out, std::uint64_t number) {
    std::array<char, 20> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    out.append(digits.data(), end);
}

void append_astring(std::string& out, std::string_view text) {
    const bool atom = !text.empty() && !ascii::equals_ci(text, "NIL") &&
                      std::all_of(text.begin(), text.end(), [](char c) { return is_atom_char(c); });
    if (atom)
        out += text;
    else
        mime::append_imap_string(out, text);
}

void append_mailbox(std::string& out, std::string_view utf8_name, NameForm form) {
    if (form == NameForm::modified_utf7 || std::ranges::none_of(utf8_name, ascii::is_8bit)) {
        append_astring(out, encode_mailbox(utf8_name, form));
        return;
    }
    append_quoted(out, utf8_name);
}

void append_string(std::string& out, std::string_view text) {
    constexpr std::size_t kQuotedOctetsMax = 1000;
    bool quotable = text.size() <= kQuotedOctetsMax;
    for (const char c : text) quotable = quotable && ascii::is_printable(c);
    if (!quotable) {
        append_literal8(out, text);
        return;
    }
    append_quoted(out, text);
}

void append_literal8(std::string& out, std::string_view octets) {
    if (octets.find('\0') != std::string_view::npos) out += '~';
    out += '{';
    append_number(out, octets.size());
    out += "}\r\n";
    out += octets;
}

void append_flags(std::string& out, std::uint8_t system, std::span<const std::string> keywords, Recent recent) {
    struct Named {
        SystemFlag bit;
        std::string_view name;
    };
    constexpr std::array<Named, 5> kFlags = {{{kAnswered, "\\Answered"},
                                              {kFlagged, "\\Flagged"},
                                              {kDeleted, "\\Deleted"},
                                              {kSeen, "\\Seen"},
                                              {kDraft, "\\Draft"}}};
    out += '(';
    const std::size_t start = out.size();
    const auto append = [&](std::string_view name) {
        if (out.size() > start) out += ' ';
        out += name;
    };
    for (const Named& flag : kFlags) {
        if ((system & flag.bit) != 0) append(flag.name);
    }
    for (const std::string& keyword : keywords) append(keyword);
    if (recent == Recent::yes) append("\\Recent");
    out += ')';
}

void append_internal_date(std::string& out, std::int64_t unix_s) {
    using namespace std::chrono;
    constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    constexpr std::int64_t kFirst = -62135596800;  // 1 Jan 0001
    constexpr std::int64_t kLast = 253402300799;   // 31 Dec 9999
    const sys_seconds time{seconds(std::clamp(unix_s, kFirst, kLast))};
    const sys_days midnight = floor<days>(time);
    const year_month_day date(midnight);
    const hh_mm_ss clock(time - midnight);
    fmt::format_to(std::back_inserter(out), "\"{:2}-{}-{:04} {:02}:{:02}:{:02} +0000\"", unsigned{date.day()},
                   kMonths.at(unsigned{date.month()} - 1), int{date.year()}, clock.hours().count(),
                   clock.minutes().count(), clock.seconds().count());
}

std::string clean_text(std::string_view text) {
    constexpr std::size_t kTextOctetsMax = 200;
    std::string out;
    for (const char c : text.substr(0, kTextOctetsMax)) out += ascii::is_printable(c) ? c : '?';
    return out;
}

}  // namespace posthouse::imap
