#pragma once
/// protocols/bounce: when the text itself says how long to wait: "try again in 300 seconds", "retry after 00:05:00",
/// "Greylisted for 5 minutes". Pure.   Limits: kHintMin to kHintMax; what is beyond is no hint.
#include <optional>
#include <string_view>

#include "protocols/base/clock.h"

namespace posthouse::bounce {

inline constexpr Milliseconds kHintMin{1'000};
inline constexpr Milliseconds kHintMax{24 * 3'600'000LL};

/// `text` as the remote sent it: colons of a clock time count.
std::optional<Milliseconds> find_wait(std::string_view text);

}  // namespace posthouse::bounce
