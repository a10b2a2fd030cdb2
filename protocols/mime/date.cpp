#include "protocols/mime/date.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstdlib>

#include "protocols/base/ascii.h"
#include "protocols/mime/tokens.h"

namespace posthouse::mime {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

struct Zone {
    std::string_view name;
    int minutes;
};
/// obs-zone, RFC 5322 4.3; the single letters and all others mean "unknown" and count as UTC there.
constexpr Zone kZones[] = {{"EST", -300}, {"EDT", -240}, {"CST", -360}, {"CDT", -300},
                           {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420}};

/// A number of at most four digits; nothing where there is none or it is longer.
std::optional<int> take_number(Cursor& in) {
    const std::string_view digits = in.take_while(ascii::is_digit);
    if (digits.empty() || digits.size() > 4) return std::nullopt;
    int value = 0;
    for (const char c : digits) value = value * 10 + (c - '0');
    return value;
}

/// Month by name (its first three letters) or by number, 1..12.
std::optional<int> take_month(Cursor& in) {
    if (ascii::is_digit(in.peek())) {
        const auto month = take_number(in);
        return month && *month >= 1 && *month <= 12 ? month : std::nullopt;
    }
    const std::string_view word = in.take_while(ascii::is_alpha);
    for (std::size_t i = 0; i < kMonths.size(); ++i)
        if (word.size() >= 3 && ascii::equals_ci(word.substr(0, 3), kMonths[i])) return static_cast<int>(i) + 1;
    return std::nullopt;
}

/// Between the parts of a date anything may stand: "23-Nov-2026", "23/11/2026", "Mon,23 Nov".
void skip_separators(Cursor& in) {
    while (skip_cfws(in) || in.take(',') || in.take('-') || in.take('/')) {
    }
}

/// obs-year, RFC 5322 4.3: 00..49 are 2000 on, 50..999 count from 1900.
std::optional<int> take_year(Cursor& in) {
    const std::size_t start = in.position();
    auto year = take_number(in);
    if (!year) return std::nullopt;
    const std::size_t digits = in.position() - start;
    if (digits <= 2 && *year < 50)
        *year += 2000;
    else if (digits <= 3)
        *year += 1900;
    return year;
}

struct TimeOfDay {
    int hour = 0;
    int minute = 0;
    int second = 0;
};

/// hour ":" minute [":" second]; old software also writes dots or blanks between them.
std::optional<TimeOfDay> take_time(Cursor& in) {
    TimeOfDay time;
    const auto hour = take_number(in);
    const bool dots = in.peek() == '.';
    const auto separator = [&] {
        skip_cfws(in);
        if (!in.take(':') && !(dots && in.take('.'))) return false;
        skip_cfws(in);
        return true;
    };
    if (!hour || *hour > 23) return std::nullopt;
    time.hour = *hour;
    const bool colon = separator();
    const auto minute = take_number(in);
    if (!minute || *minute > 59) return std::nullopt;
    time.minute = *minute;
    const bool more = colon ? separator() : ascii::is_digit(in.peek());
    if (!more) return time;
    const auto second = take_number(in);
    if (!second || *second > 60) return std::nullopt;  // 60: a leap second
    time.second = *second;
    if (in.take('.')) in.take_while(ascii::is_digit);
    return time;
}

/// zone = ("+" / "-") 4DIGIT / obs-zone; whatever else stands there counts as UTC.
int take_zone(Cursor& in) {
    skip_cfws(in);
    const std::string_view word = in.take_while(ascii::is_alpha);
    for (const Zone& zone : kZones)
        if (ascii::equals_ci(zone.name, word)) return zone.minutes;
    if (in.peek() != '+' && in.peek() != '-') return 0;
    const int sign = in.take('-') ? -1 : (in.take('+') ? 1 : 1);
    std::string_view digits = in.take_while(ascii::is_digit);
    int hours = 0;
    int minutes = 0;
    if (digits.size() <= 2 && in.take(':')) {  // +02:00
        const auto rest = take_number(in);
        const auto lead = ascii::parse_number(digits);
        hours = lead ? static_cast<int>(*lead) : 0;
        minutes = rest.value_or(0);
    } else if (digits.size() == 3 || digits.size() == 4) {
        const int all = static_cast<int>(*ascii::parse_number(digits));
        hours = all / 100;
        minutes = all % 100;
    } else if (!digits.empty() && digits.size() <= 2) {
        hours = static_cast<int>(*ascii::parse_number(digits));
    }
    const int zone = sign * (hours * 60 + minutes);
    return std::abs(zone) < 24 * 60 ? zone : 0;
}

}  // namespace

std::optional<Date> parse_date(std::string_view field_value) {
    // The date of a trace field follows its last semicolon (RFC 5321 4.4).
    if (const auto semicolon = field_value.rfind(';'); semicolon != std::string_view::npos)
        field_value.remove_prefix(semicolon + 1);
    Cursor in(field_value);
    skip_separators(in);
    std::optional<int> month;
    if (ascii::is_alpha(in.peek())) {  // [day-of-week ","], or the month first as asctime() writes it
        Cursor ahead = in;
        month = take_month(ahead);
        if (month)
            in = ahead;
        else
            in.take_while(ascii::is_alpha);
        skip_separators(in);
        if (!month && ascii::is_alpha(in.peek())) {
            month = take_month(in);
            if (!month) return std::nullopt;
            skip_separators(in);
        }
    }
    const bool month_first = month.has_value();
    const auto day = take_number(in);
    skip_separators(in);
    if (!month) month = take_month(in);
    if (!day || !month) return std::nullopt;
    skip_separators(in);

    std::optional<int> year;
    Cursor ahead = in;
    ahead.take_while(ascii::is_digit);
    if (!(month_first && ahead.peek() == ':')) {
        year = take_year(in);
        if (!year) return std::nullopt;
        skip_separators(in);
    }
    const auto time = take_time(in);
    if (!time) return std::nullopt;
    int zone = 0;
    if (!year) {  // "Mon Nov 23 20:11:05 2026" and "... UTC 2026"
        skip_cfws(in);
        if (!ascii::is_digit(in.peek())) zone = take_zone(in);
        skip_cfws(in);
        year = take_year(in);
        if (!year) return std::nullopt;
    } else {
        zone = take_zone(in);
    }
    const std::chrono::year_month_day date(std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day)));
    if (!date.ok()) return std::nullopt;
    // sys_days counts in 64 bits and every part is bounded above, so the sum cannot overflow.
    const auto local = std::chrono::sys_days(date) + std::chrono::hours(time->hour) +
                       std::chrono::minutes(time->minute) + std::chrono::seconds(time->second);
    return Date{.utc = Time(local - std::chrono::minutes(zone)), .zone_minutes = zone};
}

std::string format_rfc5322(Time time) {
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::weekday weekday(day);
    const auto second = std::chrono::floor<std::chrono::seconds>(time - day).count();
    return fmt::format("{}, {} {} {:04} {:02}:{:02}:{:02} +0000", kWeekdays[weekday.c_encoding()],
                       static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1],
                       static_cast<int>(date.year()), second / 3600, second / 60 % 60, second % 60);
}

}  // namespace posthouse::mime
