// DANE, MTA-STS and REQUIRETLS through the whole outbound leg. That certificates are judged rightly is for
// protocols/net/dane_test and the interop tests; here the handshakes of memory streams always go well.
#include "protocols/policy/tls_report.h"
#include "tests/unit/relay/tls_house.h"

namespace posthouse::relay {
namespace {

using storage::TlsWish;

// An HTTPS server for one policy, over a memory stream.
net::Task<void> serve_policy(std::unique_ptr<net::Stream> stream, net::TlsServerContext& context, std::string policy) {
    const auto secure = co_await stream->start_tls_server(context);
    if (!secure) co_return;
    net::BufferedStream io(std::move(stream));
    for (;;) {
        const auto line = co_await io.read_line(4096);
        if (!line) co_return;
        if (line->empty()) break;
    }
    io.put("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(policy.size()) +
           "\r\n\r\n" + policy);
    const auto sent = co_await io.flush();
    static_cast<void>(sent);
    io.raw().close();
}

std::string policy_of(std::string_view mode, std::string_view mx) {
    return "version: STSv1\r\nmode: " + std::string(mode) + "\r\nmx: " + std::string(mx) + "\r\nmax_age: 86400\r\n";
}

}  // namespace

TEST_CASE("DANE: verified, and the event says so") {
    TlsHouse house;
    house.sign_b();
    house.open();
    const auto id = house.submit("bob@b.example");
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.last(id).contains("certificate verified by DANE"));
    house.close();
    const auto sessions = house.sessions("b.example");
    REQUIRE(sessions.size() == 1);
    CHECK(sessions[0].policy == static_cast<int>(policy::ReportedPolicy::tlsa));
    CHECK(sessions[0].result == 0);
    CHECK(sessions[0].sessions == 1);
    CHECK(sessions[0].policy_text.starts_with("3 1 1 78"));
}

TEST_CASE("DANE: a host that offers no STARTTLS is never spoken to in clear; the next host may do") {
    TlsHouse house;
    house.sign_b();
    house.without_tls(house.remote);
    house.open();
    const auto id = house.submit("bob@b.example");
    house.settle();
    CHECK(house.remote.messages.empty());
    CHECK(house.remote.count("MAIL") == 0);
    CHECK(house.waiting() == 1);
    CHECK(house.last(id).contains("DANE demands TLS, so nothing was sent to it"));

    test::ScriptedRemote second;
    house.with_tls(second);
    house.add_mx("c.example", "mx.b.example", "192.0.2.1", house.remote);
    house.add_mx("c.example", "mx2.c.example", "192.0.2.2", second, 20);
    house.resolver.set_secure("c.example");
    house.submit("carol@c.example");
    house.settle();
    CHECK(house.remote.messages.empty());
    CHECK(second.messages.size() == 1);
    house.close();
    const auto sessions = house.sessions("b.example");
    REQUIRE(sessions.size() == 1);
    CHECK(sessions[0].result == static_cast<int>(policy::TlsResult::starttls_not_supported));
    CHECK(sessions[0].mx_host == "mx.b.example");
}

TEST_CASE("DANE: TLSA records that cannot be had put the mail off, and it goes when they can") {
    TlsHouse house;
    house.sign_b();
    house.resolver.set_failure("_25._tcp.mx.b.example", Errc::dns_bogus);
    house.open();
    const auto id = house.submit("bob@b.example");
    house.settle();
    CHECK(house.remote.connections == 0);
    CHECK(house.waiting() == 1);
    CHECK(house.last(id).contains("_25._tcp.mx.b.example"));
    house.resolver.set_failure("_25._tcp.mx.b.example", std::nullopt);
    house.settle_after(std::chrono::minutes(10));
    CHECK(house.remote.messages.size() == 1);
}

TEST_CASE("a resolver that cannot validate puts nothing off: there is no DANE, and MTA-STS still holds") {
    TlsHouse house;
    house.resolver.set_dnssec(dns::DnssecState(dns::Dnssec::broken, "signatures are lost"));
    house.without_tls(house.remote);
    house.open();
    house.submit("bob@b.example");
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.metrics.to_prometheus().contains("posthouse_relay_dane_available 0"));
    house.keep_policy("b.example", "enforce", "mx.b.example", std::chrono::hours(100));
    house.settle_after(std::chrono::hours(1));
    house.submit("bob@b.example");
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.waiting() == 1);
}

TEST_CASE("MTA-STS: a kept policy outlives the TXT record, the fetch and a restart, until its end (RFC 8461 5.1)") {
    TlsHouse house;
    house.without_tls(house.remote);
    house.keep_policy("b.example", "enforce", "mx.b.example", std::chrono::hours(20));
    SUBCASE("the TXT record vanished") {}
    SUBCASE("the DNS does not answer") { house.resolver.set_failure("_mta-sts.b.example", Errc::dns_temporary); }
    SUBCASE("another edition, whose file cannot be had") {
        house.resolver.add_txt("_mta-sts.b.example", "v=STSv1; id=2;");
    }
    for (int start = 0; start < 2; ++start) {
        house.open();
        house.submit("bob@b.example");
        house.settle();
        CHECK(house.remote.count("MAIL") == 0);
        CHECK(house.remote.messages.empty());
        house.close();
    }
    CHECK(house.waiting() == 2);
    house.open();
    house.settle_after(std::chrono::hours(21));
    house.settle_after(std::chrono::hours(3));
    CHECK(house.remote.messages.size() == 2);
}

