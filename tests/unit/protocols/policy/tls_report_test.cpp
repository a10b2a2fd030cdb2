#include "protocols/policy/tls_report.h"

#include <doctest/doctest.h>

namespace posthouse::policy {

TEST_CASE("RFC 8460 3: one record, and its addresses by mail or https") {
    const auto of = [](std::vector<std::string> texts) { return parse_tls_report_record(texts); };
    const auto both = of({"v=TLSRPTv1; rua=mailto:a%2Cb@r.test , https://r.test/v1/tlsrpt;"});
    REQUIRE(both.has_value());
    CHECK(both->mail.empty());  // "a,b" would have to be quoted: no plain mailbox
    CHECK(both->https == std::vector<std::string>{"https://r.test/v1/tlsrpt"});
    CHECK(of({"v=TLSRPTv1;rua=mailto:reports@example.com"})->mail.front() == "reports@example.com");
    CHECK(of({"v=TLSRPTv1;x=y;rua=MAILTO:reports@example.com?subject=x"})->mail.front() == "reports@example.com");
    CHECK(of({format_tls_report_record("tlsrpt@b.test"), "v=spf1"})->mail.front() == "tlsrpt@b.test");
    CHECK(of({"v=TLSRPTv1;rua=ftp://r.test/"}).error().code == Errc::invalid);
    CHECK(of({"v=TLSRPTv1;rua=mailto:a@b@c"}).error().code == Errc::invalid);
    CHECK(of({"v=TLSRPTv1;rua=mailto:a@b.test%0d%0aBcc:x@y.test"}).error().code == Errc::invalid);
    CHECK(of({"v=TLSRPTv1;"}).error().code == Errc::invalid);
    CHECK(of({"v=TLSRPTv2;rua=mailto:a@b.test"}).error().code == Errc::not_found);
    CHECK(of({"v=TLSRPTv1;rua=mailto:a@b.test", "v=TLSRPTv1;rua=mailto:a@b.test"}).error().code == Errc::invalid);
    std::string many = "v=TLSRPTv1;rua=mailto:a@b.test";
    for (int i = 0; i < 50; ++i) many += ",mailto:a@b.test";
    CHECK(of({many})->mail.size() == kReportAddressesMax);
}

}  // namespace posthouse::policy
