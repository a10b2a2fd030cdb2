#include "storage/checksum.h"

#include <libdeflate.h>

namespace posthouse::storage {

std::uint32_t crc32_of(std::string_view octets, std::uint32_t so_far) {
    return libdeflate_crc32(so_far, octets.data(), octets.size());
}

}  // namespace posthouse::storage
