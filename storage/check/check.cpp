// The order of a check.
#include "storage/check/check.h"

#include <fmt/format.h>
#include <unistd.h>

#include "storage/check/bodies.h"
#include "storage/check/rows.h"
#include "storage/segments_lock.h"

namespace posthouse::storage {
namespace {

constexpr int kDatabaseMessagesMax = 100;
constexpr const char* kSearchName = "search.db";
constexpr std::uint64_t kSearchCacheOctets = 4ULL * 1024 * 1024;

enum class Database : std::uint8_t { mail = 1, search = 2 };

/// SQLite's own check, which says "ok" or what is wrong, a row each.
Result<> check_database(Connection& db, bool quick, Database which, Findings& findings) {
    const FaultKind kind = which == Database::mail ? FaultKind::database_damaged : FaultKind::search_damaged;
    const char* const name = which == Database::mail ? "mail.db" : "search.db";
    Query q = quick ? db.query("PRAGMA quick_check(100)") : db.query("PRAGMA integrity_check(100)");
    for (int n = 0; n < kDatabaseMessagesMax; ++n) {
        const auto more = q.row();
        if (!more) {
            findings.add(kind, static_cast<std::int64_t>(which), n, fmt::format("{}: {}", name, more.error().context));
            return {};
        }
        if (!*more) return {};
        if (q.view(0) == "ok") continue;
        findings.add(kind, static_cast<std::int64_t>(which), n, fmt::format("{}: {}", name, q.view(0)));
    }
    return {};
}

/// No mail is in it; it can be made anew. What its tables need
/// this connection may not have: then it is not judged.
void check_search(Store& store, const CheckOptions& options, CheckReport& report) {
    const std::string path = directory_of(store).path() + "/" + kSearchName;
    if (::access(path.c_str(), F_OK) != 0) return;
    auto db = Connection::open(path, Connection::Mode::read, kSearchCacheOctets);
    if (!db) {
        report.findings.add(FaultKind::search_damaged, 2, 0, fmt::format("search.db: {}", db.error().context));
        return;
    }
    static_cast<void>(check_database(**db, options.quick, Database::search, report.findings));
}

Result<> check_rows(Picture& picture, const CheckObserver& observer) {
    const auto within = [&](std::uint64_t done, std::string_view what) {
        return observer(done, picture.report.entries, 0, what);
    };
    TRY_VOID(load_catalog(picture));
    TRY_VOID(check_catalog(picture));
    TRY_VOID(picture.messages.load(picture.db));
    picture.report.messages = picture.messages.rows().size();
    TRY_VOID(check_entries(picture, within));
    TRY_VOID(check_deleted(picture));
    TRY_VOID(check_queue(picture));
    check_refs(picture);
    check_counted(picture);
    return check_places(picture);
}

}  // namespace

Result<CheckReport> check_store(Store& store, const CheckOptions& options, const CheckObserver& observer) {
    // Until the end: no segment that a row names may go before it was looked at.
    TRY(const Descriptor segments_held, hold_segments(directory_of(store)));
    CheckReport report;
    TRY_VOID(store.read([&](const Snapshot& snapshot) -> Result<> {
        observer(0, 0, 0, "checking the database");
        return check_database(context_of(snapshot).db, options.quick, Database::mail, report.findings);
    }));
    check_search(store, options, report);
    const Result<> rows = store.read([&](const Snapshot& snapshot) -> Result<> {
        Picture picture{context_of(snapshot).db, options, report, {}, {}, {}, {}, 0};
        return check_rows(picture, observer);
    });
    if (!rows && rows.error().code == Errc::cancelled) {
        report.stopped = true;
        return report;
    }
    // What cannot be read is said, and the rest is looked at all the same.
    if (!rows) {
        report.findings.add(FaultKind::database_damaged, 1, kDatabaseMessagesMax,
                            fmt::format("mail.db: its rows cannot all be read: {}", rows.error().context));
    }
    TRY_VOID(check_files(store, options, report));
    if (options.bodies) {
        const Result<> bodies = check_bodies(store, options, report, observer);
        if (!bodies) {
            report.findings.add(FaultKind::database_damaged, 1, kDatabaseMessagesMax + 1,
                                fmt::format("mail.db: messages cannot all be found: {}", bodies.error().context));
        }
    }
    return report;
}

}  // namespace posthouse::storage
