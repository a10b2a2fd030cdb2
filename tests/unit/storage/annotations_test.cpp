// Annotations (RFC 5464): whose they are, how many, and that they go with what they belong to.
#include "storage/annotations.h"

#include "storage/mail_impl.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

struct Fixture {
    Errc annotate(AccountId as, MailboxId mailbox, std::vector<AnnotationChange> changes) {
        const auto done = store->write({}, [&](Tx& tx) { return tx.mail(as).annotate(mailbox, changes); });
        return done ? Errc::internal : done.error().code;
    }
    std::vector<std::string> entries(AccountId as, MailboxId mailbox) {
        const auto found = store->read([&](const Snapshot& s) { return s.mail(as).annotations(mailbox); });
        std::vector<std::string> out;
        if (!found) return {"error"};
        for (const Annotation& one : *found) {
            out.push_back((one.audience == Audience::owner ? "own " : "all ") + one.entry + "=" + one.value);
        }
        return out;
    }
    Mailbox inbox(AccountId of) {
        return *store->read([&](const Snapshot& s) { return s.mail(of).mailbox("INBOX"); });
    }

    TempStore store;
    AccountId alice = store.add_account("alice@a.example");
    AccountId bob = store.add_account("bob@a.example");
};

constexpr Errc kDone = Errc::internal;
using Entries = std::vector<std::string>;

}  // namespace

TEST_CASE("annotations: set, replaced, removed, of a mailbox and of the account") {
    Fixture f;
    const MailboxId inbox = f.inbox(f.alice).id;
    CHECK(f.annotate(f.alice, inbox,
                     {{Audience::owner, "/comment", "mine"}, {Audience::everyone, "/comment", "ours"}}) == kDone);
    CHECK(f.annotate(f.alice, MailboxId{}, {{Audience::owner, "/comment", "whole"}}) == kDone);
    CHECK(f.entries(f.alice, inbox) == Entries{"own /comment=mine", "all /comment=ours"});
    CHECK(f.entries(f.alice, MailboxId{}) == Entries{"own /comment=whole"});
    CHECK(f.annotate(f.alice, inbox,
                     {{Audience::owner, "/comment", "new"}, {Audience::everyone, "/comment", std::nullopt}}) == kDone);
    CHECK(f.entries(f.alice, inbox) == Entries{"own /comment=new"});
}

TEST_CASE("annotations: another account reaches none of them") {
    Fixture f;
    const MailboxId inbox = f.inbox(f.alice).id;
    CHECK(f.annotate(f.alice, inbox, {{Audience::everyone, "/comment", "ours"}}) == kDone);
    CHECK(f.annotate(f.alice, MailboxId{}, {{Audience::owner, "/comment", "whole"}}) == kDone);
    CHECK(f.entries(f.bob, inbox) == Entries{"error"});
    CHECK(f.entries(f.bob, MailboxId{}).empty());
    CHECK(f.annotate(f.bob, inbox, {{Audience::everyone, "/comment", "x"}}) == Errc::not_found);
    CHECK(f.annotate(f.bob, inbox, {{Audience::owner, "/comment", std::nullopt}}) == Errc::not_found);
    CHECK(f.annotate(f.bob, MailboxId{}, {{Audience::everyone, "/comment", "x"}}) == Errc::denied);
}

TEST_CASE("annotations: limits, and nothing of a change that goes over one") {
    Fixture f;
    const MailboxId inbox = f.inbox(f.alice).id;
    CHECK(f.annotate(f.alice, inbox,
                     {{Audience::owner, "/a", "x"},
                      {Audience::owner, "/b", std::string(kAnnotationOctetsMax + 1, 'x')}}) == Errc::too_large);
    CHECK(f.entries(f.alice, inbox).empty());
    std::vector<AnnotationChange> many;
    for (std::size_t i = 0; i < kAnnotationsMax; ++i) many.push_back({Audience::owner, "/n" + std::to_string(i), "x"});
    CHECK(f.annotate(f.alice, inbox, many) == kDone);
    CHECK(f.annotate(f.alice, inbox, {{Audience::owner, "/more", "x"}}) == Errc::limit);
    CHECK(f.annotate(f.alice, inbox, {{Audience::everyone, "/more", "x"}}) == kDone);
}

TEST_CASE("annotations: they go with the mailbox and with the account") {
    Fixture f;
    const auto made =
        f.store->write_value({}, [&](Tx& tx) { return tx.mail(f.alice).create("Work", SpecialUse::none); });
    REQUIRE(made);
    CHECK(f.annotate(f.alice, made->id, {{Audience::owner, "/comment", "x"}}) == kDone);
    CHECK(f.annotate(f.alice, MailboxId{}, {{Audience::owner, "/comment", "x"}}) == kDone);
    const auto rows = [&] {
        return *f.store->read([](const Snapshot& s) -> Result<std::int64_t> {
            Query q = context_of(s).db.query("SELECT count(*) FROM annotations");
            TRY([[maybe_unused]] const bool one, q.row());
            return q.i64(0);
        });
    };
    CHECK(rows() == 2);
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.mail(f.alice).remove("Work"); }));
    CHECK(rows() == 1);
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().remove_account(f.alice); }));
    CHECK(rows() == 0);
}
