/// DMARC records, and From fields whose one domain they are asked for.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "protocols/mailauth/dmarc.h"

using namespace posthouse::mailauth;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto record = parse_dmarc_record(text);
    if (record && record->psd != 'y' && record->psd != 'n' && record->psd != 'u') std::abort();
    // A policy that cannot be used asks for nothing.
    if (record && !record->valid_policy && record->policy != DmarcPolicy::none) std::abort();
    const std::string domain = author_domain(text);
    if (domain.contains('@') || domain.contains(' ')) std::abort();
    (void)author_domain_of(text);
    return 0;
}
