#include "storage/search/search_index.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <random>

#include "protocols/mime/facts.h"
#include "protocols/mime/header.h"
#include "protocols/mime/text.h"
#include "storage/fail_point.h"
#include "tests/support/temp_store.h"

namespace posthouse::storage::search {
namespace {

using test::TempStore;

const auto kGoOn = [](std::uint64_t) { return true; };

void deliver(Store& store, AccountId account, const std::vector<std::string>& messages) {
    std::vector<StagedBodyPtr> bodies;
    for (const std::string& message : messages) bodies.push_back(TempStore::stage_in(store, message));
    const auto done = store.write(bodies, [&](Tx& tx) -> Result<> {
        for (std::size_t i = 0; i < messages.size(); ++i) {
            Delivery delivery;
            delivery.body = bodies[i];
            delivery.facts = mime::compute_facts(messages[i]);
            LocalCopy copy;
            copy.account = account;
            delivery.local.push_back(copy);
            TRY([[maybe_unused]] const auto accepted, tx.deliver(delivery));
        }
        return {};
    });
    REQUIRE(done);
}

std::string message_of(int number, const std::string& text) {
    return fmt::format("Subject: Number {}\r\nFrom: a{}@b.example\r\n\r\n{}\r\n", number, number % 7, text);
}

// Words that share many trigrams, so that candidates are wrong often.
std::string words(std::mt19937& random, int count) {
    static const char* const kWords[] = {
        "report", "export", "exporter", "portex",     "Stra\303\237e", "caf\xc3\xa9", "\xe4\xb8\xad\xe6\x96\x87",
        "or",     "AND",    "a*b",      "\"quoted\"", "na\xc3\xafve",  "repo",        "eport",
        "xport",  "x",      "zz"};
    std::string out;
    for (int i = 0; i < count; ++i) {
        out += kWords[random() % std::size(kWords)];
        out += random() % 5 == 0 ? "" : " ";
    }
    return out;
}

struct Mail {
    Mail(TempStore& store, AccountId account, const std::string& mailbox = "INBOX") {
        for (const Entry& entry : store.entries(account, mailbox)) ids.push_back(entry.message);
    }
    std::vector<MessageId> ids;
};

// As a search does it: the index, then what it kept, then the message itself.
std::vector<MessageId> by_index(TempStore& store, SearchIndex& index, AccountId account, const std::string& needle) {
    const std::string folded = mime::fold_for_search(needle);
    std::vector<MessageId> out;
    std::vector<Entry> entries = store.entries(account, "INBOX");
    std::vector<MessageId> ids;
    for (const Entry& entry : entries) ids.push_back(entry.message);
    auto verdicts = index.narrow(Condition(Condition::Kind::text, folded), ids);
    if (!verdicts) verdicts = std::vector<Verdict>(ids.size(), Verdict::in_mail);
    const auto texts = index.texts();
    for (std::size_t i = 0; i < ids.size(); ++i) {
        bool holds = (*verdicts)[i] == Verdict::yes;
        if ((*verdicts)[i] == Verdict::in_text || (*verdicts)[i] == Verdict::in_mail) {
            const mime::SearchText* text = texts ? texts->of(ids[i]) : nullptr;
            mime::SearchText read;
            if (text == nullptr) {
                const auto octets = store->read([&](const Snapshot& s) -> Result<std::string> {
                    TRY(const auto box, s.mail(account).mailbox("INBOX"));
                    TRY(const auto body, s.mail(account).body(box.id, entries[i].uid));
                    return body.read_all();
                });
                REQUIRE(octets);
                read = mime::search_text(*octets, mime::find_header_end(*octets));
                text = &read;
            }
            holds = mime::search_holds(text->header, folded) || mime::search_holds(text->body, folded);
        }
        if (holds) out.push_back(ids[i]);
    }
    return out;
}

std::vector<MessageId> by_reading(TempStore& store, AccountId account, const std::string& needle) {
    SearchIndex none(*store);
    std::vector<MessageId> out;
    const std::string folded = mime::fold_for_search(needle);
    for (const Entry& entry : store.entries(account, "INBOX")) {
        const auto octets = store->read([&](const Snapshot& s) -> Result<std::string> {
            TRY(const auto box, s.mail(account).mailbox("INBOX"));
            TRY(const auto body, s.mail(account).body(box.id, entry.uid));
            return body.read_all();
        });
        REQUIRE(octets);
        const auto text = mime::search_text(*octets, mime::find_header_end(*octets));
        const bool holds = mime::search_holds(text.header, folded) || mime::search_holds(text.body, folded);
        if (holds) out.push_back(entry.message);
    }
    return out;
}

const char* const kNeedles[] = {"report",
                                "EXPORT",
                                "exporter",
                                "xporter",
                                "strasse",
                                "CAF\xc3\x89",
                                "cafe",
                                "\xe4\xb8\xad",
                                "\xe4\xb8\xad\xe6\x96\x87",
                                "or",
                                "x",
                                "zz",
                                "\"quoted\"",
                                "\"q",
                                "a*b",
                                "AND",
                                "and ",
                                "nothing of it",
                                "number 1",
                                "a3@b.example",
                                "na\xc3\xaf",
                                "ort ex",
                                "\n",
                                "  "};

void check_agreement(TempStore& store, SearchIndex& index, AccountId account) {
    for (const char* needle : kNeedles) {
        CAPTURE(needle);
        CHECK(by_index(store, index, account, needle) == by_reading(store, account, needle));
    }
}

void fill(Store& store, AccountId account, int count, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::string> messages;
    for (int i = 0; i < count; ++i) messages.push_back(message_of(i, words(random, 30)));
    deliver(store, account, messages);
}

}  // namespace

TEST_CASE("the index says what reading every message says, with a tail that it does not know yet") {
    TempStore store;
    const AccountId account = store.add_account("alice@a.example");
    fill(*store, account, 150, 1);
    SearchIndex index(*store);
    REQUIRE(index.run_to_end(kGoOn));
    check_agreement(store, index, account);
    CHECK(index.status()->indexed == 150);
    CHECK(index.status()->waiting == 0);

    const Mail mail(store, account);
    const auto verdicts = index.narrow(Condition(Condition::Kind::text, "exporter"), mail.ids);
    REQUIRE(verdicts);
    CHECK(std::ranges::count(*verdicts, Verdict::in_mail) == 0);
    CHECK(std::ranges::count(*verdicts, Verdict::no) > 0);

    fill(*store, account, 20, 2);
    CHECK(index.status()->waiting == 20);
    check_agreement(store, index, account);
    struct stat file{};
    REQUIRE(::stat((store.path() + "/search.db").c_str(), &file) == 0);
    CHECK((file.st_mode & 0777) == 0600);
}

TEST_CASE("conditions are put together: and, or, not, and what nobody can tell") {
    using Kind = Condition::Kind;
    TempStore store;
    const AccountId account = store.add_account("alice@a.example");
    std::vector<std::string> messages;
    for (int i = 0; i < 90; ++i) {
        const char* const kind = i % 3 == 0 ? "fizz" : "none";
        messages.push_back(message_of(i, fmt::format("{} {}", i % 2 == 0 ? "even" : "odd", kind)));
    }
    deliver(*store, account, messages);
    SearchIndex index(*store);
    REQUIRE(index.run_to_end(kGoOn));
    const Mail mail(store, account);
    const auto text = [](const char* needle) { return Condition(Kind::text, needle); };
    const auto count = [&](const Condition& condition, Verdict verdict) {
        const auto got = index.narrow(condition, mail.ids);
        REQUIRE(got);
        return std::ranges::count(*got, verdict);
    };
    CHECK(count(text("odd"), Verdict::yes) == 45);
    CHECK(count(text("even"), Verdict::in_text) == 45);
    CHECK(count(Condition(Kind::all_of, {text("odd"), text("fizz")}), Verdict::in_text) == 15);
    CHECK(count(Condition(Kind::all_of, {text("odd"), Condition(Kind::met)}), Verdict::yes) == 45);
    CHECK(count(Condition(Kind::all_of, {text("odd"), Condition(Kind::unknown)}), Verdict::in_text) == 45);
    CHECK(count(Condition(Kind::any_of, {text("odd"), text("fizz")}), Verdict::no) == 30);
    CHECK(count(Condition(Kind::any_of, {text("odd"), text("fizz")}), Verdict::yes) == 45);
    CHECK(count(Condition(Kind::any_of, {text("odd"), Condition(Kind::unknown)}), Verdict::in_text) == 45);
    CHECK(count(Condition(Kind::none_of, {text("odd")}), Verdict::yes) == 45);
    CHECK(count(Condition(Kind::none_of, {text("fizz")}), Verdict::yes) == 60);
    CHECK(count(Condition(Kind::none_of, {Condition(Kind::narrowed, "odd")}), Verdict::in_text) == 45);
}

TEST_CASE("too large and unreadable messages are noted and read") {
    TempStore store;
    const AccountId account = store.add_account("alice@a.example");
    REQUIRE(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("search.part_octets_max", "2000"); }));
    fill(*store, account, 70, 3);
    deliver(*store, account,
            {message_of(71, std::string(3000, 'y') + " needle"),
             "Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\nContent-Type: application/octet-stream\r\n"
             "\r\nhidden\r\n--b--\r\n"});
    SearchIndex index(*store);
    REQUIRE(index.run_to_end(kGoOn));
    CHECK(index.status()->too_large == 1);
    CHECK(index.status()->encrypted == 1);
    CHECK(index.status()->indexed == 71);
    CHECK(by_index(store, index, account, "zyy needle").empty());
    CHECK(by_index(store, index, account, "yyyy needle").size() == 1);
    CHECK(by_index(store, index, account, "hidden").empty());
    check_agreement(store, index, account);
}

