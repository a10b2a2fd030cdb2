// Mail of others (RFC 4314): nothing without a grant, through any call; each right lets through what it says.
#include "storage/rights.h"
#include "storage/store.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

constexpr Errc kDone = Errc::internal;

template <class T>
Errc code_of(const Result<T>& result) {
    return result ? kDone : result.error().code;
}

struct Fixture {
    Fixture() {
        work = *store->write_value({}, [&](Tx& tx) { return tx.mail(alice).create("Work", SpecialUse::none); });
        inbox = *store->read([&](const Snapshot& s) { return s.mail(eve).mailbox("INBOX"); });
        add(alice, "Work", "Subject: one\r\n\r\none\r\n");
        add(alice, "Work", "Subject: two\r\n\r\ntwo\r\n");
        add(eve, "INBOX", "Subject: eve\r\n\r\neve\r\n");
    }
    void add(AccountId account, const std::string& mailbox, const std::string& text) {
        const auto body = store.stage(text);
        const auto done = store->write({body}, [&](Tx& tx) -> Result<> {
            TRY(const MessageId message, tx.add_message(body, mime::compute_facts(text)));
            TRY(const Mailbox box, tx.mail(account).mailbox(mailbox));
            TRY([[maybe_unused]] const Entry entry, tx.mail(account).append(box.id, message, {}));
            return {};
        });
        REQUIRE(done);
    }
    void grant(std::string_view letters, std::string_view identifier = "eve@a.example") {
        const auto done = store->write({}, [&](Tx& tx) -> Result<> {
            TRY(const Rights rights, parse_rights(letters));
            return tx.shared_mail(alice).set_rights(work.id, identifier, RightsChange::replace, rights);
        });
        REQUIRE(done);
    }
    template <class F>
    Errc read(F fn, const AccountId* as = nullptr) {
        return store
            ->read([&](const Snapshot& s) -> Result<Errc> {
                return code_of(fn(s.shared_mail(as == nullptr ? eve : *as)));
            })
            .value();
    }
    template <class F>
    Errc write(F fn) {
        Errc out = kDone;
        const auto done = store->write({}, [&](Tx& tx) -> Result<> {
            const auto result = fn(tx.shared_mail(eve));
            out = code_of(result);
            if (!result) return Error(result.error());
            return {};
        });
        return done ? kDone : out;
    }
    std::vector<Entry> entries() {
        return *store->read([&](const Snapshot& s) { return s.mail(alice).entries(work.id, 1, 1000); });
    }

    TempStore store;
    AccountId alice = store.add_account("alice@a.example");
    AccountId eve = store.add_account("eve@a.example");
    AccountId mallory = store.add_account("mallory@b.example");
    Mailbox work;
    Mailbox inbox;
    const std::vector<Uid> one = {1};
};

FlagChange flags_of(FlagChange::How how, FlagBits flags) {
    FlagChange out;
    out.how = how;
    out.flags = flags;
    return out;
}

/// Every way to a mailbox by its number: what each gives.
std::vector<Errc> all_calls(Fixture& f) {
    const MailboxId id = f.work.id;
    std::vector<Errc> out;
    const auto reads = [&](auto fn) { out.push_back(f.read(fn)); };
    const auto writes = [&](auto fn) { out.push_back(f.write(fn)); };
    reads([&](const MailView& m) { return m.mailbox(id); });
    reads([&](const MailView& m) { return m.entries(id, 1, 10); });
    reads([&](const MailView& m) { return m.deleted_totals(id); });
    reads([&](const MailView& m) { return m.count_from(id, 1); });
    reads([&](const MailView& m) { return m.changed_since(id, 0); });
    reads([&](const MailView& m) { return m.expunged_since(id, 0); });
    reads([&](const MailView& m) { return m.mailbox_keywords(id); });
    reads([&](const MailView& m) { return m.facts(id, 1); });
    reads([&](const MailView& m) { return m.each_facts(id, {}, [](std::size_t, const mime::MessageFacts&) {}); });
    reads([&](const MailView& m) { return m.each_listed(id, 1, 10, Listing::texts, [](const ListedFacts&) {}); });
    reads([&](const MailView& m) { return m.body(id, 1); });
    reads([&](const MailView& m) { return m.annotations(id); });
    reads([&](const MailView& m) { return m.rights(id); });
    const std::vector<AnnotationChange> note = {{Audience::everyone, "/comment", "x"}};
    writes([&](MailTx& m) { return m.store(id, f.one, flags_of(FlagChange::How::add, 1), std::nullopt); });
    writes([&](MailTx& m) { return m.store(id, f.one, flags_of(FlagChange::How::replace, 31), std::nullopt); });
    writes([&](MailTx& m) { return m.copy(id, f.one, f.inbox.id); });
    writes([&](MailTx& m) { return m.move(id, f.one, f.inbox.id); });
    writes([&](MailTx& m) { return m.copy(f.inbox.id, f.one, id); });
    writes([&](MailTx& m) { return m.move(f.inbox.id, f.one, id); });
    writes([&](MailTx& m) { return m.append(id, f.entries()[0].message, {}); });
    writes([&](MailTx& m) { return m.expunge(id, f.one); });
    writes([&](MailTx& m) { return m.note_recent(id, 2); });
    writes([&](MailTx& m) { return m.annotate(id, note); });
    writes([&](MailTx& m) { return m.set_rights(id, "eve@a.example", RightsChange::replace, kAllRights); });
    return out;
}

