// Entries: UIDs, MODSEQ, flags, keywords, copies, moves, expunges, quotas, and whose mail may be seen.
#include "storage/mail.h"

#include <algorithm>
#include <numeric>

#include "storage/sqlite.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::plain_facts;
using posthouse::test::TempStore;

namespace {

using Pairs = std::vector<std::pair<Uid, Uid>>;

/// An account with `count` messages of 10 octets in INBOX.
struct Fixture {
    explicit Fixture(int count) {
        for (int i = 0; i < count; ++i) REQUIRE(store.deliver(alice, "0123456789"));
        inbox = store.mailbox(alice, "INBOX").id;
        trash = store.mailbox(alice, "Trash").id;
    }
    template <class F>
    auto write(F fn) {
        return store->write_value({}, [&](Tx& tx) { return fn(tx.mail(alice)); });
    }
    template <class F>
    auto read(F fn) {
        return store->read([&](const Snapshot& s) { return fn(s.mail(alice)); });
    }
    StoreOutcome change(std::vector<Uid> uids, FlagChange::How how, FlagBits flags, std::vector<std::string> keywords,
                        std::optional<ModSeq> unchanged_since = std::nullopt) {
        FlagChange wanted;
        wanted.how = how;
        wanted.flags = flags;
        wanted.keywords = std::move(keywords);
        auto done = write([&](MailTx& mail) { return mail.store(inbox, uids, wanted, unchanged_since); });
        if (!done) FAIL(done.error().context);
        return *done;
    }
    std::vector<std::string> keywords_of(Uid uid) {
        return *read([&](const MailView& mail) -> Result<std::vector<std::string>> {
            TRY(const auto found, mail.entries(inbox, uid, uid));
            return mail.keywords(found.at(0).keyword_set);
        });
    }
    Account account() {
        return *store->read([&](const Snapshot& s) { return s.catalog().account(alice); });
    }
    /// The counters of a mailbox agree with its entries.
    void check_counters(const std::string& name) {
        const Mailbox box = store.mailbox(alice, name);
        const auto entries = store.entries(alice, name);
        std::uint64_t unseen = 0;
        std::uint64_t octets = 0;
        ModSeq highest = 0;
        for (const Entry& entry : entries) {
            unseen += (entry.flags & bit(Flag::seen)) == 0 ? 1U : 0U;
            octets += entry.size_octets;
            highest = std::max(highest, entry.modseq);
            CHECK(entry.uid < box.uid_next);
        }
        CHECK(box.messages == entries.size());
        CHECK(box.unseen == unseen);
        CHECK(box.octets == octets);
        CHECK(box.highest_modseq >= highest);
    }

    TempStore store;
    AccountId alice = store.add_account("alice@a.example");
    MailboxId inbox{};
    MailboxId trash{};
};

}  // namespace

TEST_CASE("delivered entries have growing UIDs and MODSEQs and count in their mailbox and account") {
    Fixture f(3);
    const auto entries = f.store.entries(f.alice, "INBOX");
    REQUIRE(entries.size() == 3);
    CHECK(entries[0].uid == 1);
    CHECK(entries[2].uid == 3);
    CHECK(entries[0].modseq < entries[1].modseq);
    CHECK(entries[0].internal_date_s > 1'600'000'000);
    f.check_counters("INBOX");
    CHECK(f.account().used_messages == 3);
    CHECK(f.account().used_octets == 30);
}

TEST_CASE("a copy for a folder that is not there makes the folder; two copies share one body") {
    Fixture f(0);
    const AccountId bob = f.store.add_account("bob@a.example");
    const StagedBodyPtr body = f.store.stage("shared");
    REQUIRE(f.store->write_value({body}, [&](Tx& tx) -> Result<Accepted> {
        Delivery delivery;
        delivery.body = body;
        delivery.facts = plain_facts("shared");
        LocalCopy to_alice;
        to_alice.account = f.alice;
        to_alice.mailbox = "Lists/dev";
        to_alice.flags = bit(Flag::seen);
        LocalCopy to_bob;
        to_bob.account = bob;
        delivery.local = {to_alice, to_bob};
        return tx.deliver(delivery);
    }));
    const auto first = f.store.entries(f.alice, "Lists/dev");
    const auto second = f.store.entries(bob, "INBOX");
    REQUIRE(first.size() == 1);
    REQUIRE(second.size() == 1);
    CHECK(first[0].message == second[0].message);
    CHECK(f.store.mailbox(f.alice, "Lists").messages == 0);
    CHECK(f.store.mailbox(f.alice, "Lists/dev").unseen == 0);
    // When one goes for good, the other still reads it.
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().remove_account(bob); }));
    const auto text = f.read([&](const MailView& mail) -> Result<std::string> {
        TRY(const Mailbox box, mail.mailbox("Lists/dev"));
        TRY(const BodyReader reader, mail.body(box.id, 1));
        return reader.read_all();
    });
    CHECK(text.value() == "shared");
}

