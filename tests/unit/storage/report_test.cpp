// The figures: what each event adds, how they are told apart, and that the events alone give them and the queue again,
// whatever a life was like: failed writes, stops, kills.
#include "storage/report.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <random>
#include <thread>
#include <utility>

#include "storage/context.h"
#include "storage/incidents.h"
#include "storage/report_tally.h"
#include "storage/sqlite.h"
#include "tests/support/report_house.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

using Fixture = ReportHouse;

}  // namespace

TEST_CASE("each recipient is counted as what became of it, on the day of each event, under what it went by") {
    Fixture f;
    Sender sender(*f.store, f.clock, 1);
    const QueueId id = sender.submit({"x@B.example", "y@b.example", "z@d.example"}, f.alice, "alice@a.example");
    const auto to = sender.open();
    REQUIRE(to.size() == 3);
    f.clock.advance(Milliseconds(4'000));
    REQUIRE(sender.finish(to[0].id, Sender::outcome(RecipientState::delivered, "delivered")));
    REQUIRE(sender.finish(to[1].id, Sender::outcome(RecipientState::waiting, "throttled")));
    REQUIRE(sender.finish(to[1].id, Sender::outcome(RecipientState::waiting, "throttled")));
    f.clock.advance(Milliseconds(kDayMs));
    REQUIRE(sender.finish(to[1].id, Sender::outcome(RecipientState::failed, "mailbox-full", "relay", "")));
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.queue().hold(id); }));
    const auto days = f.lines(ReportBy::day);
    REQUIRE(days.size() == 2);
    CHECK(days[0].key == "2024-10-04");
    CHECK(days[0].of(Figure::sent) == 3);
    CHECK(days[0].of(Figure::delivered) == 1);
    CHECK(days[0].of(Figure::delayed) == 1);
    CHECK(days[0].of(Figure::put_off) == 2);
    CHECK(days[0].of(Figure::bounced) == 0);
    REQUIRE(days[0].times.percentile(0.5));
    CHECK(days[0].times.percentile(0.5)->count() >= 3'500);
    CHECK(days[0].times.percentile(0.5)->count() <= 6'200);
    CHECK(days[1].of(Figure::bounced) == 1);
    CHECK(days[1].bounced_by.at("mailbox-full") == 1);
    CHECK(days[1].of(Figure::held) == 1);
    const auto to_domains = f.lines(ReportBy::destination);
    REQUIRE(to_domains.size() == 2);
    CHECK(to_domains[0].key == "b.example");
    CHECK(to_domains[0].of(Figure::sent) == 2);
    CHECK(to_domains[1].of(Figure::held) == 1);
    const auto ways = f.lines(ReportBy::way);
    REQUIRE(ways.size() == 3);
    CHECK(ways[0].key.empty());  // where it was sent, no way was chosen yet
    CHECK(ways[1].key == "direct");
    CHECK(ways[1].of(Figure::delivered) == 1);
    CHECK(ways[2].key == "relay");
    // Each recipient left first by one way, however often it was tried; who was not tried left by none.
    CHECK(ways[1].of(Figure::tried) == 2);
    CHECK(ways[1].of(Figure::put_off) == 2);
    CHECK(ways[2].of(Figure::tried) == 0);
    CHECK(ways[2].of(Figure::bounced) == 1);
    const auto routes = f.lines(ReportBy::route);
    REQUIRE(routes.size() == 2);
    CHECK(routes[0].key.empty());
    CHECK(routes[1].key == "bulk");
    CHECK(routes[1].of(Figure::bounced) == 1);
    CHECK(routes[1].bounced_by.at("mailbox-full") == 1);
    CHECK(f.lines(ReportBy::address)[1].key == "198.51.100.7");
    CHECK(f.lines(ReportBy::provider)[1].key == "google");
    CHECK(f.lines(ReportBy::account).at(0).key == "alice@a.example");
    CHECK(f.lines(ReportBy::domain).at(0).key == "a.example");
}

TEST_CASE("a filter leaves what one account or one domain sent; an account that is not there is said so") {
    Fixture f;
    Sender sender(*f.store, f.clock, 1);
    sender.submit({"x@b.example"}, f.alice, "alice@a.example");
    sender.submit({"x@b.example", "y@b.example"}, f.carol, "carol@c.example");
    ReportFilter filter;
    filter.account = "Carol@c.example";
    CHECK(f.lines(ReportBy::destination, filter).at(0).of(Figure::sent) == 2);
    filter.account.clear();
    filter.domain = "A.example";
    CHECK(f.lines(ReportBy::destination, filter).at(0).of(Figure::sent) == 1);
    filter.domain.clear();
    filter.from_day = 20'001;
    CHECK(f.lines(ReportBy::day, filter).empty());
    filter.account = "nobody@a.example";
    CHECK(f.store->read([&](const Snapshot& s) { return ReportView(s).lines(ReportBy::day, filter); }).error().code ==
          Errc::not_found);
}

TEST_CASE("complaints and suppressions count under the sender's domain, whether or not a message is there") {
    Fixture f;
    REQUIRE(f.store->write({}, [&](Tx& tx) -> Result<> {
        Event event;
        event.kind = EventKind::complained;
        event.sender = "News@A.example";
        event.recipient = "x@b.example";
        event.facts.provider = "yahoo";
        TRY_VOID(tx.events().append(event));
        event.kind = EventKind::suppressed;
        return tx.events().append(event);
    }));
    const auto domains = f.lines(ReportBy::domain);
    REQUIRE(domains.size() == 1);
    CHECK(domains[0].key == "a.example");
    CHECK(domains[0].of(Figure::complained) == 1);
    CHECK(domains[0].of(Figure::suppressed) == 1);
    CHECK(f.lines(ReportBy::provider).at(0).key == "yahoo");
    CHECK(f.rebuild().differed == 0);
}

TEST_CASE("the events alone give figures and queue again, whatever happened and whichever writes failed") {
    for (unsigned seed = 1; seed <= 12; ++seed) {
        CAPTURE(seed);
        Fixture f;
        Sender sender(*f.store, f.clock, seed);
        for (int i = 0; i < 150; ++i) sender.step();
        const auto was = f.rows();
        const ReportRebuild done = f.rebuild();
        CHECK(done.differed == 0);
        CHECK(done.queue_differs == 0);
        CHECK(done.figures > 0);
        CHECK(f.rows() == was);
        const auto replayed = f.store->read([](const Snapshot& s) { return replay_queue(s); }).value();
        CHECK(replayed == f.store->read([](const Snapshot& s) { return stored_queue(s); }).value());
        CHECK(!replayed.empty());
    }
}

TEST_CASE("the events alone say what became of every recipient, after how many attempts, and when the rest is due") {
    for (unsigned seed = 50; seed < 62; ++seed) {
        CAPTURE(seed);
        Fixture f;
        // What the queue forgets when an item is over, kept by SQLite itself.
        f.exec("CREATE TABLE ended (queue, address, state, class, attempts)");
        f.exec(
            "CREATE TRIGGER note_end AFTER UPDATE OF state ON queue_recipients WHEN NEW.state IN (2, 3, 5) BEGIN "
            "INSERT "
            "INTO ended VALUES (NEW.queue, NEW.address, NEW.state, NEW.last_class, NEW.attempts); END");
        f.allow_triggers();
        for (int part = 0; part < 3; ++part) {
            Sender sender(*f.store, f.clock, seed * 10 + static_cast<unsigned>(part));
            for (int i = 0; i < 120; ++i) sender.step();
            f.store.reopen();
            f.allow_triggers();
            Sender(*f.store, f.clock, seed).restart();
        }
        auto replayed = f.store->read([](const Snapshot& s) { return replay_queue(s, Replayed::all); }).value();
        std::vector<ReplayedRecipient> is = f.store->read([](const Snapshot& s) { return stored_queue(s); }).value();
        const std::size_t open = is.size();
        std::size_t tried_often = 0;
        REQUIRE(f.store->read([&](const Snapshot& s) -> Result<> {
            Query q = context_of(s).db.query("SELECT queue, address, state, class, attempts FROM ended");
            for (;;) {
                TRY(const bool more, q.row());
                if (!more) return {};
                ReplayedRecipient one;
                one.queue = q.i64(0);
                one.address = q.text(1);
                one.state = static_cast<RecipientState>(q.i64(2));
                one.reply_class = q.text(3);
                one.attempts = q.u32(4);
                tried_often += q.u32(4) > 1 ? 1 : 0;
                is.push_back(std::move(one));
            }
        }));
        std::ranges::sort(is);
        CHECK(replayed.size() > 100);
        CHECK(open > 0);
        CHECK(tried_often > 0);
        CHECK((replayed == is));
        const ReportRebuild done = f.rebuild();
        CHECK(done.differed == 0);
        CHECK(done.queue_differs == 0);
        // A row that is not as its events say is found.
        f.exec(
            "UPDATE queue_recipients SET attempts = attempts + 1 WHERE id = (SELECT min(id) FROM queue_recipients "
            "WHERE state IN (0, 4))");
        CHECK(f.rebuild().queue_differs == 1);
    }
}

TEST_CASE("a write that fails beside one that does not, in one commit, counts nothing") {
    Fixture f;
    Sender sender(*f.store, f.clock, 1);
    sender.submit({"x@b.example", "y@b.example"}, f.alice, "alice@a.example");
    const auto to = sender.open();
    REQUIRE(to.size() == 2);
    std::promise<void> begun;
    std::promise<void> go;
    std::thread first([&] {
        static_cast<void>(f.store->write({}, [&](Tx&) -> Result<> {
            begun.set_value();
            go.get_future().wait();
            return {};
        }));
    });
    begun.get_future().wait();
    bool failed = false;
    bool done = false;
    const Outcome delivered = Sender::outcome(RecipientState::delivered, "delivered");
    std::thread second([&] { failed = !sender.finish(to[0].id, delivered, true); });
    std::thread third([&] { done = sender.finish(to[1].id, delivered).has_value(); });
    // Both wait behind the first, and so come into one batch.
    while (f.store->statistics().pending < 2) std::this_thread::yield();
    go.set_value();
    first.join();
    second.join();
    third.join();
    CHECK(failed);
    CHECK(done);
    CHECK(f.lines(ReportBy::day).at(0).of(Figure::delivered) == 1);
    CHECK(f.rebuild().differed == 0);
}

TEST_CASE("killed at any moment and started again, figures and queue are what the events say") {
    Fixture f;
    unsigned seed = 100;
    for (int round = 0; round < 6; ++round) {
        f.store.close();
        int said[2];
        REQUIRE(::pipe(said) == 0);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            ::close(said[0]);
            auto store = Store::open(f.store.options());
            if (!store) ::_exit(1);
            Sender sender(**store, f.clock, seed);
            for (;;) {
                sender.step();
                if (::write(said[1], ".", 1) != 1) ::_exit(0);
            }
        }
        ::close(said[1]);
        char octet = 0;
        for (int i = 0; i < 30 + round * 7; ++i) REQUIRE(::read(said[0], &octet, 1) == 1);
        REQUIRE(::kill(child, SIGKILL) == 0);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        ::close(said[0]);
        ++seed;
        f.store.reopen();
        REQUIRE(f.store->write({}, [](Tx& tx) -> Result<> {
            TRY_VOID(tx.queue().recover());
            return {};
        }));
        const auto was = f.rows();
        const ReportRebuild done = f.rebuild();
        CHECK(done.differed == 0);
        CHECK(done.queue_differs == 0);
        CHECK(done.events > 0);
        CHECK(f.rows() == was);
    }
}