constexpr std::string_view kName = "Other Users/alice@a.example/Work";

}  // namespace

TEST_CASE("rights: letters, the old c and d, and what is none") {
    CHECK(format_rights(*parse_rights("aetxkpiwsrl")) == "lrswipkxtea");
    CHECK(format_rights(*parse_rights("d")) == "te");
    CHECK(format_rights(*parse_rights("c")) == "kx");
    CHECK(format_rights_for_clients(*parse_rights("lrt")) == "lrtd");
    CHECK(*parse_rights("") == 0);
    CHECK_FALSE(parse_rights("q"));
    CHECK_FALSE(parse_rights("L"));
}

TEST_CASE("shared mail: without a grant every call answers as for a mailbox that is not there") {
    Fixture f;
    for (const Errc code : all_calls(f)) CHECK(code == Errc::not_found);
    // Rights that reveal nothing are none (RFC 4314 4, MYRIGHTS), and rights of another domain's "anyone" too.
    f.grant("swpte");
    for (const Errc code : all_calls(f)) CHECK(code == Errc::not_found);
    f.grant("");
    f.grant("lrswipkxtea", "anyone");
    const auto outside = [](const MailView& m) { return m.mailbox("Shared/alice@a.example/Work"); };
    CHECK(f.read(outside, &f.mallory) == Errc::not_found);
    CHECK(f.read(outside) == kDone);
    f.grant("lrikxa", "-eve@a.example");
    for (const Errc code : all_calls(f)) CHECK(code == Errc::not_found);
    CHECK(f.entries().size() == 2);
}

TEST_CASE("shared mail: seen and nothing more") {
    Fixture f;
    f.grant("l");
    for (const Errc code : all_calls(f)) CHECK(code == Errc::denied);
    CHECK(f.read([](const MailView& m) { return m.mailbox(kName); }) == kDone);
    CHECK(f.read([](const MailView& m) { return m.mailbox("Shared/alice@a.example/Work"); }) == Errc::not_found);
    CHECK(f.write([](MailTx& m) { return m.remove(kName); }) == Errc::denied);
    CHECK(f.write([](MailTx& m) { return m.rename(kName, "Other Users/alice@a.example/X"); }) == Errc::denied);
    CHECK(f.write([](MailTx& m) { return m.create(std::string(kName) + "/New", SpecialUse::none); }) == Errc::denied);
    CHECK(f.entries().size() == 2);
}

TEST_CASE("shared mail: each right without the right to look it up, RFC 4314 4, 6") {
    Fixture f;
    const auto named = [](const MailView& m) { return m.mailbox(kName); };
    const auto listed = [&](const MailView& m) -> Result<> {
        TRY(const auto all, m.mailboxes());
        for (const Mailbox& one : all) {
            if (one.id == f.work.id) return {};
        }
        return Error(Errc::not_found, "not listed");
    };
    const auto opened = [&](const MailView& m) { return m.mailbox(f.work.id); };
    const auto copied = [&](MailTx& m) { return m.copy(f.inbox.id, f.one, f.work.id); };
    const auto expunged = [&](MailTx& m) { return m.expunge(f.work.id, f.one); };
    const auto ruled = [&](const MailView& m) { return m.rights(f.work.id); };
    const auto below = [&](MailTx& m) { return m.create(std::string(kName) + "/New", SpecialUse::none); };
    const auto removed = [&](MailTx& m) { return m.remove(kName); };
    f.grant("r");
    CHECK(f.read(named) == kDone);
    CHECK(f.read(listed) == Errc::not_found);
    CHECK(f.read(opened) == kDone);
    CHECK(f.read([&](const MailView& m) { return m.entries(f.work.id, 1, 10); }) == kDone);
    CHECK(f.write(copied) == Errc::not_found);
    CHECK(f.write(expunged) == Errc::denied);  // who has it selected knows of it
    CHECK(f.read(ruled) == Errc::not_found);
    CHECK(f.write(below) == Errc::not_found);
    CHECK(f.write(removed) == Errc::not_found);
    f.grant("i");
    CHECK(f.read(named) == kDone);
    CHECK(f.read(opened) == Errc::not_found);
    CHECK(f.write(copied) == kDone);
    CHECK(f.entries().size() == 3);
    f.grant("a");
    CHECK(f.read(ruled) == kDone);
    CHECK(f.read(opened) == Errc::not_found);
    f.grant("k");
    CHECK(f.write(below) == kDone);
    f.grant("x");
    CHECK(f.write(removed) == kDone);
}

