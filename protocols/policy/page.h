#pragma once
/// protocols/policy/page: the small HTML pages behind links in mail: no script, no image, nothing from elsewhere. Pure.
#include <optional>
#include <string>
#include <string_view>

namespace posthouse::policy {

inline constexpr std::size_t kPageTokenOctetsMax = 48;  ///< letters and digits: fits a local part

/// `body` is HTML.
std::string html_page(std::string_view title, std::string_view body);
/// As text or as a quoted attribute.
std::string escape_html(std::string_view text);
/// Letters and digits, kPageTokenOctetsMax at most.
bool is_page_token(std::string_view text);
/// The token behind `prefix` ("/unsubscribe/"), lower case; nothing for any other target.
std::optional<std::string> token_behind(std::string_view prefix, std::string_view target);

/// For a log: what stands before the first long run of hexadecimal digits. Such may be a token, whatever its address
/// has become on the way, and a token is a secret of its reader.
std::string_view without_token(std::string_view target);

/// Security fields that go with them, each with its CRLF.
inline constexpr std::string_view kPagePolicy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'";
inline constexpr std::string_view kPageFields =
    "Content-Security-Policy: default-src 'none'; form-action 'self'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\n";

}  // namespace posthouse::policy
