#include "storage/search/search_index.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "storage/fail_point.h"
#include "tests/unit/storage/search/search_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using namespace posthouse::storage::search;
using test::build;
using test::kGoOn;
using test::message_of;
using test::SearchStore;

namespace {

Condition asking(const char* needle, Condition::Where where = Condition::Where::anywhere) {
    return Condition(Condition::Kind::text, mime::fold_for_search(needle), where);
}

}  // namespace

TEST_CASE("the index says what reading every message says, with a tail that it does not know yet") {
    SearchStore store(150, 1);
    SearchIndex index(*store);
    build(index);
    store.check_agreement(index);
    CHECK(index.status()->indexed == 150);
    CHECK(index.status()->waiting == 0);

    const auto verdicts = index.narrow(asking("exporter"), store.ids());
    REQUIRE(verdicts);
    CHECK(std::ranges::count(*verdicts, Verdict::in_mail) == 0);
    CHECK(std::ranges::count(*verdicts, Verdict::no) > 0);

    store.fill(20, 2);
    CHECK(index.status()->waiting == 20);
    store.check_agreement(index);
    struct stat file {};
    REQUIRE(::stat((store.path() + "/search.db").c_str(), &file) == 0);
    CHECK((file.st_mode & 0777) == 0600);
}

TEST_CASE("conditions are put together: and, or, not, and what nobody can tell") {
    using Kind = Condition::Kind;
    SearchStore store;
    std::vector<std::string> messages;
    for (int i = 0; i < 90; ++i) {
        const char* const kind = i % 3 == 0 ? "fizz" : "none";
        messages.push_back(message_of(i, fmt::format("{} {}", i % 2 == 0 ? "even" : "odd", kind)));
    }
    store.take_in(messages);
    SearchIndex index(*store);
    build(index);
    const auto text = [](const char* needle) { return asking(needle); };
    const auto count = [&](const Condition& condition, Verdict verdict) {
        const auto got = index.narrow(condition, store.ids());
        REQUIRE(got);
        return std::ranges::count(*got, verdict);
    };
    CHECK(count(text("odd"), Verdict::yes) == 45);
    CHECK(count(text("even"), Verdict::yes) == 45);
    CHECK(count(text("even"), Verdict::no) == 45);
    CHECK(count(Condition(Kind::all_of, {text("odd"), text("fizz")}), Verdict::yes) == 15);
    CHECK(count(Condition(Kind::all_of, {text("odd"), Condition(Kind::narrowed, mime::fold_for_search("fizz"))}),
                Verdict::in_text) == 15);
    CHECK(count(Condition(Kind::all_of, {text("odd"), Condition(Kind::met)}), Verdict::yes) == 45);
    CHECK(count(Condition(Kind::all_of, {text("odd"), Condition(Kind::unknown)}), Verdict::in_text) == 45);
    CHECK(count(Condition(Kind::any_of, {text("odd"), text("fizz")}), Verdict::no) == 30);
    CHECK(count(Condition(Kind::any_of, {text("odd"), text("fizz")}), Verdict::yes) == 60);
    CHECK(count(Condition(Kind::any_of, {text("odd"), Condition(Kind::unknown)}), Verdict::in_text) == 45);
    CHECK(count(Condition(Kind::none_of, {text("odd")}), Verdict::yes) == 45);
    CHECK(count(Condition(Kind::none_of, {text("fizz")}), Verdict::yes) == 60);
    CHECK(count(Condition(Kind::none_of, {Condition(Kind::narrowed, mime::fold_for_search("odd"))}),
                Verdict::in_text) == 45);
    // Header and body apart.
    const auto where = [](const char* needle, Condition::Where place) { return asking(needle, place); };
    CHECK(count(where("odd", Condition::Where::body), Verdict::yes) == 45);
    CHECK(count(where("odd", Condition::Where::header), Verdict::no) == 90);
    CHECK(count(where("sub", Condition::Where::header), Verdict::yes) == 90);
    CHECK(count(where("sub", Condition::Where::body), Verdict::no) == 90);
}

TEST_CASE("words of most texts and phrases of such words are found exactly, by several threads") {
    SearchStore store;
    std::vector<std::string> messages;
    for (int i = 0; i < 1200; ++i) {
        const char* const order = i % 3 == 0 ? "common words together" : "words together common";
        messages.push_back(message_of(i, fmt::format("{} {}{}", order, i % 10 == 0 ? "" : "everywhere ", i)));
    }
    store.take_in(messages);
    SearchIndex index(*store);
    build(index);
    const auto count = [&](const char* needle, Condition::Where where, Verdict verdict) {
        const auto got = index.narrow(asking(needle, where), store.ids());
        REQUIRE(got);
        return std::ranges::count(*got, verdict);
    };
    using Where = Condition::Where;
    struct {
        const char* needle;
        Where where;
        int holders;
    } const cases[] = {{"everywhere", Where::body, 1080},     {"everywhere", Where::anywhere, 1080},
                       {"everywhere", Where::header, 0},      {"common words", Where::body, 400},
                       {"words together", Where::body, 1200}, {"together common", Where::body, 800},
                       {"together words", Where::body, 0},    {"everywhere 999", Where::body, 1},
                       {"common 1000", Where::body, 1},       {"common words", Where::anywhere, 400}};
    for (const auto& one : cases) {
        CAPTURE(one.needle);
        CHECK(count(one.needle, one.where, Verdict::yes) == one.holders);
        CHECK(count(one.needle, one.where, Verdict::no) == 1200 - one.holders);
    }
}

