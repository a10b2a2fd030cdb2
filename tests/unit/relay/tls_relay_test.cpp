// DANE, MTA-STS and REQUIRETLS through the whole outbound leg. That certificates are judged rightly is for
// protocols/net/dane_test and the interop tests; here the handshakes of memory streams always go well.
#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "protocols/policy/tls_report.h"
#include "protocols/report/inflate.h"
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

// An HTTPS server that answers everything so, and keeps what it was asked.
struct WebServer {
    std::string answer;
    std::vector<std::string> heard;

    static net::Task<void> serve(std::unique_ptr<net::Stream> stream, net::TlsServerContext& context, WebServer& self) {
        const auto secure = co_await stream->start_tls_server(context);
        if (!secure) co_return;
        net::BufferedStream io(std::move(stream));
        std::string all;
        std::size_t body = 0;
        for (;;) {
            const auto line = co_await io.read_line(4096);
            if (!line) co_return;
            if (line->empty()) break;
            if (ascii::starts_with_ci(*line, "Content-Length:")) {
                body = static_cast<std::size_t>(ascii::parse_number(ascii::trim(line->substr(15))).value_or(0));
            }
            all += std::string(*line) + "\n";
        }
        if (body > 0) all += "\n";
        while (body > 0) {
            const auto octets = co_await io.read_some(body);
            if (!octets || octets->empty()) co_return;
            all += *octets;
            body -= octets->size();
        }
        self.heard.push_back(std::move(all));
        io.put(self.answer);
        const auto sent = co_await io.flush();
        static_cast<void>(sent);
        io.raw().close();
    }
    void listen(TlsHouse& house, const std::string& name, const std::string& address) {
        house.resolver.add_a(name, address);
        house.dialer.serve(net::Endpoint(net::IpAddress::parse(address).value(), 443),
                           [this, &house](std::unique_ptr<net::Stream> stream) {
                               return serve(std::move(stream), *house.server_tls, *this);
                           });
    }
};

std::string http_text(std::string_view status, std::string_view type, std::string_view body) {
    return "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: " + std::string(type) +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

void sign_for_home(TlsHouse& house) {
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const auto made, crypto::SigningKey::generate(crypto::SigningAlgorithm::ed25519_sha256));
        TRY(const storage::Domain domain, tx.catalog().domain("home.example"));
        storage::DkimKey key;
        key.domain = domain.id;
        key.selector = "e1";
        key.algorithm = "ed25519-sha256";
        key.sealed_pem = crypto::seal(house.store->sealing_key(), "dkim", made.to_pem());
        key.dns_record = "v=DKIM1";
        TRY_VOID(tx.catalog().add_dkim_key(key));
        return {};
    }));
}