TEST_CASE("what is gone from the store is taken out") {
    TempStore store;
    const AccountId account = store.add_account("alice@a.example");
    fill(*store, account, 100, 4);
    SearchIndex index(*store);
    REQUIRE(index.run_to_end(kGoOn));
    // An account that is removed takes its mail with it, at once or when undelete has run out.
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        Context& context = context_of(tx);
        TRY_VOID(context.db.exec("DELETE FROM entries WHERE uid <= 60"));
        return context.db.exec("DELETE FROM messages WHERE id NOT IN (SELECT message FROM entries)");
    }));
    const auto next = index.sweep(MessageId{1}, 1'000'000);
    REQUIRE(next);
    CHECK_FALSE(next->has_value());
    CHECK(index.status()->indexed == 40);
    check_agreement(store, index, account);
    auto db = open_reader(directory_of(*store));
    REQUIRE(db);
    CHECK((*db)->value("SELECT count(*) FROM texts").value() == 40);
    CHECK((*db)->value("SELECT count(*) FROM words WHERE words MATCH '\"num\"'").value() == 40);
}

TEST_CASE("a damaged, foreign or old file is thrown away and built anew") {
    TempStore store;
    const AccountId account = store.add_account("alice@a.example");
    fill(*store, account, 120, 5);
    const std::string path = store.path() + "/search.db";
    const auto build = [&] {
        SearchIndex index(*store);
        REQUIRE(index.run_to_end(kGoOn));
        CHECK(index.status()->indexed == 120);
        check_agreement(store, index, account);
    };
    build();
    SUBCASE("no database") {
        std::ofstream(path, std::ios::trunc) << "this is no database, but long enough to be read";
    }
    SUBCASE("empty") { std::ofstream(path, std::ios::trunc).close(); }
    SUBCASE("cut") { std::filesystem::resize_file(path, 20'000); }
    SUBCASE("another version") {
        auto db = Connection::open(path, Connection::Mode::write, 1 << 20);
        REQUIRE(db);
        REQUIRE((*db)->exec("PRAGMA user_version = 99"));
    }
    SUBCASE("asked for by the setting") {
        REQUIRE(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("search.generation", "1"); }));
    }
    SUBCASE("the store was restored") {
        auto db = Connection::open(path, Connection::Mode::write, 1 << 20);
        REQUIRE(db);
        REQUIRE((*db)->exec("UPDATE origin SET value = '999999999' WHERE name = 'messages'"));
    }
    build();
}

