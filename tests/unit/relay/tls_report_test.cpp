#include "relay/tls_reports.h"

#include <doctest/doctest.h>

#include "protocols/base/random.h"

namespace posthouse::relay {

TEST_CASE("RFC 8460 4: a day's counts become one entry a policy, with successes and failures apart") {
    storage::TlsSessions good;
    good.day = 20'000;
    good.domain = "b.test";
    good.policy = static_cast<int>(policy::ReportedPolicy::sts);
    good.policy_text = "version: STSv1\nmode: enforce\nmx: *.b.test\nmax_age: 86400\n";
    good.mx_patterns = "*.b.test\n";
    good.sessions = 7;
    storage::TlsSessions bad = good;
    bad.result = static_cast<int>(policy::TlsResult::certificate_expired);
    bad.mx_host = "mx.b.test";
    bad.receiving_ip = "192.0.2.1";
    bad.sending_ip = "198.51.100.1";
    bad.reason = "certificate has \"expired\"";
    bad.sessions = 2;
    storage::TlsSessions none = good;
    none.policy = static_cast<int>(policy::ReportedPolicy::none);
    none.policy_text.clear();
    none.mx_patterns.clear();
    none.sessions = 1;
    const TlsReporter reporter{"Home", "home.test", "postmaster@home.test"};
    const std::vector<storage::TlsSessions> rows{good, bad, none};
    const policy::TlsReport report = build_tls_report(rows, reporter);
    CHECK(report.start == "2024-10-04T00:00:00Z");
    CHECK(report.end == "2024-10-04T23:59:59Z");
    REQUIRE(report.policies.size() == 2);
    CHECK(report.policies[0].successes == 7);
    CHECK(report.policies[0].failures == 2);
    CHECK(report.policies[0].strings.size() == 4);
    CHECK(report.policies[1].type == "no-policy-found");
    const std::string json = format_tls_report(report);
    CHECK(json.contains("\"policy-string\":[\"version: STSv1\",\"mode: enforce\""));
    CHECK(json.contains("\"failure-reason-code\":\"certificate has \\\"expired\\\"\""));
    CHECK(json.contains("\"total-failure-session-count\":2"));
    CHECK(json.contains("\"mx-host\":[\"*.b.test\"]"));

    const std::string mail = format_tls_report_mail(report, "b.test", 20'000, reporter, "tls@b.test",
                                                    from_unix_ms(1'728'100'000'000), system_random());
    CHECK(mail.contains("TLS-Report-Domain: b.test\r\n"));
    CHECK(mail.contains("TLS-Report-Submitter: home.test\r\n"));
    CHECK(mail.contains("report-type=tlsrpt"));
    CHECK(mail.contains("home.test!b.test!1728000000!1728086399.json.gz"));
    CHECK(mail.contains("H4sI"));  // gzip begins so in base64
    for (std::size_t at = 0; at < mail.size();) {
        const std::size_t end = mail.find("\r\n", at);
        REQUIRE(end != std::string::npos);
        CHECK(end - at <= 998);
        at = end + 2;
    }
}

}  // namespace posthouse::relay
