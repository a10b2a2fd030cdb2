#include "storage/schema.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <span>
#include <vector>

#include "protocols/base/log.h"
#include "storage/fail_point.h"
#include "storage/file.h"
#include "storage/flag_runs.h"
#include "storage/sqlite.h"

namespace posthouse::storage {
namespace {

/// Brings version `from` to from + 1. Rows are added at the end with every release that changes the schema.
struct Migration {
    int from;
    std::span<const char* const> scripts;  ///< in this order, one transaction
};
// 2: quotas of domains, removed mailboxes, retention, imports, tokens of the HTTP API. What the columns mean stands in
// schema.sql.
constexpr const char* kToVersion2[] = {R"sql(
ALTER TABLE domains ADD COLUMN quota_octets INTEGER NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN quota_messages INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deleted_entries_by_time ON deleted_entries (deleted_ms);
CREATE TABLE deleted_mailboxes (account INTEGER NOT NULL, deleted_ms INTEGER NOT NULL, mailbox INTEGER NOT NULL,
    name TEXT NOT NULL, special_use INTEGER NOT NULL, subscribed INTEGER NOT NULL,
    PRIMARY KEY (account, deleted_ms, mailbox)) WITHOUT ROWID;
CREATE TABLE retention_rules (scope TEXT NOT NULL, mailbox TEXT NOT NULL, days INTEGER NOT NULL,
    PRIMARY KEY (scope, mailbox)) WITHOUT ROWID;
CREATE TABLE import_folders (id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL, source TEXT NOT NULL,
    name TEXT NOT NULL, uid_validity INTEGER NOT NULL, mailbox INTEGER NOT NULL, UNIQUE (account, source, name));
CREATE TABLE imported (folder INTEGER NOT NULL, key TEXT NOT NULL, uid INTEGER NOT NULL, PRIMARY KEY (folder, key))
    WITHOUT ROWID;
CREATE TABLE api_tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, digest BLOB NOT NULL,
    created_ms INTEGER NOT NULL);
)sql"};

// 3: passwords of programs, SCRAM keys, annotations, rights, switched-off capabilities, copies in Sent, token limits.
constexpr const char* kToVersion3[] = {R"sql(
ALTER TABLE accounts ADD COLUMN file_sent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_tokens ADD COLUMN account INTEGER;
ALTER TABLE api_tokens ADD COLUMN expires_ms INTEGER;
ALTER TABLE api_tokens ADD COLUMN used_ms INTEGER;
CREATE TABLE scram_keys (account INTEGER PRIMARY KEY, salt BLOB NOT NULL, iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL, server_key BLOB NOT NULL);
CREATE TABLE app_passwords (id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL, name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE, created_ms INTEGER NOT NULL, used_ms INTEGER, UNIQUE (account, name));
CREATE TABLE annotations (mailbox INTEGER NOT NULL, account INTEGER NOT NULL, entry TEXT NOT NULL,
    value BLOB NOT NULL, PRIMARY KEY (mailbox, account, entry)) WITHOUT ROWID;
CREATE TABLE mailbox_rights (mailbox INTEGER NOT NULL, identifier TEXT NOT NULL, rights TEXT NOT NULL,
    PRIMARY KEY (mailbox, identifier)) WITHOUT ROWID;
CREATE INDEX mailbox_rights_by_identifier ON mailbox_rights (identifier);
CREATE TABLE capability_switches (account INTEGER NOT NULL, client TEXT NOT NULL, capability TEXT NOT NULL,
    PRIMARY KEY (account, client, capability)) WITHOUT ROWID;
)sql"};

// 4: the relay. One script for each of its rooms.
constexpr const char* kQueue4 = R"sql(
ALTER TABLE queue_items ADD COLUMN class INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue_recipients ADD COLUMN cause INTEGER NOT NULL DEFAULT 0;
)sql";
constexpr const char* kReplyClass4 = R"sql(
ALTER TABLE queue_recipients ADD COLUMN last_class TEXT NOT NULL DEFAULT '';
)sql";
// SCRAM keys of app passwords.
constexpr const char* kLogin4 = R"sql(
ALTER TABLE app_passwords ADD COLUMN salt BLOB NOT NULL DEFAULT x'';
ALTER TABLE app_passwords ADD COLUMN iterations INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app_passwords ADD COLUMN stored_key BLOB NOT NULL DEFAULT x'';
ALTER TABLE app_passwords ADD COLUMN server_key BLOB NOT NULL DEFAULT x'';
)sql";
// A route of old is a rule and the way it named: each smarthost becomes a way of the route's name.
constexpr const char* kRoutes4 = R"sql(
CREATE TABLE ways (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    pool TEXT NOT NULL DEFAULT '', url TEXT NOT NULL DEFAULT '', preset TEXT NOT NULL DEFAULT '',
    sealed_secret BLOB NOT NULL DEFAULT '', ca_file TEXT NOT NULL DEFAULT '', headers TEXT NOT NULL DEFAULT '',
    token_url TEXT NOT NULL DEFAULT '', client_id TEXT NOT NULL DEFAULT '', scope TEXT NOT NULL DEFAULT '',
    sealed_refresh BLOB NOT NULL DEFAULT '', connections_max INTEGER NOT NULL DEFAULT 0,
    minute_max INTEGER NOT NULL DEFAULT 0, day_max INTEGER NOT NULL DEFAULT 0,
    message_octets_max INTEGER NOT NULL DEFAULT 0, recipients_max INTEGER NOT NULL DEFAULT 0);
