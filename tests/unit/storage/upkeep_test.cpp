// The quiet work: purge, retention, the memory of QRESYNC, compaction. What stays must read octet for octet, and the
// counters must agree with the rows after every step.
#include "storage/upkeep/upkeep.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <random>

#include "storage/context.h"
#include "storage/report.h"
#include "storage/sqlite.h"
#include "storage/streams.h"
#include "storage/submissions.h"
#include "storage/takers.h"
#include "storage/upkeep/retention.h"
#include "tests/support/temp_store.h"
#include "tests/support/turned_clock.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

/// Words, so that it packs; the number makes each another.
std::string text_of(int number, std::size_t octets) {
    std::string out = fmt::format("Subject: number {}\r\n\r\n", number);
    std::minstd_rand random(static_cast<unsigned>(number + 1));
    while (out.size() < octets) out += fmt::format("word{} ", random() % 1000);
    return out;
}

struct Fixture {
    Fixture()
        : store([this](StoreOptions& options) {
              options.clock = &clock;
              options.segment_octets_max = 64 * 1024;
          }) {
        set("purge.messages_per_second", "1000000");
        set("compact.octets_per_second", "1000000000");
    }
    void fill(int count, std::size_t octets = 4000, const std::string& mailbox = "INBOX") {
        for (int i = 0; i < count; ++i) {
            const int number = ++delivered;
            REQUIRE(store.deliver(alice, text_of(number, octets), mailbox));
        }
    }
    void set(const std::string& key, const std::string& value) {
        REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().set_setting(key, value); }));
    }
    void expunge(const std::string& mailbox, const std::vector<Uid>& uids) {
        const MailboxId id = store.mailbox(alice, mailbox).id;
        REQUIRE(store->write_value({}, [&](Tx& tx) { return tx.mail(alice).expunge(id, uids); }));
    }
    /// Steps until the job wants to rest.
    void run(Job& job) {
        for (int i = 0; i < 10'000; ++i) {
            const auto rest = job.step();
            if (!rest) FAIL(rest.error().context);
            if (rest->count() > 0) return;
        }
        FAIL("the job never rests");
    }
    void purge() { run(*make_purge_job(*store, metrics, clock, {})); }
    /// When undelete has run out for all that was expunged so far.
    void purge_later() {
        clock.advance(std::chrono::hours(24 * 15));
        purge();
    }
    void compact() { run(*make_compact_job(*store, metrics)); }
    std::int64_t ask(Sql sql) {
        auto db = Connection::open(store.path() + "/mail.db", Connection::Mode::read, 1 << 20);
        REQUIRE(db);
        return *(*db)->value(sql);
    }
    std::uintmax_t octets_on_disk() {
        std::uintmax_t sum = 0;
        for (const auto& file : std::filesystem::directory_iterator(store.path() + "/segments"))
            sum += file.file_size();
        return sum;
    }
    std::string read(const std::string& mailbox, Uid uid) {
        auto text = store->read([&](const Snapshot& s) -> Result<std::string> {
            TRY(const Mailbox box, s.mail(alice).mailbox(mailbox));
            TRY(const BodyReader body, s.mail(alice).body(box.id, uid));
            return body.read_all();
        });
        if (!text) FAIL(text.error().context);
        return *text;
    }
    void check_rows() {
        CHECK(ask("SELECT count(*) FROM messages m WHERE refs <> (SELECT count(*) FROM entries e WHERE e.message = "
                  "m.id) + (SELECT count(*) FROM deleted_entries d WHERE d.message = m.id)") == 0);
        CHECK(ask("SELECT count(*) FROM segments s WHERE dead_octets <> octets - 16 - (SELECT "
                  "coalesce(sum(stored_octets + 32), 0) FROM messages m WHERE m.segment = s.id)") == 0);
        CHECK(ask("SELECT count(*) FROM messages WHERE segment NOT IN (SELECT id FROM segments)") == 0);
    }

    test::TurnedClock clock{1'800'000'000'000};
    Metrics metrics;
    TempStore store;
    AccountId alice = store.add_account("alice@a.example");
    int delivered = 0;
};

std::vector<Uid> uids(Uid first, Uid last) {
    std::vector<Uid> out;
    for (Uid uid = first; uid <= last; ++uid) out.push_back(uid);
    return out;
}

}  // namespace

