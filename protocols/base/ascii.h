#pragma once
/// protocols/base/ascii: character classes and case folding of ASCII octets, without locale. Pure functions.
/// The protocols of mail fold case only within ASCII (RFC 5321 2.4, RFC 3501 9).
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace posthouse::ascii {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
constexpr bool is_alpha(char c) { return is_upper(c) || is_lower(c); }
constexpr bool is_alnum(char c) { return is_alpha(c) || is_digit(c); }
constexpr bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
constexpr bool is_space(char c) { return c == ' ' || c == '\t'; }
constexpr bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
constexpr bool is_8bit(char c) { return (static_cast<unsigned char>(c) & 0x80U) != 0; }
constexpr bool is_printable(char c) { return c >= 0x20 && c <= 0x7e; }
constexpr char lower(char c) { return is_upper(c) ? static_cast<char>(c + ('a' - 'A')) : c; }
constexpr char upper(char c) { return is_lower(c) ? static_cast<char>(c - ('a' - 'A')) : c; }
/// Value of a hexadecimal digit, or -1.
constexpr int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
bool equals_ci(std::string_view a, std::string_view b);
bool starts_with_ci(std::string_view text, std::string_view prefix);
bool ends_with_ci(std::string_view text, std::string_view suffix);
/// Position of `needle` in `text` without regard to ASCII case, or npos. Linear for the needles of mail.
std::size_t find_ci(std::string_view text, std::string_view needle);
bool has_8bit(std::string_view text);
/// Blanks and tabs, CR and LF taken off both ends.
std::string_view trim(std::string_view text);
/// A whole decimal number without sign; nothing on overflow, an empty text or any other octet.
std::optional<std::uint64_t> parse_number(std::string_view text);
/// Valid UTF-8 without surrogates and overlong forms (RFC 3629).
bool is_valid_utf8(std::string_view text);

/// Orders strings without regard to ASCII case, for std::map keys.
struct LessCi {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const;
};

}  // namespace posthouse::ascii
