#include "server/web/web.h"

#include <doctest/doctest.h>

#include "protocols/net/memory.h"
#include "storage/incident_link.h"
#include "storage/streams.h"
#include "storage/suppression.h"
#include "storage/transport.h"
#include "tests/support/loop_runner.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::server;

namespace {

net::Task<void> ask(net::Stream& stream, std::string octets, std::string& answer) {
    static_cast<void>(co_await stream.write_all(octets));
    std::string buffer(4096, '\0');
    for (;;) {
        const auto got = co_await stream.read_some(std::span<char>(buffer.data(), buffer.size()));
        if (!got) co_return;
        answer.append(buffer, 0, *got);
    }
}

struct Web {
    std::string send(const std::string& octets, WebLimits limits = WebLimits()) {
        auto pair = net::make_memory_pair(loop, net::Endpoint(), net::Endpoint());
        WebDeps deps(*store, loop, pool, metrics, "mail.a.example");
        deps.limits = limits;
        std::string out;
        net::TaskGroup tasks(loop);
        tasks.spawn("web", serve_web(std::move(pair.first), deps));
        tasks.spawn("ask", ask(*pair.second, octets, out));
        test::run_task(loop, tasks.join());
        return out;
    }
    std::string get(std::string_view target, std::string_view host) {
        return send("GET " + std::string(target) + " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n");
    }
    net::Loop loop;
    test::TempStore store;
    net::ThreadPool pool{"test", 1};
    Metrics metrics;
};

constexpr std::string_view kPolicy = "/.well-known/mta-sts.txt";

}  // namespace

TEST_CASE("https: the MTA-STS policy of a domain at home, and nothing else (RFC 8461 3.2)") {
    Web web;
    REQUIRE(web.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_domain("a.example"));
        TRY_VOID(storage::TransportTx(tx).serve_sts("a.example", 2, {}));
        return {};
    }));
    const std::string policy = web.get(kPolicy, "MTA-STS.a.example:443");
    CHECK(policy.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain"));
    CHECK(policy.ends_with("\r\n\r\nversion: STSv1\r\nmode: enforce\r\nmx: mail.a.example\r\nmax_age: 1209600\r\n"));
    CHECK(policy.contains("Connection: close\r\n"));
    const std::string head = web.send("HEAD /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.a.example\r\n\r\n");
    CHECK(head.contains("Content-Length: 69\r\n"));
    CHECK(head.ends_with("\r\n\r\n"));
    for (const char* host : {"a.example", "mta-sts.b.example", "mta-sts.", "x.mta-sts.a.example"}) {
        CAPTURE(host);
        CHECK(web.get(kPolicy, host).starts_with("HTTP/1.1 404"));
    }
    for (const char* target :
         {"/", "/metrics", "/healthz", "/v1/queue", "/.well-known/mta-sts.txt?x", "/../etc/passwd"}) {
        CAPTURE(target);
        CHECK(web.get(target, "mta-sts.a.example").starts_with("HTTP/1.1 404"));
    }
    CHECK(web.send("POST /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.a.example\r\n\r\n").contains("405"));
}