TEST_CASE("purge takes what undelete no longer covers, and only that") {
    Fixture f;
    f.fill(6);
    f.expunge("INBOX", {1, 2});
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.mail(f.alice).remove("Junk"); }));
    f.clock.advance(std::chrono::hours(24 * 10));
    f.expunge("INBOX", {3});
    f.clock.advance(std::chrono::hours(24 * 5));
    f.purge();
    CHECK(f.ask("SELECT count(*) FROM deleted_entries") == 1);
    CHECK(f.ask("SELECT count(*) FROM deleted_mailboxes") == 0);
    CHECK(f.ask("SELECT count(*) FROM messages") == 4);
    CHECK(f.metrics.counter("purged_messages_total", "").get() == 2);
    f.check_rows();
    f.set("undelete.days", "0");
    f.clock.advance(Milliseconds(1));
    f.purge();
    CHECK(f.ask("SELECT count(*) FROM messages") == 3);
    f.check_rows();
}

TEST_CASE("more than one step of removed messages is purged, and a copy elsewhere keeps its body") {
    Fixture f;
    f.fill(450, 100);
    const MailboxId inbox = f.store.mailbox(f.alice, "INBOX").id;
    const MailboxId archive = f.store.mailbox(f.alice, "Archive").id;
    const std::vector<Uid> one = {7};
    REQUIRE(f.store->write_value({}, [&](Tx& tx) { return tx.mail(f.alice).copy(inbox, one, archive); }));
    f.expunge("INBOX", uids(1, 450));
    f.purge_later();
    CHECK(f.ask("SELECT count(*) FROM deleted_entries") == 0);
    CHECK(f.read("Archive", 1) == text_of(7, 100));
    f.check_rows();
}

TEST_CASE("the narrowest retention rule counts") {
    Mailbox junk;
    junk.name = "Spam";
    junk.special_use = SpecialUse::junk;
    const std::vector<RetentionRule> rules = {{"", "\\Junk", 30},
                                              {"", "INBOX", 1000},
                                              {"a.example", "\\Junk", 20},
                                              {"alice@a.example", "\\Junk", 10},
                                              {"alice@a.example", "Spam", 5}};
    CHECK(find_rule(rules, "alice@a.example", junk)->days == 5);
    CHECK(find_rule(rules, "bob@a.example", junk)->days == 20);
    CHECK(find_rule(rules, "carol@c.example", junk)->days == 30);
    junk.special_use = SpecialUse::none;
    CHECK(find_rule(rules, "carol@c.example", junk) == nullptr);
}

TEST_CASE("retention expunges what is old, by the ordinary way, and nothing without a rule") {
    Fixture f;
    f.fill(3, 100, "Junk");
    f.fill(2, 100);
    f.clock.advance(std::chrono::hours(24 * 31));
    f.fill(1, 100, "Junk");
    f.purge();
    CHECK(f.store.mailbox(f.alice, "Junk").messages == 4);
    REQUIRE(f.store->write({}, [](Tx& tx) { return tx.catalog().set_retention({"", "\\Junk", 30}); }));
    int told = 0;
    f.store->subscribe([&](const CommitNotice& notice) { told += notice.mailboxes.empty() ? 0 : 1; });
    f.purge();
    CHECK(f.store.mailbox(f.alice, "Junk").messages == 1);
    CHECK(f.store.mailbox(f.alice, "INBOX").messages == 2);
    CHECK(told > 0);
    CHECK(f.ask("SELECT count(*) FROM deleted_entries") == 3);  // undelete covers them
    // A rule of zero days for an account keeps its mail for ever.
    REQUIRE(f.store->write({}, [](Tx& tx) { return tx.catalog().set_retention({"alice@a.example", "\\Junk", 0}); }));
    f.clock.advance(std::chrono::hours(24 * 40));
    f.set("undelete.days", "3650");
    f.purge();
    CHECK(f.store.mailbox(f.alice, "Junk").messages == 1);
}

TEST_CASE("what QRESYNC remembers is bounded, and what is forgotten is told as everything that is not there") {
    Fixture f;
    f.fill(20, 100);
    for (Uid uid = 1; uid <= 15; ++uid) f.expunge("INBOX", {uid});
    const MailboxId inbox = f.store.mailbox(f.alice, "INBOX").id;
    const ModSeq last = f.store.mailbox(f.alice, "INBOX").highest_modseq;
    const auto since = [&](ModSeq modseq) {
        return *f.store->read([&](const Snapshot& s) { return s.mail(f.alice).expunged_since(inbox, modseq); });
    };
    CHECK(since(last - 15) == uids(1, 15));
    CHECK(*trim_expunged(*f.store, inbox, 5) == 10);
    CHECK(f.ask("SELECT count(*) FROM expunged") == 6);  // five and the mark
    CHECK(since(last - 5) == uids(11, 15));
    CHECK(since(last - 15) == uids(1, 15));
    CHECK(since(1) == uids(1, 15));
    CHECK(*trim_expunged(*f.store, inbox, 5) <= 1);
    CHECK(since(last) == std::vector<Uid>());
}

