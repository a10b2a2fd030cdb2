#pragma once
/// protocols/imap/object_id: the ids that never change (RFC 8474): "M" and the store's number of a message in
/// hexadecimal digits. Copies of a message have the same one (RFC 8474 5.1). Pure.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace posthouse::imap {

/// objectid = 1*255(ALPHA / DIGIT / "_" / "-")
std::string format_email_id(std::uint64_t message);
/// Nothing where it is none of ours: another spelling of the same number too.
std::optional<std::uint64_t> parse_email_id(std::string_view id);

}  // namespace posthouse::imap