CREATE TEMP TABLE way_names AS SELECT id AS route, CASE
    WHEN lower(way) = 'direct' THEN 'direct'
    WHEN name IN ('direct', 'hold', 'fail') OR length(name) > 64 OR name GLOB '*[^-A-Za-z0-9_.]*'
    THEN 'migrated.route.' || id
    ELSE name END AS way FROM routes;
INSERT INTO ways (name, kind, url, sealed_secret, ca_file)
    SELECT n.way, 'smarthost', r.way, r.sealed_password, r.ca_file
    FROM routes r JOIN way_names n ON n.route = r.id WHERE n.way <> 'direct' ORDER BY r.id;
ALTER TABLE routes RENAME COLUMN sender_domain TO sender;
ALTER TABLE routes RENAME COLUMN recipient_domain TO recipient;
ALTER TABLE routes RENAME COLUMN way TO ways;
ALTER TABLE routes DROP COLUMN sealed_password;
ALTER TABLE routes DROP COLUMN ca_file;
ALTER TABLE routes ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE routes ADD COLUMN octets_min INTEGER NOT NULL DEFAULT 0;
ALTER TABLE routes ADD COLUMN octets_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE routes ADD COLUMN class INTEGER;
ALTER TABLE routes ADD COLUMN client TEXT NOT NULL DEFAULT '';
UPDATE routes SET ways = (SELECT way FROM way_names WHERE route = routes.id);
DROP TABLE way_names;
CREATE TABLE source_addresses (address TEXT PRIMARY KEY, pool TEXT NOT NULL, ehlo TEXT NOT NULL DEFAULT '')
    WITHOUT ROWID;
CREATE TABLE route_memory (way TEXT NOT NULL, source TEXT NOT NULL, site TEXT NOT NULL, since_ms INTEGER NOT NULL,
    probe_ms INTEGER NOT NULL, tries INTEGER NOT NULL, reply TEXT NOT NULL, PRIMARY KEY (way, source, site))
    WITHOUT ROWID;
CREATE TABLE way_use (way TEXT NOT NULL, day INTEGER NOT NULL, recipients INTEGER NOT NULL, PRIMARY KEY (way, day))
    WITHOUT ROWID;
CREATE TABLE relay_clients (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    password_digest TEXT NOT NULL, addresses TEXT NOT NULL, sender_domains TEXT NOT NULL, minute_max INTEGER NOT NULL,
    day_max INTEGER NOT NULL, class INTEGER NOT NULL, disabled INTEGER NOT NULL DEFAULT 0, created_ms INTEGER NOT NULL,
    minute_ms INTEGER NOT NULL DEFAULT 0, minute_used INTEGER NOT NULL DEFAULT 0, day INTEGER NOT NULL DEFAULT 0,
    day_used INTEGER NOT NULL DEFAULT 0, distrust TEXT NOT NULL DEFAULT '');