TEST_CASE("flags: add, remove, replace; what stands so already is left out (RFC 3501 6.4.6)") {
    Fixture f(3);
    using How = FlagChange::How;
    CHECK(f.change({1, 2}, How::add, bit(Flag::seen), {}).changed.size() == 2);
    CHECK(f.change({1, 2, 3}, How::add, bit(Flag::seen), {}).changed.size() == 1);
    CHECK(f.store.mailbox(f.alice, "INBOX").unseen == 0);
    CHECK(f.change({1}, How::add, bit(Flag::flagged), {}).changed.at(0).flags ==
          (bit(Flag::seen) | bit(Flag::flagged)));
    CHECK(f.change({1}, How::remove, bit(Flag::seen), {}).changed.at(0).flags == bit(Flag::flagged));
    CHECK(f.change({1}, How::replace, bit(Flag::draft), {}).changed.at(0).flags == bit(Flag::draft));
    CHECK(f.change({1}, How::replace, 0, {}).changed.at(0).flags == 0);
    CHECK(f.change({7, 9}, How::add, bit(Flag::seen), {}).changed.empty());
    CHECK(f.change({2, 2, 2}, How::replace, 0, {}).changed.size() == 1);
    f.check_counters("INBOX");
}

TEST_CASE("every change takes a higher MODSEQ; UNCHANGEDSINCE leaves newer entries alone (RFC 7162 3.1.3)") {
    Fixture f(3);
    using How = FlagChange::How;
    const ModSeq before = f.store.mailbox(f.alice, "INBOX").highest_modseq;
    const auto first = f.change({2}, How::add, bit(Flag::seen), {});
    CHECK(first.changed.at(0).modseq > before);
    CHECK(f.store.mailbox(f.alice, "INBOX").highest_modseq == first.changed[0].modseq);
    const auto second = f.change({1, 2, 3}, How::add, bit(Flag::answered), {}, before);
    CHECK(second.changed.size() == 2);
    CHECK(second.modified == std::vector<Uid>{2});
    const auto changed = f.read([&](const MailView& mail) { return mail.changed_since(f.inbox, before); });
    REQUIRE(changed->size() == 3);
    CHECK(changed->at(0).uid == 1);
    CHECK(f.read([&](const MailView& mail) { return mail.changed_since(f.inbox, second.changed[0].modseq); })->empty());
    // Nothing changed: no MODSEQ is used up.
    const ModSeq now = f.store.mailbox(f.alice, "INBOX").highest_modseq;
    CHECK(f.change({1}, How::add, bit(Flag::answered), {}).changed.empty());
    CHECK(f.store.mailbox(f.alice, "INBOX").highest_modseq == now);
}

TEST_CASE("keywords keep their first spelling, sets are kept once and do not change") {
    Fixture f(3);
    using How = FlagChange::How;
    using Names = std::vector<std::string>;
    f.change({1}, How::add, 0, {"$Forwarded", "Work"});
    f.change({2}, How::add, 0, {"WORK", "$forwarded", "work"});
    CHECK(f.keywords_of(1) == Names{"$Forwarded", "Work"});
    CHECK(f.keywords_of(2) == f.keywords_of(1));
    const auto entries = f.store.entries(f.alice, "INBOX");
    CHECK(entries[0].keyword_set == entries[1].keyword_set);
    f.change({1}, How::remove, 0, {"work"});
    CHECK(f.keywords_of(1) == Names{"$Forwarded"});
    CHECK(f.keywords_of(2) == Names{"$Forwarded", "Work"});
    f.change({2}, How::replace, 0, {"later"});
    CHECK(f.read([&](const MailView& mail) { return mail.mailbox_keywords(f.inbox); }).value() ==
          Names{"$Forwarded", "later"});
    f.change({1, 2}, How::replace, 0, {});
    CHECK(f.read([&](const MailView& mail) { return mail.mailbox_keywords(f.inbox); })->empty());
    CHECK(f.store.entries(f.alice, "INBOX")[0].keyword_set == 0);
}

