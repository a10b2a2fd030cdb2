#include "protocols/crypto/hmac_md5.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

#include "protocols/crypto/crypto.h"

namespace posthouse::crypto {

Result<std::string> hmac_md5_hex(std::string_view key, std::string_view octets) {
    std::array<std::uint8_t, 16> out{};
    const void* const key_octets = key.empty() ? "" : key.data();
    const auto* const text = reinterpret_cast<const unsigned char*>(octets.data());
    if (HMAC(EVP_md5(), key_octets, static_cast<int>(key.size()), text, octets.size(), out.data(), nullptr) ==
        nullptr) {
        return Error(Errc::unsupported, "CRAM-MD5 is not possible: this system forbids MD5");
    }
    return hex(out);
}

}  // namespace posthouse::crypto