ALTER TABLE queue_items ADD COLUMN client INTEGER;
)sql";
constexpr const char* kTransport4 = R"sql(
ALTER TABLE queue_items ADD COLUMN tls INTEGER NOT NULL DEFAULT 0;
CREATE TABLE sts_policies (domain TEXT PRIMARY KEY, id TEXT NOT NULL, policy TEXT NOT NULL,
    fetched_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sts_served (domain INTEGER PRIMARY KEY, mode INTEGER NOT NULL, edition INTEGER NOT NULL,
    mx TEXT NOT NULL);
CREATE TABLE tls_sessions (day INTEGER NOT NULL, domain TEXT NOT NULL, policy INTEGER NOT NULL,
    result INTEGER NOT NULL, mx_host TEXT NOT NULL, receiving_ip TEXT NOT NULL, sending_ip TEXT NOT NULL,
    reason TEXT NOT NULL, policy_text TEXT NOT NULL, mx_patterns TEXT NOT NULL, sessions INTEGER NOT NULL,
    PRIMARY KEY (day, domain, policy, result, mx_host, receiving_ip, sending_ip, reason)) WITHOUT ROWID;
CREATE TABLE tls_reports (id INTEGER PRIMARY KEY AUTOINCREMENT, received_ms INTEGER NOT NULL,
    organization TEXT NOT NULL, report_id TEXT NOT NULL, domain TEXT NOT NULL, start_at TEXT NOT NULL,
    end_at TEXT NOT NULL, successes INTEGER NOT NULL, failures INTEGER NOT NULL, report TEXT NOT NULL,
    UNIQUE (organization, report_id));
)sql";
constexpr const char* kLanes4 = R"sql(
ALTER TABLE queue_recipients ADD COLUMN lane INTEGER NOT NULL DEFAULT 0;
CREATE TABLE lanes (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    state TEXT NOT NULL, why TEXT NOT NULL, waiting INTEGER NOT NULL, window INTEGER NOT NULL,
    rate_milli INTEGER NOT NULL, learned_window INTEGER NOT NULL, learned_rate_milli INTEGER NOT NULL,
    spacing INTEGER NOT NULL, next_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
CREATE TABLE queue_kicks (queue INTEGER PRIMARY KEY);
)sql";
constexpr const char* kDkim4 = R"sql(
ALTER TABLE dkim_keys ADD COLUMN state INTEGER NOT NULL DEFAULT 1;
ALTER TABLE dkim_keys ADD COLUMN changed_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dkim_keys ADD COLUMN seen_ms INTEGER NOT NULL DEFAULT 0;
UPDATE dkim_keys SET state = CASE WHEN active THEN 1 ELSE 3 END, changed_ms = created_ms;
)sql";
constexpr const char* kToVersion4[] = {
    kLogin4, kQueue4, kReplyClass4, kRoutes4, kTransport4, kLanes4, kDkim4,
};

// 5: what becomes of a message. One script for each of its rooms.
constexpr const char* kReturnPath5 = R"sql(
ALTER TABLE ways ADD COLUMN return_path TEXT NOT NULL DEFAULT '';
)sql";
// What a route held and somebody released said so in its last reply, which the next reply replaced.
constexpr const char* kReleased5 = R"sql(
ALTER TABLE queue_recipients ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
UPDATE queue_recipients SET released = 1 WHERE state IN (0, 1) AND last_reply LIKE 'Held by route%';
)sql";
constexpr const char* kSwitches5 = R"sql(
INSERT OR IGNORE INTO capability_switches VALUES (0, '', 'UIDONLY');
)sql";
constexpr const char* kForwarding5 = R"sql(
ALTER TABLE queue_items ADD COLUMN forwarded_by TEXT NOT NULL DEFAULT '';
)sql";
constexpr const char* kIncidents5 = R"sql(
ALTER TABLE queue_recipients ADD COLUMN incident INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue_recipients ADD COLUMN fault_ms INTEGER NOT NULL DEFAULT 0;
CREATE INDEX queue_recipients_by_incident ON queue_recipients (incident, id) WHERE incident <> 0;
CREATE TABLE incidents (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, way TEXT NOT NULL,
    source TEXT NOT NULL, site TEXT NOT NULL, domain TEXT NOT NULL, since_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, refusals INTEGER NOT NULL, reply TEXT NOT NULL, remote TEXT NOT NULL,
    state INTEGER NOT NULL, cleared_ms INTEGER NOT NULL DEFAULT 0, cleared_why TEXT NOT NULL DEFAULT '',
    probe_ms INTEGER NOT NULL DEFAULT 0, probes INTEGER NOT NULL DEFAULT 0, told INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX incidents_open ON incidents (kind, way, source, site, domain) WHERE state = 0;
)sql";
constexpr const char* kReputation5 = R"sql(
ALTER TABLE source_addresses ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
ALTER TABLE source_addresses ADD COLUMN warm_ms INTEGER NOT NULL DEFAULT 0;
CREATE TABLE reputation (source TEXT NOT NULL, provider TEXT NOT NULL, standing INTEGER NOT NULL,
    step INTEGER NOT NULL DEFAULT 0, since_ms INTEGER NOT NULL, score INTEGER NOT NULL, why TEXT NOT NULL,
    by_hand INTEGER NOT NULL DEFAULT 0, falls INTEGER NOT NULL DEFAULT 0, last_use_ms INTEGER NOT NULL DEFAULT 0,
    clean INTEGER NOT NULL DEFAULT 0, from_day INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (source, provider))
    WITHOUT ROWID;