TEST_CASE("what is no atom is no keyword (RFC 3501 9)") {
    Fixture f(1);
    for (const char* bad : {"", "a b", "(x", "a\"", "a\\b", "x]", "a*", "a%", "{", "\x7f", "caf\xc3\xa9"}) {
        CAPTURE(bad);
        FlagChange change;
        change.keywords = {bad};
        const std::vector<Uid> uids = {1};
        const auto done = f.write([&](MailTx& mail) { return mail.store(f.inbox, uids, change, std::nullopt); });
        CHECK(done.error().code == Errc::invalid);
    }
    CHECK(f.store.entries(f.alice, "INBOX")[0].modseq == f.store.mailbox(f.alice, "INBOX").highest_modseq);
}

TEST_CASE("expunged entries leave UID and MODSEQ behind and stay restorable") {
    Fixture f(4);
    const ModSeq before = f.store.mailbox(f.alice, "INBOX").highest_modseq;
    const std::vector<Uid> wanted = {4, 2, 2, 99};
    const auto gone = f.write([&](MailTx& mail) { return mail.expunge(f.inbox, wanted); });
    CHECK(gone.value() == std::vector<Uid>{2, 4});
    CHECK(f.read([&](const MailView& mail) { return mail.expunged_since(f.inbox, before); }).value() ==
          std::vector<Uid>{2, 4});
    CHECK(f.read([&](const MailView& mail) { return mail.expunged_since(f.inbox, before + 1); })->empty());
    CHECK(f.store.mailbox(f.alice, "INBOX").highest_modseq == before + 1);
    f.check_counters("INBOX");
    CHECK(f.account().used_messages == 2);
    CHECK(f.account().used_octets == 20);
    REQUIRE(f.store.deliver(f.alice, "next"));
    CHECK(f.store.entries(f.alice, "INBOX").back().uid == 5);
    CHECK(f.read([&](const MailView& mail) { return mail.facts(f.inbox, 2); }).error().code == Errc::not_found);
    auto db = Connection::open(f.store.path() + "/mail.db", Connection::Mode::read, 1 << 20);
    REQUIRE(db);
    CHECK((*db)->value("SELECT count(*) FROM deleted_entries d JOIN messages m ON m.id = d.message").value() == 2);
    CHECK((*db)->value("SELECT min(refs) FROM messages").value() == 1);
}

TEST_CASE("copies get new UIDs in order and keep flags, keywords and INTERNALDATE") {
    Fixture f(3);
    f.change({1, 3}, FlagChange::How::add, bit(Flag::flagged), {"Work"});
    const std::vector<Uid> wanted = {3, 1, 50, 1};
    const auto pairs = f.write([&](MailTx& mail) { return mail.copy(f.inbox, wanted, f.trash); });
    CHECK(pairs.value() == Pairs{{1, 1}, {3, 2}});
    const auto source = f.store.entries(f.alice, "INBOX");
    const auto copies = f.store.entries(f.alice, "Trash");
    REQUIRE(copies.size() == 2);
    CHECK(source.size() == 3);
    CHECK(copies[0].flags == bit(Flag::flagged));
    CHECK(copies[0].keyword_set == source[0].keyword_set);
    CHECK(copies[0].internal_date_s == source[0].internal_date_s);
    CHECK(copies[0].message == source[0].message);
    CHECK(copies[0].modseq > source[2].modseq);
    f.check_counters("Trash");
    f.check_counters("INBOX");
    CHECK(f.account().used_messages == 5);
    const std::vector<Uid> one = {2};
    CHECK(f.write([&](MailTx& mail) { return mail.copy(f.inbox, one, f.inbox); }).value() == Pairs{{2, 4}});
    const std::vector<Uid> none = {77};
    CHECK(f.write([&](MailTx& mail) { return mail.copy(f.inbox, none, f.trash); })->empty());
}

TEST_CASE("moves take entries from one mailbox to the other without touching quota or the trash") {
    Fixture f(3);
    const ModSeq before = f.store.mailbox(f.alice, "INBOX").highest_modseq;
    const std::vector<Uid> wanted = {1, 3};
    CHECK(f.write([&](MailTx& mail) { return mail.move(f.inbox, wanted, f.trash); }).value() == Pairs{{1, 1}, {3, 2}});
    CHECK(f.store.entries(f.alice, "INBOX").size() == 1);
    CHECK(f.store.entries(f.alice, "Trash").size() == 2);
    CHECK(f.read([&](const MailView& mail) { return mail.expunged_since(f.inbox, before); }).value() == wanted);
    CHECK(f.account().used_messages == 3);
    f.check_counters("INBOX");
    f.check_counters("Trash");
    const std::vector<Uid> left = {2};
    CHECK(f.write([&](MailTx& mail) { return mail.move(f.inbox, left, f.inbox); }).value() == Pairs{{2, 4}});
    f.check_counters("INBOX");
}

