// The order of a check.
#include "storage/check/check.h"

#include <fmt/format.h>

#include "storage/check/bodies.h"
#include "storage/check/rows.h"
#include "storage/search/examine.h"
#include "storage/segments_lock.h"

namespace posthouse::storage {
namespace {

constexpr int kDatabaseMessagesMax = 100;
// Target::a of both kinds of damaged databases.
constexpr std::int64_t kMailDatabase = 1;
constexpr std::int64_t kSearchDatabase = 2;

/// SQLite's own check, which says "ok" or what is wrong, a row each.
Result<> check_database(Connection& db, bool quick, Findings& findings) {
    Query q = quick ? db.query("PRAGMA quick_check(100)") : db.query("PRAGMA integrity_check(100)");
    for (int n = 0; n < kDatabaseMessagesMax; ++n) {
        const auto more = q.row();
        const auto say = [&](std::string_view what) {
            findings.add(FaultKind::database_damaged, kMailDatabase, n, fmt::format("mail.db: {}", what));
        };
        if (!more) {
            say(more.error().context);
            return {};
        }
        if (!*more) return {};
        if (q.view(0) != "ok") say(q.view(0));
    }
    return {};
}

/// No mail is in it, and the server makes it anew.
Result<> check_search(Store& store, const CheckOptions& options, CheckReport& report, const CheckObserver& observer) {
    using search::Thoroughness;
    const Thoroughness how = options.quick     ? Thoroughness::quick
                             : !options.bodies ? Thoroughness::pages
                             : options.deep    ? Thoroughness::words
                                               : Thoroughness::texts;
    const auto go_on = [&] { return observer(0, 0, 0, "checking the search index"); };
    TRY(const std::vector<std::string> faults, search::examine(store, how, go_on));
    std::int64_t number = 0;
    for (const std::string& sentence : faults) {
        report.findings.add(FaultKind::search_damaged, kSearchDatabase, number++, sentence);
    }
    return {};
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
        return check_database(context_of(snapshot).db, options.quick, report.findings);
    }));
    TRY_VOID(check_search(store, options, report, observer));
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
        report.findings.add(FaultKind::database_damaged, kMailDatabase, kDatabaseMessagesMax,
                            fmt::format("mail.db: its rows cannot all be read: {}", rows.error().context));
    }
    TRY_VOID(check_files(store, options, report));
    if (options.bodies) {
        const Result<> bodies = check_bodies(store, options, report, observer);
        if (!bodies) {
            report.findings.add(FaultKind::database_damaged, kMailDatabase, kDatabaseMessagesMax + 1,
                                fmt::format("mail.db: messages cannot all be found: {}", bodies.error().context));
        }
    }
    return report;
}

}  // namespace posthouse::storage
