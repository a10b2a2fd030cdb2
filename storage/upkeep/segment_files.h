#pragma once
/// storage/upkeep/segment_files (internal): the files of segments as the compactor handles them: new ones, old ones
/// that go, what was left over.
#include <cstdint>
#include <optional>

#include "storage/context.h"
#include "storage/directory.h"
#include "storage/segments_lock.h"

namespace posthouse::storage {

/// Takes a number by making its file, empty. Numbers are taken by whoever makes the file: a process that writes does
/// the same.
Result<std::int64_t> reserve_segment(Store& store);

/// Whether a row of `messages` lies in the segment. By the records of the file; where they cannot be walked, by all
/// rows.
Result<bool> is_segment_used(Store& store, std::int64_t segment, std::uint64_t octets);

enum class Removal { done, used, locked };
/// Removes a sealed segment that no row names: the file first, then its row, so that nothing but a row of a dead
/// segment can be left over.
Result<Removal> remove_segment(Store& store, std::int64_t segment, std::uint64_t octets);

/// How long a file with messages that no commit named is kept after it was first noticed. Nobody was told that they
/// were taken in, as long as mail.db is what it was: should its log have lost its end unnoticed, or somebody have put
/// an older mail.db in its place, the operator has this long to find out.
inline constexpr std::int64_t kOrphanKeptSeconds = 30 * 86'400;

/// Removes what a death between two steps left in DATA/segments: files without a row that nobody is about to fill.
/// Without a record (a number that was taken and not used) at once. With some (a large message whose commit never
/// came) it is said in the log, noted in a file beside it (kOrphanMarkEnding), and removed after kOrphanKeptSeconds;
/// not while a damaged log of mail.db is kept, whose messages they may be.
Result<> sweep_leftovers(Store& store);

}  // namespace posthouse::storage
