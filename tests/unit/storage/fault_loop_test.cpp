// The N-loop: a fixed scenario is run again and again, and each time another call to the system fails, once or from
// there
// on, until the scenario comes to its end without having met the failure. Whatever fails: what was acknowledged is
// there
// after a restart, nothing is half, nobody made anything up, and no file is left behind.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <set>

#include "storage/fail_point.h"
#include "storage/sqlite.h"
#include "tests/support/temp_store.h"

#ifdef POSTHOUSE_FAIL_POINTS

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempDirectory;
using posthouse::test::TempStore;

namespace {

constexpr int kCallsMax = 4000;  // more than the scenario ever makes

struct Disarm {
    ~Disarm() { fail_point::disarm(); }
};

/// A message of `octets` that no other one is a part of.
std::string text_of(int number, std::size_t octets) {
    // The first part alone tells it from all others; long ones repeat it, to be made quickly.
    std::string out;
    const std::size_t first = std::min<std::size_t>(octets, 32UL << 10U);
    while (out.size() < first) out += fmt::format("message {} at {}\r\n", number, out.size());
    const std::string block = out;
    while (out.size() < octets) out += block;
    return out;
}

/// What the clients of one run know, kept where no fault reaches.
struct Ledger {
    std::map<std::string, std::string> tried;  ///< Message-ID -> octets
    std::set<std::string> inbox;               ///< acknowledged and not expunged with an acknowledgement
    std::set<std::string> gone;                ///< expunged, acknowledged
    std::set<std::string> perhaps_gone;        ///< expunged, and no answer
    std::set<std::string> archive;
    std::set<std::string> seen;
    std::set<std::string> queued;
    std::optional<std::string> setting;  ///< the last value acknowledged
    int tried_setting = 0;
    int acknowledged = 0;
};

enum class Orphans { none, some };

class Run {
 public:
    Run(const std::string& directory, std::uint64_t segment_octets_max) {
        options_.directory = directory;
        options_.free_octets_min = 0;
        options_.segment_octets_max = segment_octets_max;
    }

    bool open() {
        auto opened = Store::open(options_);
        if (opened) store_ = *std::move(opened);
        return store_ != nullptr;
    }
    void close() { store_.reset(); }
    Store& store() { return *store_; }
    Ledger& ledger() { return ledger_; }

    void set_account(AccountId account) { account_ = account; }

    void deliver(std::size_t octets, bool queued = false) {
        const int number = static_cast<int>(ledger_.tried.size()) + 1;
        const std::string id = "<n" + std::to_string(number) + "@a.example>";
        const std::string text = text_of(number, octets);
        ledger_.tried[id] = text;
        auto writer = store_->stage();
        // In parts, as from the network.
        for (std::size_t at = 0; at < text.size(); at += 4UL << 20U) {
            if (!writer->append(std::string_view(text).substr(at, 4UL << 20U))) return;
        }
        auto body = writer->finish();
        if (!body) return;
        Delivery delivery;
        delivery.body = *body;
        delivery.facts = test::plain_facts(text, id);
        delivery.sender = "s@b.example";
        LocalCopy copy;
        copy.account = account_;
        copy.recipient = "alice@a.example";
        delivery.local.push_back(copy);
        if (queued) {
            delivery.outgoing.emplace();
            delivery.outgoing->reverse_path = "s@b.example";
            delivery.outgoing->recipients.emplace_back();
            delivery.outgoing->recipients.back().address = "x@far.example";
        }
        if (!note(store_->write({*body}, [&](Tx& tx) -> Result<> {
                TRY_VOID(tx.deliver(delivery));
                return {};
            })))
            return;
        ledger_.inbox.insert(id);
        if (queued) ledger_.queued.insert(id);
    }

    void copy_first() {
        on_first(
            [&](Tx& tx, MailboxId inbox, Uid uid) -> Result<> {
                TRY(const Mailbox archive, tx.mail(account_).mailbox("Archive"));
                const Uid uids[] = {uid};
                TRY_VOID(tx.mail(account_).copy(inbox, uids, archive.id));
                return {};
            },
            [&](const std::string& id, bool done) {
                if (done) ledger_.archive.insert(id);
            });
    }

    void see_first() {
        on_first(
            [&](Tx& tx, MailboxId inbox, Uid uid) -> Result<> {
                const Uid uids[] = {uid};
                FlagChange change;
                change.flags = bit(Flag::seen);
                TRY_VOID(tx.mail(account_).store(inbox, uids, change, std::nullopt));
                return {};
            },
            [&](const std::string& id, bool done) {
                if (done) ledger_.seen.insert(id);
            });
    }

    void expunge_first() {
        on_first(
            [&](Tx& tx, MailboxId inbox, Uid uid) -> Result<> {
                const Uid uids[] = {uid};
                TRY_VOID(tx.mail(account_).expunge(inbox, uids));
                return {};
            },
            [&](const std::string& id, bool done) {
                ledger_.inbox.erase(id);
                ledger_.seen.erase(id);
                (done ? ledger_.gone : ledger_.perhaps_gone).insert(id);
            });
    }