CREATE TABLE reputation_days (source TEXT NOT NULL, provider TEXT NOT NULL, day INTEGER NOT NULL, tried BLOB NOT NULL,
    blocked BLOB NOT NULL, deferred BLOB NOT NULL, bounced BLOB NOT NULL, complained BLOB NOT NULL,
    PRIMARY KEY (source, provider, day)) WITHOUT ROWID;
CREATE TABLE warm_ups (source TEXT NOT NULL, provider TEXT NOT NULL, level INTEGER NOT NULL, day INTEGER NOT NULL,
    day_used INTEGER NOT NULL, is_bad INTEGER NOT NULL, hour INTEGER NOT NULL, hour_used INTEGER NOT NULL,
    PRIMARY KEY (source, provider)) WITHOUT ROWID;
CREATE TABLE address_checks (source TEXT NOT NULL, list TEXT NOT NULL, found INTEGER NOT NULL, detail TEXT NOT NULL,
    since_ms INTEGER NOT NULL, checked_ms INTEGER NOT NULL, PRIMARY KEY (source, list)) WITHOUT ROWID;
)sql";
constexpr const char* kAccountGuard5 = R"sql(
CREATE TABLE account_hours (account INTEGER NOT NULL, hour INTEGER NOT NULL, messages INTEGER NOT NULL,
    letters INTEGER NOT NULL, recipients INTEGER NOT NULL, fresh INTEGER NOT NULL, bounced INTEGER NOT NULL,
    PRIMARY KEY (account, hour)) WITHOUT ROWID;
CREATE TABLE account_recipients (account INTEGER NOT NULL, hash INTEGER NOT NULL, PRIMARY KEY (account, hash))
    WITHOUT ROWID;
CREATE TABLE account_trust (account INTEGER PRIMARY KEY, until_ms INTEGER NOT NULL);
)sql";
constexpr const char* kFlagRuns5 = R"sql(
CREATE TABLE flag_runs (mailbox INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    modseq INTEGER NOT NULL, PRIMARY KEY (mailbox, first)) WITHOUT ROWID;
CREATE INDEX flag_runs_by_modseq ON flag_runs (mailbox, modseq);
DROP INDEX entries_by_modseq;
)sql" POSTHOUSE_FLAG_RUNS_OF("");
constexpr const char* kSubmissions5 = R"sql(
CREATE TABLE submission_keys (id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, key TEXT NOT NULL,
    digest BLOB NOT NULL, message INTEGER NOT NULL, queue INTEGER NOT NULL, answer TEXT NOT NULL,
    made_ms INTEGER NOT NULL, UNIQUE (owner, key));