TEST_CASE(
    "RFC 8058 3.2: POST unsubscribes at once, whatever it says; GET changes nothing; a forged token is nobody's") {
    Web web;
    REQUIRE(
        web.store->write({}, [](storage::Tx& tx) { return storage::StreamTx(tx).subscribe("news", "Ann@b.example"); }));
    const std::string token = *web.store->read([&](const storage::Snapshot& s) {
        return storage::StreamView(s).token("news", "ann@B.example", web.store->sealing_key());
    });
    const auto unsubscribed = [&] {
        const std::vector<std::string> scopes{"news"};
        const std::vector<std::string> addresses{"ann@b.example"};
        const auto found = web.store->read([&](const storage::Snapshot& s) {
            return storage::SuppressionView(s).find(scopes, addresses, system_clock().now());
        });
        REQUIRE(found);
        return !found->empty();
    };
    const std::string target = "/unsubscribe/" + token;
    const std::string question = web.get(target, "mail.a.example");
    CHECK(question.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html"));
    CHECK(question.contains("<form method=\"post\">"));
    CHECK(question.contains("Content-Security-Policy: default-src 'none'"));
    CHECK_FALSE(question.contains("Set-Cookie"));
    CHECK(web.send("HEAD " + target + " HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200"));
    CHECK_FALSE(unsubscribed());
    std::string forged = target;
    forged.back() = forged.back() == '0' ? '1' : '0';
    const auto post = [&](const std::string& at, const std::string& body) {
        return web.send("POST " + at + " HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
                        "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    };
    CHECK(post(forged, "List-Unsubscribe=One-Click").starts_with("HTTP/1.1 404"));
    CHECK(web.get("/unsubscribe/x/y", "a").starts_with("HTTP/1.1 404"));
    CHECK(post(target, std::string(100'000, 'x')).starts_with("HTTP/1.1 400"));
    CHECK_FALSE(unsubscribed());
    const std::string done = post(target, "List-Unsubscribe=One-Click");
    CHECK(done.starts_with("HTTP/1.1 200 OK"));
    CHECK_FALSE(done.contains("Location:"));
    CHECK(unsubscribed());
    CHECK(post(target, "").starts_with("HTTP/1.1 200"));  // again is the same
    CHECK(web.send("PUT " + target + " HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 405"));
}

TEST_CASE("the link in the mail about an incident: GET shows it and changes nothing, POST says that it is mended") {
    Web web;
    using storage::Incident;
    using storage::IncidentKind;
    const auto open = [&](IncidentKind kind, const std::string& domain) {
        storage::IncidentKey key;
        key.kind = kind;
        key.site = "google";
        key.domain = domain;
        storage::Refusal refusal;
        refusal.reply = "550 5.7.26 <script>alert(1)</script> & \"no\"";
        return web.store->write_value({}, [&](storage::Tx& tx) { return storage::IncidentTx(tx).note(key, refusal); })
            .value();
    };
    const auto is_open = [&](storage::IncidentId id) {
        return web.store->read([&](const storage::Snapshot& s) { return storage::IncidentView(s).by_id(id); })
            .value()
            .open;
    };
    const auto target = [&](const Incident& one, Time made) {
        return "/incident/" + storage::incident_token(one, web.store->sealing_key(), made);
    };
    const auto post = [&](const std::string& at) {
        return web.send("POST " + at + " HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nx=y");
    };
    const Time now = system_clock().now();
    const Incident one = open(IncidentKind::sender_auth, "a.example");
    const Incident other = open(IncidentKind::sender_auth, "b.example");
    const std::string page = web.get(target(one, now), "a");
    CHECK(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html"));
    CHECK(page.contains("google does not believe that mail from a.example is yours"));
    CHECK(page.contains("550 5.7.26 &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;no&quot;"));
    CHECK(page.contains("posthouse incident fixed 1"));
    CHECK(page.contains("<form method=\"post\">"));
    CHECK(page.contains("Content-Security-Policy: default-src 'none'"));
    CHECK(page.contains("Referrer-Policy: no-referrer\r\n"));
    CHECK(page.contains("Cache-Control: no-store\r\n"));
    CHECK_FALSE(page.contains("<script"));
    CHECK_FALSE(page.contains("Set-Cookie"));
    CHECK(web.send("HEAD " + target(one, now) + " HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200"));
    CHECK(is_open(one.id));

    // Forged in any digit, of another incident, too old, or of an account: nobody's.
    const std::string good = target(one, now);
    for (std::size_t i = good.rfind('/') + 1; i < good.size(); ++i) {
        CAPTURE(i);
        std::string forged = good;
        forged[i] = forged[i] == '0' ? '1' : '0';
        CHECK(post(forged).starts_with("HTTP/1.1 404"));
    }
    std::string swapped = target(other, now);
    swapped.replace(swapped.size() - 24, 24, good.substr(good.size() - 24));
    CHECK(post(swapped).starts_with("HTTP/1.1 404"));
    CHECK(post(target(one, now - storage::kIncidentLinkLasts - std::chrono::hours(2))).starts_with("HTTP/1.1 404"));
    CHECK(storage::incident_token(open(IncidentKind::account, "eve@a.example"), web.store->sealing_key(), now).empty());
    CHECK(is_open(one.id));
    CHECK(is_open(other.id));

    const std::string done = post(good);
    CHECK(done.starts_with("HTTP/1.1 200 OK"));
    CHECK(done.contains("It is over."));
    CHECK_FALSE(is_open(one.id));
    CHECK(is_open(other.id));
    const std::string again = post(good);
    CHECK(again.starts_with("HTTP/1.1 200"));
    CHECK(again.contains("Nothing needs to be done"));
    CHECK_FALSE(again.contains("<form"));
    CHECK(web.send("PUT " + good + " HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 405"));
}

TEST_CASE("https: what is no request, or too much of one, is told so and ends") {
    Web web;
    for (const char* octets : {"EHLO client.test\r\n", "GET /\r\n\r\n", "GET http://a/ HTTP/1.1\r\n\r\n",
                               "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
                               "GET / HTTP/1.1\r\nnonsense\r\n\r\n", "GET / HTTP/2\r\n\r\n"}) {
        CAPTURE(octets);
        CHECK(web.send(octets).starts_with("HTTP/1.1 400"));
    }
    CHECK(web.send("GET /" + std::string(4000, 'a') + " HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400"));
    std::string many = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < 100; ++i) many += "X: y\r\n";
    CHECK(web.send(many + "\r\n").starts_with("HTTP/1.1 400"));
    WebLimits hurried;
    hurried.request_max = std::chrono::milliseconds(20);
    CHECK(web.send("GET / HTTP/1.1\r\n", hurried).empty());
}
