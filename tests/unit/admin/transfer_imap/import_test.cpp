// An import against servers that misbehave: cut connections, changes in the middle, answers that make no sense.
#include <fmt/format.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "admin/transfer/imap_import.h"
#include "fake_imap.h"
#include "tests/support/loop_runner.h"
#include "tests/support/memory_dialer.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::transfer;

namespace {

struct Bench {
    test::TempStore store;
    storage::AccountId account = store.add_account("alice@a.example");
    net::Loop loop;
    test::MemoryDialer dialer{loop};
    test::FakeImap server;
    std::vector<std::string> notes;
    std::vector<std::string> failures;
    ImapImportOptions options;
    std::string password = "secret";
    std::size_t pauses = 0;

    explicit Bench(std::uint32_t messages) {
        for (std::uint32_t uid = 1; uid <= messages; ++uid) server.add(uid * 2, uid % 2 == 0 ? "\\Seen" : "$Label");
        dialer.serve(net::Endpoint::parse("127.0.0.1:143").value(),
                     [this](std::unique_ptr<net::Stream> stream) { return server.serve(std::move(stream)); });
        options.window_messages = 7;
    }
    ~Bench() { test::run_task(loop, dialer.join()); }

    ImapImportOutcome run() {
        ImapOutside outside;
        outside.loop = &loop;
        outside.dialer = &dialer;
        outside.note = [this](const std::string& text) { notes.push_back(text); };
        outside.pause = [this](std::chrono::milliseconds) { return ++pauses < 100; };
        outside.silence_max = std::chrono::milliseconds(2000);
        const auto url = parse_imap_url("imap+plain://alice@127.0.0.1").value();
        return import_imap(
            *store, account, url, password, options, outside, Watch(),
            [this](const std::string& name, const Error& why) { failures.push_back(name + ": " + why.context); });
    }
    // UIDs of the source that are here, by their subjects, in order.
    std::string here() {
        auto all = store->read([&](const storage::Snapshot& s) -> Result<std::string> {
            const storage::MailView& mail = s.mail(account);
            TRY(const storage::Mailbox inbox, mail.mailbox("INBOX"));
            TRY(const auto entries, mail.entries(inbox.id, 1, inbox.uid_next));
            std::vector<int> uids;
            for (const storage::Entry& entry : entries) {
                TRY(const auto facts, mail.facts(inbox.id, entry.uid));
                uids.push_back(facts.subject.empty() ? -1 : std::stoi(facts.subject));
            }
            std::ranges::sort(uids);
            std::string out;
            for (const int uid : uids) out += (out.empty() ? "" : " ") + std::to_string(uid);
            return out;
        });
        if (!all) return "!" + all.error().context;
        return *all;
    }
    std::string there() const {
        std::string out;
        for (const auto& message : server.messages) out += (out.empty() ? "" : " ") + std::to_string(message.uid);
        return out;
    }
    bool noted(std::string_view part) const {
        return std::ranges::any_of(notes, [&](const std::string& note) { return note.contains(part); });
    }
};

}  // namespace

TEST_CASE("a whole import, and a repeated one that finds nothing new") {
    Bench bench(20);
    const auto first = bench.run();
    if (!first.verdict) FAIL(first.verdict.error().context);
    CHECK(first.statistics.taken == 20);
    CHECK(bench.here() == bench.there());
    const auto second = bench.run();
    CHECK(second.verdict);
    CHECK(second.statistics.taken == 0);
    CHECK(second.statistics.known == 20);
    CHECK(second.statistics.flags_changed == 0);
    CHECK(bench.server.count("SELECT") == 0);
    CHECK(bench.server.count("STORE") == 0);
}

TEST_CASE("a connection that is cut at any point goes on without loss and without duplicates") {
    for (std::size_t cut = 0; cut < 4200; cut += 61) {
        CAPTURE(cut);
        Bench bench(9);
        bench.server.cut_after = cut;
        auto outcome = bench.run();
        // Before the first login nothing is tried twice.
        if (!outcome.verdict) outcome = bench.run();
        if (!outcome.verdict) FAIL(outcome.verdict.error().context);
        REQUIRE(bench.here() == bench.there());
        CHECK(bench.failures.empty());
        const auto again = bench.run();
        CHECK(again.statistics.taken == 0);
        REQUIRE(bench.here() == bench.there());
    }
}

