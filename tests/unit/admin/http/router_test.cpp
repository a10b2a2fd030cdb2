#include "admin/http/router.h"

#include <algorithm>

#include "protocols/crypto/crypto.h"
#include "storage/incidents.h"
#include "storage/transport.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::admin;

namespace {

constexpr std::string_view kAlice = "alice@a.example";
constexpr std::string_view kList = "/api/v1/accounts/alice@a.example/deleted";
constexpr std::string_view kRestore = "/api/v1/accounts/alice@a.example/deleted/restore";

/// A store with a few removed messages, and tokens for everything and for one account.
struct Fixture {
    test::TempStore store;
    storage::AccountId alice{};
    Metrics metrics;
    std::string all, hers, bobs;
    std::unique_ptr<Router> router;
    bool body_was_read = false;

    explicit Fixture(std::uint64_t free_octets_min = 1024)
        : store([&](storage::StoreOptions& options) { options.free_octets_min = free_octets_min; }) {
        REQUIRE(crypto::init());
        alice = store.add_account(std::string(kAlice));
        const storage::AccountId bob = store.add_account("bob@a.example");
        all = token("all", {});
        hers = token("hers", alice);
        bobs = token("bobs", bob);
        HttpDeps deps;
        deps.metrics = &metrics;
        deps.health = [] { return HealthReport(true, "good", 3, 5); };
        deps.before_metrics = [] {};
        deps.store = &*store;
        deps.clock = &system_clock();
        deps.hostname = "mail.a.example";
        router = std::make_unique<Router>(std::move(deps));
    }

    std::string token(std::string_view name, std::optional<storage::AccountId> account) {
        const auto made = store->write_value(
            {}, [&](storage::Tx& tx) { return storage::TokenTx(tx).create(name, account, std::nullopt); });
        if (!made) FAIL(made.error().context);
        return made->secret;
    }
    void remove(int messages) {
        for (int at = 0; at < messages; ++at) {
            REQUIRE(store.deliver(alice, "Subject: x\r\n\r\n" + std::to_string(at), "INBOX", std::to_string(at)));
        }
        std::vector<storage::Uid> uids;
        for (const storage::Entry& entry : store.entries(alice, "INBOX")) uids.push_back(entry.uid);
        const storage::MailboxId inbox = store.mailbox(alice, "INBOX").id;
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            TRY_VOID(tx.mail(alice).expunge(inbox, uids));
            return {};
        }));
    }
    HttpAnswer ask(std::string_view method, std::string_view target, std::string_view secret = {},
                   std::string_view body = {}, std::string_view type = "application/json") {
        HttpRequest request;
        request.method = method;
        request.target = target;
        request.client = "127.0.0.1";
        if (!secret.empty()) request.authorization = "Bearer " + std::string(secret);
        if (method == "POST") {
            request.content_type = type;
            request.content_octets = body.size();
        }
        return send(request, body);
    }
    HttpAnswer send(HttpRequest& request, std::string_view body) {
        body_was_read = false;
        request.read_body = [this, body]() -> Result<std::string> {
            body_was_read = true;
            return std::string(body);
        };
        return router->route(request);
    }
    std::size_t back() { return store.entries(alice, "INBOX").size(); }
};

std::string field(const HttpAnswer& answer, std::string_view name) {
    const auto found = std::ranges::find(answer.fields, name, &std::pair<std::string, std::string>::first);
    return found == answer.fields.end() ? std::string() : found->second;
}

bool says(const HttpAnswer& answer, std::string_view text) { return answer.body.find(text) != std::string::npos; }

// The ids of a listing, in its order.
std::vector<std::string> ids_of(const HttpAnswer& answer) {
    std::vector<std::string> out;
    constexpr std::string_view kMark = "\"id\":\"";
    for (std::size_t at = answer.body.find(kMark); at != std::string::npos; at = answer.body.find(kMark, at)) {
        at += kMark.size();
        out.push_back(answer.body.substr(at, answer.body.find('"', at) - at));
    }
    return out;
}

}  // namespace

TEST_CASE("health and metrics are open to all, and requests are counted by status") {
    Fixture f;
    CHECK(f.ask("GET", "/healthz").status == 200);
    CHECK(says(f.ask("HEAD", "/healthz?x=1"), "\"queue_waiting\":3"));
    CHECK(f.ask("GET", "/nothing").status == 404);
    const HttpAnswer metrics = f.ask("GET", "/metrics");
    CHECK(metrics.status == 200);
    CHECK(says(metrics, "posthouse_http_requests_total{code=\"200\"} 2"));
    CHECK(says(metrics, "posthouse_http_requests_total{code=\"404\"} 1"));
}

