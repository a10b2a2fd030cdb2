#pragma once
/// protocols/mime/charset: other charsets to UTF-8 by ICU. Threads: any; converters are made per call or per thread.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace posthouse::mime {

/// `text` in `charset` (any name that mail uses) as valid UTF-8, at most `octets_max` long (cut at a character).
/// Octets that are wrong become U+FFFD. Nothing for an unknown charset. An empty name means us-ascii.
std::optional<std::string> to_utf8(std::string_view text, std::string_view charset,
                                   std::size_t octets_max = 64UL * 1024 * 1024);

/// Whether to_utf8() knows the charset (IMAP SEARCH CHARSET, RFC 3501 6.4.4).
bool is_known_charset(std::string_view charset);

/// UTF-8 with every broken sequence replaced by U+FFFD.
std::string repair_utf8(std::string_view text);

/// The longest prefix of at most `octets_max` octets that does not cut a character.
std::string_view cut_utf8(std::string_view utf8, std::size_t octets_max);

}  // namespace posthouse::mime