TEST_CASE("copies and moves are saved anew, with the date they came with (RFC 8514 4.2)") {
    struct Hands final : Clock {
        Time now() const override { return time; }
        Time time = from_unix_ms(1'700'000'000'000);
    };
    Hands hands;
    TempStore store([&](StoreOptions& options) { options.clock = &hands; });
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store.deliver(alice, "0123456789"));
    REQUIRE(store.deliver(alice, "0123456789"));
    const MailboxId inbox = store.mailbox(alice, "INBOX").id;
    const MailboxId trash = store.mailbox(alice, "Trash").id;
    const std::vector<Uid> one = {1};
    const std::vector<Uid> two = {2};
    hands.time += std::chrono::hours(1);
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(tx.mail(alice).copy(inbox, one, trash));
        return {};
    }));
    hands.time += std::chrono::hours(1);
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(tx.mail(alice).move(inbox, two, trash));
        return {};
    }));
    const auto left = store.entries(alice, "INBOX");
    const auto there = store.entries(alice, "Trash");
    REQUIRE(left.size() == 1);
    REQUIRE(there.size() == 2);
    CHECK(left[0].save_date_s == 1'700'000'000);
    CHECK(there[0].save_date_s == 1'700'003'600);
    CHECK(there[1].save_date_s == 1'700'007'200);
    for (const Entry& entry : there) CHECK(entry.internal_date_s == 1'700'000'000);
    CHECK(there[0].message == left[0].message);
}

TEST_CASE("quotas hold for delivery, append and copy, name the account, and a refusal changes nothing") {
    Fixture f(2);
    const auto set = [&](std::uint64_t octets, std::uint64_t messages) {
        REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().set_quota(f.alice, octets, messages); }));
    };
    const std::vector<Uid> one = {1};
    const auto refused = [&] {
        const auto delivered = f.store.deliver(f.alice, "0123456789");
        CHECK(delivered.error().code == Errc::over_quota);
        CHECK(delivered.error().context.find("alice@a.example") != std::string::npos);
        const auto copied = f.write([&](MailTx& mail) { return mail.copy(f.inbox, one, f.trash); });
        CHECK(copied.error().code == Errc::over_quota);
        CHECK(f.account().used_messages == 2);
        f.check_counters("INBOX");
        f.check_counters("Trash");
    };
    set(29, 0);
    refused();
    set(0, 2);
    refused();
    CHECK(f.write([&](MailTx& mail) { return mail.move(f.inbox, one, f.trash); }));
    set(30, 3);
    CHECK(f.store.deliver(f.alice, "0123456789"));
}

