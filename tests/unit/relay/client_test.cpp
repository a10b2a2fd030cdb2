#include "relay/client.h"

#include <doctest/doctest.h>

#include <fstream>

#include "protocols/crypto/crypto.h"
#include "protocols/net/memory.h"
#include "tests/support/loop_runner.h"
#include "tests/support/scripted_remote.h"
#include "tests/support/temp_store.h"

namespace posthouse::relay {
namespace {

using test::kHangUp;

class Text final : public MessageSource {
 public:
    explicit Text(std::string text) : text_(std::move(text)) {}
    net::Task<Result<std::string_view>> next() override {
        const bool first = !given_;
        given_ = true;
        co_return first ? std::string_view(text_) : std::string_view();
    }

 private:
    std::string text_;
    bool given_ = false;
};

// Certificates are played by the memory stream, but a context must be there to be named.
struct Contexts {
    Contexts() {
        const std::vector<std::string> names{"remote.test"};
        const auto made = crypto::make_self_signed(names, 10);
        REQUIRE(made);
        std::ofstream(directory.path() + "/c.pem") << made->certificate_pem;
        std::ofstream(directory.path() + "/k.pem") << made->key_pem;
        server = net::TlsServerContext::load("t", directory.path() + "/c.pem", directory.path() + "/k.pem", {}).value();
        client = net::TlsClientContext::make(net::Verify::opportunistic, directory.path() + "/c.pem").value();
    }
    test::TempDirectory directory;
    std::unique_ptr<net::TlsServerContext> server;
    std::unique_ptr<net::TlsClientContext> client;
};

struct Exchange {
    std::optional<OpenFailure> failure;
    std::vector<Verdict> verdicts;
    Dialogue dialogue;
    bool usable = false;
};

net::Task<void> talk(net::Loop& loop, test::ScriptedRemote& remote, ClientOptions options, Envelope envelope,
                     std::string text, Exchange& out) {
    auto pair = net::make_memory_pair(loop, net::Endpoint(), net::Endpoint());
    net::TaskGroup servers(loop);
    servers.spawn("remote", remote.serve(std::move(pair.second)));
    {
        Client client(std::move(pair.first), std::move(options));
        out.failure = co_await client.open(out.dialogue);
        if (!out.failure) {
            Text message(text);
            out.verdicts = co_await client.send(envelope, message, out.dialogue);
        }
        out.usable = client.usable();
        co_await client.quit();
    }
    co_await servers.join();
}

Envelope envelope_to(std::vector<std::string> recipients) {
    Envelope out;
    out.reverse_path = "alice@home.example";
    for (std::string& address : recipients) {
        EnvelopeRecipient recipient;
        recipient.address = std::move(address);
        out.recipients.push_back(std::move(recipient));
    }
    return out;
}

Exchange run(test::ScriptedRemote& remote, ClientOptions options, Envelope envelope,
             std::string text = "Subject: x\r\n\r\n.dot\r\nbody\r\n") {
    net::Loop loop;
    Exchange out;
    options.hostname = "home.example";
    if (options.server_name.empty()) options.server_name = "remote.test";
    test::run_task(loop, talk(loop, remote, std::move(options), std::move(envelope), std::move(text), out));
    return out;
}

ClientOptions in_clear() {
    ClientOptions out;
    out.tls = TlsUse::never;
    return out;
}

Fate fate_of(test::ScriptedRemote& remote) {
    const Exchange e = run(remote, in_clear(), envelope_to({"bob@b.example"}));
    if (e.failure) return e.failure->verdict.fate;
    REQUIRE(e.verdicts.size() == 1);
    return e.verdicts[0].fate;
}

}  // namespace

TEST_CASE("a message arrives octet for octet, with and without PIPELINING") {
    for (const bool pipelining : {true, false}) {
        CAPTURE(pipelining);
        test::ScriptedRemote remote;
        if (!pipelining) remote.keywords = {"8BITMIME"};
        const Exchange e = run(remote, in_clear(), envelope_to({"bob@b.example", "carol@b.example"}));
        REQUIRE_FALSE(e.failure);
        REQUIRE(e.verdicts.size() == 2);
        CHECK(e.verdicts[0].fate == Fate::delivered);
        CHECK(e.verdicts[1].fate == Fate::delivered);
        CHECK(e.verdicts[0].reply == "250 2.0.0 queued");
        REQUIRE(remote.messages.size() == 1);
        CHECK(remote.messages[0] == "Subject: x\r\n\r\n.dot\r\nbody\r\n");
        CHECK(e.usable);
        CHECK(remote.count("QUIT") == 1);
        CHECK(e.dialogue.text().contains("C: RCPT TO:<carol@b.example>"));
    }
}

TEST_CASE("what each reply means for the recipient, RFC 5321 4.2.1") {
    struct Case {
        const char* key;
        std::string reply;
        Fate fate;
    };
    const std::string hang_up(kHangUp);
    const Case cases[] = {
        {"(greeting)", "421 4.3.2 not now" + hang_up, Fate::deferred},
        {"(greeting)", "554 5.7.1 never", Fate::failed},
        {"(greeting)", hang_up, Fate::deferred},
        {"(greeting)", "220 lf only\n" + hang_up, Fate::deferred},
        {"EHLO", "421 4.3.2 going down" + hang_up, Fate::deferred},
        {"EHLO", hang_up, Fate::deferred},
        {"MAIL", "451 4.7.1 later", Fate::deferred},
        {"MAIL", "550 5.7.1 no", Fate::failed},
        {"MAIL", "550 5.7.1 no" + hang_up, Fate::failed},  // the first refusal stands
        {"MAIL", "garbage", Fate::deferred},
        {"RCPT", "450 4.2.0 greylisted", Fate::deferred},
        {"RCPT", "550 5.1.1 unknown", Fate::failed},
        {"RCPT", "550 5.1.1 unknown" + hang_up, Fate::failed},
        {"RCPT", "452 4.2.2 full", Fate::deferred},
        {"RCPT", hang_up, Fate::deferred},
        {"DATA", "451 4.3.0 no", Fate::deferred},
        {"DATA", "554 5.6.0 no", Fate::failed},
        {"DATA", "250 what?", Fate::deferred},
        {"DATA", "354 go\r\n250 early", Fate::deferred},  // an answer that came before its question
        {"DATA", "354 go" + hang_up, Fate::deferred},
        {"(message)", hang_up, Fate::deferred},
        {"(message)", "552 5.3.4 too large" + hang_up, Fate::failed},
        {".", "250 2.0.0 ok", Fate::delivered},
        {".", "451 4.3.0 disk full", Fate::deferred},
        {".", "554 5.7.1 spam", Fate::failed},
        {".", hang_up, Fate::deferred},
    };
    for (const Case& c : cases) {
        for (const bool pipelining : {true, false}) {
            CAPTURE(c.key);
            CAPTURE(c.reply);
            CAPTURE(pipelining);
            test::ScriptedRemote remote;
            if (!pipelining) remote.keywords = {"8BITMIME"};
            remote.always(c.key, c.reply);
            CHECK(fate_of(remote) == c.fate);
        }
    }
}

TEST_CASE("RFC 5321 4.2: replies beyond the limits end the connection, long ones within them do not") {
    std::string many;
    for (int i = 0; i < 90; ++i) many += "250-X-KEYWORD" + std::to_string(i) + "\r\n";
    test::ScriptedRemote inside;
    inside.always("EHLO", many + "250 HELP");
    CHECK(fate_of(inside) == Fate::delivered);
    test::ScriptedRemote beyond;
    beyond.always("EHLO", many + many + "250 HELP");
    CHECK(fate_of(beyond) == Fate::deferred);
}

TEST_CASE("a server without EHLO is spoken to with HELO; RCPT 452 after others is asked again") {
    test::ScriptedRemote old;
    old.always("EHLO", "502 what?");
    CHECK(fate_of(old) == Fate::delivered);
    CHECK(old.count("HELO") == 1);
    test::ScriptedRemote few;
    few.always("RCPT TO:<c@", "452 4.5.3 too many");
    const Exchange e = run(few, in_clear(), envelope_to({"b@b.example", "c@b.example"}));
    CHECK(e.verdicts[0].fate == Fate::delivered);
    CHECK(e.verdicts[1].fate == Fate::again);
}

TEST_CASE("RFC 5321 4.5.3.1.10: 552 and 452 for too many recipients are for now, whoever they hit") {
    for (const bool pipelining : {true, false}) {
        for (const char* const reply : {"552 Too many recipients", "452 4.5.3 too many", "552 5.5.3 too many"}) {
            CAPTURE(pipelining);
            CAPTURE(reply);
            test::ScriptedRemote first;
            if (!pipelining) first.keywords = {"8BITMIME"};
            first.always("RCPT TO:<b@", reply);
            const Exchange e = run(first, in_clear(), envelope_to({"b@b.example", "c@b.example"}));
            CHECK(e.verdicts[0].fate == Fate::again);
            CHECK(e.verdicts[1].fate == Fate::delivered);
            test::ScriptedRemote nobody;
            if (!pipelining) nobody.keywords = {"8BITMIME"};
            nobody.always("RCPT", reply);
            CHECK(fate_of(nobody) == Fate::deferred);
        }
    }
    // A full mailbox says 552, too.
    test::ScriptedRemote full;
    full.always("RCPT TO:<b@", "552 Requested mail action aborted: exceeded storage allocation");
    CHECK(run(full, in_clear(), envelope_to({"b@b.example", "c@b.example"})).verdicts[0].fate == Fate::failed);
}

TEST_CASE("pipelined DATA without a recipient sends nothing but a dot, RFC 2920 3.1") {
    test::ScriptedRemote remote;
    remote.always("RCPT", "550 5.1.1 unknown");
    const Exchange e = run(remote, in_clear(), envelope_to({"b@b.example"}));
    CHECK(e.verdicts[0].fate == Fate::failed);
    REQUIRE(remote.messages.size() == 1);
    CHECK(remote.messages[0].empty());
    CHECK(e.usable);
}

TEST_CASE("RFC 5321 4.1.1.5: a transaction that came to nothing is reset before the connection is used again") {
    for (const bool pipelining : {true, false}) {
        for (const char* refused : {"RCPT", "DATA"}) {
            CAPTURE(pipelining);
            CAPTURE(refused);
            test::ScriptedRemote remote;
            if (!pipelining) remote.keywords = {"8BITMIME"};
            remote.always(refused, "554 5.5.1 no");
            if (std::string_view(refused) == "RCPT") remote.always("DATA", "554 5.5.1 no valid recipients");
            const Exchange e = run(remote, in_clear(), envelope_to({"b@b.example"}));
            CHECK(e.verdicts[0].fate == Fate::failed);
            CHECK(remote.count("RSET") == 1);
            CHECK(e.usable);
        }
    }
    test::ScriptedRemote content;
    content.always(".", "554 5.7.1 no");
    CHECK(run(content, in_clear(), envelope_to({"b@b.example"})).usable);
    CHECK(content.count("RSET") == 0);  // the answer to the dot has ended it
}

TEST_CASE("RFC 2920 3.1: MAIL refused and yet RCPT and DATA taken: nobody gets an empty message") {
    test::ScriptedRemote remote;
    remote.always("MAIL", "503 5.5.1 nested MAIL command");
    const Exchange e = run(remote, in_clear(), envelope_to({"b@b.example"}));
    CHECK(e.verdicts[0].fate == Fate::failed);
    CHECK(remote.messages.empty());
    CHECK_FALSE(e.usable);
}

TEST_CASE("S48, RFC 6531 3.2 and RFC 1870 6.1: what the next hop cannot take is refused here") {
    test::ScriptedRemote remote;
    Envelope utf8 = envelope_to({"bob@b.example"});
    utf8.needs_smtputf8 = true;
    utf8.mail.smtputf8 = true;
    CHECK(run(remote, in_clear(), utf8).verdicts[0].enhanced == "5.6.7");
    utf8.needs_smtputf8 = false;  // asked for, but all ASCII: goes without the keyword
    CHECK(run(remote, in_clear(), utf8).verdicts[0].fate == Fate::delivered);
    CHECK(remote.count("MAIL FROM:<alice@home.example>") == 1);
    Envelope large = envelope_to({"bob@b.example"});
    large.mail.size_octets = 20'000'000;
    CHECK(run(remote, in_clear(), large).verdicts[0].enhanced == "5.3.4");
}

TEST_CASE("S23, S24, conformance/smtp-starttls: opportunistic and required TLS against a misbehaving server") {
    Contexts contexts;
    ClientOptions loose;
    loose.context = contexts.client.get();
    ClientOptions strict = loose;
    strict.tls = TlsUse::required;
    strict.credentials = sasl::ClientLogin("alice", "sesame-street");
    struct Case {
        const char* name;
        std::vector<std::string> keywords;
        std::string answer;  // to STARTTLS; "" is the standard one
        bool delivers;       // opportunistic, on this connection
        bool retries;        // opportunistic, on a new one in clear
    };
    const std::string hang_up(kHangUp);
    const Case cases[] = {
        {"O_1 not offered", {"AUTH PLAIN LOGIN"}, "", true, false},
        {"O_2 502", {"STARTTLS"}, "502 Command not implemented", true, false},
        {"O_3 454", {"STARTTLS"}, "454 TLS not available due to temporary reason", true, false},
        {"O_4 354", {"STARTTLS"}, "354 do something else", false, true},
        {"221", {"STARTTLS"}, "221 bye" + hang_up, false, true},
        {"garbage", {"STARTTLS"}, "nonsense", false, true},
    };
    for (const Case& c : cases) {
        CAPTURE(c.name);
        test::ScriptedRemote remote;
        remote.keywords = c.keywords;
        if (!c.answer.empty()) remote.always("STARTTLS", c.answer);
        const Exchange open = run(remote, loose, envelope_to({"bob@b.example"}));
        CHECK(open.failure.has_value() == !c.delivers);
        if (open.failure) CHECK(open.failure->retry_in_clear == c.retries);
        remote.lines.clear();
        const Exchange closed = run(remote, strict, envelope_to({"bob@b.example"}));
        REQUIRE(closed.failure);
        CHECK(closed.failure->verdict.fate == Fate::deferred);
        CHECK_FALSE(closed.failure->retry_in_clear);
        CHECK(remote.count("MAIL") == 0);
        CHECK(remote.count("AUTH") == 0);
    }
}

TEST_CASE("S23, CVE-2021-38371: octets behind the 220 are dropped; EHLO is said again; AUTH goes over TLS only") {
    Contexts contexts;
    test::ScriptedRemote remote;
    remote.keywords = {"STARTTLS", "PIPELINING"};
    remote.keywords_tls = {"AUTH LOGIN PLAIN"};
    remote.tls = contexts.server.get();
    remote.always("STARTTLS", "220 go\r\n250-injected\r\n250 AUTH CRAM-MD5");
    ClientOptions options;
    options.tls = TlsUse::required;
    options.context = contexts.client.get();
    options.credentials = sasl::ClientLogin("alice", "sesame-street");
    const Exchange e = run(remote, options, envelope_to({"bob@b.example"}));
    CAPTURE(e.dialogue.text());
    REQUIRE_FALSE(e.failure);
    CHECK(e.verdicts[0].fate == Fate::delivered);
    CHECK(remote.count("EHLO") == 2);
    CHECK(e.dialogue.text().contains("were dropped"));
    CHECK_FALSE(e.dialogue.text().contains("injected"));
    CHECK_FALSE(e.dialogue.text().contains("sesame-street"));
    CHECK_FALSE(e.dialogue.text().contains(crypto::base64_encode(std::string("\0alice\0sesame-street", 20))));
    CHECK(e.dialogue.text().contains("C: AUTH PLAIN ****"));
}

TEST_CASE(
    "SCRAM is tried before PLAIN; refused, the password goes over the checked connection; an impostor gets none") {
    Contexts contexts;
    ClientOptions options;
    options.tls = TlsUse::required;
    options.context = contexts.client.get();
    options.credentials = sasl::ClientLogin("alice", "sesame-street");
    const auto remote_with = [&](std::string answer) {
        auto remote = std::make_unique<test::ScriptedRemote>();
        remote->keywords = {"STARTTLS"};
        remote->keywords_tls = {"AUTH PLAIN SCRAM-SHA-256"};
        remote->tls = contexts.server.get();
        remote->once("AUTH SCRAM-SHA-256", std::move(answer));
        return remote;
    };
    const auto refusing = remote_with("535 5.7.8 no keys");
    const Exchange e = run(*refusing, options, envelope_to({"bob@b.example"}));
    CAPTURE(e.dialogue.text());
    REQUIRE_FALSE(e.failure);
    CHECK(e.verdicts[0].fate == Fate::delivered);
    REQUIRE(refusing->count("AUTH") == 2);
    CHECK(refusing->count("AUTH PLAIN") == 1);
    CHECK_FALSE(e.dialogue.text().contains("sesame"));
    const auto busy = remote_with("454 4.7.0 not now");
    CHECK(run(*busy, options, envelope_to({"bob@b.example"})).failure->verdict.fate == Fate::deferred);
    CHECK(busy->count("AUTH PLAIN") == 0);
    const auto impostor = remote_with("235 2.7.0 come in");
    const Exchange let_in = run(*impostor, options, envelope_to({"bob@b.example"}));
    REQUIRE(let_in.failure);
    CHECK(let_in.failure->verdict.reply.contains("did not prove"));
    CHECK(impostor->count("AUTH PLAIN") == 0);
    CHECK(impostor->count("MAIL") == 0);
}

TEST_CASE("a login that is refused, or not offered, puts the mail off and says so") {
    Contexts contexts;
    ClientOptions options;
    options.tls = TlsUse::required;
    options.context = contexts.client.get();
    options.credentials = sasl::ClientLogin("alice", "sesame-street");
    test::ScriptedRemote remote;
    remote.keywords = {"STARTTLS", "AUTH LOGIN"};
    remote.tls = contexts.server.get();
    remote.once("AUTH LOGIN", "334 VXNlcm5hbWU6");
    remote.once("YWxpY2U=", "334 UGFzc3dvcmQ6");
    remote.once(crypto::base64_encode("sesame-street"), "535 5.7.8 no");
    const Exchange e = run(remote, options, envelope_to({"bob@b.example"}));
    REQUIRE(e.failure);
    CHECK(e.failure->verdict.fate == Fate::deferred);
    CHECK(e.failure->verdict.reply.contains("password of the way"));
    CHECK_FALSE(e.dialogue.text().contains("c2VzYW1l"));
    test::ScriptedRemote none;
    none.keywords = {"STARTTLS", "AUTH GSSAPI"};
    none.tls = contexts.server.get();
    CHECK(run(none, options, envelope_to({"bob@b.example"})).failure->verdict.fate == Fate::deferred);
    CHECK(none.count("AUTH") == 0);
}

}  // namespace posthouse::relay