TEST_CASE("MTA-STS: a policy is fetched when the DNS tells of it, once an edition; enforce wants a named host") {
    TlsHouse house;
    house.resolver.add_txt("_mta-sts.b.example", "v=STSv1; id=7;");
    house.resolver.add_a("mta-sts.b.example", "192.0.2.80");
    std::string policy = policy_of("enforce", "mx.b.example");
    std::size_t fetches = 0;
    house.dialer.serve(net::Endpoint(net::IpAddress::parse("192.0.2.80").value(), 443),
                       [&](std::unique_ptr<net::Stream> stream) {
                           ++fetches;
                           return serve_policy(std::move(stream), *house.server_tls, policy);
                       });
    house.open();
    const auto id = house.submit("bob@b.example");
    house.settle();
    CHECK(fetches == 1);
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.last(id).contains("certificate verified for MTA-STS"));
    house.settle_after(std::chrono::minutes(6));  // the plan is forgotten, the policy is not
    house.submit("bob@b.example");
    house.settle();
    CHECK(fetches == 1);
    CHECK(house.remote.messages.size() == 2);

    policy = policy_of("enforce", "elsewhere.example");
    house.resolver.clear();
    house.resolver.add_mx("b.example", 10, "mx.b.example");
    house.resolver.add_a("mx.b.example", "192.0.2.1");
    house.resolver.add_a("mta-sts.b.example", "192.0.2.80");
    house.resolver.add_txt("_mta-sts.b.example", "v=STSv1; id=8;");
    house.clock.advance(std::chrono::minutes(6));
    const auto refused = house.submit("bob@b.example");
    house.settle();
    CHECK(fetches == 2);
    CHECK(house.remote.messages.size() == 2);
    CHECK(house.last(refused).contains("does not name its mail server mx.b.example"));
}

TEST_CASE("MTA-STS in testing mode: told in the report, delivered all the same") {
    TlsHouse house;
    house.without_tls(house.remote);
    house.keep_policy("b.example", "testing", "mx.b.example", std::chrono::hours(20));
    house.open();
    house.submit("bob@b.example");
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    house.close();
    const auto sessions = house.sessions("b.example");
    REQUIRE(sessions.size() == 1);
    CHECK(sessions[0].policy == static_cast<int>(policy::ReportedPolicy::sts));
    CHECK(sessions[0].result == static_cast<int>(policy::TlsResult::starttls_not_supported));
}

TEST_CASE("REQUIRETLS: handed on with the keyword, or back with 5.7.30 and without its text (RFC 8689 4.2.1, 5)") {
    TlsHouse house;
    house.sign_b();
    house.remote.keywords_tls = {"PIPELINING", "8BITMIME", "REQUIRETLS"};
    house.open();
    house.submit("bob@b.example", TlsWish::require);
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.remote.count("MAIL FROM:<alice@home.example> REQUIRETLS") == 1);

    house.close();  // no connection of before is left
    house.remote.keywords_tls = {"PIPELINING", "8BITMIME"};
    house.open();
    house.submit("bob@b.example", TlsWish::require, "alice@home.example", storage::Ret::full);
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.waiting() == 0);
    const auto mail = house.inbox();
    REQUIRE(mail.size() == 1);
    CHECK(mail[0].contains("Status: 5.7.30"));
    CHECK(mail[0].contains("Subject: hello"));
    CHECK_FALSE(mail[0].contains("\r\n\r\nbody"));
}

TEST_CASE("TLS-Required: No goes out whatever policies say, and is not counted (RFC 8689 4.2.2, RFC 8460 3)") {
    TlsHouse house;
    house.sign_b();
    house.without_tls(house.remote);
    house.keep_policy("b.example", "enforce", "mx.b.example", std::chrono::hours(20));
    house.open();
    house.submit("bob@b.example", TlsWish::best_effort);
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    house.close();
    CHECK(house.sessions("b.example").empty());
}

TEST_CASE("a report goes to who asks for it the day after, once; it is mail that no policy holds up") {
    test::ScriptedRemote reports;  // outlives the house and its connections
    TlsHouse house;
    house.sign_b();
    house.resolver.add_txt("_smtp._tls.b.example", "v=TLSRPTv1; rua=mailto:tls@r.example");
    house.add_mx("r.example", "mx.r.example", "192.0.2.3", reports);
    house.open();
    house.submit("bob@b.example");
    house.settle();
    house.close();
    house.clock.advance(std::chrono::hours(30));
    house.open();
    while (reports.messages.empty()) {
        test::run_task(house.loop, net::sleep_for(house.loop, std::chrono::milliseconds(5), nullptr));
    }
    house.settle();
    REQUIRE(reports.messages.size() == 1);
    const std::string& mail = reports.messages[0];
    CHECK(mail.contains("TLS-Report-Domain: b.example\r\n"));
    CHECK(mail.contains("TLS-Report-Submitter: home.example\r\n"));
    CHECK(mail.contains("application/tlsrpt+gzip"));
    house.close();
    house.open();
    house.settle();
    CHECK(reports.messages.size() == 1);
    CHECK(house.store
              ->read([&](const storage::Snapshot& s) {
                  return storage::TransportView(s).tls_days_before(storage::day_of(house.clock.now()) + 1);
              })
              .value()
              .empty());
}

}  // namespace posthouse::relay