std::optional<storage::StsEntry> policy_kept(TlsHouse& house, const std::string& domain) {
    return house.store->read([&](const storage::Snapshot& s) { return storage::TransportView(s).sts_policy(domain); })
        .value();
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

TEST_CASE("what the policy of one domain demands of another's mail server puts that behind no other of its own") {
    for (const char* const name : {"mx1.evil.example", "mx.b.example"}) {
        CAPTURE(name);
        test::ScriptedRemote backup;
        TlsHouse house;
        house.without_tls(house.remote);
        house.without_tls(backup);
        house.add_mx("b.example", "mx2.b.example", "192.0.2.2", backup, 20);
        house.add_mx("evil.example", name, "192.0.2.1", house.remote, 10);
        house.add_mx("evil.example", "mx2.evil.example", "192.0.2.2", backup, 20);
        house.keep_policy("evil.example", "enforce", name, std::chrono::hours(20));
        house.open();
        house.submit("mallory@evil.example");
        house.settle();
        REQUIRE(house.remote.connections >= 1);
        CHECK(house.remote.messages.empty());
        house.submit("bob@b.example");
        house.settle();
        CHECK(house.remote.messages.size() == 1);
        CHECK(backup.messages.empty());
    }
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

TEST_CASE("RFC 8460 4.3: a connection that is used for several domains is a session of each, under its own policy") {
    TlsHouse house;
    for (const char* const domain : {"c.example", "d.example"}) {
        house.add_mx(domain, "mx.b.example", "192.0.2.1", house.remote);
    }
    house.sign_b();
    house.resolver.set_secure("d.example");
    house.keep_policy("c.example", "testing", "mx.other.example", std::chrono::hours(20));
    house.open([](RelayOptions& options) {
        options.connections_per_lane_max = 1;
        options.idle = std::chrono::milliseconds(5'000);
    });
    for (const char* const to : {"b@b.example", "c1@c.example", "d@d.example", "c2@c.example", "b2@b.example"}) {
        house.submit(to);
    }
    house.settle();
    CHECK(house.remote.messages.size() == 5);
    CHECK(house.remote.connections == 1);
    house.close();
    const auto b = house.sessions("b.example");
    REQUIRE(b.size() == 1);
    CHECK(b[0].sessions == 1);
    CHECK(b[0].policy == static_cast<int>(policy::ReportedPolicy::tlsa));
    const auto c = house.sessions("c.example");
    REQUIRE(c.size() == 1);
    CHECK(c[0].sessions == 1);
    CHECK(c[0].policy == static_cast<int>(policy::ReportedPolicy::sts));
    CHECK(c[0].result == static_cast<int>(policy::TlsResult::validation_failure));
    CHECK(c[0].mx_host == "mx.b.example");
    const auto d = house.sessions("d.example");
    REQUIRE(d.size() == 1);
    CHECK(d[0].sessions == 1);
    CHECK(d[0].policy == static_cast<int>(policy::ReportedPolicy::tlsa));
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

TEST_CASE("REQUIRETLS: where no host of the domain will do, the sender is told at once (RFC 8689 4.2.1)") {
    TlsHouse house;
    bool fails = true;
    SUBCASE("no STARTTLS") {
        house.sign_b();
        house.without_tls(house.remote);
    }
    SUBCASE("STARTTLS is refused for good") {
        house.sign_b();
        house.remote.always("STARTTLS", "554 5.7.3 not for you");
    }
    SUBCASE("STARTTLS is refused for now: it waits") {
        house.sign_b();
        house.remote.always("STARTTLS", "454 4.7.0 TLS not available due to temporary reason");
        fails = false;
    }
    SUBCASE("its policy names another host") {
        house.keep_policy("b.example", "enforce", "elsewhere.example", std::chrono::hours(100));
    }
    SUBCASE("another host cannot be reached now: it may do, so it waits") {
        house.sign_b();
        house.without_tls(house.remote);
        house.resolver.add_mx("b.example", 20, "mx2.b.example");
        house.resolver.add_a("mx2.b.example", "192.0.2.9");
        fails = false;
    }
    house.open();
    house.submit("bob@b.example", TlsWish::require);
    house.settle();
    CHECK(house.remote.messages.empty());
    CHECK(house.waiting() == (fails ? 0 : 1));
    const auto mail = house.inbox();
    REQUIRE(mail.size() == (fails ? 1 : 0));
    if (fails) CHECK(mail[0].contains("Status: 5.7.10"));
}

TEST_CASE("DANE: an alias that cannot be asked about is no way around it (RFC 7672 2.2.2)") {
    TlsHouse house;
    house.sign_b();
    house.resolver.add_a("real.elsewhere.example", "192.0.2.1");
    house.resolver.clear_a("mx.b.example");
    house.resolver.add_cname("mx.b.example", "real.elsewhere.example");
    house.resolver.fail_cname("mx.b.example", Errc::dns_temporary);
    house.without_tls(house.remote);
    house.open();
    const auto id = house.submit("bob@b.example");
    house.settle();
    CHECK(house.remote.connections == 0);
    CHECK(house.waiting() == 1);
    CHECK(house.last(id).contains("cannot be had now"));
}

TEST_CASE(
    "a resolver that begins to lose signatures is found out by the first bogus answer, and nothing waits for it") {
    TlsHouse house;
    house.open();
    house.submit("bob@b.example");  // the test at the start has been made
    house.settle();
    house.clock.advance(std::chrono::minutes(10));
    SUBCASE("at the TLSA records") {
        house.sign_b();
        house.resolver.set_failure("_25._tcp.mx.b.example", Errc::dns_bogus);
    }
    SUBCASE("at the MX") { house.resolver.fail_while_validating("b.example"); }
    SUBCASE("at the address") { house.resolver.fail_while_validating("mx.b.example"); }
    house.resolver.break_at_next_test();
    house.submit("carol@b.example");
    house.settle();
    CHECK(house.remote.messages.size() == 2);
    CHECK(house.waiting() == 0);
    CHECK(house.metrics.to_prometheus().contains("posthouse_relay_dane_available 0"));
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
    test::run_until(house.loop, [&] { return !reports.messages.empty(); });
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

TEST_CASE("a report over HTTPS (RFC 8460 3); where nobody takes it there, by signed mail") {
    test::ScriptedRemote reports;
    WebServer web;
    TlsHouse house;
    house.sign_b();
    sign_for_home(house);
    house.resolver.add_txt("_smtp._tls.b.example",
                           "v=TLSRPTv1; rua=https://report.r.example/v1?x=y,mailto:tls@r.example");
    house.add_mx("r.example", "mx.r.example", "192.0.2.3", reports);
    web.listen(house, "report.r.example", "192.0.2.81");
    bool by_mail = true;
    SUBCASE("taken") {
        web.answer = http_text("201 Created", "text/plain", "");
        by_mail = false;
    }
    SUBCASE("refused") { web.answer = http_text("500 Internal Server Error", "text/plain", "no"); }
    SUBCASE("moved: a report follows no redirect") {
        web.answer = "HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n";
    }
    house.open();
    house.submit("bob@b.example");
    house.settle();
    house.close();
    house.clock.advance(std::chrono::hours(30));
    house.open();
    if (by_mail) test::run_until(house.loop, [&] { return !reports.messages.empty(); });
    test::run_until(house.loop, [&] { return !web.heard.empty(); });
    house.settle();
    house.close();
    REQUIRE(web.heard.size() == 1);
    const std::string& post = web.heard[0];
    CHECK(post.starts_with("POST /v1?x=y HTTP/1.1\n"));
    CHECK(post.contains("Host: report.r.example\n"));
    CHECK(post.contains("Content-Type: application/tlsrpt+gzip\n"));
    const auto report = report::inflate_gzip(post.substr(post.find("\n\n") + 2));
    REQUIRE(report);
    CHECK(report->contains("\"policy-domain\":\"b.example\""));
    CHECK(report->contains("\"total-successful-session-count\":1"));
    REQUIRE(reports.messages.size() == (by_mail ? 1 : 0));
    if (!by_mail) return;
    const std::string& mail = reports.messages[0];
    CHECK(mail.starts_with("DKIM-Signature:"));
    CHECK(mail.contains("d=home.example;"));  // the submitter's domain (RFC 8460 3)
    CHECK(mail.contains("TLS-Report-Submitter: home.example\r\n"));
    CHECK(mail.contains("tls-report-submitter"));
    CHECK(reports.count("MAIL FROM:<postmaster@home.example>") == 1);
}

TEST_CASE("MTA-STS: policies are fetched anew in the background, at half of a short life (RFC 8461 3.3)") {
    WebServer web;
    TlsHouse house;
    web.listen(house, "mta-sts.b.example", "192.0.2.80");
    house.resolver.add_txt("_mta-sts.b.example", "v=STSv1; id=2;");
    house.keep_policy("b.example", "enforce", "mx.b.example", std::chrono::hours(2));
    web.answer = http_text("200 OK", "text/plain", policy_of("enforce", "*.b.example"));
    house.clock.advance(std::chrono::minutes(50));
    house.open();
    house.settle();
    house.close();
    CHECK(web.heard.empty());  // not yet
    house.clock.advance(std::chrono::minutes(11));
    house.open();
    test::run_until(house.loop, [&] { return policy_kept(house, "b.example")->id == "2"; });
    house.close();
    CHECK(web.heard.size() == 1);
    CHECK(policy_kept(house, "b.example")->policy.contains("*.b.example"));
}

TEST_CASE("MTA-STS: a refresh that fails leaves the policy in force: redirect, wrong type, too large, wrong text") {
    WebServer web;
    TlsHouse house;
    house.without_tls(house.remote);
    web.listen(house, "mta-sts.b.example", "192.0.2.80");
    house.resolver.add_txt("_mta-sts.b.example", "v=STSv1; id=2;");
    house.keep_policy("b.example", "enforce", "mx.b.example", std::chrono::hours(40));
    const std::string fresh = policy_of("none", "mx.b.example");
    SUBCASE("a redirect is not followed") {
        web.answer = "HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.b.example/x\r\nContent-Length: 0\r\n\r\n";
    }
    SUBCASE("not text/plain") { web.answer = http_text("200 OK", "text/html", fresh); }
    SUBCASE("more than 64 KiB") {
        web.answer = http_text("200 OK", "text/plain", fresh + std::string(65 * 1024, ' ') + "\r\n");
    }
    SUBCASE("no policy") { web.answer = http_text("200 OK", "text/plain", "hello\r\n"); }
    house.clock.advance(std::chrono::hours(25));
    house.open();
    test::run_until(house.loop, [&] { return !web.heard.empty(); });
    house.submit("bob@b.example");
    house.settle();
    house.close();
    CHECK(policy_kept(house, "b.example")->id == "1");
    CHECK(house.remote.count("MAIL") == 0);  // enforced still
    CHECK(house.waiting() == 1);
}

}  // namespace posthouse::relay
