#include "protocols/mime/idna.h"

#include <unicode/uidna.h>

#include <array>
#include <memory>

#include "protocols/base/ascii.h"

namespace posthouse::mime {

std::optional<std::string> domain_to_ascii(std::string_view domain) {
    constexpr std::size_t kDomainOctetsMax = 1024;  // of U-labels; the result has 253 at most
    if (domain.ends_with('.')) domain.remove_suffix(1);
    if (domain.empty() || domain.size() > kDomainOctetsMax) return std::nullopt;
    if (!ascii::has_8bit(domain)) return ascii::to_lower(domain);
    UErrorCode status = U_ZERO_ERROR;
    const std::unique_ptr<UIDNA, decltype(&uidna_close)> idna(
        uidna_openUTS46(UIDNA_NONTRANSITIONAL_TO_ASCII | UIDNA_CHECK_BIDI, &status), uidna_close);
    if (U_FAILURE(status) != 0) return std::nullopt;
    std::array<char, 512> out{};
    UIDNAInfo info = UIDNA_INFO_INITIALIZER;
    const std::int32_t size =
        uidna_nameToASCII_UTF8(idna.get(), domain.data(), static_cast<std::int32_t>(domain.size()), out.data(),
                               static_cast<std::int32_t>(out.size()), &info, &status);
    if (U_FAILURE(status) != 0 || info.errors != 0 || size <= 0) return std::nullopt;
    return std::string(out.data(), static_cast<std::size_t>(size));
}

}  // namespace posthouse::mime
