// A store of every earlier schema opens, keeps every row and its mail, and has then the schema of a fresh one; cut off
// anywhere on the way it is of the old version or of the new, and what it was before is kept beside it.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "storage/fail_point.h"
#include "storage/schema.h"
#include "storage/sqlite.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

constexpr std::string_view kBody = "Subject: old mail\r\n\r\nstill here\r\n";

std::string text_of(const std::string& path) {
    std::ifstream in(path);
    REQUIRE_MESSAGE(in, path);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
}

/// Plain SQLite: a test may attach and may write texts together.
class Raw {
 public:
    explicit Raw(const std::string& path) {
        REQUIRE(sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr) == SQLITE_OK);
    }
    ~Raw() { sqlite3_close(db_); }
    Raw(const Raw&) = delete;
    Raw& operator=(const Raw&) = delete;
    void exec(const std::string& sql) {
        CAPTURE(sql);
        char* message = nullptr;
        const int rc = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &message);
        CHECK_MESSAGE(rc == SQLITE_OK, (message == nullptr ? "" : message));
        sqlite3_free(message);
    }
    /// Every row as one line, columns between bars; blobs and NULL in SQL's spelling.
    std::vector<std::string> rows(const std::string& sql) {
        CAPTURE(sql);
        std::vector<std::string> out;
        sqlite3_stmt* q = nullptr;
        REQUIRE(sqlite3_prepare_v2(db_, sql.c_str(), -1, &q, nullptr) == SQLITE_OK);
        while (sqlite3_step(q) == SQLITE_ROW) {
            std::string line;
            for (int i = 0; i < sqlite3_column_count(q); ++i) {
                const void* octets = sqlite3_column_blob(q, i);
                const auto count = static_cast<std::size_t>(sqlite3_column_bytes(q, i));
                if (i > 0) line += '|';
                if (octets != nullptr) line.append(static_cast<const char*>(octets), count);
            }
            out.push_back(std::move(line));
        }
        sqlite3_finalize(q);
        return out;
    }

 private:
    sqlite3* db_ = nullptr;
};

/// What a schema means, whatever its spelling: tables with their columns in order, keys and indexes.
std::vector<std::string> meaning(const std::string& path) {
    Raw db(path);
    std::vector<std::string> out;
    for (const std::string& table : db.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")) {
        for (const std::string& line : db.rows("SELECT type, wr, strict FROM pragma_table_list('" + table + "')")) {
            out.push_back(table + ": " + line);
        }
        for (const std::string& line : db.rows("SELECT cid, name, type, \"notnull\", dflt_value, pk, hidden FROM "
                                               "pragma_table_xinfo('" +
                                               table + "') ORDER BY cid")) {
            out.push_back(table + "." + line);
        }
        for (const std::string& line : db.rows("SELECT l.name, l.\"unique\", l.origin, l.partial, x.seqno, x.name, "
                                               "x.desc, x.coll, x.key FROM pragma_index_list('" +
                                               table + "') l, pragma_index_xinfo(l.name) x ORDER BY l.name, x.seqno")) {
            out.push_back(table + " index " + line);
        }
    }
    for (const std::string& line :
         db.rows("SELECT name, substr(sql, instr(sql, ' ON ')) FROM sqlite_schema WHERE type = 'index' AND sql "
                 "IS NOT NULL ORDER BY name")) {
        out.push_back("index " + line);
    }
    return out;
}

/// Every row of every table but sqlite's own, by the columns that `like` has of it.
std::map<std::string, std::vector<std::string>> contents(const std::string& path, const std::string& like) {
    Raw db(path);
    Raw shape(like);
    std::map<std::string, std::vector<std::string>> out;
    for (const std::string& table : shape.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")) {
        std::string columns;
        for (const std::string& column : shape.rows("SELECT name FROM pragma_table_info('" + table + "')")) {
            columns += (columns.empty() ? "" : ", ") + column;
        }
        out[table] = db.rows("SELECT " + columns + " FROM " + table + " ORDER BY " + columns);
    }
    return out;
}

