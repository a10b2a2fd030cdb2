#pragma once
/// storage/upkeep/segment_files (internal): the files of segments as the compactor handles them: a lock against
/// backups, new ones, old ones that go, what was left over.
#include <cstdint>
#include <optional>

#include "storage/context.h"
#include "storage/directory.h"

namespace posthouse::storage {

/// DATA/segments.lock, exclusive: while it is held no backup copies segments. Nothing where one does at present.
Result<std::optional<Descriptor>> lock_segments(const Directory& directory);

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

/// Removes files without a row and without a record, which nobody is about to fill: a reservation that was cut short.
Result<> sweep_empty_files(Store& store);

}  // namespace posthouse::storage