CREATE TABLE submission_notes (message INTEGER PRIMARY KEY, account INTEGER NOT NULL, tags TEXT NOT NULL,
    metadata TEXT NOT NULL);
)sql";
constexpr const char* kSuppression5 = R"sql(
CREATE TABLE suppressions (address TEXT NOT NULL, scope TEXT NOT NULL, reason TEXT NOT NULL, reply TEXT NOT NULL,
    remote TEXT NOT NULL, step INTEGER NOT NULL, times INTEGER NOT NULL, since_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, undone_ms INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (address, scope, reason)) WITHOUT ROWID;
)sql";
constexpr const char* kRoleMail5 = R"sql(
CREATE TABLE role_marks (mailbox INTEGER PRIMARY KEY, uid INTEGER NOT NULL);
CREATE TABLE dmarc_reports (id INTEGER PRIMARY KEY AUTOINCREMENT, received_ms INTEGER NOT NULL,
    organization TEXT NOT NULL, report_id TEXT NOT NULL, domain TEXT NOT NULL, begin_s INTEGER NOT NULL,
    end_s INTEGER NOT NULL, policy TEXT NOT NULL, messages INTEGER NOT NULL, passed INTEGER NOT NULL,
    UNIQUE (organization, report_id, domain));
CREATE TABLE dmarc_rows (report INTEGER NOT NULL, position INTEGER NOT NULL, source_ip TEXT NOT NULL,
    messages INTEGER NOT NULL, disposition TEXT NOT NULL, dkim INTEGER NOT NULL, spf INTEGER NOT NULL,
    header_from TEXT NOT NULL, dkim_domain TEXT NOT NULL, spf_domain TEXT NOT NULL, PRIMARY KEY (report, position))
    WITHOUT ROWID;
)sql";
constexpr const char* kReceipts5 = R"sql(
CREATE TABLE receipts (id INTEGER PRIMARY KEY AUTOINCREMENT, message INTEGER NOT NULL, message_id TEXT NOT NULL,
    sender TEXT NOT NULL, envid TEXT NOT NULL, tls INTEGER NOT NULL, accepted_ms INTEGER NOT NULL,
    recipient TEXT NOT NULL, orcpt TEXT NOT NULL, expanded INTEGER NOT NULL);
)sql";
constexpr const char* kStreams5 = R"sql(
ALTER TABLE queue_items ADD COLUMN stream TEXT NOT NULL DEFAULT '';
ALTER TABLE relay_clients ADD COLUMN stream TEXT NOT NULL DEFAULT '';
CREATE TABLE streams (name TEXT PRIMARY KEY, owner TEXT NOT NULL, class INTEGER NOT NULL, is_list INTEGER NOT NULL,
    created_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE stream_recipients (id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, address TEXT NOT NULL,
    UNIQUE (stream, address));
)sql";
constexpr const char* kReports5 = R"sql(
ALTER TABLE events ADD COLUMN facts TEXT;
CREATE INDEX events_by_id ON events (id);
CREATE TABLE report_rows (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, who TEXT NOT NULL, domain TEXT NOT NULL,
    destination TEXT NOT NULL, provider TEXT NOT NULL, way TEXT NOT NULL, source TEXT NOT NULL,
    UNIQUE (day, who, domain, destination, provider, way, source));
CREATE TABLE report_counts (row INTEGER NOT NULL, what INTEGER NOT NULL, class TEXT NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (row, what, class)) WITHOUT ROWID;
)sql";
constexpr const char* kWebhooks5 = R"sql(
CREATE TABLE webhooks (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, url TEXT NOT NULL,
    sealed_secret BLOB NOT NULL, kinds TEXT NOT NULL, domain TEXT NOT NULL, who TEXT NOT NULL, batch INTEGER NOT NULL,
    ca_file TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0, cursor INTEGER NOT NULL, until INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0, next_ms INTEGER NOT NULL DEFAULT 0, failing_ms INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0, last_ms INTEGER NOT NULL DEFAULT 0, last_answer TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL);
CREATE TABLE destinations (place TEXT PRIMARY KEY, ok_ms INTEGER NOT NULL, failing_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL, recipients BLOB NOT NULL, incident INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
)sql";
constexpr const char* kToVersion5[] = {
    kFlagRuns5,    kReleased5,    kSwitches5, kReturnPath5, kForwarding5, kIncidents5, kReputation5, kAccountGuard5,
    kSubmissions5, kSuppression5, kRoleMail5, kReceipts5,   kStreams5,    kReports5,   kWebhooks5,
};