/// A store with mail whose database is of an older version and has rows in every table.
class OldStore {
 public:
    explicit OldStore(int of = 1) : version(of) {
        alice = store.add_account("alice@a.example");
        REQUIRE(store.deliver(alice, kBody));
        REQUIRE(store.deliver(alice, kBody, "Work/2024", "<m2@a.example>"));
        const MailboxId inbox = store.mailbox(alice, "INBOX").id;
        REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
            FlagChange change;
            change.keywords = {"$Label1"};
            const std::vector<Uid> uids = {1};
            TRY_VOID(tx.mail(alice).store(inbox, uids, change, std::nullopt));
            return {};
        }));
        fill_runs();
        store.close();
        REQUIRE(std::rename(database().c_str(), (store.path() + "/newer.db").c_str()) == 0);
        {
            Raw old(database());
            old.exec("PRAGMA page_size=8192; PRAGMA journal_mode=WAL;");
            old.exec(text_of(fmt::format("tests/support/schema_v{}.sql", version)));
            if (version >= 5) old.exec("DELETE FROM capability_switches");
            old.exec("DELETE FROM counters; ATTACH '" + store.path() + "/newer.db' AS newer;");
            for (const std::string& table :
                 old.rows("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")) {
                if (table == "routes") continue;  // its columns have changed since, and it is empty
                std::string columns;
                for (const std::string& column : old.rows("SELECT name FROM pragma_table_info('" + table + "')")) {
                    columns += (columns.empty() ? "" : ", ") + column;
                }
                old.exec(fmt::format("INSERT INTO {0} ({1}) SELECT {1} FROM newer.{0}", table, columns));
            }
            old.exec("DETACH newer");
            fill_the_rest(old);
            if (version < 4) fill_old_routes(old);
            if (version >= 2) fill_version_2(old);
            if (version >= 3) fill_version_3(old);
            if (version >= 4) fill_version_4(old);
            if (version >= 5) fill_version_5(old);
            if (version >= 6) fill_version_6(old);
            for (const std::string& table : old.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")) {
                CAPTURE(table);
                CHECK(!old.rows("SELECT 1 FROM " + table + " LIMIT 1").empty());
            }
            old.exec(fmt::format("PRAGMA user_version={}", version));
        }
        std::remove((store.path() + "/newer.db").c_str());
        Raw(database()).exec("VACUUM INTO '" + before() + "'");
        std::filesystem::permissions(database(),
                                     std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    }

    std::string database() const { return store.path() + "/mail.db"; }
    /// The old database once more, to compare with.
    std::string before() const { return beside.path() + "/before.db"; }
    std::string kept() const { return fmt::format("{}.before-v{}", database(), kSchemaVersion); }

    int version;
    test::TempStore store;
    test::TempDirectory beside;
    AccountId alice{};

 private:
    /// A mailbox where a run of messages and a single one have changed since they came in, and the last one too.
    void fill_runs() {
        for (int i = 0; i < 7; ++i) REQUIRE(store.deliver(alice, kBody, "Runs"));
        const MailboxId runs = store.mailbox(alice, "Runs").id;
        for (const std::vector<Uid>& uids : {std::vector<Uid>{2, 3}, {5}, {7}}) {
            FlagChange change;
            change.flags = bit(Flag::seen);
            REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
                TRY_VOID(tx.mail(alice).store(runs, uids, change, std::nullopt));
                return {};
            }));
        }
    }
    static void fill_the_rest(Raw& db) {
        db.exec("INSERT INTO settings VALUES ('queue.expire_hours', '120')");
        db.exec("INSERT INTO aliases (address, created_ms) VALUES ('info@a.example', 5)");
        db.exec("INSERT INTO alias_targets VALUES (1, 0, 'alice@a.example')");
        db.exec(
            "INSERT INTO dkim_keys (domain, selector, algorithm, sealed_pem, dns_record, active, created_ms) "
            "VALUES (1, 's1', 'ed25519-sha256', x'0102', 'v=DKIM1', 1, 6)");
        db.exec("INSERT INTO expunged VALUES (1, 3, 77)");
        db.exec(
            "INSERT INTO deleted_entries SELECT 1, 1700000000000, mailbox, 77, 'INBOX', flags, keyword_set, "
            "internal_date_s, save_date_s, size_octets, message FROM entries LIMIT 1");
        db.exec(
            "INSERT INTO queue_items (message, message_id, reverse_path, envid, ret, smtputf8, eight_bit, account, "
            "size_octets, created_ms, expires_ms) VALUES (1, '<m1@a.example>', 'alice@a.example', '', 0, 0, 0, 1, "
            "34, 7, 8)");
        db.exec(
            "INSERT INTO queue_recipients (queue, address, domain, orcpt, notify, state, next_attempt_ms) "
            "VALUES (1, 'bob@b.example', 'b.example', '', 0, 4, 9)");
        db.exec("UPDATE messages SET refs = 3 WHERE id = 1");
    }
    static void fill_old_routes(Raw& db) {
        db.exec(
            "INSERT INTO routes (name, priority, sender_domain, recipient_domain, way, sealed_password, ca_file) "
            "VALUES ('main', 10, '', 'b.example', 'direct', x'', ''), ('relay', 20, 'a.example', '', "
            "'smtp://u@h.example:587', x'00ff', '/ca.pem'), ('hold', 30, '', '', 'smtps://h.example:465', x'', '')");
    }
    static void fill_version_2(Raw& db) {
        db.exec("INSERT INTO deleted_mailboxes VALUES (1, 1700000000000, 99, 'Old', 0, 1)");
        db.exec("INSERT INTO retention_rules VALUES ('', '\\Junk', 30)");
        db.exec("INSERT INTO import_folders VALUES (1, 1, 'maildir:/m', 'INBOX', 0, 1)");
        db.exec("INSERT INTO imported VALUES (1, 'a:2,S', 1)");
        db.exec("INSERT INTO api_tokens (id, name, digest, created_ms) VALUES (1, 'panel', x'00', 5)");
    }
    static void fill_version_3(Raw& db) {
        db.exec("INSERT INTO scram_keys VALUES (1, x'01', 4096, x'02', x'03')");
        db.exec("INSERT INTO app_passwords (account, name, digest, created_ms) VALUES (1, 'phone', x'04', 5)");
        db.exec("INSERT INTO annotations VALUES (1, 0, '/comment', x'05')");
        db.exec("INSERT INTO mailbox_rights VALUES (1, 'bob@a.example', 'lr')");
        db.exec("INSERT INTO capability_switches VALUES (0, 'phone', 'UIDONLY')");
    }
    static void fill_version_4(Raw& db) {
        db.exec(
            "INSERT INTO ways (name, kind, url, sealed_secret, ca_file) VALUES ('relay', 'smarthost', "
            "'smtp://u@h.example:587', x'00ff', '/ca.pem'), ('migrated.route.3', 'smarthost', "
            "'smtps://h.example:465', x'', '')");
        db.exec(
            "INSERT INTO routes (name, priority, sender, recipient, ways) VALUES ('main', 10, '', 'b.example', "
            "'direct'), ('relay', 20, 'a.example', '', 'relay'), ('hold', 30, '', '', 'migrated.route.3')");
        db.exec("INSERT INTO source_addresses (address, pool, ehlo) VALUES ('192.0.2.1', 'pool', 'mx.a.example')");
        db.exec("INSERT INTO route_memory VALUES ('direct', '192.0.2.1', 'google', 5, 6, 1, '550 5.7.1 blocked')");
        db.exec("INSERT INTO way_use VALUES ('relay', 20000, 7)");
        db.exec(
            "INSERT INTO relay_clients (name, password_digest, addresses, sender_domains, minute_max, day_max, class, "
            "created_ms) VALUES ('nas', '', '192.0.2.7', 'a.example', 10, 100, 1, 5)");
        db.exec("INSERT INTO lanes VALUES (1, 'k', 'n', 'open', '', 1, 5, 0, 5, 0, 4, 0, 5)");
        db.exec("INSERT INTO queue_kicks VALUES (1)");
        db.exec("INSERT INTO sts_policies VALUES ('b.example', '1', 'version: STSv1', 5, 6)");
        db.exec("INSERT INTO sts_served VALUES (1, 2, 1, '')");
        db.exec("INSERT INTO tls_sessions VALUES (20000, 'b.example', 1, 0, '', '', '', '', '', '', 3)");
        db.exec(
            "INSERT INTO tls_reports VALUES (1, 5, 'Org', 'r1', 'a.example', '2026-01-01T00:00:00Z', "
            "'2026-01-02T00:00:00Z', 3, 1, '{}')");
    }
    static void fill_version_5(Raw& db) {
        db.exec("INSERT INTO account_hours VALUES (1, 480000, 3, 2, 4, 1, 0)");
        db.exec("INSERT INTO account_recipients VALUES (1, 77)");
        db.exec("INSERT INTO account_trust VALUES (1, 5)");
        db.exec(
            "INSERT INTO reputation (source, provider, standing, since_ms, score, why) VALUES ('', 'google', 1, 5, "
            "60, 'why')");
        db.exec("INSERT INTO reputation_days VALUES ('', 'google', 20000, x'01', x'02', x'03', x'04', x'05')");
        db.exec("INSERT INTO warm_ups VALUES ('192.0.2.1', 'google', 2, 20000, 7, 0, 480000, 3)");
        db.exec("INSERT INTO address_checks VALUES ('192.0.2.1', 'zen.spamhaus.org', 0, '', 5, 6)");
        db.exec(
            "INSERT INTO incidents (kind, way, source, site, domain, since_ms, last_ms, refusals, reply, remote, "
            "state, "
            "probe_ms) VALUES ('ip-blocked', 'direct', '', 'google', '', 5, 6, 1, '550 no', 'mx', 0, 7)");
        db.exec(
            "INSERT INTO suppressions VALUES ('bob@b.example', 'a.example', 'recipient-unknown', '550 no', 'mx', 1, "
            "2, 5, 6, 7, 0)");
        db.exec("INSERT INTO role_marks VALUES (1, 1)");
        db.exec("INSERT INTO dmarc_reports VALUES (1, 5, 'Org', 'r1', 'a.example', 1, 2, 'reject', 3, 2)");
        db.exec("INSERT INTO dmarc_rows VALUES (1, 0, '192.0.2.9', 3, 'none', 1, 0, 'a.example', 'a.example/s1', '')");
        db.exec("INSERT INTO receipts VALUES (1, 1, '<m@a>', 'x@b.example', '', 0, 5, 'alice@a.example', '', 0)");
        db.exec("INSERT INTO submission_keys VALUES (1, 'a1', 'k', x'01', 1, 1, '', 5)");
        db.exec("INSERT INTO submission_notes VALUES (1, 1, '[]', '{}')");
        db.exec("INSERT INTO streams VALUES ('news', 'a.example', 2, 1, 5)");
        db.exec("INSERT INTO stream_recipients (id, stream, address) VALUES (1, 'news', 'bob@b.example')");
        db.exec("INSERT INTO report_rows VALUES (1, 20000, 'a1', 'a.example', 'b.example', 'other', 'direct', '')");
        db.exec("INSERT INTO report_counts VALUES (1, 1, '', 3)");
        db.exec(
            "INSERT INTO webhooks (name, url, sealed_secret, kinds, domain, who, batch, ca_file, cursor, created_ms) "
            "VALUES ('panel', 'https://p.example/', x'01', '', '', '', 1, '', 0, 5)");
        db.exec("INSERT INTO destinations VALUES ('b.example', 5, 0, 0, x'', 0)");
    }
    static void fill_version_6(Raw& db) {
        db.exec("UPDATE stream_recipients SET last_day = 20001");
        db.exec("INSERT INTO bulk_hours VALUES ('news', 0, 480000, 3, 30, 1)");
        db.exec("INSERT INTO takers VALUES (77, 20000, 20001, 0, 0)");
        db.exec("INSERT INTO unknown_sites VALUES ('google', 5, 1, 2, 3, 0, 0)");
        db.exec("INSERT INTO unknown_lately VALUES ('google', 'bob@b.example', 'a.example', 5)");
        db.exec("INSERT INTO lost_mail VALUES (1, 5, 1, 'bob@b.example', 'a report', '550 no')");
        db.exec("INSERT INTO place_days VALUES ('b.example', 20000, 3, 4)");
    }
};