TEST_CASE("figures that are not as the events say are found and made right") {
    Fixture f;
    Sender sender(*f.store, f.clock, 7);
    for (int i = 0; i < 60; ++i) sender.step();
    const auto was = f.rows();
    f.exec("UPDATE report_counts SET n = n + 1 WHERE what = 0");
    f.exec("DELETE FROM report_counts WHERE what = 1");
    CHECK(f.rows() != was);
    CHECK(f.rebuild().differed > 0);
    CHECK(f.rows() == was);
    CHECK(f.rebuild().differed == 0);
}

TEST_CASE("figures are made anew a day at a time, beside the writers; what is right is not written") {
    Fixture f;
    Sender sender(*f.store, f.clock, 9);
    for (int i = 0; i < 400; ++i) sender.step();  // some weeks
    f.exec("UPDATE report_counts SET n = n + 1 WHERE what = 0");
    auto writes = f.store->statistics().writes;
    const auto own = [&] {
        const auto before = std::exchange(writes, f.store->statistics().writes);
        return writes - before;
    };
    CHECK(f.rebuild().differed > 0);
    CHECK(own() >= 3);  // not one for all
    CHECK(f.rebuild().differed == 0);
    CHECK(own() == 0);
    f.exec("UPDATE report_counts SET n = n + 1 WHERE what = 0");
    std::atomic<bool> stop = false;
    std::atomic<int> written = 0;
    std::thread writer([&] {
        Sender other(*f.store, f.clock, 10);
        while (!stop) {
            other.submit({"x@b.example", "y@c.example"}, f.alice, "alice@a.example");
            ++written;
        }
    });
    while (written == 0) std::this_thread::yield();
    CHECK(f.rebuild().differed > 0);
    stop = true;
    writer.join();
    CHECK(f.rebuild().differed == 0);
}