TEST_CASE("RFC 9110 15.5.6: another method is 405 with those that are allowed") {
    Fixture f;
    CHECK(field(f.ask("POST", "/healthz"), "Allow") == "GET, HEAD");
    const HttpAnswer made = f.ask("DELETE", kRestore);
    CHECK(made.status == 405);
    CHECK(field(made, "Allow") == "POST");
    CHECK(made.type == "application/problem+json");
    CHECK(f.ask("get", "/healthz").status == 405);  // methods are case-sensitive, RFC 9110 9.1
}

TEST_CASE("RFC 6750 3: who may not gets 401 or 403 and learns nothing of what is there") {
    Fixture f;
    struct Case {
        std::string_view target;
        std::string token;
        int status;
        std::string challenge;
    };
    const std::string plain = "Bearer realm=\"posthouse\"";
    const Case cases[] = {
        {kList, "", 401, plain},
        {kList, "wrong", 401, plain + ", error=\"invalid_token\""},
        {kList, f.bobs, 403, plain + ", error=\"insufficient_scope\""},
        {"/api/v1/accounts/nobody@a.example/deleted", f.hers, 403, plain + ", error=\"insufficient_scope\""},
        {"/api/v1/accounts/nobody@a.example/deleted", f.all, 404, ""},
        {kList, f.hers, 200, ""},
        {kList, f.all, 200, ""},
        {"/api/v1/accounts/ALICE%40a.example/deleted", f.hers, 200, ""},
        {"/api/v1/accounts/alice%4/deleted", f.all, 400, ""},
        {"/api/v1/accounts//deleted", f.all, 404, ""},
        {"/api/v1/accounts/alice@a.example/deleted/", f.all, 404, ""},
    };
    for (const Case& c : cases) {
        CAPTURE(c.target);
        const HttpAnswer made = f.ask("GET", c.target, c.token);
        CHECK(made.status == c.status);
        CHECK(field(made, "WWW-Authenticate") == c.challenge);
    }
    CHECK(f.ask("POST", kRestore, "wrong", "{\"all\": true}").status == 401);
    CHECK(!f.body_was_read);
    HttpRequest basic;
    basic.method = "GET";
    basic.target = kList;
    basic.authorization = "Basic " + f.all;
    CHECK(f.send(basic, "").status == 401);
    basic.authorization = "bearer  " + f.all;
    CHECK(f.send(basic, "").status == 200);
}

TEST_CASE("wrong tokens are turned away for a while; a right one is not held up by them") {
    Fixture f;
    for (unsigned count = 0; count < kFailuresMax; ++count) CHECK(f.ask("GET", kList, "wrong").status == 401);
    const HttpAnswer made = f.ask("GET", kList, "wrong");
    CHECK(made.status == 429);
    CHECK(!field(made, "Retry-After").empty());
    CHECK(f.ask("GET", kList, f.all).status == 200);
}

TEST_CASE("the use of a token is noted once an hour") {
    Fixture f;
    CHECK(f.ask("GET", kList, f.all).status == 200);
    const auto writes = f.store->statistics().writes;
    CHECK(f.ask("GET", kList, f.all).status == 200);
    CHECK(f.store->statistics().writes == writes);
    const auto tokens = f.store->read([](const storage::Snapshot& s) { return storage::TokenView(s).list(); }).value();
    CHECK(tokens.at(0).used);
    CHECK(!tokens.at(1).used);
}

TEST_CASE("removed mail is listed page by page, none twice and none left out") {
    Fixture f;
    f.remove(5);
    const HttpAnswer whole = f.ask("GET", kList, f.hers);
    CHECK(ids_of(whole).size() == 5);
    CHECK(says(whole, "\"next\":null"));
    std::vector<std::string> seen;
    std::string target = std::string(kList) + "?limit=2";
    for (int page = 0; page < 3; ++page) {
        const HttpAnswer made = f.ask("GET", target, f.hers);
        for (const std::string& id : ids_of(made)) seen.push_back(id);
        const std::size_t next = made.body.find("\"next\":\"");
        if (next == std::string::npos) break;
        target = std::string(kList) +
                 "?limit=2&cursor=" + made.body.substr(next + 8, made.body.find('"', next + 8) - next - 8);
    }
    CHECK(seen == ids_of(whole));
    CHECK(ids_of(f.ask("GET", std::string(kList) + "?mailbox=Sent", f.hers)).empty());
    CHECK(ids_of(f.ask("GET", std::string(kList) + "?mailbox=INBOX&since=1h", f.hers)).size() == 5);
    CHECK(ids_of(f.ask("GET", std::string(kList) + "?since=2999-01-01", f.hers)).empty());
}

