// What was removed comes back: messages, mailboxes, flags, keywords and dates; counters, quotas and MODSEQ follow.
#include "storage/mail.h"
#include "storage/sqlite.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

struct Fixture {
    explicit Fixture(int count) {
        for (int i = 0; i < count; ++i) REQUIRE(store.deliver(alice, "0123456789"));
        inbox = store.mailbox(alice, "INBOX").id;
    }
    template <class F>
    auto write(F fn) {
        return store->write_value({}, [&](Tx& tx) { return fn(tx.mail(alice)); });
    }
    void remove(const std::string& name) {
        const auto done = store->write({}, [&](Tx& tx) { return tx.mail(alice).remove(name); });
        if (!done) FAIL(done.error().context);
    }
    std::vector<Uid> expunge(std::vector<Uid> uids) {
        auto done = write([&](MailTx& mail) { return mail.expunge(inbox, uids); });
        if (!done) FAIL(done.error().context);
        return *done;
    }
    std::vector<DeletedEntry> deleted(const DeletedQuery& query = {}) {
        auto found = store->read([&](const Snapshot& s) { return s.mail(alice).deleted(query); });
        if (!found) FAIL(found.error().context);
        return *found;
    }
    std::vector<DeletedMailbox> mailboxes() {
        return *store->read([&](const Snapshot& s) { return s.mail(alice).deleted_mailboxes(); });
    }
    std::vector<DeletedKey> keys(const DeletedQuery& query = {}) {
        std::vector<DeletedKey> out;
        for (const DeletedEntry& entry : deleted(query)) out.push_back(entry.key);
        return out;
    }
    Result<Restored> restore(const std::vector<DeletedKey>& keys, const std::string& into = "") {
        return write([&](MailTx& mail) { return mail.restore(keys, into); });
    }
    Account account() {
        return *store->read([&](const Snapshot& s) { return s.catalog().account(alice); });
    }
    /// Counters and references agree with the rows.
    void check_rows() {
        auto db = Connection::open(store.path() + "/mail.db", Connection::Mode::read, 1 << 20);
        REQUIRE(db);
        CHECK(*(*db)->value("SELECT count(*) FROM mailboxes b WHERE messages <> (SELECT count(*) FROM entries e WHERE "
                            "e.mailbox = b.id) OR unseen <> (SELECT count(*) FROM entries e WHERE e.mailbox = b.id "
                            "AND e.flags & 1 = 0)") == 0);
        CHECK(*(*db)->value("SELECT count(*) FROM accounts a WHERE used_messages <> (SELECT coalesce(sum(messages), 0) "
                            "FROM mailboxes b WHERE b.account = a.id)") == 0);
        CHECK(*(*db)->value("SELECT count(*) FROM messages m WHERE refs <> (SELECT count(*) FROM entries e WHERE "
                            "e.message = m.id) + (SELECT count(*) FROM deleted_entries d WHERE d.message = m.id)") ==
              0);
    }
    TempStore store;
    AccountId alice = store.add_account("alice@a.example");
    MailboxId inbox{};
};

}  // namespace

TEST_CASE("an expunged message is listed and comes back with its flags, keywords and date") {
    Fixture f(3);
    FlagChange marks;
    marks.flags = bit(Flag::seen) | bit(Flag::deleted);
    marks.keywords = {"work"};
    const std::vector<Uid> two = {2};
    REQUIRE(f.write([&](MailTx& mail) { return mail.store(f.inbox, two, marks, std::nullopt); }));
    const Entry before = f.store.entries(f.alice, "INBOX").at(1);
    REQUIRE(f.expunge({2}) == two);
    CHECK(f.account().used_messages == 2);

    const auto list = f.deleted();
    REQUIRE(list.size() == 1);
    CHECK(list[0].key.uid == 2);
    CHECK(list[0].mailbox_name == "INBOX");
    CHECK(list[0].subject == "a subject");
    CHECK(list[0].from == "Alice");

    const ModSeq modseq = f.store.mailbox(f.alice, "INBOX").highest_modseq;
    const auto done = f.restore(f.keys());
    REQUIRE(done);
    CHECK(done->messages == 1);
    const auto entries = f.store.entries(f.alice, "INBOX");
    REQUIRE(entries.size() == 3);
    CHECK(entries[2].uid == 4);
    CHECK(entries[2].flags == bit(Flag::seen));
    CHECK(entries[2].keyword_set == before.keyword_set);
    CHECK(entries[2].internal_date_s == before.internal_date_s);
    CHECK(entries[2].message == before.message);
    CHECK(entries[2].modseq > modseq);
    CHECK(f.account().used_messages == 3);
    CHECK(f.deleted().empty());
    f.check_rows();
    // A key that was used already is passed over.
    const auto again = f.restore({DeletedKey{list[0].key}});
    REQUIRE(again);
    CHECK(again->messages == 0);
}

