// What programs ask for over HTTP becomes a message and an envelope, or one sentence and the field that is wrong.
#include "admin/http/send_request.h"

#include <algorithm>

#include "admin/http/router.h"
#include "protocols/crypto/crypto.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/header.h"
#include "storage/incident_link.h"
#include "storage/streams.h"
#include "storage/suppression.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::admin;

namespace {

constexpr std::string_view kSend = "/api/v1/send";
constexpr std::string_view kRaw = "/api/v1/send/raw";
constexpr std::string_view kBatch = "/api/v1/send/batch";

/// A router whose door keeps what is handed in and answers as it is told.
constexpr std::string_view kEmptyKey = "(empty)";

struct Fixture {
    test::TempStore store;
    storage::AccountId alice{};
    Metrics metrics;
    std::string all, hers;
    std::vector<storage::Submission> taken;
    storage::SubmissionOutcome next;  ///< where it has a refusal: the answer
    std::unique_ptr<Router> router;

    Fixture() {
        REQUIRE(crypto::init());
        alice = store.add_account("alice@a.example");
        all = token("all", {});
        hers = token("hers", alice);
        HttpDeps deps;
        deps.metrics = &metrics;
        deps.store = &*store;
        deps.clock = &system_clock();
        deps.hostname = "mail.a.example";
        deps.message_octets_max = 100'000;
        deps.submit = [this](storage::Submission one) {
            storage::SubmissionOutcome out = next;
            if (!out.refusal) {
                storage::SubmissionReceipt receipt;
                receipt.id = "q7";
                receipt.message_id = "<x@a.example>";
                for (const std::string& to : one.recipients) receipt.recipients.emplace_back(to);
                out.answer = one.answer(receipt);
            }
            taken.push_back(std::move(one));
            return out;
        };
        router = std::make_unique<Router>(std::move(deps));
    }
    std::string token(std::string_view name, std::optional<storage::AccountId> account) {
        const auto made = store->write_value(
            {}, [&](storage::Tx& tx) { return storage::TokenTx(tx).create(name, account, std::nullopt); });
        REQUIRE(made);
        return made->secret;
    }
    HttpAnswer ask(std::string_view target, std::string_view body, std::string_view type = "application/json",
                   std::string key = "", std::string_view secret = {}) {
        HttpRequest request;
        request.method = "POST";
        request.target = target;
        request.client = "127.0.0.1";
        request.authorization = "Bearer " + (secret.empty() ? hers : std::string(secret));
        request.content_type = type;
        request.content_octets = body.size();
        if (!key.empty()) request.idempotency_key = key == kEmptyKey ? "" : std::move(key);
        request.read_body = [body]() -> Result<std::string> { return std::string(body); };
        return router->route(request);
    }
    HttpAnswer get(std::string_view target, std::string_view secret) {
        HttpRequest request;
        request.method = "GET";
        request.target = target;
        request.client = "127.0.0.1";
        request.authorization = "Bearer " + std::string(secret);
        return router->route(request);
    }
};

bool says(const HttpAnswer& answer, std::string_view text) { return answer.body.find(text) != std::string::npos; }

std::string value_of(const std::string& message, std::string_view name) {
    const auto found = mime::find_first(mime::parse_fields(message), name);
    return found ? mime::decode_encoded_words(*found) : "(none)";
}

}  // namespace