TEST_CASE("append takes flags, keywords and INTERNALDATE; a message without an entry is dropped") {
    Fixture f(0);
    const StagedBodyPtr body = f.store.stage("appended");
    const auto entry = f.store->write_value({body}, [&](Tx& tx) -> Result<Entry> {
        TRY(const MessageId message, tx.add_message(body, plain_facts("appended")));
        AppendOptions options;
        options.flags = bit(Flag::seen);
        options.keywords = {"Work"};
        options.internal_date_s = 1'000'000'000;
        return tx.mail(f.alice).append(f.inbox, message, options);
    });
    REQUIRE(entry);
    CHECK(entry->uid == 1);
    CHECK(entry->internal_date_s == 1'000'000'000);
    CHECK(f.store.entries(f.alice, "INBOX").at(0).internal_date_s == 1'000'000'000);
    CHECK(f.keywords_of(1) == std::vector<std::string>{"Work"});
    const StagedBodyPtr lost = f.store.stage("dropped");
    REQUIRE(f.store->write_value({lost}, [&](Tx& tx) { return tx.add_message(lost, plain_facts("dropped")); }));
    auto db = Connection::open(f.store.path() + "/mail.db", Connection::Mode::read, 1 << 20);
    CHECK((*db)->value("SELECT count(*) FROM messages").value() == 1);
    CHECK((*db)->value("SELECT sum(dead_octets) FROM segments").value() == 7 + 32);
    f.check_counters("INBOX");
}

TEST_CASE("no account reaches another one's mail") {
    Fixture f(1);
    const AccountId bob = f.store.add_account("bob@a.example");
    const std::vector<Uid> one = {1};
    const auto as_bob = f.store->read([&](const Snapshot& s) -> Result<> {
        const MailView& mail = s.mail(bob);
        CHECK(mail.mailbox(f.inbox).error().code == Errc::not_found);
        CHECK(mail.entries(f.inbox, 1, 9).error().code == Errc::not_found);
        CHECK(mail.changed_since(f.inbox, 0).error().code == Errc::not_found);
        CHECK(mail.expunged_since(f.inbox, 0).error().code == Errc::not_found);
        CHECK(mail.mailbox_keywords(f.inbox).error().code == Errc::not_found);
        CHECK(mail.facts(f.inbox, 1).error().code == Errc::not_found);
        CHECK(mail.body(f.inbox, 1).error().code == Errc::not_found);
        const auto entries = s.mail(f.alice).entries(f.inbox, 1, 9);
        CHECK(mail.each_facts(f.inbox, *entries, [](std::size_t, const mime::MessageFacts&) { FAIL("seen"); })
                  .error()
                  .code == Errc::not_found);
        return {};
    });
    CHECK(as_bob);
    const MessageId message = f.store.entries(f.alice, "INBOX").at(0).message;
    const MailboxId bobs = f.store.mailbox(bob, "INBOX").id;
    CHECK(f.store->write({}, [&](Tx& tx) -> Result<> {
        MailTx& mail = tx.mail(bob);
        FlagChange change;
        change.flags = bit(Flag::seen);
        CHECK(mail.store(f.inbox, one, change, std::nullopt).error().code == Errc::not_found);
        CHECK(mail.copy(f.inbox, one, bobs).error().code == Errc::not_found);
        CHECK(mail.copy(bobs, one, f.inbox).error().code == Errc::not_found);
        CHECK(mail.move(f.inbox, one, bobs).error().code == Errc::not_found);
        CHECK(mail.expunge(f.inbox, one).error().code == Errc::not_found);
        CHECK(mail.note_recent(f.inbox, 2).error().code == Errc::not_found);
        CHECK(mail.append(bobs, message, AppendOptions{}).error().code == Errc::not_found);
        CHECK(mail.append(f.inbox, message, AppendOptions{}).error().code == Errc::not_found);
        return {};
    }));
    CHECK(f.store.entries(bob, "INBOX").empty());
    CHECK(f.write([&](MailTx& mail) { return mail.append(f.trash, message, AppendOptions{}); }));
}

TEST_CASE("facts come back as they were computed, one by one and in one pass") {
    Fixture f(0);
    const StagedBodyPtr body = f.store.stage("text");
    mime::MessageFacts facts = plain_facts("text", "<id@a>");
    facts.structure = std::string("\0\xff\x01", 3);
    facts.subject = "caf\xc3\xa9";
    facts.in_reply_to = "<other@a>";
    facts.date = from_unix_ms(1234567890123);
    facts.received_hops = 3;
    REQUIRE(f.store->write_value({body}, [&](Tx& tx) -> Result<Entry> {
        TRY(const MessageId message, tx.add_message(body, facts));
        return tx.mail(f.alice).append(f.inbox, message, AppendOptions{});
    }));
    REQUIRE(f.store.deliver(f.alice, "second"));
    const auto one = f.read([&](const MailView& mail) { return mail.facts(f.inbox, 1); });
    REQUIRE(one);
    CHECK(one->envelope == facts.envelope);
    CHECK(one->structure == facts.structure);
    CHECK(one->subject == facts.subject);
    CHECK(one->message_id == "<id@a>");
    CHECK(one->in_reply_to == "<other@a>");
    CHECK(one->date == facts.date);
    CHECK(one->size_octets == 4);
    CHECK(one->received_hops == 3);
    const auto entries = f.store.entries(f.alice, "INBOX");
    std::vector<std::size_t> seen;
    CHECK(f.read([&](const MailView& mail) {
        return mail.each_facts(f.inbox, entries, [&](std::size_t i, const mime::MessageFacts& each) {
            seen.push_back(i);
            CHECK(each.size_octets == entries[i].size_octets);
        });
    }));
    CHECK(seen == std::vector<std::size_t>{0, 1});
    CHECK_FALSE(f.read([&](const MailView& mail) { return mail.facts(f.inbox, 2); })->date.has_value());
}

TEST_CASE("recent is told once") {
    Fixture f(2);
    const auto note = [&](Uid up_to) {
        CHECK(f.write([&](MailTx& mail) { return mail.note_recent(f.inbox, up_to); }));
        return f.store.mailbox(f.alice, "INBOX").recent_from;
    };
    CHECK(f.store.mailbox(f.alice, "INBOX").recent_from == 1);
    CHECK(note(3) == 3);
    REQUIRE(f.store.deliver(f.alice, "x"));
    CHECK(note(2) == 3);
    CHECK(note(4) == 4);
    CHECK(note(40) == 4);  // no further than there are messages
}
