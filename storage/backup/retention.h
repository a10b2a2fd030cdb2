#pragma once
/// storage/backup/retention: which backups stay. A pure function of their times.
/// Threads: pure.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "protocols/base/clock.h"

namespace posthouse::storage::backup {

/// How many of each kind stay; all zero: everything stays. A backup stays where one rule wants it.
struct Keep {
    unsigned newest = 0;   ///< the last so many
    unsigned daily = 0;    ///< the newest of each of the last so many days that have one (UTC)
    unsigned weekly = 0;   ///< likewise weeks, Monday to Sunday
    unsigned monthly = 0;  ///< likewise months

    bool everything() const { return newest == 0 && daily == 0 && weekly == 0 && monthly == 0; }
};

struct Kept {
    std::string name;
    Time created{};
    bool verified_good = false;  ///< its last verify found nothing wrong
    bool undamaged = true;       ///< nothing was wrong with the store when it was made
};

/// The names that may go, oldest first. Never the newest backup, never the newest one that was verified good, and never
/// the newest good one of an undamaged store: what the disk lost since may be whole in that one alone.
std::vector<std::string> to_remove(std::span<const Kept> backups, const Keep& keep);

}  // namespace posthouse::storage::backup