TEST_CASE("a message in JSON: its fields, its envelope, and who is told what") {
    Fixture f;
    const HttpAnswer made =
        f.ask(kSend, R"({"from": "Caf\u00e9 <alice@a.example>", "to": ["b@b.example", "C <c@c.example>"],
        "cc": {"name": "D", "address": "d@b\u00fccher.example"}, "bcc": "e@e.example", "reply_to": "r@a.example",
        "subject": "Gr\u00fc\u00dfe", "text": "hello", "html": "<p>hello</p>", "headers": {"X-Order": "17"},
        "attachments": [{"name": "a.txt", "type": "text/plain; charset=utf-8", "content": "aGVsbG8="}],
        "class": "bulk", "tags": ["welcome"], "metadata": {"order": "17"},
        "envelope": {"envid": "e1", "notify": ["failure", "delay"], "ret": "headers", "require_tls": true}})");
    REQUIRE(made.status == 202);
    CHECK(says(made, "\"id\":\"q7\",\"message_id\":\"<x@a.example>\""));
    CHECK(says(made, "\"address\":\"b@b.example\",\"accepted\":true,\"code\":250"));
    REQUIRE(f.taken.size() == 1);
    const storage::Submission& one = f.taken.front();
    CHECK(one.account == f.alice);
    CHECK(one.recipients ==
          std::vector<std::string>{"b@b.example", "c@c.example", "d@xn--bcher-kva.example", "e@e.example"});
    CHECK(value_of(one.octets, "From") == "Caf\xC3\xA9 <alice@a.example>");
    CHECK(value_of(one.octets, "To") == "b@b.example, C <c@c.example>");
    CHECK(value_of(one.octets, "Cc") == "D <d@xn--bcher-kva.example>");
    CHECK(value_of(one.octets, "Bcc") == "(none)");
    CHECK(value_of(one.octets, "Subject") ==
          "Gr\xC3\xBC\xC3\x9F"
          "e");
    CHECK(value_of(one.octets, "X-Order") == "17");
    CHECK_FALSE(one.octets.contains("e@e.example"));
    CHECK(one.mail_class == storage::QueueClass::bulk);
    CHECK(one.tags == R"(["welcome"])");
    CHECK(one.metadata == R"({"order":"17"})");
    CHECK(one.envid == "e1");
    CHECK(one.notify == 12);
    CHECK(one.ret == storage::Ret::headers);
    CHECK(one.tls == storage::TlsWish::require);
    CHECK_FALSE(one.sender);
    CHECK(one.key.empty());
}

TEST_CASE("what is wrong is named: the field, and one sentence") {
    struct Case {
        std::string_view body;
        int status;
        std::string_view field;
    };
    for (const Case& c : {
             Case{"[]", 400, ""},
             Case{"{\"from\": \"a\xFF\"}", 400, ""},
             Case{R"({"to": "b@b.example"})", 422, "from"},
             Case{R"({"from": "a@a.example, b@a.example", "to": "b@b.example"})", 422, "from"},
             Case{R"({"from": "a@a.example"})", 422, "to"},
             Case{R"({"from": "a@a.example", "to": ["b@b.example", "nobody"]})", 422, "to[1]"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "subject": "x\r\nBcc: e@e.example"})", 422,
                  "subject"},
             Case{R"({"from": "x\r\ny <a@a.example>", "to": "b@b.example"})", 422, "from"},
             Case{R"({"from": {"name": "x\nEvil: 1", "address": "a@a.example"}, "to": "b@b.example"})", 422,
                  "from.name"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "headers": {"X: y\r\nEvil": "1"}})", 422,
                  "headers.X: y\\r\\nEvil"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "headers": {"X-A": "1\r\n2"}})", 422, "headers.X-A"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "headers": {"bcc": "e@e.example"}})", 422,
                  "headers.bcc"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "headers": {"Message-ID": "x"}})", 422,
                  "headers.Message-ID"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "text": "a\u0000b"})", 422, "text"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "stream": "a.b"})", 422, "stream"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "attachments": [{"content": "!!"}]})", 422,
                  "attachments[0].content"},
             Case{R"({"from": "a@a.e", "to": "b@b.e", "attachments": [{"content": "", "type": "multipart/x"}]})", 422,
                  "attachments[0].type"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "attachments": [{"name": "x"}]})", 422,
                  "attachments[0].content"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "class": "urgent"})", 422, "class"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "tags": [""]})", 422, "tags"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "metadata": {"a": 1}})", 422, "metadata.a"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "envelope": {"notify": ["never", "delay"]}})", 422,
                  "envelope.notify"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "subjet": "typo"})", 422, "subjet"},
             Case{R"({"from": "a@a.example", "to": "ann@b.example ben@c.example"})", 422, "to"},
             Case{R"({"from": "a@a.example", "to": ["Ann <ann@b.example> <ben@c.example>"]})", 422, "to[0]"},
             Case{R"({"from": "a@a.example", "to": "x@b.example, ann shop@b.example"})", 422, "to"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "envelope": {"from": ""}})", 422, "envelope.from"},
             Case{R"({"from": "a@a.example", "to": "b@b.example", "to": "c@c.example"})", 400, ""},
         }) {
        CAPTURE(c.body);
        Fixture f;
        const HttpAnswer made = f.ask(kSend, c.body);
        CHECK(made.status == c.status);
        CHECK(made.type == "application/problem+json");
        if (!c.field.empty()) CHECK(says(made, "\"field\":\"" + std::string(c.field) + "\""));
        CHECK(f.taken.empty());
    }
}

