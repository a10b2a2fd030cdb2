#pragma once
/// storage/check/files (internal): files in the data directory that no row names. Kinds orphan_file and leftover_file.
/// Threads: one.
#include <cstdint>
#include <string>
#include <vector>

#include "storage/check/check.h"
#include "storage/file.h"

namespace posthouse::storage {

/// A file in DATA/tmp is nobody's after this long: nobody takes a day to hand in one message.
inline constexpr std::int64_t kTmpOldSeconds = 86'400;
/// Target::a of a leftover_file: the number of a segment, or this for a file in DATA/tmp, whose name is in Target::b.
inline constexpr std::int64_t kTmpTarget = -1;

struct FoundFile {
    std::string name;
    std::int64_t age_seconds = 0;
    std::uint64_t octets = 0;
};

/// Files, not directories, by name; nothing where it cannot be listed.
std::vector<FoundFile> list_files(const Descriptor& directory);
/// A name as a number of Findings::Target.
std::int64_t name_target(const std::string& name);

/// Files are listed before rows are read: what is new is in both or in neither, or young. Asks after the check of rows:
/// what segment_row_missing names is no stranger.
Result<> check_strangers(Store& store, const CheckOptions& options, CheckReport& report);

}  // namespace posthouse::storage
