#pragma once
/// protocols/smtp/limits: bounds of the wire language. Octets count the CRLF unless said otherwise. Values only.
#include <chrono>
#include <cstddef>

namespace posthouse::smtp {

inline constexpr std::size_t kCommandLineOctetsMax = 2048;  ///< RFC 5321 4.5.3.1.4 asks for 512, extensions for more
inline constexpr std::size_t kAuthLineOctetsMax = 12288;    ///< RFC 4954 4: an AUTH response
inline constexpr std::size_t kReplyLineOctetsMax = 512;     ///< RFC 5321 4.5.3.1.5
inline constexpr std::size_t kReplyLinesMax = 100;
inline constexpr std::size_t kLocalPartOctetsMax = 64;  ///< RFC 5321 4.5.3.1.1
inline constexpr std::size_t kDomainOctetsMax = 255;    ///< RFC 5321 4.5.3.1.2
inline constexpr std::size_t kLabelOctetsMax = 63;      ///< RFC 1034 3.1
inline constexpr std::size_t kPathOctetsMax = 256;      ///< RFC 5321 4.5.3.1.3, angle brackets included
inline constexpr std::size_t kRouteOctetsMax = 1024;    ///< an obsolete source route, read and dropped
inline constexpr std::size_t kParametersMax = 32;       ///< of one MAIL or RCPT command
inline constexpr std::size_t kEnvidOctetsMax = 100;     ///< RFC 3461 4.4, after decoding
inline constexpr std::size_t kOrcptOctetsMax = 500;     ///< RFC 3461 4.2

}  // namespace posthouse::smtp