TEST_CASE("a query that cannot be meant is 400 and names its field") {
    Fixture f;
    for (const auto& [query, name] :
         {std::pair("limit=0", "limit"), std::pair("limit=1001", "limit"), std::pair("limit=-1", "limit"),
          std::pair("since=soon", "since"), std::pair("cursor=1.2", "cursor"), std::pair("cursor=x", "cursor"),
          std::pair("folder=INBOX", "folder")}) {
        CAPTURE(query);
        const HttpAnswer made = f.ask("GET", std::string(kList) + "?" + query, f.hers);
        CHECK(made.status == 400);
        CHECK(says(made, "\"field\":\"" + std::string(name) + "\""));
    }
    CHECK(f.ask("GET", std::string(kList) + "?limit=1&limit=2", f.hers).status == 400);
    CHECK(f.ask("GET", std::string(kList) + "?mailbox=%zz", f.hers).status == 400);
}

TEST_CASE("restore brings back what was named, once") {
    Fixture f;
    f.remove(3);
    const std::string id = ids_of(f.ask("GET", kList, f.hers)).front();
    const HttpAnswer one = f.ask("POST", kRestore, f.hers, "{\"messages\": [\"" + id + "\"]}");
    CHECK(one.status == 200);
    CHECK(one.body == "{\"restored\":1,\"mailboxes\":{\"INBOX\":1}}\n");
    CHECK(f.back() == 1);
    const HttpAnswer again = f.ask("POST", kRestore, f.hers, "{\"messages\": [\"" + id + "\"]}");
    CHECK(again.status == 404);
    CHECK(says(again, "\"field\":\"messages\""));
    const HttpAnswer rest = f.ask("POST", kRestore, f.all, R"({"mailbox": "INBOX", "since": "1h", "into": "Back"})",
                                  "application/json; charset=utf-8");
    CHECK(rest.body == "{\"restored\":2,\"mailboxes\":{\"Back\":2}}\n");
    CHECK(f.back() == 1);
    CHECK(f.ask("POST", kRestore, f.all, R"({"all": true})").body == "{\"restored\":0,\"mailboxes\":{}}\n");
}

TEST_CASE("a removed mailbox comes back with what lay in it") {
    Fixture f;
    REQUIRE(f.store.deliver(f.alice, "Subject: x\r\n\r\n", "Projects"));
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return tx.mail(f.alice).remove("Projects"); }));
    CHECK(says(f.ask("GET", kList, f.hers), "\"mailboxes\":[{\"name\":\"Projects\""));
    CHECK(f.ask("POST", kRestore, f.hers, R"({"mailbox": "Projects"})").status == 200);
    CHECK(f.store.entries(f.alice, "Projects").size() == 1);
}

