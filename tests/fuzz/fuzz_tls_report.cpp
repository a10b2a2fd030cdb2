/// Reports of others about TLS with us: mail, gzip or JSON.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "admin/reports/tls_report.h"

using namespace posthouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const auto parsed = admin::parse_tls_report(text);
    if (parsed && parsed->policies.size() > admin::kItemsMax) std::abort();
    const auto inflated = admin::inflate_gzip(text);
    if (inflated && inflated->size() > admin::kReportOctetsMax) std::abort();
    (void)admin::read_tls_report(text);
    return 0;
}