TEST_CASE("a refusal is a status, a field and the recipients with their sentences") {
    using Kind = storage::SubmissionRefusal::Kind;
    struct Case {
        Kind kind;
        int status;
    };
    for (const Case c : {Case{Kind::invalid, 422}, Case{Kind::denied, 403}, Case{Kind::too_large, 413},
                         Case{Kind::recipients, 422}, Case{Kind::no_space, 507}, Case{Kind::unavailable, 503},
                         Case{Kind::reused_key, 422}, Case{Kind::in_work, 409}}) {
        Fixture f;
        f.next.refusal = storage::SubmissionRefusal(c.kind, "to", "So it is.");
        f.next.recipients.emplace_back("b@b.example", 550, "5.1.1", "No such user here.");
        const HttpAnswer made = f.ask(kSend, R"({"from": "a@a.example", "to": "b@b.example"})");
        CHECK(made.status == c.status);
        CHECK(says(made, "\"detail\":\"So it is.\""));
        CHECK(says(made, "\"status\":\"5.1.1\",\"detail\":\"No such user here.\""));
    }
}

TEST_CASE("a key goes along with the digest of the request; the first answer says that it is one") {
    Fixture f;
    constexpr std::string_view kBody = R"({"from": "a@a.example", "to": "b@b.example"})";
    CHECK(f.ask(kSend, kBody, "application/json", "\"k 1\"").status == 202);
    CHECK(f.ask(kSend, kBody, "application/json", "k 1").status == 202);
    CHECK(f.ask(kSend, R"({"from": "a@a.example", "to": "c@c.example"})", "application/json", "k 1").status == 202);
    REQUIRE(f.taken.size() == 3);
    CHECK(f.taken[0].key == "k 1");
    CHECK(f.taken[0].digest == f.taken[1].digest);
    CHECK(f.taken[0].digest != f.taken[2].digest);
    f.next.repeated = true;
    const HttpAnswer again = f.ask(kSend, kBody, "application/json", "k 1");
    CHECK(std::ranges::find(again.fields, std::pair<std::string, std::string>("Idempotency-Replayed", "true")) !=
          again.fields.end());
    CHECK(f.ask(kSend, kBody, "application/json", std::string(256, 'k')).status == 400);
    CHECK(f.ask(kSend, kBody, "application/json", "\"open").status == 202);  // bare octets, a quote among them
    CHECK(f.ask(kSend, kBody, "application/json", "\"a\\b\"").status == 400);
    CHECK(f.ask(kSend, kBody, "application/json", std::string(kEmptyKey)).status == 400);
}