    bool set_setting() {
        const std::string value = std::to_string(++ledger_.tried_setting);
        const bool done = note(store_->write({}, [&](Tx& tx) { return tx.catalog().set_setting("test", value); }));
        if (done) ledger_.setting = value;
        return done;
    }

    /// Message-ID -> octets of all that is in a mailbox; doctest fails where anything cannot be read whole.
    std::map<std::string, std::string> contents(const char* mailbox) {
        std::map<std::string, std::string> out;
        const auto read = store_->read([&](const Snapshot& s) -> Result<> {
            TRY(const Mailbox box, s.mail(account_).mailbox(mailbox));
            TRY(const auto entries, s.mail(account_).entries(box.id, 1, ~Uid{0}));
            CHECK(box.messages == entries.size());
            for (const Entry& entry : entries) {
                TRY(const mime::MessageFacts facts, s.mail(account_).facts(box.id, entry.uid));
                TRY(const BodyReader body, s.mail(account_).body(box.id, entry.uid));
                TRY(std::string text, body.read_all());
                CHECK_FALSE(out.contains(facts.message_id));
                if ((entry.flags & bit(Flag::seen)) != 0) seen_.insert(facts.message_id);
                out.emplace(facts.message_id, std::move(text));
            }
            return {};
        });
        CHECK_MESSAGE(read, (read ? std::string() : read.error().context));
        return out;
    }

    /// Where `orphans` is not none, a file whose commit was in doubt may lie in segments: upkeep removes it.
    void check(Orphans orphans) {
        const auto inbox = contents("INBOX");
        for (const auto& [id, text] : inbox) CHECK(ledger_.tried[id] == text);
        for (const std::string& id : ledger_.inbox) CHECK_MESSAGE(inbox.contains(id), id);
        for (const std::string& id : ledger_.gone) CHECK_FALSE_MESSAGE(inbox.contains(id), id);
        for (const std::string& id : ledger_.seen) CHECK_MESSAGE(seen_.contains(id), id);
        const auto archive = contents("Archive");
        for (const auto& [id, text] : archive) CHECK(ledger_.tried[id] == text);
        for (const std::string& id : ledger_.archive) CHECK_MESSAGE(archive.contains(id), id);
        check_queue();
        const auto setting = store_->read([](const Snapshot& s) { return s.catalog().setting("test"); });
        // A later value may have come through without an answer, an earlier one never comes back.
        if (ledger_.setting) CHECK(std::stoi(*setting.value()) >= std::stoi(*ledger_.setting));
        check_files(orphans);
    }

 private:
    bool note(const Result<>& done) {
        ledger_.acknowledged += done ? 1 : 0;
        return done.has_value();
    }

    /// Does something with the oldest message of INBOX, as far as the client knows of one.
    void on_first(const std::function<Result<>(Tx&, MailboxId, Uid)>& act,
                  const std::function<void(const std::string&, bool)>& told) {
        std::string id;
        Uid uid = 0;
        MailboxId inbox{};
        const auto found = store_->read([&](const Snapshot& s) -> Result<> {
            TRY(const Mailbox box, s.mail(account_).mailbox("INBOX"));
            TRY(const auto entries, s.mail(account_).entries(box.id, 1, ~Uid{0}));
            if (entries.empty()) return Error(Errc::not_found, "INBOX is empty");
            TRY(const mime::MessageFacts facts, s.mail(account_).facts(box.id, entries.front().uid));
            id = facts.message_id;
            uid = entries.front().uid;
            inbox = box.id;
            return {};
        });
        if (!found) return;
        told(id, note(store_->write({}, [&](Tx& tx) { return act(tx, inbox, uid); })));
    }

    void check_queue() {
        std::set<std::string> queued;
        const auto read = store_->read([&](const Snapshot& s) -> Result<> {
            TRY(const auto items, s.queue().list(QueueId{}, 100));
            for (const QueueItem& item : items) {
                TRY(const mime::MessageFacts facts, s.queue().facts(item.id));
                TRY(const BodyReader body, s.queue().body(item.id));
                TRY(const std::string text, body.read_all());
                CHECK(text == ledger_.tried[facts.message_id]);
                queued.insert(facts.message_id);
            }
            return {};
        });
        CHECK(read);
        for (const std::string& id : ledger_.queued) CHECK_MESSAGE(queued.contains(id), id);
    }

    /// mail.db is whole, and every segment file has its row and is long enough.
    void check_files(Orphans orphans) {
        auto db = Connection::open(options_.directory + "/mail.db", Connection::Mode::read, 1 << 20);
        REQUIRE(db);
        {
            Query check = (*db)->query("PRAGMA integrity_check");
            REQUIRE(check.row());
            CHECK(check.text(0) == "ok");
        }
        std::set<std::string> rows;
        Query q = (*db)->query("SELECT printf('%06d.seg', id), octets FROM segments");
        while (q.row().value()) {
            rows.insert(q.text(0));
            CHECK(std::filesystem::file_size(options_.directory + "/segments/" + q.text(0)) >= q.u64(1));
        }
        for (const auto& file : std::filesystem::directory_iterator(options_.directory + "/segments")) {
            if (orphans == Orphans::some) break;
            CHECK_MESSAGE(rows.contains(file.path().filename().string()), file.path().string());
        }
        CHECK(std::filesystem::is_empty(options_.directory + "/tmp"));
    }

