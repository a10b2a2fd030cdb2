#pragma once
/// protocols/mime/tokens: the lexical parts that structured fields share (RFC 5322 3.2). Internal to this room.
/// All functions take what they can and never fail; an open comment or quoted string ends with the input.
#include <string>
#include <string_view>

#include "protocols/base/cursor.h"

namespace posthouse::mime {

constexpr bool is_blank_or_line_end(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/// specials of RFC 5322 3.2.3.
constexpr bool is_special(char c) {
    switch (c) {
        case '(':
        case ')':
        case '<':
        case '>':
        case '[':
        case ']':
        case ':':
        case ';':
        case '@':
        case '\\':
        case ',':
        case '.':
        case '"': return true;
        default: return false;
    }
}
/// atext of RFC 5322 3.2.3 with UTF-8 (RFC 6532 3.2).
constexpr bool is_atext(char c) { return !ascii::is_control(c) && c != ' ' && !is_special(c); }

/// tspecials of RFC 2045 5.1 end a token.
constexpr bool is_token_char(char c) {
    switch (c) {
        case '(':
        case ')':
        case '<':
        case '>':
        case '@':
        case ',':
        case ';':
        case ':':
        case '\\':
        case '"':
        case '/':
        case '[':
        case ']':
        case '?':
        case '=': return false;
        default: return !ascii::is_control(c) && c != ' ';
    }
}

/// Reads a comment at '(' with all that is nested in it; returns its text without the outer parentheses and with
/// quoted-pairs undone. Parentheses are counted, not recursed into. `depth`, where given, receives the deepest nesting
/// seen, or 0 where the comment is not closed.
std::string take_comment(Cursor& in, std::size_t* depth = nullptr);

/// Skips white space, line ends and comments (CFWS, RFC 5322 3.2.2). True where anything was skipped.
bool skip_cfws(Cursor& in);

/// Reads a quoted-string at '"'; returns its text with quoted-pairs undone and line ends removed. `closed`, where
/// given, says whether the final quote was there.
std::string take_quoted(Cursor& in, bool* closed = nullptr);

}  // namespace posthouse::mime