TEST_CASE("too large and unreadable messages are noted and read") {
    SearchStore store;
    REQUIRE(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("search.part_octets_max", "2000"); }));
    store.fill(70, 3);
    store.take_in(
        {message_of(71, std::string(3000, 'y') + " needle"),
         "Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\nContent-Type: application/octet-stream\r\n"
         "\r\nhidden\r\n--b--\r\n"});
    SearchIndex index(*store);
    build(index);
    CHECK(index.status()->too_large == 1);
    CHECK(index.status()->encrypted == 1);
    CHECK(index.status()->indexed == 71);
    CHECK(store.by_index(index, "zyy needle").empty());
    CHECK(store.by_index(index, "yyyy needle").size() == 1);
    CHECK(store.by_index(index, "hidden").empty());
    store.check_agreement(index);
}

TEST_CASE("what is gone from the store is taken out") {
    SearchStore store(100, 4);
    SearchIndex index(*store);
    build(index);
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
    store.check_agreement(index);
    auto db = open_reader(directory_of(*store));
    REQUIRE(db);
    CHECK((*db)->value("SELECT count(*) FROM texts").value() == 40);
    CHECK((*db)->value("SELECT count(*) FROM header_words WHERE header_words MATCH '\"NUM\"'").value() == 40);
}

TEST_CASE("a damaged, foreign or old file is thrown away and built anew") {
    SearchStore store(120, 5);
    const std::string path = store.path() + "/search.db";
    const auto build_all = [&] {
        SearchIndex index(*store);
        build(index);
        CHECK(index.status()->indexed == 120);
        store.check_agreement(index);
    };
    build_all();
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
    SUBCASE("of texts that were folded in another way") {
        auto db = Connection::open(path, Connection::Mode::write, 1 << 20);
        REQUIRE(db);
        REQUIRE((*db)->exec("UPDATE origin SET value = '1 ICU 72.1 Unicode 15.0' WHERE name = 'folding'"));
        REQUIRE((*db)->exec("UPDATE texts SET body = (SELECT body FROM texts WHERE message = 1)"));
    }
    SUBCASE("asked for by the setting") {
        REQUIRE(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("search.generation", "1"); }));
    }
    SUBCASE("the store was restored") {
        auto db = Connection::open(path, Connection::Mode::write, 1 << 20);
        REQUIRE(db);
        REQUIRE((*db)->exec("UPDATE origin SET value = '999999999' WHERE name = 'messages'"));
    }
    build_all();
}

TEST_CASE("damage met while searching gives right answers at once and a new index after") {
    SearchStore store(120, 6);
    SearchIndex index(*store);
    build(index);
    CHECK(index.audit(50).value());
    auto db = Connection::open(store.path() + "/search.db", Connection::Mode::write, 1 << 20);
    REQUIRE(db);
    SUBCASE("texts") {
        REQUIRE((*db)->exec(
            "UPDATE texts SET header = zeroblob(length(header)), body = zeroblob(length(body)) WHERE message % 3 = 0"));
    }
    SUBCASE("terms: only a look from the other side sees what is missing") {
        sqlite3_db_config((*db)->handle(), SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
        REQUIRE((*db)->exec("UPDATE body_words_data SET block = zeroblob(length(block)) WHERE id > 10"));
        CHECK_FALSE(index.audit(50).value_or(false));
    }
    store.check_agreement(index);
    CHECK_FALSE(index.narrow(asking("report"), store.ids()));
    REQUIRE(index.run_to_end(kGoOn));
    CHECK(index.status()->indexed == 120);
    CHECK(index.narrow(asking("report"), store.ids()));
    store.check_agreement(index);
}

TEST_CASE("one process writes; the others look") {
    SearchStore store(80, 7);
    SearchIndex index(*store);
    build(index);
    SearchIndex second(*store);
    CHECK(second.run_to_end(kGoOn).error().code == Errc::conflict);
    CHECK(second.rebuild().error().code == Errc::conflict);
    store.check_agreement(second);
    const auto status = read_status(*store);
    REQUIRE(status);
    CHECK(status->usable);
    CHECK(status->being_written);
    CHECK(status->indexed == 80);
    CHECK(status->waiting == 0);
    CHECK(status->octets > 0);
}

TEST_CASE("a commit wakes the job once; flags alone cost no reading") {
    SearchStore store(10, 8);
    SearchIndex index(*store);
    CommitNotice notice;
    notice.mailboxes.push_back({store.account, store.mailbox(store.account, "INBOX").id, 1});
    CHECK_FALSE(index.note(notice));  // it has not rested yet
    while (index.step().value() < std::chrono::seconds(5)) {
    }
    CHECK(index.note(notice));
    CHECK_FALSE(index.note(notice));
    CHECK(index.status()->indexed == 10);
}

TEST_CASE("kill -9 while indexing leaves an index that agrees") {
    SearchStore store(400, 9);
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
            store.check_agreement(index);
        }
        store.close();
    }
    store.reopen();
    SearchIndex index(*store);
    build(index);
    CHECK(index.status()->indexed == 400);
    store.check_agreement(index);
}