TEST_CASE("a removed mailbox comes back with its content, its special use and its subscription") {
    Fixture f(0);
    for (int i = 0; i < 5; ++i) REQUIRE(f.store.deliver(f.alice, "0123456789", "Junk"));
    const Mailbox before = f.store.mailbox(f.alice, "Junk");
    f.remove("Junk");
    REQUIRE(f.mailboxes().size() == 1);
    CHECK(f.mailboxes()[0].name == "Junk");
    CHECK(f.mailboxes()[0].special_use == SpecialUse::junk);
    CHECK(f.account().used_messages == 0);
    DeletedQuery query;
    query.mailbox = "Junk";
    REQUIRE(f.restore(f.keys(query)));
    const Mailbox after = f.store.mailbox(f.alice, "Junk");
    CHECK(after.messages == 5);
    CHECK(after.special_use == SpecialUse::junk);
    CHECK(after.subscribed);
    CHECK(after.uid_validity > before.uid_validity);
    CHECK(f.mailboxes().empty());
    f.check_rows();
}

TEST_CASE("an empty mailbox comes back too") {
    Fixture f(0);
    REQUIRE(f.write([](MailTx& mail) { return mail.create("Work/2026", SpecialUse::none); }));
    f.remove("Work/2026");
    const auto gone = f.mailboxes();
    REQUIRE(gone.size() == 1);
    const auto made = f.write([&](MailTx& mail) { return mail.restore_mailbox(gone[0].deleted, gone[0].mailbox); });
    REQUIRE(made);
    CHECK(made->name == "Work/2026");
    CHECK(f.mailboxes().empty());
    const auto again = f.write([&](MailTx& mail) { return mail.restore_mailbox(gone[0].deleted, gone[0].mailbox); });
    CHECK(again.error().code == Errc::not_found);
}

TEST_CASE("messages go into another mailbox where one is named, and into their own under its new name") {
    Fixture f(2);
    REQUIRE(f.store.deliver(f.alice, "0123456789", "Old"));
    const MailboxId old = f.store.mailbox(f.alice, "Old").id;
    const std::vector<Uid> one = {1};
    REQUIRE(f.write([&](MailTx& mail) { return mail.expunge(old, one); }));
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.mail(f.alice).rename("Old", "New"); }));
    REQUIRE(f.restore(f.keys()));
    CHECK(f.store.mailbox(f.alice, "New").messages == 1);
    f.expunge({1, 2});
    REQUIRE(f.restore(f.keys(), "Found/Again"));
    CHECK(f.store.mailbox(f.alice, "Found/Again").messages == 2);
    f.check_rows();
}

TEST_CASE("restoring honours the quota and then changes nothing") {
    Fixture f(3);
    f.expunge({1, 2});
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().set_quota(f.alice, 0, 2); }));
    const auto done = f.restore(f.keys());
    REQUIRE(!done);
    CHECK(done.error().code == Errc::over_quota);
    CHECK(f.deleted().size() == 2);
    CHECK(f.account().used_messages == 1);
    REQUIRE(f.restore({f.keys()[0]}));
    f.check_rows();
}

TEST_CASE("lists come in pages, the latest first, and by mailbox and time") {
    Fixture f(5);
    for (Uid uid = 1; uid <= 5; ++uid) f.expunge({uid});
    DeletedQuery query;
    query.limit = 2;
    std::vector<Uid> seen;
    for (;;) {
        const auto page = f.deleted(query);
        for (const DeletedEntry& entry : page) seen.push_back(entry.key.uid);
        if (page.size() < query.limit) break;
        query.before = page.back().key;
    }
    CHECK(seen == std::vector<Uid>{5, 4, 3, 2, 1});
    query = DeletedQuery();
    query.mailbox = "inbox";
    CHECK(f.deleted(query).size() == 5);
    query.mailbox = "Trash";
    CHECK(f.deleted(query).empty());
    query = DeletedQuery();
    query.since = f.deleted()[0].key.deleted + Milliseconds(1);
    CHECK(f.deleted(query).empty());
    query = DeletedQuery();
    query.lay_in = f.inbox;
    query.uid = 3;
    CHECK(f.deleted(query).size() == 1);
}

TEST_CASE("nobody sees or restores what another account removed") {
    Fixture f(1);
    f.expunge({1});
    const auto keys = f.keys();
    const AccountId bob = f.store.add_account("bob@a.example");
    CHECK(f.store->read([&](const Snapshot& s) { return s.mail(bob).deleted(DeletedQuery()); })->empty());
    const auto stolen = f.store->write_value({}, [&](Tx& tx) { return tx.mail(bob).restore(keys, ""); });
    REQUIRE(stolen);
    CHECK(stolen->messages == 0);
    CHECK(f.deleted().size() == 1);
}
