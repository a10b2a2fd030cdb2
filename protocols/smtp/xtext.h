#pragma once
/// protocols/smtp/xtext: "+" and two hexadecimal digits for what may not stand in a parameter (RFC 3461 4). Pure.
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::smtp {

std::string encode_xtext(std::string_view octets);
/// Strict: Errc::invalid for a raw '+', '=', blank, control or 8-bit octet, and for "+00" (NUL).
Result<std::string> decode_xtext(std::string_view text);

}  // namespace posthouse::smtp
