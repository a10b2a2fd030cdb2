// Mailboxes: names, creation, renaming, removal, subscriptions, UIDVALIDITY.
#include "storage/mail_impl.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

struct Fixture {
    template <class F>
    auto write(F fn) {
        return store->write_value({}, [&](Tx& tx) { return fn(tx.mail(alice)); });
    }
    Result<> run(std::move_only_function<Result<>(MailTx&)> fn) {
        return store->write({}, [&](Tx& tx) { return fn(tx.mail(alice)); });
    }
    Mailbox create(const std::string& name) {
        auto made = write([&](MailTx& mail) { return mail.create(name, SpecialUse::none); });
        if (!made) FAIL(made.error().context);
        return *made;
    }
    std::vector<std::string> names() {
        std::vector<std::string> out;
        const auto all = store->read([&](const Snapshot& s) { return s.mail(alice).mailboxes(); });
        for (const Mailbox& box : *all) {
            if (box.special_use == SpecialUse::none && box.name != "INBOX") out.push_back(box.name);
        }
        return out;
    }
    Errc rename(const char* from, const char* to) {
        const auto done = run([&](MailTx& mail) { return mail.rename(from, to); });
        return done ? Errc::internal : done.error().code;
    }

    TempStore store;
    AccountId alice = store.add_account("alice@a.example");
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("mailbox names: which can be made, and how INBOX is spelled") {
    struct Case {
        std::string name;
        const char* canonical;  ///< null: invalid
    };
    const Case cases[] = {{"Work", "Work"},
                          {"a/b/c", "a/b/c"},
                          {"inbox", "INBOX"},
                          {"InBox/x", "INBOX/x"},
                          {"inboxes", "inboxes"},
                          {"Entw\xc3\xbcrfe", "Entw\xc3\xbcrfe"},
                          {"a b.c", "a b.c"},
                          {"", nullptr},
                          {"/a", nullptr},
                          {"a/", nullptr},
                          {"a//b", nullptr},
                          {"a/./b", nullptr},
                          {"..", nullptr},
                          {"a\nb", nullptr},
                          {"a\x7f", nullptr},
                          {"a\xc2\x85"
                           "b",
                           nullptr},
                          {"a\xff", nullptr},
                          {std::string("a\0b", 3), nullptr},
                          {std::string(256, 'x'), nullptr},
                          {std::string(255, 'x') + "/y", ""},
                          {std::string(2000, 'x'), nullptr},
                          {"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21", nullptr}};
    for (const Case& c : cases) {
        CAPTURE(c.name);
        const auto checked = check_mailbox_name(c.name);
        CHECK(checked.has_value() == (c.canonical != nullptr));
        if (checked && *c.canonical != '\0') CHECK(*checked == c.canonical);
    }
}

TEST_CASE("create makes missing parents, refuses a taken name and a taken special use") {
    Fixture f;
    f.create("a/b/c");
    CHECK(f.names() == Names{"a", "a/b", "a/b/c"});
    CHECK(f.write([](MailTx& mail) { return mail.create("a/b", SpecialUse::none); }).error().code ==
          Errc::already_exists);
    CHECK(f.write([](MailTx& mail) { return mail.create("inbox", SpecialUse::none); }).error().code ==
          Errc::already_exists);
    CHECK(f.write([](MailTx& mail) { return mail.create("Spam", SpecialUse::junk); }).error().code ==
          Errc::already_exists);
    CHECK(f.store->read([&](const Snapshot& s) { return s.mail(f.alice).mailbox("iNbOx"); })->name == "INBOX");
}

TEST_CASE("a mailbox made anew gets a higher UIDVALIDITY, one that is renamed keeps it") {
    Fixture f;
    const std::uint32_t first = f.create("Work").uid_validity;
    CHECK(f.run([](MailTx& mail) { return mail.remove("Work"); }));
    const std::uint32_t second = f.create("Work").uid_validity;
    CHECK(second > first);
    CHECK(f.run([](MailTx& mail) { return mail.rename("Work", "Play"); }));
    CHECK(f.store.mailbox(f.alice, "Play").uid_validity == second);
    CHECK(f.create("Work").uid_validity > second);
}

TEST_CASE("rename: children follow, parents are made, nothing is overwritten (RFC 3501 6.3.5)") {
    Fixture f;
    f.create("a/b/c");
    f.create("ab");
    f.create("a0");
    CHECK(f.rename("a", "x/y") == Errc::internal);
    CHECK(f.names() == Names{"a0", "ab", "x", "x/y", "x/y/b", "x/y/b/c"});
    CHECK(f.rename("x/y", "x/y/z") == Errc::invalid);
    CHECK(f.rename("x", "ab") == Errc::already_exists);
    CHECK(f.rename("nothing", "new") == Errc::not_found);
    CHECK(f.rename("ab", "bad//name") == Errc::invalid);
    CHECK(f.rename("ab", "inbox") == Errc::already_exists);
    f.create("q/b");
    CHECK(f.run([](MailTx& mail) { return mail.remove("q"); }));
    CHECK(f.rename("x/y", "q") == Errc::already_exists);  // q/b is in the way: nothing moves
    CHECK(f.names() == Names{"a0", "ab", "q/b", "x", "x/y", "x/y/b", "x/y/b/c"});
}

TEST_CASE("INBOX renamed: its messages move, it stays, and so do its children") {
    Fixture f;
    f.create("INBOX/child");
    REQUIRE(f.store.deliver(f.alice, "one"));
    REQUIRE(f.store.deliver(f.alice, "two"));
    const Mailbox before = f.store.mailbox(f.alice, "INBOX");
    CHECK(f.rename("inbox", "Old/mail") == Errc::internal);
    const Mailbox after = f.store.mailbox(f.alice, "INBOX");
    CHECK(after.id == before.id);
    CHECK(after.messages == 0);
    CHECK(after.uid_next == 3);
    CHECK(f.store.entries(f.alice, "Old/mail").size() == 2);
    CHECK(f.store.mailbox(f.alice, "INBOX/child").messages == 0);
}

TEST_CASE("remove: INBOX is denied, children stay, the quota is given back") {
    Fixture f;
    f.create("a/b");
    REQUIRE(f.store.deliver(f.alice, "0123456789", "a"));
    CHECK(f.run([](MailTx& mail) { return mail.remove("Inbox"); }).error().code == Errc::denied);
    CHECK(f.run([](MailTx& mail) { return mail.remove("none"); }).error().code == Errc::not_found);
    CHECK(f.run([](MailTx& mail) { return mail.remove("a"); }));
    CHECK(f.names() == Names{"a/b"});
    const auto account = f.store->read([&](const Snapshot& s) { return s.catalog().account(f.alice); });
    CHECK(account->used_messages == 0);
    CHECK(account->used_octets == 0);
}

TEST_CASE("subscriptions are names and outlive the mailbox (RFC 3501 6.3.6)") {
    Fixture f;
    f.create("Work");
    CHECK(f.run([](MailTx& mail) { return mail.set_subscribed("Work", true); }));
    CHECK(f.run([](MailTx& mail) { return mail.set_subscribed("Work", true); }));
    CHECK(f.store.mailbox(f.alice, "Work").subscribed);
    CHECK(f.run([](MailTx& mail) { return mail.remove("Work"); }));
    const auto names = f.store->read([&](const Snapshot& s) { return s.mail(f.alice).subscriptions(); });
    CHECK(names.value() == Names{"Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash", "Work"});
    CHECK(f.run([](MailTx& mail) { return mail.set_subscribed("Work", false); }));
    CHECK(f.run([](MailTx& mail) { return mail.set_subscribed("a//b", true); }).error().code == Errc::invalid);
}