TEST_CASE("an expunge in the middle shifts the numbers and loses nothing") {
    Bench bench(20);
    // While the second window is asked for, the first two messages go.
    bench.server.before["UID FETCH 2,"] = "* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n* 18 EXISTS\r\n";
    const std::vector<test::FakeImap::Message> all = bench.server.messages;
    // The server's own numbers move when it says so.
    bench.server.messages.erase(bench.server.messages.begin(), bench.server.messages.begin() + 2);
    bench.server.before["EXAMINE"] = "";
    bench.server.once["FETCH 1:7"] = [&] {
        std::string out;
        for (std::size_t i = 0; i < 7; ++i) {
            out += fmt::format("* {} FETCH (UID {} FLAGS () RFC822.SIZE 60)\r\n", i + 1, all[i].uid);
        }
        return out + "%t OK done\r\n";
    }();
    bench.server.once["EXAMINE"] = "* 20 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n%t OK done\r\n";
    const auto outcome = bench.run();
    CHECK(outcome.verdict);
    CHECK(bench.here() == bench.there());
    CHECK(bench.notes.empty());
}

TEST_CASE("odd bodies: quoted, missing, refused, empty, twice, in the wrong place") {
    Bench bench(6);
    bench.server.bodies[2] = "\"Subject: 2\"";
    bench.server.bodies[4] = "NIL";
    bench.server.bodies[6] = "{0}\r\n";
    bench.server.bodies[8] = "NIL UID 8)\r\n* 77 FETCH (FLAGS (\\Seen)";
    bench.server.before["UID FETCH"] =
        "* 3 FETCH (FLAGS (\\Seen) UID 999 BODY[] {3}\r\nabc)\r\n* 4 RECENT\r\n* XYZZY (((\r\n* OK [ALERT] tea "
        "time\r\n";
    const auto outcome = bench.run();
    CHECK(outcome.verdict);
    CHECK(bench.here() == "2 10 12");
    CHECK(bench.failures.size() == 3);
    CHECK(bench.noted("tea time"));
}

TEST_CASE("answers of servers that refuse, are busy, or are none") {
    SUBCASE("a wrong password is said at once") {
        Bench bench(1);
        bench.server.once["AUTHENTICATE"] = "%t NO [AUTHENTICATIONFAILED] nope\r\n";
        const auto outcome = bench.run();
        REQUIRE_FALSE(outcome.verdict);
        CHECK(outcome.verdict.error().code == Errc::unauthenticated);
        CHECK(bench.server.connections == 1);
    }
    SUBCASE("LOGINDISABLED is respected") {
        Bench bench(1);
        bench.server.capabilities = "IMAP4rev1 LOGINDISABLED";
        const auto outcome = bench.run();
        REQUIRE_FALSE(outcome.verdict);
        CHECK(bench.server.count("LOGIN") == 0);
        CHECK(bench.server.count("AUTH") == 0);
    }
    SUBCASE("LOGIN where there is no AUTHENTICATE, with what must be quoted") {
        Bench bench(2);
        bench.server.capabilities = "IMAP4rev1";
        bench.password = "a \"b\" \\";
        CHECK(bench.run().verdict);
        CHECK(bench.server.count("LOGIN \"alice\" \"a \\\"b\\\" \\\\\"") == 1);
        CHECK(bench.here() == "2 4");
    }
    SUBCASE("SCRAM where there is no PLAIN: a server that does not know the password is not believed") {
        Bench bench(1);
        bench.server.capabilities = "IMAP4rev1 AUTH=SCRAM-SHA-256";
        bench.server.once["AUTHENTICATE SCRAM-SHA-256"] = "+ \r\n%t OK come in\r\n";
        const auto outcome = bench.run();
        REQUIRE_FALSE(outcome.verdict);
        CHECK(outcome.verdict.error().code == Errc::unauthenticated);
        CHECK(bench.server.count("LOGIN") == 0);
        CHECK(bench.server.count("EXAMINE") == 0);
    }
    SUBCASE("a server that asks for more than was to be said") {
        Bench bench(1);
        bench.server.capabilities = "IMAP4rev1 AUTH=PLAIN";
        bench.server.once["AUTHENTICATE PLAIN"] = "+ \r\n+ more\r\n%t OK\r\n";
        CHECK_FALSE(bench.run().verdict);
    }
    SUBCASE("no IMAP at all") {
        Bench bench(1);
        bench.server.greeting = "220 mail.example ESMTP\r\n";
        const auto outcome = bench.run();
        REQUIRE_FALSE(outcome.verdict);
        CHECK(outcome.verdict.error().code == Errc::invalid);
    }
    SUBCASE("a line without end") {
        Bench bench(1);
        bench.server.greeting = "* OK " + std::string(2'000'000, 'x');
        CHECK_FALSE(bench.run().verdict);
    }
}

