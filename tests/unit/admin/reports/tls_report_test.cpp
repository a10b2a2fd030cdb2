#include "admin/reports/tls_report.h"

#include <Poco/DeflatingStream.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "storage/transport.h"
#include "tests/support/temp_store.h"

namespace posthouse::admin {
namespace {

std::filesystem::path conformance() {
    const char* root = std::getenv("POSTHOUSE_CONFORMANCE");
    return std::filesystem::path(root != nullptr ? root : "../shared/conformance") / "reports-stalwart/tlsrpt";
}

std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

std::string gzip(const std::string& octets) {
    std::ostringstream out;
    Poco::DeflatingOutputStream deflate(out, Poco::DeflatingStreamBuf::STREAM_GZIP);
    deflate << octets;
    deflate.close();
    return out.str();
}

constexpr std::string_view kSmall =
    R"({"organization-name":"X","date-range":
{"start-datetime":"2026-11-28T00:00:00Z","end-datetime":"2026-11-28T23:59:59Z"},
"contact-info":"a@x.test","report-id":"1@x","policies":[{"policy":{"policy-type":"sts","policy-domain":"A.test"},
"summary":{"total-successful-session-count":5,"total-failure-session-count":2},"failure-details":[
{"result-type":"certificate-expired","failed-session-count":2,"receiving-mx-hostname":"mx.a.test"}]}]})";

}  // namespace

TEST_CASE("conformance/reports-stalwart, tlsrpt: the mail and the JSON say the same") {
    if (!std::filesystem::exists(conformance())) {
        MESSAGE("skipped: the vectors of reports-stalwart are not here; set POSTHOUSE_CONFORMANCE");
        return;
    }
    std::size_t cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(conformance())) {
        if (entry.path().extension() != ".eml") continue;
        ++cases;
        const auto mail = read_tls_report(read_file(entry.path()));
        REQUIRE_MESSAGE(mail, mail.error().context);
        auto wanted_file = entry.path();
        const auto wanted = read_tls_report(read_file(wanted_file.replace_extension(".json")));
        REQUIRE_MESSAGE(wanted, wanted.error().context);
        const policy::TlsReport& a = mail->report;
        const policy::TlsReport& b = wanted->report;
        CHECK(a.organization == b.organization);
        CHECK(a.contact == b.contact);
        CHECK(a.id == b.id);
        CHECK(a.start == b.start);
        CHECK(a.end == b.end);
        REQUIRE(a.policies.size() == b.policies.size());
        for (std::size_t i = 0; i < a.policies.size(); ++i) {
            CHECK(a.policies[i].type == b.policies[i].type);
            CHECK(a.policies[i].domain == b.policies[i].domain);
            CHECK(a.policies[i].strings == b.policies[i].strings);
            CHECK(a.policies[i].mx_hosts == b.policies[i].mx_hosts);
            CHECK(a.policies[i].successes == b.policies[i].successes);
            CHECK(a.policies[i].failures == b.policies[i].failures);
            REQUIRE(a.policies[i].details.size() == b.policies[i].details.size());
            for (std::size_t k = 0; k < a.policies[i].details.size(); ++k) {
                CHECK(a.policies[i].details[k].result == b.policies[i].details[k].result);
                CHECK(a.policies[i].details[k].sessions == b.policies[i].details[k].sessions);
                CHECK(a.policies[i].details[k].receiving_ip == b.policies[i].details[k].receiving_ip);
            }
        }
        CHECK(a.policies[0].successes == 5326);
        CHECK(a.policies[0].details.size() == 3);
    }
    CHECK(cases == 1);
}

TEST_CASE("a report is read as JSON, as gzip, and as mail with either") {
    CHECK(read_tls_report(kSmall)->report.policies[0].domain == "a.test");
    CHECK(read_tls_report(gzip(std::string(kSmall)))->report.policies[0].failures == 2);
    const std::string mail =
        "From: a@x.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=tlsrpt; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: application/tlsrpt+json\r\n\r\n" +
        std::string(kSmall) + "\r\n--b--\r\n";
    CHECK(read_tls_report(mail)->report.id == "1@x");
    CHECK(read_tls_report("From: a@x.test\r\n\r\nhello\r\n").error().code == Errc::not_found);
}

TEST_CASE("bombs, depth and nonsense are refused with a sentence") {
    CHECK(inflate_gzip(gzip(std::string(kReportOctetsMax + 1, ' '))).error().code == Errc::too_large);
    CHECK(inflate_gzip(gzip(std::string(4UL * 1024 * 1024, ' '))).error().code == Errc::too_large);  // the ratio
    CHECK(inflate_gzip(gzip(std::string(kRatioFreeOctets, ' '))).has_value());
    std::string cut = gzip(std::string(kSmall));
    cut.resize(cut.size() / 2);
    CHECK_FALSE(read_tls_report(cut).has_value());
    CHECK_FALSE(read_tls_report("\x1f\x8bnonsense").has_value());
    CHECK_FALSE(read_tls_report(std::string(100'000, '{')).has_value());
    CHECK_FALSE(read_tls_report("{\"policies\":" + std::string(1000, '[') + std::string(1000, ']') + "}").has_value());
    for (const char* bad : {"{}", "{\"report-id\":\"1\"}", "{\"report-id\":\"1\",\"policies\":[]}",
                            "{\"report-id\":\"1\",\"policies\":[1]}", "{\"report-id\":\"1\",\"policies\":[{}]}",
                            "{\"report-id\":1,\"policies\":[{\"policy\":{}}]}", "[1]", "{"}) {
        CAPTURE(bad);
        CHECK_FALSE(read_tls_report(bad).has_value());
    }
}

TEST_CASE("what was read is kept once") {
    test::TempStore temp;
    const auto read = read_tls_report(kSmall);
    REQUIRE(read);
    CHECK(keep_tls_report(*temp, *read).value());
    CHECK_FALSE(keep_tls_report(*temp, *read).value());
    const auto all =
        temp->read([](const storage::Snapshot& s) { return storage::TransportView(s).tls_reports(10); }).value();
    REQUIRE(all.size() == 1);
    CHECK(all[0].domain == "a.test");
    CHECK(all[0].failures == 2);
    CHECK(all[0].text == kSmall);
}

}  // namespace posthouse::admin
