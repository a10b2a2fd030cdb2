#pragma once
/// relay/standstill: looks whether mail to some place has stopped, and writes it down (storage/destinations).
/// Threads: the loop's.
#include "protocols/net/task.h"
#include "relay/core.h"

namespace posthouse::relay {

inline constexpr Milliseconds kStandstillEvery{300'000};

/// One look. True where something began or ended.
net::Task<bool> watch_standstill(Core& core);

}  // namespace posthouse::relay