TEST_CASE("a body that is no JSON is 400, one that says nothing sensible 422 with the field") {
    Fixture f;
    f.remove(1);
    for (const char* body : {"", "{", "[]", "7", "null", "{\"all\": true} x", "{\"mailbox\": \"\xff\"}",
                             R"({"messages": [[[[[[[[[["1.1"]]]]]]]]]]})"}) {
        CAPTURE(body);
        CHECK(f.ask("POST", kRestore, f.hers, body).status == 400);
    }
    struct Case {
        std::string body;
        std::string_view field;
    };
    const Case cases[] = {
        {"{}", "messages"},
        {R"({"messages": []})", "messages"},
        {R"({"messages": "1.1"})", "messages"},
        {R"({"messages": [1]})", "messages"},
        {R"({"messages": ["x"]})", "messages"},
        {R"({"messages": [["1.1"]]})", "messages"},
        {R"({"messages": ["1.1"], "mailbox": "INBOX"})", "messages"},
        {R"({"into": "Back"})", "messages"},
        {R"({"all": false})", "all"},
        {R"({"all": "yes"})", "all"},
        {R"({"mailbox": 3})", "mailbox"},
        {R"({"mailbox": ""})", "mailbox"},
        {R"({"since": "soon"})", "since"},
        {R"({"al": true})", "al"},
        {R"({"all": true, "into": "a//b"})", "into"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.body);
        const HttpAnswer made = f.ask("POST", kRestore, f.hers, c.body);
        CHECK(made.status == 422);
        CHECK(says(made, "\"field\":\"" + std::string(c.field) + "\""));
    }
    CHECK(f.back() == 0);
}

TEST_CASE("type, length and size are judged before a body is read") {
    Fixture f;
    CHECK(field(f.ask("POST", kRestore, f.hers, "all=true", "text/plain"), "Accept") == "application/json");
    CHECK(f.ask("POST", kRestore, f.hers, "{}", "").status == 415);
    HttpRequest request;
    request.method = "POST";
    request.target = kRestore;
    request.authorization = "Bearer " + f.hers;
    request.content_type = "application/json";
    CHECK(f.send(request, "{}").status == 411);
    request.content_octets = kBodyOctetsMax + 1;
    CHECK(f.send(request, "{}").status == 413);
    CHECK(!f.body_was_read);
    request.content_octets = kBodyOctetsMax;
    CHECK(f.send(request, "{}").status == 422);
    CHECK(f.body_was_read);
    request.header_octets = kHeaderOctetsMax + 1;
    CHECK(f.send(request, "{}").status == 431);
    request.target = "/" + std::string(kTargetOctetsMax, 'x');
    CHECK(f.send(request, "{}").status == 414);
}

TEST_CASE("below the floor of free disk nothing is restored: 507; reading goes on") {
    Fixture f(1ULL << 62U);
    // What is taken in before needs room of its own: the mailbox alone is removed.
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return tx.mail(f.alice).remove("Archive"); }));
    const HttpAnswer made = f.ask("POST", kRestore, f.hers, R"({"all": true})");
    CHECK(made.status == 507);
    CHECK(says(made, "too full"));
    CHECK(f.ask("GET", kList, f.hers).status == 200);
}

TEST_CASE("over the quota: 409; stopping: 503 with a time to come back") {
    Fixture f;
    f.remove(2);
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_quota(f.alice, 0, 1); }));
    CHECK(f.ask("POST", kRestore, f.hers, R"({"all": true})").status == 409);
    f.router->stop();
    const HttpAnswer made = f.ask("POST", kRestore, f.hers, R"({"all": true})");
    CHECK(made.status == 503);
    CHECK(field(made, "Retry-After") == "5");
    CHECK(problem(Error(Errc::io, "the store is in doubt")).status == 503);
    CHECK(!says(problem(Error(Errc::io, "a secret path")), "secret"));
}

TEST_CASE("RFC 3986 2.1: escapes") {
    Fixture f;
    CHECK(f.ask("GET", "/api/v1/messages/%FF@x", f.all).status == 400);
    CHECK(f.ask("GET", "/api/v1/messages/x?a=%FF", f.all).status == 400);
    CHECK(percent_decode("a%2fb+c", Plus::is_plus) == "a/b+c");
    CHECK(percent_decode("a%2Fb+c", Plus::is_blank) == "a/b c");
    for (const char* broken : {"%", "%2", "a%", "%g0", "%0g"}) CHECK(!percent_decode(broken, Plus::is_plus));
}

TEST_CASE("the MTA-STS policy of a domain at home is served under its own host name (RFC 8461 3.2)") {
    Fixture f;
    const auto ask = [&](std::string host) {
        HttpRequest request;
        request.method = "GET";
        request.target = "/.well-known/mta-sts.txt";
        request.client = "127.0.0.1";
        request.host = std::move(host);
        return f.send(request, {});
    };
    CHECK(ask("mta-sts.a.example").status == 404);
    const auto serve = [&](int mode, std::vector<std::string> mx) {
        REQUIRE(f.store->write({}, [&](storage::Tx& tx) -> Result<> {
            TRY_VOID(storage::TransportTx(tx).serve_sts("a.example", mode, mx));
            return {};
        }));
    };
    serve(2, {});
    HttpAnswer made = ask("MTA-STS.a.example:443");
    CHECK(made.status == 200);
    CHECK(made.type.starts_with("text/plain"));
    CHECK(made.body == "version: STSv1\r\nmode: enforce\r\nmx: mail.a.example\r\nmax_age: 1209600\r\n");
    serve(1, {"mx1.a.example", "*.mx.a.example"});
    made = ask("mta-sts.a.example");
    CHECK(made.body.contains("mode: testing\r\nmx: mx1.a.example\r\nmx: *.mx.a.example\r\n"));
    serve(0, {});
    CHECK(ask("mta-sts.a.example").body.contains("mode: none\r\n"));
    for (const char* host : {"a.example", "mta-sts.b.example", "", "mta-sts.", "x.mta-sts.a.example"}) {
        CAPTURE(host);
        CHECK(ask(host).status == 404);
    }
}

