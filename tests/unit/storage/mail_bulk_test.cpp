// Changes of many entries at once, beside a model that changes them one by one: whatever gaps there are and whichever
// are meant, no other entry is touched.
#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>

#include "storage/checksum.h"
#include "storage/mail.h"
#include "storage/sqlite.h"
#include "tests/support/temp_store.h"

#include <zlib.h>

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

struct Kept {
    FlagBits flags = 0;
    std::set<std::string> keywords;
    MessageId message{};
    bool operator==(const Kept&) const = default;
};
using Model = std::map<Uid, Kept>;

struct Bulk {
    Bulk() {
        for (int i = 0; i < 80; ++i) REQUIRE(store.deliver(alice, "0123456789"));
        inbox = store.mailbox(alice, "INBOX").id;
        trash = store.mailbox(alice, "Trash").id;
    }
    template <class F>
    auto write(F fn) {
        auto done = store->write_value({}, [&](Tx& tx) { return fn(tx.mail(alice)); });
        if (!done) FAIL(done.error().context);
        return *std::move(done);
    }
    Model model(const std::string& name) {
        Model out;
        for (const Entry& entry : store.entries(alice, name)) {
            const auto words =
                store->read([&](const Snapshot& s) { return s.mail(alice).keywords(entry.keyword_set); });
            out[entry.uid] = Kept{entry.flags, {words->begin(), words->end()}, entry.message};
        }
        return out;
    }
    /// Some of the UIDs there are, in stretches, and some that there never were.
    std::vector<Uid> choose() {
        std::vector<Uid> out;
        const Uid end = store.mailbox(alice, "INBOX").uid_next;
        const bool few = random() % 3 == 0;
        for (Uid uid = 1; uid < end + 3;) {
            const Uid length = few ? 1 : static_cast<Uid>(random() % 9);
            for (Uid i = 0; i < length; ++i) out.push_back(uid + i);
            uid += length + 1 + static_cast<Uid>(random() % (few ? 40 : 4));
        }
        std::ranges::shuffle(out, random);
        return out;
    }
    bool consistent() {
        auto db = Connection::open(store.path() + "/mail.db", Connection::Mode::read, 1 << 20);
        REQUIRE(db);
        const auto wrong = (*db)->value(
            "SELECT count(*) FROM messages m WHERE m.refs <> (SELECT count(*) FROM entries e WHERE e.message = m.id) + "
            "(SELECT count(*) FROM deleted_entries d WHERE d.message = m.id)");
        const auto counts = (*db)->value(
            "SELECT count(*) FROM mailboxes b WHERE b.messages <> (SELECT count(*) FROM entries e WHERE e.mailbox = "
            "b.id) "
            "OR b.unseen <> (SELECT count(*) FROM entries e WHERE e.mailbox = b.id AND e.flags & 1 = 0)");
        // The invariants of storage/flag_runs.h.
        const auto runs = (*db)->value(
            "SELECT (SELECT count(*) FROM flag_runs r WHERE NOT EXISTS (SELECT 1 FROM entries e WHERE e.mailbox = "
            "r.mailbox AND e.uid BETWEEN r.first AND r.last)) + (SELECT count(*) FROM flag_runs r JOIN entries e ON "
            "e.mailbox = r.mailbox AND e.uid BETWEEN r.first AND r.last AND e.modseq <> r.modseq) + (SELECT count(*) "
            "FROM flag_runs a JOIN flag_runs b ON a.mailbox = b.mailbox AND a.first < b.first AND a.last >= b.first) + "
            "(SELECT count(*) FROM entries e JOIN entries l ON l.mailbox = e.mailbox AND l.uid > e.uid AND l.modseq < "
            "e.modseq WHERE NOT EXISTS (SELECT 1 FROM flag_runs r WHERE r.mailbox = e.mailbox AND e.uid BETWEEN "
            "r.first AND r.last))");
        return wrong.value() == 0 && counts.value() == 0 && runs.value() == 0;
    }

    /// What changed_since() says, beside a look at every entry.
    bool tells_changes(const std::string& name) {
        const std::vector<Entry> all = store.entries(alice, name);
        const Mailbox box = store.mailbox(alice, name);
        for (int i = 0; i < 6; ++i) {
            const ModSeq since = i == 0 ? 0 : box.highest_modseq - std::min<ModSeq>(random() % 40, box.highest_modseq);
            std::vector<Uid> wanted;
            for (const Entry& entry : all) {
                if (entry.modseq > since) wanted.push_back(entry.uid);
            }
            const auto news =
                store->read([&](const Snapshot& s) { return s.mail(alice).changed_since(box.id, since); });
            std::vector<Uid> told;
            for (const Entry& entry : news.value()) told.push_back(entry.uid);
            if (told != wanted) return false;
        }
        return true;
    }

    TempStore store;
    AccountId alice = store.add_account("alice@a.example");
    MailboxId inbox{};
    MailboxId trash{};
    std::mt19937 random{20261129};
};

