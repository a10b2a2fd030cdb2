#pragma once
/// protocols/mime/date: the date-time of RFC 5322 3.3 with the obsolete forms of 4.3 and what old software writes.
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"

namespace posthouse::mime {

struct Date {
    Time utc;
    int zone_minutes = 0;  ///< offset of the writer's clock; the local time is utc + zone
    bool operator==(const Date&) const = default;
};

/// Lenient: weekday optional and not checked, two-digit years, named zones, comments, numeric months.
/// Anything that names no moment between years 0 and 9999 is no date.
std::optional<Date> parse_date(std::string_view field_value);

/// "Mon, 23 Nov 2026 20:11:05 +0000", always in UTC.
std::string format_rfc5322(Time time);

}  // namespace posthouse::mime
