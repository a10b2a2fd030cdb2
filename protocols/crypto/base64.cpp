#include <sodium.h>

#include "protocols/crypto/crypto.h"

namespace posthouse::crypto {

std::string base64_encode(std::string_view octets) {
    // libsodium counts the NUL that it writes.
    std::string out(sodium_base64_encoded_len(octets.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
    sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(octets.data()), octets.size(),
                      sodium_base64_VARIANT_ORIGINAL);
    out.pop_back();
    return out;
}

Result<std::string> base64_decode(std::string_view text) {
    std::string out(text.size() / 4 * 3, '\0');
    std::size_t length = 0;
    // Strict: no blanks, padding required (RFC 4648 3.2, 3.3), unused bits zero (3.5), nothing behind the end.
    const int outcome = text.size() % 4 != 0
                            ? -1
                            : sodium_base642bin(reinterpret_cast<unsigned char*>(out.data()), out.size(), text.data(),
                                                text.size(), nullptr, &length, nullptr, sodium_base64_VARIANT_ORIGINAL);
    if (outcome != 0) {
        sodium_memzero(out.data(), out.size());
        return Error(Errc::invalid, "this is not base64");
    }
    out.resize(length);
    return out;
}

}  // namespace posthouse::crypto
