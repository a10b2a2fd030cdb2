#pragma once
/// protocols/mime/binary_parts: parts that came as raw octets (Content-Transfer-Encoding: binary, RFC 3030, RFC 3516),
/// written as base64, so that what is kept is text in lines and nothing of them is lost. Pure.
#include <functional>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::mime {

/// The message in pieces to `write`, whose error ends it. Leaves that say "binary" become base64 and say so; all else
/// stays as it is. A part beyond the limits of parse_structure() counts as text.
Result<> write_binary_as_base64(std::string_view message, const std::function<Result<>(std::string_view)>& write);

}  // namespace posthouse::mime
