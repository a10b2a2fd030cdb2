#pragma once
/// protocols/mime/body_text: the IMAP text of BODY and BODYSTRUCTURE (RFC 3501 7.4.2, RFC 9051 7.5.2), straight from
/// the binary form of a structure: a listing of thousands of messages makes no tree and copies each text once.
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::mime {

enum class Extension { without, with };
/// message/global shown with its envelope and parts as message/rfc822 is (RFC 9051 7.5.2), or as a leaf, since the
/// grammar of before knows no other (RFC 3501 9 media-message, RFC 9755 6).
enum class Globals { messages, leaves };

/// Appends BODY (without extension data) or BODYSTRUCTURE (with), with the outer parentheses. `encoded` as
/// encode_structure() makes it; Errc::corrupt where it cannot be that, and `out` is as before.
Result<> append_imap_body(std::string& out, std::string_view encoded, Extension extension,
                          Globals globals = Globals::messages);

}  // namespace posthouse::mime