void store_flags(Bulk& bulk, Model& model) {
    using How = FlagChange::How;
    FlagChange change;
    change.how = std::array{How::add, How::remove, How::replace}[bulk.random() % 3];
    change.flags = static_cast<FlagBits>(bulk.random() % 32);
    if (bulk.random() % 2 == 0) change.keywords = {bulk.random() % 2 == 0 ? "work" : "play"};
    const std::vector<Uid> uids = bulk.choose();
    const auto done = bulk.write([&](MailTx& mail) { return mail.store(bulk.inbox, uids, change, std::nullopt); });
    Model before = model;
    for (const Uid uid : uids) {
        const auto at = model.find(uid);
        if (at == model.end()) continue;
        if (change.how == How::add) at->second.flags |= change.flags;
        if (change.how == How::remove) at->second.flags &= static_cast<FlagBits>(~change.flags);
        if (change.how == How::replace) at->second.flags = change.flags;
        if (change.how == How::replace) at->second.keywords.clear();
        for (const std::string& keyword : change.keywords) {
            if (change.how == How::remove) at->second.keywords.erase(keyword);
            if (change.how != How::remove) at->second.keywords.insert(keyword);
        }
    }
    std::size_t differing = 0;
    for (const auto& [uid, kept] : model) differing += before[uid] == kept ? 0U : 1U;
    CHECK(done.changed.size() >= differing);
}

void transfer(Bulk& bulk, Model& inbox, Model& trash, bool move) {
    const std::vector<Uid> uids = bulk.choose();
    const auto pairs = bulk.write([&](MailTx& mail) {
        return move ? mail.move(bulk.inbox, uids, bulk.trash) : mail.copy(bulk.inbox, uids, bulk.trash);
    });
    std::size_t meant = 0;
    for (const auto& [uid, kept] : inbox) meant += std::ranges::find(uids, uid) != uids.end() ? 1U : 0U;
    CHECK(pairs.size() == meant);
    for (const auto& [from, to] : pairs) {
        trash[to] = inbox.at(from);
        if (move) inbox.erase(from);
    }
}

void expunge(Bulk& bulk, Model& model) {
    const std::vector<Uid> uids = bulk.choose();
    const ModSeq before = bulk.store.mailbox(bulk.alice, "INBOX").highest_modseq;
    const auto gone = bulk.write([&](MailTx& mail) { return mail.expunge(bulk.inbox, uids); });
    std::vector<Uid> meant;
    for (const auto& [uid, kept] : model) {
        if (std::ranges::find(uids, uid) != uids.end()) meant.push_back(uid);
    }
    CHECK(gone == meant);
    for (const Uid uid : meant) model.erase(uid);
    const auto told =
        bulk.store->read([&](const Snapshot& s) { return s.mail(bulk.alice).expunged_since(bulk.inbox, before); });
    CHECK(told.value() == meant);
}

}  // namespace

TEST_CASE("changes of many touch those that are meant, and no other") {
    Bulk bulk;
    Model inbox = bulk.model("INBOX");
    Model trash;
    for (int round = 0; round < 120; ++round) {
        CAPTURE(round);
        const auto what = bulk.random() % 8;
        if (what < 4) store_flags(bulk, inbox);
        if (what == 4) transfer(bulk, inbox, trash, false);
        if (what == 5 && round % 3 == 0) transfer(bulk, inbox, trash, true);
        if (what == 6 && round % 3 == 0) expunge(bulk, inbox);
        if (what == 7) REQUIRE(bulk.store.deliver(bulk.alice, "0123456789"));
        if (what == 7) inbox[bulk.store.entries(bulk.alice, "INBOX").back().uid] = bulk.model("INBOX").rbegin()->second;
        REQUIRE(bulk.model("INBOX") == inbox);
        REQUIRE(bulk.model("Trash") == trash);
        REQUIRE(bulk.consistent());
        REQUIRE(bulk.tells_changes("INBOX"));
        REQUIRE(bulk.tells_changes("Trash"));
    }
}

TEST_CASE("what changed is told alike whether it is little or most of the mailbox") {
    Bulk bulk;
    const ModSeq before = bulk.store.mailbox(bulk.alice, "INBOX").highest_modseq;
    FlagChange change;
    change.flags = bit(Flag::flagged);
    for (const Uid count : {1U, 19U, 21U, 70U}) {
        CAPTURE(count);
        std::vector<Uid> uids;
        for (Uid uid = 80; uid > 80 - count; --uid) uids.push_back(uid);
        bulk.write([&](MailTx& mail) { return mail.store(bulk.inbox, uids, change, std::nullopt); });
        std::ranges::sort(uids);
        const auto news =
            bulk.store->read([&](const Snapshot& s) { return s.mail(bulk.alice).changed_since(bulk.inbox, before); });
        std::vector<Uid> told;
        for (const Entry& entry : news.value()) told.push_back(entry.uid);
        CHECK(told == uids);
    }
}

TEST_CASE("the checksum of records is zlib's CRC-32") {
    std::string text;
    for (std::size_t octets = 0; octets < 700; octets += 37) {
        text.resize(octets, static_cast<char>(octets));
        const auto wanted =
            crc32(0, reinterpret_cast<const unsigned char*>(text.data()), static_cast<unsigned>(octets));
        CHECK(crc32_of(text) == wanted);
        CHECK(crc32_of(text.substr(octets / 3), crc32_of(text.substr(0, octets / 3))) == wanted);
    }
}
