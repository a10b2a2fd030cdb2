#include "admin/transfer/taker.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using transfer::FolderSpec;
using transfer::TakenFolder;
using transfer::TakenItem;
using transfer::Taker;

namespace {

constexpr const char* kSource = "maildir:/somewhere";

std::string message(int number) {
    return fmt::format("Subject: {}\r\nDate: Mon, 23 Nov 2026 20:11:05 +0000\r\n\r\nbody {}\r\n", number, number);
}

struct Failures {
    std::vector<std::string> names;
    std::vector<Errc> codes;
};

struct Fixture {
    test::TempStore store;
    AccountId account = store.add_account("alice@a.example");
    Failures failures;

    Taker taker() {
        return Taker(*store, account, kSource, [this](const std::string& name, const Error& why) {
            failures.names.push_back(name);
            failures.codes.push_back(why.code);
        });
    }
    static TakenFolder open(Taker& taker, const std::string& name, SpecialUse use = SpecialUse::none) {
        FolderSpec spec;
        spec.name = spec.mailbox = name;
        spec.use = use;
        auto folder = taker.open_folder(spec);
        if (!folder) FAIL(folder.error().context);
        return *folder;
    }
    static Result<> add(Taker& taker, const TakenFolder& folder, const std::string& key, const std::string& octets) {
        TakenItem item;
        item.key = item.name = key;
        TRY(item.body, taker.stage(octets));
        return taker.add(folder, std::move(item));
    }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "messages come in order, with their dates, and only once") {
    for (int round = 0; round < 2; ++round) {
        Taker into = taker();
        const TakenFolder folder = open(into, "Old/2020");
        CHECK(folder.known == (round == 1));
        for (int i = 0; i < 250; ++i) {
            const std::string key = fmt::format("m{}", i);
            const auto known = into.has(folder, key);
            REQUIRE(known);
            CHECK(*known == (round == 1));
            REQUIRE(add(into, folder, key, message(i)));
            CHECK(*into.has(folder, key));
        }
        REQUIRE(into.finish());
        CHECK(into.statistics().taken == (round == 0 ? 250U : 0U));
        CHECK(into.statistics().known == (round == 0 ? 0U : 250U));
    }
    const auto entries = store.entries(account, "Old/2020");
    REQUIRE(entries.size() == 250);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        CHECK(entries[i].uid == i + 1);
        CHECK(entries[i].internal_date_s == 1795464665);
    }
    CHECK(store.mailbox(account, "Old/2020").subscribed);
}

TEST_CASE_FIXTURE(Fixture, "the mailbox of the use is taken, and a renamed one is found again") {
    Taker into = taker();
    CHECK(open(into, "Sent Items", SpecialUse::sent).mailbox_name == "Sent");
    const TakenFolder folder = open(into, "Work");
    REQUIRE(add(into, folder, "a", message(1)));
    REQUIRE(into.finish());
    REQUIRE(store->write({}, [&](Tx& tx) { return tx.mail(account).rename("Work", "Done"); }));
    Taker again = taker();
    const TakenFolder same = open(again, "Work");
    CHECK(same.mailbox_name == "Done");
    CHECK(same.known);
    CHECK(*again.has(same, "a"));
}

TEST_CASE_FIXTURE(Fixture, "bad messages are reported and their neighbours go in") {
    Taker into = taker();
    const TakenFolder folder = open(into, "INBOX");
    REQUIRE(add(into, folder, "a", message(1)));
    REQUIRE(add(into, folder, "empty", ""));
    TakenItem item;
    item.key = item.name = "b";
    item.body = *into.stage(message(2));
    item.keywords = {"fine", "not fine", "", "\\Seen"};
    REQUIRE(into.add(folder, std::move(item)));
    into.fail("lost", Error(Errc::denied, "it cannot be read"));
    REQUIRE(into.finish());
    CHECK(into.statistics().taken == 2);
    CHECK(into.statistics().failed == 2);
    CHECK(failures.names == std::vector<std::string>{"empty", "lost"});
    const auto entries = store.entries(account, "INBOX");
    REQUIRE(entries.size() == 2);
    const auto words = store->read([&](const Snapshot& s) { return s.mail(account).keywords(entries[1].keyword_set); });
    CHECK(*words == std::vector<std::string>{"fine"});
}