TEST_CASE("incidents are shown and closed with a token for the whole server; one for an account opens nothing of it") {
    Fixture f;
    REQUIRE(f.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::IncidentKey key;
        key.kind = storage::IncidentKind::credentials;
        key.way = "relay";
        storage::Refusal refusal;
        refusal.reply = "535 5.7.8 no \xff";
        TRY_VOID(storage::IncidentTx(tx).note(key, refusal));
        return {};
    }));
    CHECK(f.ask("GET", "/api/v1/incidents").status == 401);
    CHECK(f.ask("GET", "/api/v1/incidents", f.hers).status == 403);
    CHECK(f.ask("POST", "/api/v1/incidents/1/fixed", f.hers, "{}").status == 403);
    HttpAnswer made = f.ask("GET", "/api/v1/incidents", f.all);
    CHECK(made.status == 200);
    CHECK(made.body.contains("\"what\":\"the relay of way relay refuses the login\""));
    CHECK(f.ask("GET", "/api/v1/incidents/1", f.all).body.contains("\"state\":\"open\""));
    for (const char* id : {"0", "x", "-1", "99999999999999999999"}) {
        CAPTURE(id);
        CHECK(f.ask("GET", "/api/v1/incidents/" + std::string(id), f.all).status == 404);
    }
    CHECK(f.ask("GET", "/api/v1/incidents/2", f.all).status == 404);
    CHECK(f.ask("GET", "/api/v1/incidents?some=1", f.all).status == 400);
    CHECK(f.ask("POST", "/api/v1/incidents/1/fixed", f.all, "{}").body == "{\"released\":0,\"over\":true}\n");
    CHECK(f.ask("POST", "/api/v1/incidents/1/fixed", f.all, "{}").status == 409);
    CHECK(f.ask("GET", "/api/v1/incidents", f.all).body == "{\"incidents\":[]}\n");
    CHECK(f.ask("GET", "/api/v1/incidents?all=1", f.all).body.contains("\"state\":\"over\""));
}

TEST_CASE("the report over the API: the same question as on the command line, and what is no question says so") {
    Fixture f;
    REQUIRE(f.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::Event event;
        event.at = system_clock().now();
        event.kind = storage::EventKind::complained;
        event.sender = "alice@a.example";
        event.recipient = "x@b.example";
        return tx.events().append(event);
    }));
    const HttpAnswer made = f.ask("GET", "/api/v1/report?by=destination&days=2", f.all);
    CHECK(made.status == 200);
    CHECK(says(made, "\"destination\":\"b.example\""));
    CHECK(says(made, "\"complained\":1"));
    CHECK(f.ask("GET", "/api/v1/report?by=colour", f.all).status == 422);
    CHECK(f.ask("GET", "/api/v1/report?days=x", f.all).status == 422);
    CHECK(f.ask("GET", "/api/v1/report?from=2026-01-02&to=2026-01-01", f.all).status == 422);
    CHECK(f.ask("GET", "/api/v1/report?colour=red", f.all).status == 400);
    CHECK(f.ask("GET", "/api/v1/report?account=nobody@a.example", f.all).status == 404);
    CHECK(f.ask("GET", "/api/v1/report", f.hers).status == 403);
}