    StoreOptions options_;
    std::unique_ptr<Store> store_;
    AccountId account_{};
    Ledger ledger_;
    std::set<std::string> seen_;
};

/// A store with an account and a mailbox, made once and copied for each run.
class Template {
 public:
    Template() {
        StoreOptions options;
        options.directory = directory_.path() + "/data";
        options.free_octets_min = 0;
        auto made = Store::create(options);
        REQUIRE(made);
        auto account = (*made)->write_value({}, [](Tx& tx) -> Result<AccountId> {
            TRY_VOID(tx.catalog().add_domain("a.example"));
            TRY(const AccountId id, tx.catalog().add_account("alice@a.example", "hash", ""));
            static_cast<void>(tx.mail(id).create("Archive", SpecialUse{}));
            return id;
        });
        REQUIRE(account);
        account_ = *account;
    }
    AccountId account() const { return account_; }
    std::string copy_to(const TempDirectory& directory) const {
        const std::string path = directory.path() + "/data";
        std::filesystem::copy(directory_.path() + "/data", path, std::filesystem::copy_options::recursive);
        return path;
    }

 private:
    TempDirectory directory_;
    AccountId account_{};
};

enum class Bodies { small, large };

void scenario(Run& run, Bodies bodies) {
    if (bodies == Bodies::large) {
        run.deliver(kSpoolOctets + 1000);
        run.deliver(100);
        run.set_setting();
        return;
    }
    run.deliver(100);
    run.deliver(70'000, true);
    run.copy_first();
    run.see_first();
    run.set_setting();
    run.deliver(3000);
    run.expunge_first();
    run.deliver(200);
    run.set_setting();
}

struct Fault {
    int error_number;
    int times;
};

/// One run of the loop; false when the scenario ended before the N-th call.
bool run_once(const Template& made, Bodies bodies, const char* place, const Fault& fault, int nth) {
    const TempDirectory directory;
    const std::string path = made.copy_to(directory);
    // Small enough that the scenario goes through several segments.
    Run run(path, bodies == Bodies::small ? 4096 : 128UL << 20U);
    run.set_account(made.account());
    const Disarm disarm;
    fail_point::arm_errno(place, fault.error_number, nth, fault.times);
    const bool opened = run.open();
    if (opened) scenario(run, bodies);
    const bool met = fail_point::passed(place) >= nth;
    fail_point::disarm();
    const bool failed = opened && run.store().health() == Health::failed;
    if (opened && !failed) {
        // It comes back by itself; the first write may still be the one that finds the store suspect.
        const bool back = run.set_setting() || run.set_setting();
        CHECK(back);
        CHECK((run.store().health() == Health::good || run.store().health() == Health::low_disk));
    } else if (opened) {
        CHECK(fault.times > 1);
    }
    run.close();
    REQUIRE(run.open());
    run.check(failed ? Orphans::some : Orphans::none);
    return met;
}

int loop(Bodies bodies, const char* place, const Fault& fault, int step) {
    const Template made;
    int nth = 1;
    for (; nth < kCallsMax; nth += step) {
        CAPTURE(std::string(place));
        CAPTURE(fault.error_number);
        CAPTURE(fault.times);
        CAPTURE(nth);
        if (!run_once(made, bodies, place, fault, nth)) break;
    }
    CHECK(nth < kCallsMax);
    return nth;
}

constexpr int kLasting = 1'000'000;

}  // namespace

TEST_CASE("every call that fails once: EIO") { CHECK(loop(Bodies::small, "*", {EIO, 1}, 1) > 50); }
TEST_CASE("every call that fails once: a full disk") { CHECK(loop(Bodies::small, "*", {ENOSPC, 1}, 1) > 50); }
TEST_CASE("every call that fails once: a full quota") { CHECK(loop(Bodies::small, "*", {EDQUOT, 1}, 3) > 50); }
TEST_CASE("every call from one on: EIO") { loop(Bodies::small, "*", {EIO, kLasting}, 2); }
TEST_CASE("every call from one on: a full disk") { loop(Bodies::small, "*", {ENOSPC, kLasting}, 2); }
TEST_CASE("writes and syncs alone, from one on") {
    for (const char* place :
         {"write", "sync", "open", "rename", "cut", "sync-directory", "db-write", "db-sync", "db-map"}) {
        for (const int error_number : {EIO, ENOSPC, EDQUOT}) loop(Bodies::small, place, {error_number, kLasting}, 1);
    }
}
TEST_CASE("a body with a file of its own: every call that fails once") {
    loop(Bodies::large, "*", {EIO, 1}, 3);
    loop(Bodies::large, "*", {ENOSPC, 1}, 3);
    for (const char* place : {"rename", "sync", "sync-directory", "commit"}) {
        loop(Bodies::large, place, {EIO, 1}, 1);
        loop(Bodies::large, place, {ENOSPC, kLasting}, 1);
    }
}

#endif
