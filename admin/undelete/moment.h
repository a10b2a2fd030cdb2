#pragma once
/// admin/undelete/moment: a point in time as people type it. Pure.
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"

namespace posthouse::admin {

/// "2026-11-20", "2026-11-20T08:00Z", "2026-11-20T08:00:30Z" (RFC 3339 5.6, UTC), or so long before `now`: "3d", "12h",
/// "30m". Errc::invalid with the sentence to show.
Result<Time> parse_moment(std::string_view text, Time now);

}  // namespace posthouse::admin
