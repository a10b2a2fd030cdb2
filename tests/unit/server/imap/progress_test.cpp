// A command that takes long is told to go on (RFC 9585): the pool is held until the client has heard of it.
#include <doctest/doctest.h>

#include <latch>

#include "tests/support/imap_host.h"
#include "tests/support/loop_runner.h"

namespace {

using namespace posthouse;
using server::imap::format_progress;
using server::imap::ProgressCount;

net::Task<std::string> line_of(net::BufferedStream& client) {
    const auto line = co_await client.read_line(64UL * 1024);
    co_return line ? std::string(*line) : "ended: " + line.error().context;
}

// Up to the first line that starts so.
net::Task<std::string> line_with(net::BufferedStream& client, std::string start) {
    for (;;) {
        std::string line = co_await line_of(client);
        if (line.starts_with(start) || line.starts_with("ended: ")) co_return line;
    }
}

net::Task<void> ask(net::BufferedStream& client, std::string command) {
    static_cast<void>(co_await client.write(command + "\r\n"));
}

struct Heard {
    std::string progress;
    std::string found;
    std::string end;
    std::string next;
};

net::Task<Heard> search_slowly(net::BufferedStream& client, test::ImapHost& host) {
    Heard out;
    co_await ask(client, "a LOGIN alice@a.test secret");
    static_cast<void>(co_await line_with(client, "a "));
    co_await ask(client, "b SELECT INBOX");
    static_cast<void>(co_await line_with(client, "b "));
    std::latch release(1);
    std::latch ended(2);
    for (int thread = 0; thread < 2; ++thread) {
        const bool taken = host.pool->submit([&release, &ended] {
            release.wait();
            ended.count_down();
        });
        REQUIRE(taken);
    }
    co_await ask(client, "c SEARCH BODY three");
    out.progress = co_await line_of(client);
    release.count_down();
    ended.wait();
    out.found = co_await line_with(client, "* SEARCH");
    out.end = co_await line_with(client, "c ");
    co_await ask(client, "d LOGOUT");
    out.next = co_await line_of(client);
    static_cast<void>(co_await line_with(client, "d "));
    co_return out;
}

TEST_CASE("RFC 9585 4: a long SEARCH tells how far it is, and ends as ever") {
    net::Loop loop;
    test::ImapHost host(loop);
    host.deps.limits.progress_interval = std::chrono::milliseconds(1);
    const auto account = host.add_account("alice@a.test", "secret");
    for (const char* word : {"one", "two", "three"}) {
        REQUIRE(host.deliver(account, "INBOX", "Subject: x\r\n\r\nbody " + std::string(word) + "\r\n"));
    }
    net::MemoryPair pair =
        net::make_memory_pair(loop, net::Endpoint(test::must(net::IpAddress::parse("127.0.0.1")), 143),
                              net::Endpoint(test::must(net::IpAddress::parse("127.0.0.1")), 40000));
    net::BufferedStream client(std::move(pair.second));
    client.raw().expires_in(std::chrono::minutes(1));
    net::TaskGroup sessions(loop);
    sessions.spawn("imap", server::imap::serve_connection(std::move(pair.first), host.deps));
    const Heard heard = test::run_task(loop, search_slowly(client, host));
    CHECK(heard.progress == "* OK [INPROGRESS (\"c\" 0 3)] 0% done");
    CHECK(heard.found == "* SEARCH 3");
    CHECK(heard.end.starts_with("c OK "));
    CHECK(heard.next.starts_with("* BYE "));
    test::run_task(loop, sessions.join());
}

// A session in INBOX whose next command finds the pool and the commit thread busy until it has told that it goes on.
net::Task<Heard> run_held(net::BufferedStream& client, test::ImapHost& host, std::string command) {
    Heard out;
    co_await ask(client, "a LOGIN alice@a.test secret");
    static_cast<void>(co_await line_with(client, "a "));
    co_await ask(client, "b SELECT INBOX");
    static_cast<void>(co_await line_with(client, "b "));
    co_await ask(client, "b2 STORE 3 +FLAGS.SILENT (\\Deleted)");
    static_cast<void>(co_await line_with(client, "b2 "));
    std::latch release(1);
    std::latch ended(3);
    const auto hold = [&release, &ended] {
        release.wait();
        ended.count_down();
    };
    for (int thread = 0; thread < 2; ++thread) REQUIRE(host.pool->submit(hold));
    auto write = [hold](storage::Tx&) -> Result<> {
        hold();
        return {};
    };
    host.store->submit({}, std::move(write), host.loop, [](Result<>) {});
    co_await ask(client, "c " + command);
    out.progress = co_await line_with(client, "* OK [INPROGRESS ");
    release.count_down();
    ended.wait();
    out.end = co_await line_with(client, "c ");
    co_await ask(client, "d LOGOUT");
    static_cast<void>(co_await line_with(client, "d "));
    co_return out;
}

net::Task<Heard> fetch_much(net::BufferedStream& client) {
    Heard out;
    co_await ask(client, "a LOGIN alice@a.test secret");
    static_cast<void>(co_await line_with(client, "a "));
    co_await ask(client, "b SELECT INBOX");
    static_cast<void>(co_await line_with(client, "b "));
    co_await ask(client, "c FETCH 1:* BODY.PEEK[]");
    out.progress = co_await line_with(client, "* OK [INPROGRESS ");
    out.end = co_await line_with(client, "c ");
    co_await ask(client, "d LOGOUT");
    static_cast<void>(co_await line_with(client, "d "));
    co_return out;
}

struct Connected {
    explicit Connected(test::ImapHost& host) : sessions(host.loop) {
        const net::IpAddress local = test::must(net::IpAddress::parse("127.0.0.1"));
        net::MemoryPair pair =
            net::make_memory_pair(host.loop, net::Endpoint(local, 143), net::Endpoint(local, 40000));
        client = std::make_unique<net::BufferedStream>(std::move(pair.second));
        client->raw().expires_in(std::chrono::minutes(1));
        sessions.spawn("imap", server::imap::serve_connection(std::move(pair.first), host.deps));
    }
    std::unique_ptr<net::BufferedStream> client;
    net::TaskGroup sessions;
};

TEST_CASE("RFC 9585 4: whatever takes long tells that it goes on") {
    for (const char* command :
         {"COPY 1:2 Archive", "UID MOVE 1:2 Archive", "STORE 1:2 +FLAGS (\\Flagged)", "EXPUNGE", "UID EXPUNGE 1:3",
          "SORT (SUBJECT) UTF-8 ALL", "UID SORT RETURN (ALL) (DATE) UTF-8 BODY two", "UID SEARCH BODY three",
          "CLOSE"}) {
        CAPTURE(command);
        net::Loop loop;
        test::ImapHost host(loop);
        host.deps.limits.progress_interval = std::chrono::milliseconds(1);
        const auto account = host.add_account("alice@a.test", "secret");
        for (const char* word : {"one", "two", "three"}) {
            REQUIRE(host.deliver(account, "INBOX", "Subject: x\r\n\r\nbody " + std::string(word) + "\r\n"));
        }
        Connected to(host);
        const Heard heard = test::run_task(loop, run_held(*to.client, host, command));
        CHECK(heard.progress.starts_with("* OK [INPROGRESS (\"c\" "));
        CHECK(heard.end.starts_with("c OK "));
        test::run_task(loop, to.sessions.join());
    }
}

TEST_CASE("RFC 9585 4: FETCH tells between two batches how far it is") {
    net::Loop loop;
    test::ImapHost host(loop);
    host.deps.limits.progress_interval = std::chrono::milliseconds(0);
    const auto account = host.add_account("alice@a.test", "secret");
    std::string text = "Subject: large\r\n\r\n";
    for (int i = 0; i < 20'000; ++i) text += "a line of seventy characters, so that it reads like any other text\r\n";
    for (int i = 0; i < 3; ++i) REQUIRE(host.deliver(account, "INBOX", text));
    Connected to(host);
    const Heard heard = test::run_task(loop, fetch_much(*to.client));
    CHECK(heard.progress == "* OK [INPROGRESS (\"c\" 1 3)] 33% done");
    CHECK(heard.end.starts_with("c OK "));
    test::run_task(loop, to.sessions.join());
}

TEST_CASE("RFC 9585 5: the response code") {
    CHECK(format_progress("A001", ProgressCount(454, 1000)) == "[INPROGRESS (\"A001\" 454 1000)] 45% done");
    CHECK(format_progress("A001", ProgressCount()) == "[INPROGRESS (\"A001\" NIL NIL)] Still working");
    CHECK(format_progress("A001", ProgressCount(7, 7)) == "[INPROGRESS (\"A001\" NIL NIL)] Still working");
    CHECK(format_progress("A]1", ProgressCount(1, 2)) == "[INPROGRESS (NIL 1 2)] 50% done");
}

}  // namespace