TEST_CASE("shared mail: the owner's names, quota and special uses stay the owner's") {
    Fixture f;
    f.grant("lri");
    const auto account = [&](AccountId id) {
        return *f.store->read([&](const Snapshot& s) { return s.catalog().account(id); });
    };
    const auto before = account(f.alice).used_messages;
    CHECK(f.write([&](MailTx& m) { return m.copy(f.inbox.id, f.one, f.work.id); }) == kDone);
    CHECK(account(f.alice).used_messages == before + 1);
    CHECK(account(f.eve).used_messages == 1);
    CHECK(f.write([&](MailTx& m) { return m.copy(f.work.id, f.one, f.inbox.id); }) == kDone);
    CHECK(account(f.eve).used_messages == 2);
    CHECK(f.entries().size() == 3);
}

TEST_CASE("shared mail: flags that are not granted stay, RFC 4314 4") {
    using How = FlagChange::How;
    struct Case {
        const char* rights;
        How how;
        FlagBits before;
        FlagBits change;
        Errc code;
        FlagBits after;
    };
    constexpr FlagBits kSeen = 1;
    constexpr FlagBits kFlagged = 4;
    constexpr FlagBits kDeleted = 8;
    const Case cases[] = {
        {"lr", How::add, 0, kSeen, Errc::denied, 0},
        {"lrs", How::add, 0, kSeen | kDeleted, kDone, kSeen},
        {"lrs", How::add, 0, kDeleted, Errc::denied, 0},
        {"lrs", How::replace, kFlagged | kDeleted, kSeen, kDone, kFlagged | kDeleted | kSeen},
        {"lrs", How::replace, kFlagged | kSeen, kFlagged, kDone, kFlagged},
        {"lrw", How::replace, kSeen | kFlagged, kDeleted, kDone, kSeen},
        {"lrt", How::remove, kSeen | kDeleted, kSeen | kDeleted, kDone, kSeen},
        {"lrswt", How::replace, kSeen, kFlagged, kDone, kFlagged},
    };
    for (const Case& c : cases) {
        CAPTURE(c.rights);
        CAPTURE(int{c.change});
        Fixture f;
        REQUIRE(f.store->write({}, [&](Tx& tx) -> Result<> {
            TRY_VOID(tx.mail(f.alice).store(f.work.id, f.one, flags_of(How::replace, c.before), std::nullopt));
            return {};
        }));
        f.grant(c.rights);
        CHECK(f.write([&](MailTx& m) { return m.store(f.work.id, f.one, flags_of(c.how, c.change), std::nullopt); }) ==
              c.code);
        CHECK(int{f.entries()[0].flags} == int{c.after});
    }
}

TEST_CASE("shared mail: giving rights tells nobody who has an account, RFC 4314 3.1") {
    Fixture f;
    const auto set = [&](bool by_client, const std::string& who) {
        Errc out = kDone;
        const auto done = f.store->write({}, [&](Tx& tx) -> Result<> {
            MailTx& mail = by_client ? tx.shared_mail(f.alice) : tx.mail(f.alice);
            out = code_of(mail.set_rights(f.work.id, who, RightsChange::replace, static_cast<Rights>(Right::read)));
            return {};
        });
        REQUIRE(done);
        return out;
    };
    for (const char* who :
         {"eve@a.example", "nobody@a.example", "mallory@b.example", "nobody@b.example", "-eve@b.example"}) {
        CAPTURE(who);
        CHECK(set(true, who) == kDone);
    }
    for (const char* who :
         {"eve@elsewhere.example", "eve", "@a.example", "eve @a.example", "eve@a.example@a.example"}) {
        CAPTURE(who);
        CHECK(set(true, who) == Errc::invalid);
    }
    CHECK(set(true, "alice@a.example") == Errc::denied);
    // The operator is told of a typing error.
    CHECK(set(false, "eve@a.example") == kDone);
    CHECK(set(false, "nobody@a.example") == Errc::invalid);
    // Whoever gets the address later has what was meant for it.
    const AccountId nobody = f.store.add_account("nobody@a.example");
    CHECK(f.read([&](const MailView& m) { return m.entries(f.work.id, 1, 10); }, &nobody) == kDone);
}

TEST_CASE("shared mail: the rights go with the mailbox, and with the account that has them") {
    Fixture f;
    f.grant("lr");
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().remove_account(f.eve); }));
    const AccountId again = f.store.add_account("eve@a.example");
    CHECK(f.read([](const MailView& m) { return m.mailbox(kName); }, &again) == Errc::not_found);
    const auto rows = f.store->read([&](const Snapshot& s) { return s.mail(f.alice).rights(f.work.id); });
    REQUIRE(rows);
    CHECK(rows->empty());
}

TEST_CASE("a mailbox of one's own does not come to stand where another's is shown") {
    Fixture f;
    f.grant("lr");
    CHECK(f.write([](MailTx& m) { return m.create("zz/alice@a.example/Work", SpecialUse::none); }) == kDone);
    CHECK(f.write([](MailTx& m) { return m.rename("zz", "Other Users"); }) == Errc::unsupported);
    CHECK(f.write([](MailTx& m) { return m.rename("zz", "Shared"); }) == Errc::unsupported);
    CHECK(f.write([](MailTx& m) { return m.create("alone", SpecialUse::none); }) == kDone);
    CHECK(f.write([](MailTx& m) { return m.rename("alone", "Shared"); }) == kDone);
}
