#pragma once
/// protocols/mime/text: text for searching, sorting and threading.
#include <string>
#include <string_view>
#include <vector>

#include "protocols/mime/header.h"
#include "protocols/mime/structure.h"

namespace posthouse::mime {

/// The base subject of RFC 5256 2.1 of a raw Subject value: decoded, without Re:, Fwd:, (fwd), [blobs]. UTF-8.
std::string base_subject(std::string_view raw_subject);
struct BaseSubject {
    std::string text;
    bool is_reply = false;
};
/// Both at once.
BaseSubject read_subject(std::string_view raw_subject);
/// Whether RFC 5256 2.1 calls this subject a reply or forward (something was taken off).
bool is_reply_subject(std::string_view raw_subject);

/// The text of a leaf of type text/*: transfer encoding undone, then charset to UTF-8; at most text_octets_max.
/// An unknown charset is read as UTF-8 with repairs. `message` is the one `part` was read from.
std::string decoded_text(std::string_view message, const Part& part, const Limits& limits = kLimits);

/// The body of any leaf with its transfer encoding undone (BINARY[], downloads).
std::string decoded_body(std::string_view message, const Part& part);

/// Folded for substring search by i;unicode-casemap (casemap.h), as I18NLEVEL=1 asks (RFC 5255 4.3). Both the text and
/// the needle go through this, and what the search index keeps is text that went through it. Octets that are no UTF-8
/// become U+FFFD: a whole message compared octet by octet for one of them (RFC 5051 2, step 1b) would not be found in
/// another case than it was written in, which RFC 3501 6.4.4 forbids.
std::string fold_for_search(std::string_view utf8);

/// Whether it is in Normalization Form C, as Net-Unicode is (RFC 5198 2). `utf8` is valid.
bool is_composed(std::string_view utf8);

/// What texts are ordered by: octets that compare as i;unicode-casemap does (RFC 5051 2, I18NLEVEL=1 of RFC 5255 4.2).
/// Octets that are no UTF-8 are compared as they are.
std::string collation_key(std::string_view utf8);

/// The ids "<left@right>" in a References, In-Reply-To or Message-ID value, without brackets, comments and the quoting
/// that does not matter (RFC 5256 3, THREAD). What is no id is passed over; at most kMessageIdsMax.
std::vector<std::string> message_ids(std::string_view raw_value);
inline constexpr std::size_t kMessageIdsMax = 1000;

}  // namespace posthouse::mime
