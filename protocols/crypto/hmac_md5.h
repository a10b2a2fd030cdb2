#pragma once
/// protocols/crypto/hmac_md5: for CRAM-MD5 (RFC 2195) and nothing else. MD5 is broken as a digest; as HMAC over a fresh
/// challenge, inside TLS, it does what that mechanism asks of it.
/// Threads: reentrant.
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::crypto {

/// 32 lower-case hexadecimal digits (RFC 2104). Errc::unsupported where the system forbids MD5.
Result<std::string> hmac_md5_hex(std::string_view key, std::string_view octets);

}  // namespace posthouse::crypto
