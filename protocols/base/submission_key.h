#pragma once
/// protocols/base/submission_key: the value of an Idempotency-Key field, in HTTP and in a message header
/// (draft-ietf-httpapi-idempotency-key-header 2.1). Pure.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace posthouse {

inline constexpr std::size_t kSubmissionKeyOctetsMax = 255;

/// 1 to kSubmissionKeyOctetsMax octets of printable ASCII.
bool is_submission_key(std::string_view text);
/// A quoted string (RFC 8941 3.3.3), or the bare octets as most clients send them. Nothing where it is no key.
std::optional<std::string> parse_submission_key(std::string_view field_value);

}  // namespace posthouse