/// Whatever was there received mail here.
void check_domains(OldStore& old) {
    CHECK(Raw(old.database()).rows("SELECT name, hosted FROM domains") == std::vector<std::string>{"a.example|1"});
}

/// A list's recipients keep their tokens for as long as if mail were taken for them today.
void check_lists(OldStore& old) {
    if (old.version < 5) return;
    Raw db(old.database());
    CHECK(db.rows("SELECT id, stream, address, last_day > 20000 FROM stream_recipients") ==
          std::vector<std::string>{"1|news|bob@b.example|1"});
}

/// Each smarthost became a way, its name kept where it could be; each rule is what it was.
void check_routes(OldStore& old) {
    Raw db(old.database());
    CHECK(db.rows("SELECT id, name, priority, sender, recipient, ways, provider, client FROM routes ORDER BY id") ==
          std::vector<std::string>{"1|main|10||b.example|direct||", "2|relay|20|a.example||relay||",
                                   "3|hold|30|||migrated.route.3||"});
    CHECK(db.rows("SELECT name, kind, url, hex(sealed_secret), ca_file FROM ways ORDER BY id") ==
          std::vector<std::string>{"relay|smarthost|smtp://u@h.example:587|00FF|/ca.pem",
                                   "migrated.route.3|smarthost|smtps://h.example:465||"});
}