TEST_CASE("damage met while searching gives right answers at once and a new index after") {
    TempStore store;
    const AccountId account = store.add_account("alice@a.example");
    fill(*store, account, 120, 6);
    SearchIndex index(*store);
    REQUIRE(index.run_to_end(kGoOn));
    CHECK(index.audit(50).value());
    auto db = Connection::open(store.path() + "/search.db", Connection::Mode::write, 1 << 20);
    REQUIRE(db);
    SUBCASE("texts") { REQUIRE((*db)->exec("UPDATE texts SET text = zeroblob(length(text)) WHERE message % 3 = 0")); }
    SUBCASE("terms: only a look from the other side sees what is missing") {
        sqlite3_db_config((*db)->handle(), SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
        REQUIRE((*db)->exec("UPDATE words_data SET block = zeroblob(length(block)) WHERE id > 10"));
        CHECK_FALSE(index.audit(50).value_or(false));
    }
    check_agreement(store, index, account);
    CHECK_FALSE(index.narrow(Condition(Condition::Kind::text, "report"), Mail(store, account).ids));
    REQUIRE(index.run_to_end(kGoOn));
    CHECK(index.status()->indexed == 120);
    CHECK(index.narrow(Condition(Condition::Kind::text, "report"), Mail(store, account).ids));
    check_agreement(store, index, account);
}

TEST_CASE("one process writes; the others look") {
    TempStore store;
    const AccountId account = store.add_account("alice@a.example");
    fill(*store, account, 80, 7);
    SearchIndex index(*store);
    REQUIRE(index.run_to_end(kGoOn));
    SearchIndex second(*store);
    CHECK(second.run_to_end(kGoOn).error().code == Errc::conflict);
    CHECK(second.rebuild().error().code == Errc::conflict);
    check_agreement(store, second, account);
    const auto status = read_status(*store);
    REQUIRE(status);
    CHECK(status->usable);
    CHECK(status->being_written);
    CHECK(status->indexed == 80);
    CHECK(status->waiting == 0);
    CHECK(status->octets > 0);
}

TEST_CASE("a commit wakes the job once; flags alone cost no reading") {
    TempStore store;
    const AccountId account = store.add_account("alice@a.example");
    fill(*store, account, 10, 8);
    SearchIndex index(*store);
    CommitNotice notice;
    notice.mailboxes.push_back({account, store.mailbox(account, "INBOX").id, 1});
    CHECK_FALSE(index.note(notice));  // it has not rested yet
    while (index.step().value() < std::chrono::seconds(5)) {
    }
    CHECK(index.note(notice));
    CHECK_FALSE(index.note(notice));
    CHECK(index.status()->indexed == 10);
}

TEST_CASE("kill -9 while indexing leaves an index that agrees") {
    TempStore store;
    const AccountId account = store.add_account("alice@a.example");
    fill(*store, account, 400, 9);
    store.close();  // a child must not inherit open databases
    struct {
        const char* place;
        int passing;
    } const kills[] = {
        {"index-before-commit", 1}, {"index-after-commit", 1}, {"index-before-commit", 3}, {"index-after-commit", 2}};
    for (const auto& kill : kills) {
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            fail_point::arm_kill(kill.place, kill.passing);
            const auto opened = store.open_another();
            SearchIndex index(*opened);
            static_cast<void>(index.run_to_end([](std::uint64_t) { return true; }));
            ::_exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
#ifdef POSTHOUSE_FAIL_POINTS
        REQUIRE(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGKILL);
#endif
        store.reopen();
        {
            SearchIndex index(*store);
            REQUIRE(index.status());
            check_agreement(store, index, account);
        }
        store.close();
    }
    store.reopen();
    SearchIndex index(*store);
    REQUIRE(index.run_to_end(kGoOn));
    CHECK(index.status()->indexed == 400);
    check_agreement(store, index, account);
}

}  // namespace posthouse::storage::search
