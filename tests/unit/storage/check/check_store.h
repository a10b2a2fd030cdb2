#pragma once
/// A store with mail of two accounts and a queue, and the means to break it behind its back.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "storage/check/check.h"
#include "tests/support/temp_store.h"

namespace posthouse::test {

class CheckStore {
 public:
    static constexpr int kMessages = 6;
    CheckStore() : CheckStore(storage::StoreOptions().segment_octets_max) {}
    explicit CheckStore(std::uint64_t segment_octets_max)
        : store([=](storage::StoreOptions& options) { options.segment_octets_max = segment_octets_max; }) {
        alice = store.add_account("alice@a.example");
        bob = store.add_account("bob@a.example");
        for (int i = 1; i <= kMessages; ++i) deliver(i);
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            TRY(const storage::Mailbox inbox, tx.mail(alice).mailbox("INBOX"));
            storage::FlagChange change;
            change.flags = storage::bit(storage::Flag::seen);
            change.keywords = {"$Work"};
            const std::vector<storage::Uid> some = {2};
            TRY_VOID(tx.mail(alice).store(inbox.id, some, change, std::nullopt));
            TRY(const storage::Mailbox archive, tx.mail(alice).mailbox("Archive"));
            const std::vector<storage::Uid> copied = {1, 2};
            TRY_VOID(tx.mail(alice).copy(inbox.id, copied, archive.id));
            const std::vector<storage::Uid> gone = {6};
            TRY_VOID(tx.mail(alice).expunge(inbox.id, gone));
            return {};
        }));
        queue();
    }

    static std::string text(int number) {
        return fmt::format(
            "From: Carol <carol@b.example>\r\nTo: alice@a.example\r\nSubject: letter {0}\r\n"
            "Message-ID: <m{0}@b.example>\r\nDate: Mon, 6 Jan 2025 10:00:0{0} +0000\r\n\r\n{1}\r\n",
            number, std::string(static_cast<std::size_t>(100 * number), static_cast<char>('a' + number)));
    }

    void deliver(int number) {
        const std::string octets = text(number);
        const storage::StagedBodyPtr body = store.stage(octets);
        auto done = store->write_value({body}, [&](storage::Tx& tx) -> Result<storage::Accepted> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(octets);
            delivery.sender = "carol@b.example";
            delivery.received_detail = "from a test";
            storage::LocalCopy copy;
            copy.account = alice;
            copy.recipient = "alice@a.example";
            delivery.local.push_back(copy);
            return tx.deliver(delivery);
        });
        REQUIRE(done);
    }

    void queue() {
        const std::string octets = text(9);
        const storage::StagedBodyPtr body = store.stage(octets);
        REQUIRE(store->write({body}, [&](storage::Tx& tx) -> Result<> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(octets);
            delivery.sender = "alice@a.example";
            storage::NewQueueItem item;
            item.reverse_path = "alice@a.example";
            item.expires = tx.now() + std::chrono::hours(24);
            storage::NewRecipient recipient;
            recipient.address = "dave@far.example";
            item.recipients.push_back(recipient);
            delivery.outgoing = item;
            delivery.first_attempt = tx.now();
            TRY_VOID(tx.deliver(delivery));
            return {};
        }));
    }

    std::string database() const { return store.path() + "/mail.db"; }
    std::string segment(int number = 1) const { return fmt::format("{}/segments/{:06}.seg", store.path(), number); }

    /// As if another program had written to mail.db. The store is opened again afterwards: nothing is cached.
    void sql(const std::string& script) {
        CAPTURE(script);
        store.close();
        sqlite3* db = nullptr;
        REQUIRE(sqlite3_open_v2(database().c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK);
        char* said = nullptr;
        const int rc = sqlite3_exec(db, script.c_str(), nullptr, nullptr, &said);
        CHECK_MESSAGE(rc == SQLITE_OK, (said == nullptr ? "" : said));
        sqlite3_free(said);
        sqlite3_close(db);
        store.reopen();
    }
    std::int64_t number(const std::string& query) {
        sqlite3* db = nullptr;
        REQUIRE(sqlite3_open_v2(database().c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK);
        sqlite3_stmt* q = nullptr;
        REQUIRE(sqlite3_prepare_v2(db, query.c_str(), -1, &q, nullptr) == SQLITE_OK);
        const std::int64_t value = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int64(q, 0) : -1;
        sqlite3_finalize(q);
        sqlite3_close(db);
        return value;
    }
    void overwrite(std::uint64_t position, std::string_view octets, int in_segment = 1) {
        std::fstream file(segment(in_segment), std::ios::in | std::ios::out | std::ios::binary);
        REQUIRE(file);
        file.seekp(static_cast<std::streamoff>(position));
        file.write(octets.data(), static_cast<std::streamsize>(octets.size()));
    }
    /// Where the record of alice's INBOX message with this UID begins.
    std::uint64_t position_of(int uid) {
        return static_cast<std::uint64_t>(number(
            fmt::format("SELECT m.position FROM messages m JOIN entries e ON e.message = m.id JOIN mailboxes b ON "
                        "b.id = e.mailbox WHERE b.name = 'INBOX' AND e.uid = {}",
                        uid)));
    }
    void reopen() { store.reopen(); }

    storage::CheckReport check(bool deep = true) {
        storage::CheckOptions options;
        options.deep = deep;
        auto report = storage::check_store(*store, options, kQuiet);
        if (!report) FAIL(report.error().context);
        return *std::move(report);
    }
    storage::RepairReport repair(storage::CheckReport& report, const std::string& account = "") {
        storage::CheckOptions options;
        options.deep = true;
        storage::RepairOptions how;
        how.account = account;
        auto done = storage::repair_store(*store, report, options, how, kQuiet);
        if (!done) FAIL(done.error().context);
        return *std::move(done);
    }
    std::string body(const std::string& mailbox, storage::Uid uid) {
        auto octets = store->read([&](const storage::Snapshot& s) -> Result<std::string> {
            TRY(const storage::Mailbox box, s.mail(alice).mailbox(mailbox));
            TRY(const storage::BodyReader reader, s.mail(alice).body(box.id, uid));
            return reader.read_all();
        });
        return octets ? *octets : "no: " + octets.error().context;
    }
    /// What stands in the report file of a repair.
    std::string notes_of(const storage::RepairReport& repaired) const {
        std::ifstream in(store.path() + "/" + repaired.report_file);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    static std::string all(const storage::Findings& findings) {
        std::string out;
        for (const auto& [kind, group] : findings.groups()) {
            for (const storage::Fault& fault : group.shown) {
                out += fmt::format("{}: {}\n", storage::row_of(kind).code, fault.sentence);
            }
        }
        return out;
    }

    TempStore store;
    storage::AccountId alice{};
    storage::AccountId bob{};

 private:
    static constexpr auto kQuiet = [](std::uint64_t, std::uint64_t, std::uint64_t, std::string_view) { return true; };
};

}  // namespace posthouse::test