TEST_CASE("webhooks over the API: made with a secret shown once, shown, replayed, paused, removed") {
    Fixture f;
    constexpr std::string_view kAll = "/api/v1/webhooks";
    const HttpAnswer made = f.ask(
        "POST", kAll, f.all,
        R"({"name": "panel", "url": "https://hooks.example.net/x", "kinds": ["bounced", "delivered"], "batch": 20})");
    CHECK(made.status == 201);
    CHECK(says(made, "\"secret\":\"whsec_"));
    const HttpAnswer shown = f.ask("GET", "/api/v1/webhooks/panel", f.all);
    CHECK(says(shown, "\"kinds\":\"bounced delivered\""));
    CHECK(says(shown, "\"batch\":20"));
    CHECK(!says(shown, "whsec_"));
    CHECK(f.ask("POST", kAll, f.all, R"({"name": "panel", "url": "https://hooks.example.net/x"})").status == 409);
    CHECK(f.ask("POST", kAll, f.all, R"({"name": "p2", "url": "https://hooks.example.net/x", "x": 1})").status == 422);
    CHECK(f.ask("POST", kAll, f.all, R"({"name": "p2", "url": "https://h.example/", "kinds": ["red"]})").status == 422);
    CHECK(f.ask("POST", kAll, f.all, "[]").status == 400);
    CHECK(f.ask("POST", kAll, f.hers, "{}").status == 403);
    const HttpAnswer tried = f.ask("POST", "/api/v1/webhooks/panel/test", f.all, "{}");
    CHECK(says(tried, "\"event\":\"evt_"));
    CHECK(says(f.ask("POST", "/api/v1/webhooks/panel/replay", f.all, R"({"from": "evt_1"})"), "evt_1"));
    CHECK(f.ask("POST", "/api/v1/webhooks/panel/replay", f.all, R"({"from": "evt_99999"})").status == 422);
    CHECK(f.ask("POST", "/api/v1/webhooks/panel/replay", f.all, R"({"from": "3h"})").status == 200);
    const HttpAnswer changed =
        f.ask("POST", "/api/v1/webhooks/panel/set", f.all, R"({"kinds": ["bounced"], "batch": 7})");
    CHECK(says(changed, R"("kinds":"bounced")"));
    CHECK(says(changed, R"("batch":7)"));
    CHECK(f.ask("POST", "/api/v1/webhooks/panel/set", f.all, R"({"kinds": ["all"]})").status == 200);
    CHECK(f.ask("POST", "/api/v1/webhooks/panel/set", f.all, R"({"url": "https://127.0.0.1/"})").status == 422);
    CHECK(f.ask("POST", "/api/v1/webhooks/panel/set", f.all, R"({"name": "x"})").status == 422);
    CHECK(f.ask("POST", "/api/v1/webhooks/nobody/set", f.all, R"({"batch": 7})").status == 404);
    const HttpAnswer renewed = f.ask("POST", "/api/v1/webhooks/panel/secret", f.all, R"({"old_hours": 48})");
    CHECK(says(renewed, "whsec_"));
    CHECK(f.ask("POST", "/api/v1/webhooks/panel/secret", f.all, R"({"old_hours": 1000})").status == 422);
    CHECK(f.ask("POST", "/api/v1/webhooks/panel/pause", f.all, "{}").status == 200);
    CHECK(says(f.ask("GET", kAll, f.all), "\"state\":\"paused\""));
    CHECK(f.ask("POST", "/api/v1/webhooks/panel/remove", f.all, "{}").status == 200);
    CHECK(f.ask("GET", "/api/v1/webhooks/panel", f.all).status == 404);
}

TEST_CASE("D48: a webhook's URL that leads into our own house is refused in all its spellings") {
    Fixture f;
    for (const std::string_view url : {"http://hooks.example.net/",
                                       "https://127.0.0.1/",
                                       "https://127.1/",
                                       "https://0/",
                                       "https://0.0.0.0/",
                                       "https://2130706433/",
                                       "https://0x7f000001/",
                                       "https://0x7f.1/",
                                       "https://0177.0.0.1/",
                                       "https://[::1]/",
                                       "https://[::]/",
                                       "https://[::ffff:127.0.0.1]/",
                                       "https://[::ffff:7f00:1]/",
                                       "https://169.254.169.254/latest",
                                       "https://10.0.0.1/",
                                       "https://[fd00:ec2::254]/",
                                       "https://user@hooks.example.net/",
                                       "https://127.0.0.1:8025/",
                                       "https://hooks.example.net\\@127.0.0.1/",
                                       "https://127.0.0.1.:443/",
                                       "https://1.1.1.1/",
                                       "file:///etc/passwd",
                                       "gopher://hooks.example.net/",
                                       "https://",
                                       "https://[::1%25lo]/",
                                       "https://hooks.example.net/a b"}) {
        CAPTURE(url);
        const std::string body = "{\"name\": \"bad\", \"url\": \"" + std::string(url) + "\"}";
        CHECK(f.ask("POST", "/api/v1/webhooks", f.all, body).status >= 400);
        CHECK(f.ask("GET", "/api/v1/webhooks/bad", f.all).status == 404);
    }
}
