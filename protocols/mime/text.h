#pragma once
/// protocols/mime/text: text for searching, sorting and threading.
#include <string>
#include <string_view>

#include "protocols/mime/header.h"
#include "protocols/mime/structure.h"

namespace posthouse::mime {

/// The base subject of RFC 5256 2.1 of a raw Subject value: decoded, without Re:, Fwd:, (fwd), [blobs]. UTF-8.
std::string base_subject(std::string_view raw_subject);
/// Whether RFC 5256 2.1 calls this subject a reply or forward (something was taken off).
bool is_reply_subject(std::string_view raw_subject);

/// The text of a leaf of type text/*: transfer encoding undone, then charset to UTF-8; at most text_octets_max.
/// An unknown charset is read as UTF-8 with repairs. `message` is the one `part` was read from.
std::string decoded_text(std::string_view message, const Part& part, const Limits& limits = kLimits);

/// The body of any leaf with its transfer encoding undone (BINARY[], downloads).
std::string decoded_body(std::string_view message, const Part& part);

/// Folded for substring search (RFC 9051 6.4.4 with i;unicode-casemap, RFC 5051): full case folding and compatibility
/// decomposition by ICU, plain ASCII without it. Both the text and the needle go through this.
std::string fold_for_search(std::string_view utf8);

}  // namespace posthouse::mime
