#pragma once
/// storage/segments_lock (internal): DATA/segments.lock, by which those who read segments by their rows (a backup, a
/// check) and the one who takes segments away (the compactor) keep out of each other's way.
///
/// Shared: every segment that a row names now has its file, whole, until the lock goes. Exclusive: segments may come
/// and go. Bodies that are being read need neither: their descriptors keep them.
/// Threads: a lock belongs to who holds the descriptor. Two shared ones in one process are fine.
#include <optional>
#include <string>

#include "storage/directory.h"

namespace posthouse::storage {

inline constexpr const char* kSegmentsLockName = "segments.lock";

/// Shared; waits for the compactor, which holds it for a few syncs at most. Errc::io, denied, no_space.
Result<Descriptor> hold_segments(const Directory& directory);

/// Shared, of a data directory whose database may be lost, or of a copy. Nothing is held of what is none, or cannot be
/// written to: nobody compacts there.
Descriptor hold_segments_beneath(const std::string& data);

/// Exclusive, at once or not at all: nothing where somebody holds the segments.
Result<std::optional<Descriptor>> lock_segments(const Directory& directory);

}  // namespace posthouse::storage
