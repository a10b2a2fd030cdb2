#pragma once
/// storage/backup/object (internal): the octets of one object as they lie on the target: header, zstd, encryption.
/// Threads: all functions are pure.  Limits: an object holds at most kObjectOctetsMax; a manifest may be longer.
#include <cstdint>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::storage::backup {

inline constexpr std::size_t kSegmentChunkOctets = 8UL * 1024 * 1024;
/// Less than for segments: a database changes here and there, and only what changed is kept again.
inline constexpr std::size_t kDatabaseChunkOctets = 1024UL * 1024;
inline constexpr std::size_t kObjectOctetsMax = kSegmentChunkOctets;

enum class Pack { plain, zstd };

/// `key32` empty: not encrypted. `purpose` is bound to encrypted octets: "object" or "manifest".
std::string encode_object(std::string_view octets, Pack pack, std::string_view key32, std::string_view purpose);
/// Errc::corrupt where it does not open or unpack, or is longer than `octets_max`.
Result<std::string> decode_object(std::string_view coded, std::string_view key32, std::string_view purpose,
                                  std::uint64_t octets_max);

}  // namespace posthouse::storage::backup
