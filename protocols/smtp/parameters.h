#pragma once
/// protocols/smtp/parameters: the tail of MAIL and RCPT (RFC 5321 4.1.2) and the values known by name. Pure.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"

namespace posthouse::smtp {

struct Parameter {
    std::string keyword;  ///< upper case
    std::string value;
    bool has_value = false;

    Parameter() = default;
};

/// Mail-parameters = esmtp-param *(SP esmtp-param); nothing, or blanks alone, is an empty list. The whole rest of `in`.
/// Errc::invalid for bad syntax and doubled keywords, limit beyond kParametersMax.
/// UTF-8 may stand in a value (RFC 6531 3.3); its validity was checked with the line.
Result<std::vector<Parameter>> take_parameters(Cursor& in);

/// size-value = 1*20DIGIT                                            RFC 1870 4
Result<std::uint64_t> parse_size(std::string_view value);
/// notify-esmtp-value = "NEVER" / 1#notify-list-element              RFC 3461 4.1
/// Bits: never 1, success 2, failure 4, delay 8.
Result<std::uint8_t> parse_notify(std::string_view value);
/// original-recipient-address = addr-type ";" xtext                  RFC 3461 4.2
/// Gives "type;address", decoded; utf-8-addr-xtext is kept as it stands (RFC 6533 3).
Result<std::string> parse_orcpt(std::string_view value);
/// envid-parameter = "ENVID=" xtext; printable after decoding        RFC 3461 4.4
Result<std::string> parse_envid(std::string_view value);

/// The argument of BDAT: chunk-size [ SP end-marker ]                RFC 3030 2
struct ChunkHeader {
    std::uint64_t octets = 0;
    bool last = false;
};
/// Errc::invalid for bad syntax, too_large where the size does not fit 63 bits.
Result<ChunkHeader> parse_chunk_header(std::string_view args);

}  // namespace posthouse::smtp
