#pragma once
/// protocols/sasl/saslname: a login within a message whose fields are divided by commas (RFC 5801 4, RFC 5802 7). Pure.
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::sasl {

/// saslname = 1*(value-safe-char / "=2C" / "=3D"). Errc::invalid.
Result<std::string> decode_saslname(std::string_view text);
std::string encode_saslname(std::string_view name);

}  // namespace posthouse::sasl
