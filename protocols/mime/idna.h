#pragma once
/// protocols/mime/idna: domain names in U-labels turned into A-labels (RFC 5890 2.3, UTS 46 non-transitional), as the
/// DNS and DMARC want them. Pure.
#include <optional>
#include <string>
#include <string_view>

namespace posthouse::mime {

/// Lower case A-labels without the final dot; nothing where it is no domain name.
std::optional<std::string> domain_to_ascii(std::string_view domain);

}  // namespace posthouse::mime