TEST_CASE("a day with more destinations than are told apart counts the rest as others, and loses none") {
    Fixture f;
    constexpr int kMany = 4'000 + 500;
    REQUIRE(static_cast<std::int64_t>(kMany) > kReportRowsADay);
    ReportTally tally;
    for (int i = 0; i < kMany; ++i) {
        const std::string to = fmt::format("x@d{}.example", i);
        CountedEvent event;
        event.kind = EventKind::queued;
        event.at = f.clock.now();
        event.recipient = to;
        EventFacts facts;
        facts.who = "a1";
        facts.domain = "a.example";
        tally.count(event, facts);
    }
    REQUIRE(f.store->write({}, [&](Tx& tx) -> Result<> {
        ReportRowCount known;
        return write_tally(context_of(tx).db, tally, known, Others::counted);
    }));
    const auto lines = f.lines(ReportBy::destination);
    CHECK(lines.size() == static_cast<std::size_t>(kReportRowsADay) + 1);
    CHECK(lines[0].key == "*");
    CHECK(lines[0].of(Figure::sent) == static_cast<std::uint64_t>(kMany - kReportRowsADay));
    CHECK(f.lines(ReportBy::day).at(0).of(Figure::sent) == static_cast<std::uint64_t>(kMany));
    CHECK(f.lines(ReportBy::account).at(0).of(Figure::sent) == static_cast<std::uint64_t>(kMany));
}