// 6: whom a site calls unknown that took mail before; baselines of mail to many and of small places; what the
// postmaster is told daily; the secret of a webhook can be changed.
constexpr const char* kEvidence6 = R"sql(
CREATE TABLE bulk_hours (stream TEXT NOT NULL, account INTEGER NOT NULL, hour INTEGER NOT NULL,
    messages INTEGER NOT NULL, recipients INTEGER NOT NULL, fresh INTEGER NOT NULL,
    PRIMARY KEY (stream, account, hour)) WITHOUT ROWID;
CREATE TABLE takers (hash INTEGER PRIMARY KEY, first_day INTEGER NOT NULL, last_day INTEGER NOT NULL,
    unknown_ms INTEGER NOT NULL DEFAULT 0, late_ms INTEGER NOT NULL DEFAULT 0);
CREATE TABLE unknown_sites (site TEXT PRIMARY KEY, since_ms INTEGER NOT NULL, known INTEGER NOT NULL,
    taken INTEGER NOT NULL, usual INTEGER NOT NULL, until_ms INTEGER NOT NULL DEFAULT 0,
    incident INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE unknown_lately (site TEXT NOT NULL, address TEXT NOT NULL, scope TEXT NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (site, address, scope)) WITHOUT ROWID;
CREATE TABLE lost_mail (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, queue INTEGER NOT NULL,
    recipient TEXT NOT NULL, what TEXT NOT NULL, reply TEXT NOT NULL);
CREATE TABLE place_days (place TEXT NOT NULL, day INTEGER NOT NULL, delivered INTEGER NOT NULL,
    tried INTEGER NOT NULL, PRIMARY KEY (place, day)) WITHOUT ROWID;
)sql";
// When a list wrote to its recipients last is not known: as if it were today, so that no token goes early.
constexpr const char* kWebhooksAndLists6 = R"sql(
ALTER TABLE webhooks ADD COLUMN sealed_old BLOB NOT NULL DEFAULT '';
ALTER TABLE webhooks ADD COLUMN old_until_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stream_recipients ADD COLUMN last_day INTEGER NOT NULL DEFAULT 0;
UPDATE stream_recipients SET last_day = CAST(strftime('%s', 'now') AS INTEGER) / 86400;
)sql";
constexpr const char* kToVersion6[] = {kEvidence6, kWebhooksAndLists6};

// 7: domains whose mail is kept elsewhere, and signed here.
constexpr const char* kToVersion7[] = {R"sql(
ALTER TABLE domains ADD COLUMN hosted INTEGER NOT NULL DEFAULT 1;
)sql"};

constexpr Migration kMigrations[] = {
    {1, kToVersion2}, {2, kToVersion3}, {3, kToVersion4}, {4, kToVersion5}, {5, kToVersion6}, {6, kToVersion7}};

Result<int> version_of(Connection& db) {
    TRY(const std::int64_t version, db.value("PRAGMA user_version"));
    return static_cast<int>(version);
}

constexpr std::string_view kCopyMark = ".before-v";
constexpr std::uint64_t kCopyCacheOctets = 1024 * 1024;
constexpr int kCopyPagesAStep = 4096;

/// Copies what is committed in `path` into `copy`, page by page. The reader is a connection of its own: the one that
/// holds the write lock cannot be the source of a copy.
Result<> copy_pages(const std::string& path, const std::string& copy) {
    TRY(const std::unique_ptr<Connection> source, Connection::open(path, Connection::Mode::read, kCopyCacheOctets));
    sqlite3* target = nullptr;
    const int opened = sqlite3_open_v2(copy.c_str(), &target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    const std::unique_ptr<sqlite3, int (*)(sqlite3*)> owner(target, sqlite3_close_v2);
    if (opened != SQLITE_OK) return source->error(opened);
    sqlite3_backup* const backup = sqlite3_backup_init(target, "main", source->handle(), "main");
    if (backup == nullptr) return source->error(sqlite3_errcode(target));
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK) rc = sqlite3_backup_step(backup, kCopyPagesAStep);
    static_cast<void>(sqlite3_backup_finish(backup));
    if (rc != SQLITE_DONE) return source->error(rc);
    return {};
}