void check_migrated(OldStore& old) {
    {
        test::TempStore fresh;
        fresh.close();
        CHECK(meaning(old.database()) == meaning(fresh.path() + "/mail.db"));
    }
    check_routes(old);
    check_lists(old);
    check_domains(old);
    Raw(old.before()).exec("DROP TABLE IF EXISTS routes");  // compared on its own
    auto is = contents(old.database(), old.before());
    auto was = contents(old.before(), old.before());
    is.erase("sqlite_sequence");  // tables that are new count there too
    was.erase("sqlite_sequence");
    is.erase("counters");  // opening the store may move them
    was.erase("counters");
    CHECK(is == was);
}

/// The older schemas had an index over every MODSEQ: the same changes are told without it.
void check_changes(OldStore& old) {
    const MailboxId runs = old.store.mailbox(old.alice, "Runs").id;
    const std::vector<Entry> all = old.store.entries(old.alice, "Runs");
    REQUIRE(all.size() == 7);
    for (const Entry& since : all) {
        std::vector<Uid> wanted;
        for (const Entry& entry : all) {
            if (entry.modseq > since.modseq) wanted.push_back(entry.uid);
        }
        const auto news =
            old.store->read([&](const Snapshot& s) { return s.mail(old.alice).changed_since(runs, since.modseq); });
        std::vector<Uid> told;
        for (const Entry& entry : news.value()) told.push_back(entry.uid);
        CAPTURE(since.uid);
        CHECK(told == wanted);
    }
    if (old.version >= 5) return;  // they had runs, which are as they were
    old.store.close();
    CHECK(Raw(old.database()).rows(fmt::format("SELECT first, last FROM flag_runs WHERE mailbox = {}", raw(runs))) ==
          std::vector<std::string>{"2|3", "5|5"});
    old.store.reopen();
}

