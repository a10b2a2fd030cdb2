#include "storage/signed_token.h"

#include "protocols/crypto/crypto.h"

namespace posthouse::storage {

std::string signed_token(std::string_view sealing_key, std::string_view purpose, std::string_view head,
                         std::string_view about) {
    const crypto::Sha256Digest derived = crypto::hmac_sha256(sealing_key, purpose);
    const std::string_view key(reinterpret_cast<const char*>(derived.data()), derived.size());
    const crypto::Sha256Digest mac = crypto::hmac_sha256(key, about);
    return std::string(head) + crypto::hex(std::span(mac).first(kTokenSignatureOctets));
}

bool is_same_token(std::string_view made, std::string_view given) { return crypto::equal_constant_time(made, given); }

}  // namespace posthouse::storage