TEST_CASE("compaction gives the space back and every message reads as before") {
    Fixture f;
    f.fill(120);
    std::vector<Uid> gone;
    for (Uid uid = 1; uid <= 120; ++uid) {
        if (uid % 5 != 0) gone.push_back(uid);
    }
    const auto before = f.octets_on_disk();
    f.expunge("INBOX", gone);
    f.purge_later();
    f.check_rows();
    f.compact();
    f.check_rows();
    CHECK(f.octets_on_disk() < before / 4);
    CHECK(f.ask("SELECT count(*) FROM messages WHERE stored_octets < size_octets") > 10);  // packed
    CHECK(f.metrics.counter("compacted_octets_total", "").get() > 200'000);
    for (Uid uid = 5; uid <= 120; uid += 5) CHECK(f.read("INBOX", uid) == text_of(static_cast<int>(uid), 4000));
    // Numbers are not used again, by this process and by others.
    const std::int64_t highest = f.ask("SELECT max(id) FROM segments");
    f.store.reopen();
    f.fill(30);
    CHECK(f.ask("SELECT max(id) FROM segments") > highest);
    f.compact();
    f.check_rows();
}

TEST_CASE("a snapshot from before a compaction still reads all of it, in this process and in another") {
    Fixture f;
    f.fill(40);
    std::vector<Uid> gone = uids(1, 30);
    f.expunge("INBOX", gone);
    f.purge_later();
    const auto other = f.store.open_another();
    const auto check = [&](Store& reader) {
        const auto done = reader.read([&](const Snapshot& s) -> Result<> {
            TRY(const Mailbox box, s.mail(f.alice).mailbox("INBOX"));
            f.compact();
            for (Uid uid = 31; uid <= 40; ++uid) {
                TRY(const BodyReader body, s.mail(f.alice).body(box.id, uid));
                TRY(const std::string text, body.read_all());
                CHECK(text == text_of(static_cast<int>(uid), 4000));
            }
            return {};
        });
        if (!done) FAIL(done.error().context);
    };
    SUBCASE("in this process") { check(*f.store); }
    SUBCASE("in another") { check(*other); }
    CHECK(f.ask("SELECT count(*) FROM segments WHERE id = 1") == 0);
}

TEST_CASE("a reader that was opened before goes on while its segment is removed") {
    Fixture f;
    f.fill(20);
    f.expunge("INBOX", uids(2, 20));
    f.purge_later();
    auto body = f.store->read([&](const Snapshot& s) -> Result<BodyReader> {
        TRY(const Mailbox box, s.mail(f.alice).mailbox("INBOX"));
        return s.mail(f.alice).body(box.id, 1);
    });
    REQUIRE(body);
    f.fill(20);  // seals the first segment
    f.compact();
    CHECK(f.ask("SELECT count(*) FROM segments WHERE id = 1") == 0);
    CHECK(*body->read_all() == text_of(1, 4000));
}

TEST_CASE("nothing is removed while a backup holds the segments") {
    Fixture f;
    f.fill(40);
    f.expunge("INBOX", uids(1, 39));
    f.purge_later();
    const std::int64_t before = f.ask("SELECT count(*) FROM segments");
    {
        auto lock = open_beneath(directory_of(*f.store).root(), "segments.lock", O_RDWR | O_CREAT);
        REQUIRE(lock);
        REQUIRE(::flock(lock->get(), LOCK_SH) == 0);
        f.compact();
        CHECK(f.ask("SELECT count(*) FROM segments") == before);
    }
    f.compact();
    CHECK(f.ask("SELECT count(*) FROM segments") < before);
    CHECK(f.read("INBOX", 40) == text_of(40, 4000));
}

TEST_CASE("a segment with a damaged living message is left as it is") {
    Fixture f;
    f.fill(40);
    f.expunge("INBOX", uids(2, 40));
    f.purge_later();
    {
        auto file = open_beneath(directory_of(*f.store).segments(), "000001.seg", O_RDWR);
        REQUIRE(file);
        REQUIRE(write_at(*file, 16 + 32 + 100, "XXXX"));
    }
    f.compact();
    CHECK(f.ask("SELECT count(*) FROM segments WHERE id = 1") == 1);
    CHECK(f.ask("SELECT segment FROM messages ORDER BY id LIMIT 1") == 1);
    f.check_rows();
}

TEST_CASE("a large body's own segment goes with it") {
    Fixture f;
    f.fill(1, kSpoolOctets + 100'000);
    const auto before = f.octets_on_disk();
    f.fill(1, 100);
    f.expunge("INBOX", {1});
    f.purge_later();
    f.compact();
    CHECK(f.octets_on_disk() < before / 100);
    f.check_rows();
}

TEST_CASE("a file with messages that no commit named goes a month after it was noticed, if nothing speaks for it") {
    Fixture f;
    f.fill(3);
    const Descriptor& segments = directory_of(*f.store).segments();
    const std::string folder = f.store.path() + "/segments/";
    {
        auto file = open_beneath(segments, "000700.seg", O_RDWR | O_CREAT | O_EXCL);
        REQUIRE(file);
        const std::string head = format_file_header(700) + format_record_header(RecordHeader{MessageId{900}, 2, 0, 0});
        REQUIRE(write_at(*file, 0, head + "hi"));
    }
    const auto exists = [&](const char* name) { return std::filesystem::exists(folder + name); };
    const auto age = [&](const char* name, int days) {
        std::filesystem::last_write_time(folder + name,
                                         std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * days));
    };
    f.compact();
    CHECK_FALSE(exists("000700.orphan"));  // young: its commit may be under way
    // However old it is: an older mail.db may just have been put in the place of a newer one.
    age("000700.seg", 400);
    age("000001.seg", 400);
    f.compact();
    CHECK(exists("000700.seg"));
    CHECK(exists("000700.orphan"));
    age("000700.orphan", 29);
    f.compact();
    CHECK(exists("000700.seg"));
    age("000700.orphan", 31);
    SUBCASE("nothing speaks for it") {
        f.compact();
        CHECK_FALSE(exists("000700.seg"));
        f.compact();
        CHECK_FALSE(exists("000700.orphan"));
    }
    SUBCASE("a damaged log is kept") {
        REQUIRE(open_beneath(directory_of(*f.store).root(), "mail.db-wal.damaged", O_RDWR | O_CREAT));
        f.compact();
        CHECK(exists("000700.seg"));
    }
    SUBCASE("its row is back") {
        REQUIRE(f.store->write({}, [](Tx& tx) {
            return context_of(tx).db.exec(
                "INSERT INTO segments (id, octets, dead_octets, sealed) VALUES (700, 50, 0, 1)");
        }));
        f.compact();
        CHECK(exists("000700.seg"));
        CHECK_FALSE(exists("000700.orphan"));
    }
    // A row that is lost is not its file's end: messages lie in it.
    REQUIRE(f.store->write({}, [](Tx& tx) { return context_of(tx).db.exec("DELETE FROM segments WHERE id = 1"); }));
    f.compact();
    CHECK_FALSE(exists("000001.orphan"));
    CHECK(f.read("INBOX", 1) == text_of(1, 4000));
}

TEST_CASE("empty files without a row are swept, others are left alone") {
    Fixture f;
    f.fill(1);
    const Descriptor& segments = directory_of(*f.store).segments();
    REQUIRE(open_beneath(segments, "000700.seg", O_RDWR | O_CREAT | O_EXCL));
    {
        auto full = open_beneath(segments, "000701.seg", O_RDWR | O_CREAT | O_EXCL);
        REQUIRE(full);
        REQUIRE(write_at(*full, 0, std::string(100, 'x')));
    }
    f.compact();
    CHECK(!open_beneath(segments, "000700.seg", O_RDONLY));
    CHECK(open_beneath(segments, "000701.seg", O_RDONLY));
}

namespace {

QueueId submit(Fixture& f, const std::string& to) {
    const StagedBodyPtr body = f.store.stage("queued body");
    const auto accepted = f.store->write_value({body}, [&](Tx& tx) -> Result<Accepted> {
        Delivery delivery;
        delivery.body = body;
        delivery.facts = test::plain_facts("queued body", "<q@a.example>");
        delivery.sender = "alice@a.example";
        delivery.outgoing.emplace();
        delivery.outgoing->reverse_path = "alice@a.example";
        delivery.outgoing->recipients.emplace_back().address = to;
        return tx.deliver(delivery);
    });
    REQUIRE(accepted);
    return *accepted->queue;
}

Result<> cancel(Fixture& f, QueueId id) {
    return f.store->write({}, [&](Tx& tx) { return tx.queue().cancel(id); });
}

std::size_t events_of(Fixture& f, QueueId id) {
    return f.store->read([&](const Snapshot& s) { return s.events().by_queue(id); })->size();
}

}  // namespace

TEST_CASE("the life of a message is forgotten after events.days, but not while it is in the queue; figures stay") {
    Fixture f;
    f.set("events.days", "10");
    const QueueId waits = submit(f, "x@b.example");
    const QueueId over = submit(f, "y@b.example");
    REQUIRE(cancel(f, over));
    REQUIRE(f.store->write({}, [](Tx& tx) -> Result<> {
        Event event;
        event.detail = "said of the server";
        return tx.events().append(event);
    }));
    f.clock.advance(std::chrono::hours(24 * 9));
    f.purge();
    CHECK(events_of(f, over) == 2);
    f.clock.advance(std::chrono::hours(24 * 3));
    const QueueId young = submit(f, "z@b.example");
    f.purge();
    CHECK(events_of(f, over) == 0);
    CHECK(events_of(f, waits) == 1);
    CHECK(events_of(f, young) == 1);
    CHECK(f.store->read([](const Snapshot& s) { return s.events().about_server(10); })->empty());
    CHECK(f.ask("SELECT count(*) FROM event_keys") > 0);  // one bucket, and there is something in it
    // What can no longer be made of the events is kept as it is.
    const auto figures = f.ask("SELECT sum(n) FROM report_counts");
    CHECK(report_rebuild(*f.store)->differed == 0);
    CHECK(f.ask("SELECT sum(n) FROM report_counts") == figures);
    REQUIRE(cancel(f, waits));
    REQUIRE(cancel(f, young));
    f.clock.advance(std::chrono::hours(24 * 30));
    f.set("report.days", "20");
    f.purge();
    CHECK(f.ask("SELECT count(*) FROM events") == 0);
    CHECK(f.ask("SELECT count(*) FROM event_keys") == 0);
    CHECK(f.ask("SELECT count(*) FROM report_rows") == 0);
    CHECK(f.ask("SELECT count(*) FROM report_counts") == 0);
}

TEST_CASE("what hangs off the log goes with it: notes, recipients of lists, takers of mail; what is used stays") {
    Fixture f;
    f.set("events.days", "10");
    const QueueId over = submit(f, "y@b.example");
    REQUIRE(f.store->write({}, [&](Tx& tx) -> Result<> {
        TRY(const QueueItem item, tx.queue().item(over));
        TRY_VOID(SubmissionTx(tx).note(item.message, SubmissionNotes{AccountId{1}, "[]", "{}"}));
        TRY_VOID(StreamTx(tx).subscribe("news", "old@b.example"));
        TRY_VOID(StreamTx(tx).subscribe("news", "kept@b.example"));
        TRY_VOID(TakerTx(tx).took("b.example", "old@b.example"));
        return TakerTx(tx).took("b.example", "kept@b.example");
    }));
    f.purge();
    CHECK(f.ask("SELECT count(*) FROM submission_notes") == 1);
    REQUIRE(cancel(f, over));
    f.clock.advance(std::chrono::hours(24 * 100));
    REQUIRE(f.store->write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(StreamTx(tx).subscribe("news", "kept@b.example"));
        return TakerTx(tx).took("b.example", "kept@b.example");
    }));
    f.purge();
    CHECK(f.ask("SELECT count(*) FROM submission_notes") == 0);
    CHECK(f.ask("SELECT count(*) FROM takers") == 2);
    f.clock.advance(std::chrono::hours(24 * 100));
    f.purge();
    CHECK(f.ask("SELECT count(*) FROM takers") == 1);
    CHECK(f.ask("SELECT count(*) FROM stream_recipients") == 2);
    f.clock.advance(std::chrono::hours(24 * (kTokenDays - 190)));
    f.purge();
    CHECK(f.ask("SELECT count(*) FROM stream_recipients") == 1);
    CHECK(f.ask("SELECT count(*) FROM stream_recipients WHERE address = 'kept@b.example'") == 1);
}
