/// SPF records and their macros, as a stranger writes them; the first octet chooses what the values look like.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocols/mailauth/spf_record.h"

using namespace posthouse;
using namespace posthouse::mailauth;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    SpfMacroValues values;
    values.client = data[0] % 2 == 0 ? net::IpAddress::v4(0xC0000201U) : net::IpAddress::v6({0x20, 0x01, 0x0d, 0xb8});
    values.sender_local = std::string(data[0], 'l');
    values.sender_domain = "mail.b.example";
    values.domain = "b.example";
    values.helo = "mx.b.example";
    (void)is_spf_record(text);
    (void)wants_client_name(text);
    for (const SpfMacroUse use : {SpfMacroUse::domain, SpfMacroUse::explanation}) {
        if (!is_spf_macro_string(text, use)) continue;
        const std::string out = expand_spf_macros(text, values, use);
        if (use == SpfMacroUse::domain && out.size() > 253 && out.contains('.')) std::abort();
    }
    const auto record = parse_spf_record(text);
    if (!record) return 0;
    if (record->terms.size() > kSpfTermsMax) std::abort();
    for (const SpfTerm& term : record->terms) {
        if (term.bits4 > 32 || term.bits6 > 128) std::abort();
        // What was read is fit for being expanded.
        if (!term.domain.empty()) (void)expand_spf_macros(term.domain, values, SpfMacroUse::domain);
    }
    if (record->redirect) (void)expand_spf_macros(*record->redirect, values, SpfMacroUse::domain);
    return 0;
}
