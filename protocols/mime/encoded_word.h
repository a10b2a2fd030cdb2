#pragma once
/// protocols/mime/encoded_word: RFC 2047, with the language suffix of RFC 2231 5.
#include <string>
#include <string_view>

namespace posthouse::mime {

/// A field value (folded or not) as UTF-8 text. Words in an unknown charset or encoding stay as they are; raw octets
/// that are not UTF-8 are read as windows-1252. The result is valid UTF-8 without line ends.
std::string decode_encoded_words(std::string_view field_value);

/// Text for an unstructured field of ours: as it is where it is plain ASCII, else encoded words of <= 75 octets
/// separated by blanks (RFC 2047 2). Line ends and NUL become blanks.
std::string encode_words(std::string_view utf8);

/// As encode_words(), but for a phrase (RFC 2047 5 (3)): an atom, a quoted string, or encoded words.
std::string encode_phrase(std::string_view utf8);

}  // namespace posthouse::mime