TEST_CASE("a message as it is, with the envelope in the query") {
    Fixture f;
    constexpr std::string_view kMail = "From: a@a.example\nTo: B <b@b.example>\nBcc: c@c.example\n\nhi\n";
    CHECK(f.ask(kRaw, kMail).status == 415);
    REQUIRE(f.ask(kRaw, kMail, "message/rfc822").status == 202);
    CHECK(f.taken.back().octets == "From: a@a.example\r\nTo: B <b@b.example>\r\nBcc: c@c.example\r\n\r\nhi\r\n");
    CHECK(f.taken.back().recipients == std::vector<std::string>{"b@b.example", "c@c.example"});
    REQUIRE(f.ask(std::string(kRaw) + "?to=x@x.example,y@y.example&from=s@a.example&class=bulk&tags=a,b&notify=never",
                  kMail, "message/rfc822")
                .status == 202);
    CHECK(f.taken.back().recipients == std::vector<std::string>{"x@x.example", "y@y.example"});
    CHECK(f.taken.back().sender == "s@a.example");
    CHECK(f.taken.back().tags == R"(["a","b"])");
    CHECK(f.taken.back().notify == 1);
    CHECK(f.ask(std::string(kRaw) + "?too=x", kMail, "message/rfc822").status == 422);
    CHECK_FALSE(f.taken.back().digest.empty());  // a key may stand in the message
    const std::size_t taken = f.taken.size();
    const HttpAnswer plus = f.ask(std::string(kRaw) + "?to=ann+shop@b.example", kMail, "message/rfc822");
    CHECK(plus.status == 422);
    CHECK(says(plus, "%2B"));
    for (const char* query : {"?from=", "?require_tls=yes"}) {
        CHECK(f.ask(std::string(kRaw) + query, kMail, "message/rfc822").status == 422);
    }
    CHECK(f.ask(std::string(kRaw) + "?tags=a%FFb", kMail, "message/rfc822").status == 400);
    for (const char* to : {"b\xFF@b.example", "ann@b.example ben@c.example", "Friends: b@b.example", "(x"}) {
        CAPTURE(to);
        const HttpAnswer refused =
            f.ask(kRaw, std::string("From: a@a.example\nTo: ") + to + "\n\nx\n", "message/rfc822");
        CHECK(refused.status == 422);
        CHECK(says(refused, "\"field\":\"to\""));
    }
    CHECK(f.taken.size() == taken);
    CHECK(f.ask(std::string(kRaw) + "?to=ann%2Bshop@b.example&require_tls=0", kMail, "message/rfc822").status == 202);
    CHECK(f.taken.back().recipients == std::vector<std::string>{"ann+shop@b.example"});
    REQUIRE(f.ask(kRaw, "From: a@a.example\nTo: Friends: \"B, b\" <b@b.example>,\n c@c.example;\nCc: nobody:;\n\nx\n",
                  "message/rfc822")
                .status == 202);
    CHECK(f.taken.back().recipients == std::vector<std::string>{"b@b.example", "c@c.example"});
    CHECK(f.ask(kRaw, std::string(100'001, 'x'), "message/rfc822").status == 413);
}

TEST_CASE("a batch has an answer for each, and a key for each") {
    Fixture f;
    const HttpAnswer made =
        f.ask(kBatch, R"({"messages": [{"from": "a@a.example", "to": "b@b.example"}, {"to": "c@c.example"},
        {"from": "a@a.example", "to": "d@d.example"}]})",
              "application/json", "k");
    CHECK(made.status == 200);
    CHECK(says(made, "{\"status\":202,\"accepted\":{\"id\":\"q7\""));
    CHECK(says(made, "\"field\":\"messages[1].from\""));
    REQUIRE(f.taken.size() == 2);
    CHECK(f.taken[0].key == "k#0");
    CHECK(f.taken[1].key == "k#2");
    CHECK(f.ask(kBatch, R"({"messages": []})").status == 422);
    CHECK(f.ask(kBatch, R"({"messages": [{"from": "a@a.example", "to": "b@b.example"}]})", "application/json",
                std::string(253, 'k'))
              .status == 400);
    std::string many = R"({"messages": [{})";
    for (std::size_t at = 0; at < kJsonValuesMax / 2; ++at) many += ",{}";
    CHECK(count_json_values(many + "]}") > kJsonValuesMax);
    CHECK(count_json_values(R"({"a": "x,{[\\\",", "b": [1, 2]})") == 4);
    CHECK(f.taken.size() == 2);
    CHECK(f.ask(kBatch, R"({"message": [{}]})").status == 422);
}

TEST_CASE("who has no token sends nothing; a process without a door says so") {
    Fixture f;
    CHECK(f.ask(kSend, "{}", "application/json", "", "ph_wrong").status == 401);
    HttpDeps deps;
    deps.metrics = &f.metrics;
    deps.store = &*f.store;
    deps.clock = &system_clock();
    f.router = std::make_unique<Router>(std::move(deps));
    CHECK(f.ask(kSend, R"({"from": "a@a.example", "to": "b@b.example"})").status == 503);
}

TEST_CASE("RFC 8058 through a proxy: a form of any type unsubscribes, without a token of the API") {
    Fixture f;
    REQUIRE(
        f.store->write({}, [](storage::Tx& tx) { return storage::StreamTx(tx).subscribe("news", "ann@b.example"); }));
    const auto token = f.store->read([&](const storage::Snapshot& s) {
        return storage::StreamView(s).token("news", "ann@b.example", f.store->sealing_key());
    });
    REQUIRE(token);
    const std::string target = "/unsubscribe/" + *token;
    const auto rows = [&] {
        return f.store
            ->read([](const storage::Snapshot& s) { return storage::SuppressionView(s).of_address("ann@b.example"); })
            ->size();
    };
    CHECK(says(f.get(target, ""), "<button"));
    CHECK(f.get("/unsubscribe/0", "").status == 404);
    CHECK(f.ask("/unsubscribe/" + std::string(40, '1'), "", "text/plain").status == 404);
    CHECK(rows() == 0);
    const HttpAnswer done = f.ask(target, "List-Unsubscribe=One-Click", "multipart/form-data; boundary=x");
    CHECK(done.status == 200);
    CHECK(done.type == "text/html; charset=utf-8");
    CHECK(rows() == 1);
}

TEST_CASE("the link in the mail about an incident, through a proxy: without a token of the API, and only POST acts") {
    Fixture f;
    storage::IncidentKey key;
    key.kind = storage::IncidentKind::warning;
    const auto one = f.store->write_value(
        {}, [&](storage::Tx& tx) { return storage::IncidentTx(tx).note(key, storage::Refusal()); });
    REQUIRE(one);
    const std::string target =
        "/incident/" + storage::incident_token(*one, f.store->sealing_key(), system_clock().now());
    const auto is_open = [&] {
        return f.store->read([&](const storage::Snapshot& s) { return storage::IncidentView(s).by_id(one->id); })->open;
    };
    CHECK(says(f.get(target, ""), "<button"));
    CHECK(f.get("/incident/0", "").status == 404);
    CHECK(f.ask("/incident/" + std::string(48, '1'), "", "text/plain").status == 404);
    CHECK(is_open());
    const HttpAnswer done = f.ask(target, "", "application/x-www-form-urlencoded");
    CHECK(done.status == 200);
    CHECK(done.fields.at(0).second.starts_with("default-src 'none'"));
    CHECK_FALSE(is_open());
}

TEST_CASE("the life of a message is for who sent it, and for the server's own tokens") {
    Fixture f;
    const auto id = f.store.deliver(f.alice, "Subject: x\r\n\r\nx", "INBOX", "<mine@a.example>");
    REQUIRE(id);
    CHECK(f.get("/api/v1/messages/mine@a.example", f.all).status == 200);
    CHECK(f.get("/api/v1/messages/mine@a.example", f.hers).status == 404);
    CHECK(f.get("/api/v1/messages/nothing@a.example", f.all).status == 404);
    const auto message = f.store->read([](const storage::Snapshot& s) -> Result<storage::MessageId> {
        TRY(const auto events, s.events().by_message_id("mine@a.example"));
        return events.front().message;
    });
    REQUIRE(message);
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) {
        return storage::SubmissionTx(tx).note(*message, storage::SubmissionNotes(f.alice, "[\"t\"]", "{\"o\":\"1\"}"));
    }));
    const HttpAnswer hers = f.get("/api/v1/messages/%3Cmine@a.example%3E", f.hers);
    CHECK(hers.status == 200);
    CHECK(says(hers, "\"tags\":[\"t\"],\"metadata\":{\"o\":\"1\"}"));
    CHECK(says(hers, "\"message_id\":\"<mine@a.example>\""));
}
