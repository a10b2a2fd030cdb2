// Any octets as a DMARC report, bare, packed or in a mail: an error or a report within the limits.
#include <cstdint>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/report/dmarc_report.h"
#include "protocols/report/inflate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace posthouse;
    const std::string_view octets(reinterpret_cast<const char*>(data), size);
    for (const auto& report : {report::read_dmarc_report(octets), report::parse_dmarc_report(octets)}) {
        if (!report) continue;
        ASSERT(!report->domain.empty() && !report->id.empty());
        ASSERT(report->records.size() <= report::kRecordsMax);
        for (const report::DmarcRecord& one : report->records) ASSERT(one.dkim_results.size() <= report::kResultsMax);
    }
    for (const auto& inflated : {report::inflate_gzip(octets), report::inflate_zip(octets)}) {
        if (inflated) ASSERT(inflated->size() <= report::kReportOctetsMax);
    }
    return 0;
}