void check_mail(OldStore& old) {
    const std::vector<Entry> inbox = old.store.entries(old.alice, "INBOX");
    REQUIRE(inbox.size() == 1);
    auto body = old.store->read([&](const Snapshot& s) -> Result<std::string> {
        TRY(const Mailbox box, s.mail(old.alice).mailbox("INBOX"));
        TRY(const BodyReader reader, s.mail(old.alice).body(box.id, 1));
        return reader.read_all();
    });
    REQUIRE(body);
    CHECK(*body == kBody);
    CHECK(old.store.entries(old.alice, "Work/2024").size() == 1);
    CHECK(old.store.deliver(old.alice, "Subject: new\r\n\r\n", "INBOX", "<m3@a.example>"));
}

std::string version_of(const std::string& path) { return Raw(path).rows("PRAGMA user_version").front(); }

}  // namespace

TEST_CASE("a store of an older version opens with every row and all its mail, and has the schema of a fresh one") {
    int version = 0;
    SUBCASE("1") { version = 1; }
    SUBCASE("2") { version = 2; }
    SUBCASE("3") { version = 3; }
    SUBCASE("4") { version = 4; }
    SUBCASE("5") { version = 5; }
    SUBCASE("6") { version = 6; }
    OldStore old(version);
    // What an earlier migration kept goes, once the new copy is there.
    std::ofstream(old.database() + ".before-v0") << "older";
    old.store.reopen();
    old.store.close();
    CHECK(version_of(old.database()) == std::to_string(kSchemaVersion));
    CHECK(version_of(old.kept()) == std::to_string(version));
    CHECK(contents(old.kept(), old.before()) == contents(old.before(), old.before()));
    check_migrated(old);
    CHECK(!std::filesystem::exists(old.database() + ".before-v0"));
    CHECK(!std::filesystem::exists(old.kept() + ".new"));
    const auto mode = std::filesystem::status(old.kept()).permissions();
    CHECK((mode & (std::filesystem::perms::group_all | std::filesystem::perms::others_all)) ==
          std::filesystem::perms::none);
    old.store.reopen();
    check_changes(old);
    check_mail(old);
}

