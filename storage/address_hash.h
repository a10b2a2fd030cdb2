#pragma once
/// storage/address_hash: an address as a number, where a key of eight octets does and a rare mistake harms nobody.
#include <cstdint>
#include <string_view>

#include "protocols/base/ascii.h"

namespace posthouse::storage {

/// FNV-1a, 64 bits, of the address in lower case. Two that share it are taken for one. Pure.
inline std::int64_t address_hash(std::string_view address) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : address) hash = (hash ^ static_cast<unsigned char>(ascii::lower(c))) * 0x100000001b3ULL;
    return static_cast<std::int64_t>(hash);
}

}  // namespace posthouse::storage