TEST_CASE_FIXTURE(Fixture, "a full account stops the import behind the last message that fits; it can be taken up") {
    REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().set_quota(account, 0, 130); }));
    const auto run = [&](Taker& into) -> Result<> {
        const TakenFolder folder = open(into, "INBOX");
        for (int i = 0; i < 300; ++i) {
            const std::string key = fmt::format("m{}", i);
            TRY(const bool known, into.has(folder, key));
            if (!known) TRY_VOID(add(into, folder, key, message(i)));
        }
        return into.finish();
    };
    {
        Taker into = taker();
        CHECK(!run(into));
        CHECK(!into.finish());
        REQUIRE(into.stopped());
        CHECK(into.stopped()->code == Errc::over_quota);
        CHECK(into.stopped()->context.find("posthouse account quota") != std::string::npos);
        CHECK(into.statistics().taken == 130);
    }
    CHECK(store.entries(account, "INBOX").size() == 130);
    REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().set_quota(account, 0, 0); }));
    Taker into = taker();
    REQUIRE(run(into));
    CHECK(into.statistics().taken == 170);
    CHECK(store.entries(account, "INBOX").size() == 300);
}

TEST_CASE_FIXTURE(Fixture, "flags of known messages follow; keywords only where they are given") {
    Taker into = taker();
    const TakenFolder folder = open(into, "INBOX");
    TakenItem item;
    item.key = item.name = "a";
    item.body = *into.stage(message(1));
    item.keywords = {"kept"};
    REQUIRE(into.add(folder, std::move(item)));
    REQUIRE(into.set_flags(folder, "a", bit(Flag::seen) | bit(Flag::flagged), std::nullopt));
    REQUIRE(into.set_flags(folder, "nobody", bit(Flag::seen), std::nullopt));
    REQUIRE(into.finish());
    auto entry = store.entries(account, "INBOX").at(0);
    CHECK(entry.flags == (bit(Flag::seen) | bit(Flag::flagged)));
    CHECK(entry.keyword_set != 0);
    CHECK(into.statistics().flags_changed == 1);

    REQUIRE(into.set_flags(folder, "a", bit(Flag::flagged), std::vector<std::string>{}));
    REQUIRE(into.finish());
    entry = store.entries(account, "INBOX").at(0);
    CHECK(entry.flags == bit(Flag::flagged));
    CHECK(entry.keyword_set == 0);
    const ModSeq before = entry.modseq;
    REQUIRE(into.set_flags(folder, "a", bit(Flag::flagged), std::vector<std::string>{}));
    REQUIRE(into.finish());
    CHECK(store.entries(account, "INBOX").at(0).modseq == before);

    REQUIRE(into.remove(folder, "a"));
    REQUIRE(into.finish());
    CHECK(store.entries(account, "INBOX").empty());
    CHECK(!*into.has(folder, "a"));
}

TEST_CASE_FIXTURE(Fixture, "two runs at once make no duplicate") {
    Taker first = taker();
    Taker second = taker();
    const TakenFolder folder = open(first, "INBOX");
    const TakenFolder same = open(second, "INBOX");
    for (int i = 0; i < 50; ++i) {
        REQUIRE(add(first, folder, fmt::format("m{}", i), message(i)));
        REQUIRE(add(second, same, fmt::format("m{}", i), message(i)));
    }
    REQUIRE(first.finish());
    REQUIRE(second.finish());
    CHECK(first.statistics().taken + second.statistics().taken == 50);
    CHECK(store.entries(account, "INBOX").size() == 50);
}