TEST_CASE("the copy that was kept is a store that can be put back") {
    OldStore old;
    old.store.reopen();
    old.store.close();
    std::filesystem::remove(old.database() + "-wal");
    std::filesystem::remove(old.database() + "-shm");
    std::filesystem::rename(old.kept(), old.database());
    old.store.reopen();
    old.store.close();
    check_migrated(old);
    old.store.reopen();
    check_mail(old);
}

TEST_CASE("a newer schema is refused in one clear sentence and left as it is") {
    test::TempStore store;
    store.close();
    Raw(store.path() + "/mail.db").exec("PRAGMA user_version=99");
    const auto opened = Store::open(store.options());
    REQUIRE(!opened);
    CHECK(opened.error().code == Errc::unsupported);
    CHECK(opened.error().context ==
          "the store was written by a newer Posthouse (schema 99, this one knows 7): install that version or a later "
          "one");
    CHECK(version_of(store.path() + "/mail.db") == "99");
}

TEST_CASE("without a place for the copy nothing is changed") {
    OldStore old;
    std::filesystem::create_directory(old.kept() + ".new");  // the copy's name is taken by what cannot be removed
    const auto opened = Store::open(old.store.options());
    CHECK(!opened);
    CHECK(version_of(old.database()) == "1");
    std::filesystem::remove(old.kept() + ".new");
    old.store.reopen();
    check_mail(old);
}

#ifdef POSTHOUSE_FAIL_POINTS
TEST_CASE("killed at any step of a migration, the store is of the old version or of the new, and opens") {
    for (const char* point : {"migrate-begun", "migrate-copied", "migrate-changed", "migrate-marked"}) {
        CAPTURE(point);
        OldStore old;
        const pid_t child = ::fork();
        if (child == 0) {
            fail_point::arm_kill(point, 1);
            auto db = Connection::open(old.database(), Connection::Mode::write, 1024 * 1024);
            if (db) static_cast<void>(migrate_schema(**db));
            std::_Exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGKILL);
        CHECK(version_of(old.database()) == "1");
        CHECK(contents(old.database(), old.before()) == contents(old.before(), old.before()));
        old.store.reopen();
        old.store.close();
        check_migrated(old);
        CHECK(version_of(old.kept()) == "1");
        old.store.reopen();
        check_mail(old);
    }
}
#endif

TEST_CASE("two processes that open an old store at once do the work once") {
    OldStore old;
    std::unique_ptr<Connection> one = *Connection::open(old.database(), Connection::Mode::write, 1024 * 1024);
    std::unique_ptr<Connection> two = *Connection::open(old.database(), Connection::Mode::write, 1024 * 1024);
    Result<> first;
    Result<> second;
    {
        const std::jthread other([&] { first = migrate_schema(*one); });
        second = migrate_schema(*two);
    }
    CHECK(first);
    CHECK(second);
    CHECK(version_of(old.kept()) == "1");
    one.reset();
    two.reset();
    check_migrated(old);
}
