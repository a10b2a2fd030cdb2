#pragma once
/// protocols/report: gzip (RFC 1952) and zip archives as reports travel in them; a stranger's, so bounded.
/// Invariants  1. No more than kReportOctetsMax come out, nor more than kRatioMax times what came in (beyond
///                kRatioFreeOctets): a bomb is Errc::too_large, early.
///             2. Of a zip archive only the first file is looked into; archives in archives are not.
/// Threads: pure.
#include <cstddef>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::report {

inline constexpr std::size_t kReportOctetsMax = 16UL * 1024 * 1024;
inline constexpr std::size_t kRatioMax = 400;  ///< XML of thousands of like rows shrinks a hundredfold
inline constexpr std::size_t kRatioFreeOctets = 256UL * 1024;

bool is_gzip(std::string_view octets);
bool is_zip(std::string_view octets);

/// Errc::invalid, too_large.
Result<std::string> inflate_gzip(std::string_view octets);
/// The first file of the archive, stored or deflated. Errc::invalid, too_large, unsupported (encrypted, other methods).
Result<std::string> inflate_zip(std::string_view octets);

}  // namespace posthouse::report
