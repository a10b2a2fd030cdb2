#include "admin/undelete/moment.h"

#include <fmt/format.h>

#include <optional>

#include "protocols/base/ascii.h"

namespace posthouse::admin {
namespace {

using std::chrono::days;

std::optional<std::int64_t> number(std::string_view text, std::uint64_t most) {
    const auto parsed = ascii::parse_number(text);
    if (!parsed || *parsed > most) return std::nullopt;
    return static_cast<std::int64_t>(*parsed);
}

// "30m", "12h", "3d", "2w": how long ago.
std::optional<Milliseconds> span_of(std::string_view text) {
    constexpr std::string_view kUnits = "mhdw";
    constexpr std::int64_t kMinutes[] = {1, 60, 1440, 10080};
    const std::size_t unit = text.empty() ? std::string_view::npos : kUnits.find(text.back());
    if (unit == std::string_view::npos) return std::nullopt;
    const auto count = number(text.substr(0, text.size() - 1), 100'000);
    if (!count) return std::nullopt;
    return std::chrono::minutes(*count * kMinutes[unit]);
}

// "YYYY-MM-DD" at the front.
std::optional<Time> date_of(std::string_view text) {
    if (text.size() < 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
    const auto year = number(text.substr(0, 4), 9999);
    const auto month = number(text.substr(5, 2), 12);
    const auto day = number(text.substr(8, 2), 31);
    if (!year || !month || !day) return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)),
                                           std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day))};
    if (!date.ok()) return std::nullopt;
    return std::chrono::sys_days(date);
}

// "Thh:mm[:ss]Z"
std::optional<Milliseconds> clock_of(std::string_view text) {
    if (text.empty()) return Milliseconds(0);
    if (text.back() == 'Z') text.remove_suffix(1);
    const bool seconds = text.size() == 9 && text[6] == ':';
    if ((text.size() != 6 && !seconds) || (text[0] != 'T' && text[0] != ' ') || text[3] != ':') return std::nullopt;
    const auto hour = number(text.substr(1, 2), 23);
    const auto minute = number(text.substr(4, 2), 59);
    const auto second = seconds ? number(text.substr(7, 2), 60) : std::optional<std::int64_t>(0);
    if (!hour || !minute || !second) return std::nullopt;
    return std::chrono::hours(*hour) + std::chrono::minutes(*minute) + std::chrono::seconds(*second);
}

}  // namespace

Result<Time> parse_moment(std::string_view text, Time now) {
    if (const auto ago = span_of(text)) return now - *ago;
    const auto date = date_of(text);
    const auto clock = date ? clock_of(text.substr(10)) : std::nullopt;
    if (date && clock) return *date + *clock;
    return Error(Errc::invalid, fmt::format("\"{}\" is no time; write for example 2026-11-20, 2026-11-20T08:00:00Z, "
                                            "3d or 12h ago",
                                            text));
}

}  // namespace posthouse::admin