/// The copies that earlier migrations left.
void remove_older(const Descriptor& directory, std::string_view database, std::string_view keep) {
    const int fd = ::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    std::vector<std::string> older;
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(fd), ::closedir);
    const std::string mark = fmt::format("{}{}", database, kCopyMark);
    while (const dirent* item = ::readdir(listing.get())) {
        const std::string_view name = item->d_name;
        if (name.starts_with(mark) && name != keep) older.emplace_back(name);
    }
    for (const std::string& name : older) static_cast<void>(::unlinkat(directory.get(), name.c_str(), 0));
}

/// Called under the write lock: what is copied is exactly what the steps are about to change.
Result<> keep_copy(Connection& db) {
    const std::string path = sqlite3_db_filename(db.handle(), "main");
    const std::size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
    const std::string database = path.substr(slash + 1);
    const std::string kept = fmt::format("{}{}{}", database, kCopyMark, kSchemaVersion);
    const std::string unfinished = kept + ".new";
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return system_error(errno, "cannot open the data directory");
    const Descriptor directory(fd);
    static_cast<void>(::unlinkat(directory.get(), unfinished.c_str(), 0));
    {
        // Made by us, so that its mode is ours and not the library's.
        TRY(const Descriptor made, open_beneath(directory, unfinished, O_RDWR | O_CREAT | O_EXCL));
    }
    Result<> copied = copy_pages(path, folder + "/" + unfinished);
    if (copied) {
        TRY(const Descriptor file, open_beneath(directory, unfinished, O_RDWR));
        copied = sync_data(file);
    }
    if (!copied) {
        static_cast<void>(::unlinkat(directory.get(), unfinished.c_str(), 0));
        return Error(copied.error().code,
                     fmt::format("mail.db was not changed, because it could not be copied beforehand: {}",
                                 copied.error().context));
    }
    POSTHOUSE_FAIL_POINT("migrate-copied");
    if (::renameat(directory.get(), unfinished.c_str(), directory.get(), kept.c_str()) != 0) {
        return system_error(errno, "cannot put the copy of mail.db into its place");
    }
    TRY_VOID(sync_directory(directory));
    remove_older(directory, database, kept);
    log::info("storage", "mail.db is brought to schema {}; as it was it is kept in {}", kSchemaVersion, kept);
    return {};
}

Result<> step(Connection& db, const Migration& migration, bool first) {
    const std::string mark = fmt::format("PRAGMA user_version={};", migration.from + 1);
    TRY_VOID(db.exec("BEGIN IMMEDIATE"));
    // Another process may have done this step while we waited for the lock.
    Result<int> version = version_of(db);
    Result<> done = !version ? Result<>(version.error()) : Result<>();
    if (done && *version == migration.from) {
        if (first) done = keep_copy(db);
        POSTHOUSE_FAIL_POINT("migrate-begun");
        for (const char* const script : migration.scripts) {
            if (done) done = db.exec_text(script);
        }
        POSTHOUSE_FAIL_POINT("migrate-changed");
        if (done) done = db.exec_text(mark.c_str());
        POSTHOUSE_FAIL_POINT("migrate-marked");
    }
    if (done) done = db.exec("COMMIT");
    if (!done && db.in_transaction()) static_cast<void>(db.exec("ROLLBACK"));
    return done;
}

}  // namespace

Result<> create_schema(Connection& db) {
    const std::string mark = fmt::format("PRAGMA user_version={};", kSchemaVersion);
    TRY_VOID(db.exec("BEGIN EXCLUSIVE"));
    TRY_VOID(db.exec_text(kSchemaSql));
    TRY_VOID(db.exec_text(mark.c_str()));
    return db.exec("COMMIT");
}

Result<> migrate_schema(Connection& db) {
    TRY(int version, version_of(db));
    if (version > kSchemaVersion) {
        return Error(Errc::unsupported,
                     fmt::format("the store was written by a newer Posthouse (schema {}, this one knows {}): "
                                 "install that version or a later one",
                                 version, kSchemaVersion));
    }
    if (version <= 0) return Error(Errc::corrupt, "mail.db is not a store of Posthouse");
    const int before = version;
    for (const Migration& migration : kMigrations) {
        if (migration.from == version) {
            TRY_VOID(step(db, migration, version == before));
            ++version;
        }
    }
    if (version != kSchemaVersion) return Error(Errc::corrupt, "mail.db has a schema version that never was");
    return {};
}

}  // namespace posthouse::storage
