#pragma once
/// storage/checksum (internal): CRC-32 as in IEEE 802.3 and zlib, at the speed of memory: every octet that is read or
/// written passes through it.
#include <cstdint>
#include <string_view>

namespace posthouse::storage {

/// Of `octets`; `so_far` is that of what came before them.
std::uint32_t crc32_of(std::string_view octets, std::uint32_t so_far = 0);

}  // namespace posthouse::storage
