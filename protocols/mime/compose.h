#pragma once
/// protocols/mime/compose: a whole message from its parts: texts, files, pictures shown in the HTML.
///
///   mixed( alternative( text, related( html, inline files ) ), files )     what is not there leaves its level out
///   RFC 5322 (header), RFC 2045, 2046 (parts), RFC 2047 (words), RFC 2183 (files), RFC 2231 (their names), RFC 2387
/// Invariants  1. Every field is written from a HeaderValue: no value can begin a new field.
///             2. Lines are never longer than 998 octets, and everything is 7-bit but the header of a draft whose
///                addresses are not (RFC 6532) and message/rfc822 files.
/// Pure but for the random source (boundaries).
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/random.h"
#include "protocols/base/result.h"
#include "protocols/mime/address.h"
#include "protocols/mime/build.h"
#include "protocols/mime/parameter.h"

namespace posthouse::mime {

/// A file that goes with a message.
struct DraftFile {
    std::string name;           ///< UTF-8, or "" for none
    ContentValue type;          ///< "application" "pdf"; parameters as they are to stand, decoded
    std::string content_id;     ///< without brackets; "" for none
    bool shown_inline = false;  ///< Content-Disposition
    std::string content;
};

struct Draft {
    std::vector<std::pair<std::string, HeaderValue>> headers;  ///< From, To, Subject ...: all but the MIME ones
    std::string text;                                          ///< UTF-8, any line ends
    std::string html;                                          ///< likewise
    std::vector<DraftFile> files;                              ///< with a content id and an HTML text: beside that
};

/// Errc::invalid: a message/rfc822 file that is no message as mail can carry it (lines over 998 octets, NUL).
Result<std::string> compose(const Draft& draft, Random& random);

/// "; name=value" in the shortest form that is right: token, quoted string, or RFC 2231 (UTF-8, in pieces where long).
std::string format_parameter(std::string_view name, std::string_view utf8);
/// `a@b, "C, D" <c@d>`
HeaderValue format_address_list(std::span<const Address> addresses);
/// Whether it may name a field: printable ASCII without the colon (RFC 5322 3.6.8).
bool is_field_name(std::string_view text);
/// Whether it is a token of RFC 2045 5.1.
bool is_mime_token(std::string_view text);

}  // namespace posthouse::mime