TEST_CASE("times stand in buckets of half an octave, and percentiles between their bounds") {
    for (const std::int64_t ms : {0LL, 127LL, 128LL, 191LL, 192LL, 255LL, 256LL, 5'000LL, 432'000'000LL}) {
        CAPTURE(ms);
        const std::size_t bucket = TimeHistogram::bucket_of(Milliseconds(ms));
        CHECK(TimeHistogram::lower_bound(bucket).count() <= ms);
        CHECK(TimeHistogram::lower_bound(bucket + 1).count() > ms);
    }
    CHECK(TimeHistogram::bucket_of(Milliseconds(-5)) == 0);
    TimeHistogram times;
    CHECK(!times.percentile(0.5));
    for (int i = 0; i < 99; ++i) times.add(TimeHistogram::bucket_of(Milliseconds(1'000)), 1);
    times.add(TimeHistogram::bucket_of(Milliseconds(3'600'000)), 1);
    CHECK(times.percentile(0.5)->count() >= 700);
    CHECK(times.percentile(0.9)->count() <= 1'100);
    CHECK(times.percentile(0.999)->count() >= 3'000'000);
}

TEST_CASE("events are read in the order they were written, each with what its message said before") {
    Fixture f;
    Sender sender(*f.store, f.clock, 1);
    const QueueId first = sender.submit({"x@b.example"}, f.alice, "alice@a.example");
    const QueueId second = sender.submit({"y@b.example"}, f.carol, "carol@c.example");
    const auto to = sender.open();
    REQUIRE(sender.finish(to[1].id, Sender::outcome(RecipientState::delivered, "delivered")));
    REQUIRE(sender.finish(to[0].id, Sender::outcome(RecipientState::failed, "policy")));
    const auto read = [&](std::int64_t after, std::size_t most) {
        return f.store->read([&](const Snapshot& s) { return s.events().behind(after, most); }).value();
    };
    const auto all = read(0, 100);
    REQUIRE(all.size() == 6);
    for (std::size_t i = 1; i < all.size(); ++i) CHECK(all[i - 1].id < all[i].id);
    CHECK(all[4].kind == EventKind::delivered);
    CHECK(all[4].queue == second);
    CHECK(all[4].sender == "carol@c.example");
    CHECK(all[4].message_id == "q@a.example");
    CHECK(all[4].facts.who == fmt::format("a{}", raw(f.carol)));
    CHECK(all[4].facts.domain == "c.example");
    CHECK(all[4].facts.way == "direct");
    CHECK(all[5].queue == first);
    CHECK(all[5].facts.reply_class == "policy");
    const auto rest = read(all[2].id, 2);
    REQUIRE(rest.size() == 2);
    CHECK(rest[0].id == all[3].id);
    CHECK(f.store->read([](const Snapshot& s) { return s.events().last_id(); }).value() == all[5].id);
}

TEST_CASE("a recipient is first tried when a way first tries it, not when none could") {
    Fixture f;
    Sender sender(*f.store, f.clock, 1);
    sender.submit({"x@b.example"}, f.alice, "alice@a.example");
    const auto to = sender.open();
    Outcome none = Sender::outcome(RecipientState::waiting, "dns", "", "");
    none.remote.clear();
    Outcome nobody = Sender::outcome(RecipientState::waiting, "network", "relay", "");
    nobody.remote.clear();
    for (const Outcome& outcome : {none, nobody, none, nobody}) REQUIRE(sender.finish(to[0].id, outcome));
    REQUIRE(sender.finish(to[0].id, Sender::outcome(RecipientState::delivered, "delivered")));
    std::uint64_t tried = 0;
    for (const ReportLine& line : f.lines(ReportBy::way)) tried += line.of(Figure::tried);
    CHECK(tried == 1);
    const auto routes = f.lines(ReportBy::route);
    REQUIRE(routes.size() == 2);
    CHECK(routes[1].key == "bulk");
    CHECK(routes[1].of(Figure::tried) == 1);
    CHECK(f.rebuild().differed == 0);
}