TEST_CASE("answers in the middle of the work") {
    SUBCASE("a goodbye, and a tag that was never sent") {
        Bench bench(20);
        bench.server.once["FETCH 8:14"] = "* BYE maintenance\r\n";
        bench.server.once["FETCH 15:20"] = "zz OK done\r\n";
        const auto outcome = bench.run();
        CHECK(outcome.verdict);
        CHECK(bench.here() == bench.there());
        CHECK(bench.server.connections == 3);
        CHECK(bench.noted("maintenance"));
    }
    SUBCASE("a server that is busy is waited for") {
        Bench bench(20);
        bench.server.once["UID FETCH"] = "%t NO [THROTTLED] Account exceeded command or bandwidth limits.\r\n";
        const auto outcome = bench.run();
        CHECK(outcome.verdict);
        CHECK(bench.here() == bench.there());
        CHECK(bench.pauses == 1);
        CHECK(bench.noted("patience"));
    }
    SUBCASE("one bad message makes the server refuse its batch") {
        Bench bench(6);
        bench.server.once["UID FETCH 2,"] = "%t NO cannot read message 3\r\n";
        bench.server.once["UID FETCH 6 "] = "%t NO cannot read it\r\n";
        const auto outcome = bench.run();
        CHECK(outcome.verdict);
        CHECK(bench.here() == "2 4 8 10 12");
        REQUIRE(bench.failures.size() == 1);
        CHECK(bench.failures[0].contains("UID 6"));
        CHECK(bench.run().statistics.taken == 1);
        CHECK(bench.here() == bench.there());
    }
    SUBCASE("a folder that cannot be opened does not stop the others") {
        Bench bench(3);
        bench.server.list = "* LIST () \"/\" broken\r\n* LIST () \"/\" INBOX\r\n";
        bench.server.once["EXAMINE \"broken\""] = "%t NO [NOPERM] no\r\n";
        const auto outcome = bench.run();
        CHECK(outcome.verdict);
        CHECK(outcome.folders_failed == 1);
        CHECK(bench.here() == bench.there());
        CHECK(bench.server.connections == 1);
    }
}

TEST_CASE("a new UIDVALIDITY makes no duplicates; two equal messages stay two") {
    Bench bench(10);
    bench.server.messages[4].body = bench.server.messages[3].body;
    CHECK(bench.run().statistics.taken == 10);
    bench.server.uid_validity = 8;
    for (auto& message : bench.server.messages) message.uid += 1000;
    const auto moved = bench.run();
    CHECK(moved.verdict);
    CHECK(moved.statistics.taken == 0);
    CHECK(moved.statistics.known == 10);
    CHECK(bench.run().statistics.taken == 0);
    CHECK(bench.here() == "2 4 6 8 8 12 14 16 18 20");
}

TEST_CASE("what is gone at the source goes here only when asked, and only when the source listed all") {
    Bench bench(10);
    CHECK(bench.run().statistics.taken == 10);
    bench.server.messages.erase(bench.server.messages.begin() + 2);
    CHECK(bench.run().statistics.removed == 0);
    bench.options.vanished = Vanished::remove;
    // It says nine and lists three.
    bench.server.once["FETCH 1:7"] = "* 1 FETCH (UID 2 FLAGS ())\r\n%t OK done\r\n";
    const auto doubtful = bench.run();
    CHECK(doubtful.verdict);
    CHECK(doubtful.statistics.removed == 0);
    CHECK(bench.noted("nothing is removed"));
    CHECK(bench.run().statistics.removed == 1);
    CHECK(bench.here() == bench.there());
    bench.server.messages.clear();
    CHECK(bench.run().statistics.removed == 9);
    CHECK(bench.here().empty());
}
