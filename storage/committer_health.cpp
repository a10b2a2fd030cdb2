// How the store finds out that it is unwell, and how it gets well again; free space; checkpoints; other processes.
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/log.h"
#include "storage/committer.h"
#include "storage/fail_point.h"
#include "storage/schema.h"

namespace posthouse::storage {
namespace {

// 4000 pages of 4 KiB are 16 MB; readers that never pause may let the WAL grow to eight times that.
constexpr int kCheckpointPages = 4000;
constexpr int kCheckpointPagesMax = 32000;
// After the disk itself refused a write, that much must be free before it is tried again: less would flap.
constexpr std::uint64_t kRoomAfterFull = 1024UL * 1024;

}  // namespace

std::string_view to_string(Health health) {
    switch (health) {
        case Health::good: return "good";
        case Health::low_disk: return "low_disk";
        case Health::suspect: return "suspect";
        case Health::failed: return "failed";
    }
    return "unknown";
}

Result<> Committer::check_room(std::uint64_t octets) {
    TRY(const std::uint64_t room, directory_->free_octets());
    const std::uint64_t floor = std::max(options_.free_octets_min, met_full_disk_ ? kRoomAfterFull : 0);
    const bool low = room < floor;
    const bool enough = !low && room - floor >= octets;
    met_full_disk_ = met_full_disk_ && low;
    // Only the two harmless states change here, whoever asks, and however much for.
    Health before = low ? Health::good : Health::low_disk;
    const Health after = low ? Health::low_disk : Health::good;
    if (health_.compare_exchange_strong(before, after)) {
        if (low) {
            log::error("storage", "the disk has {} MiB left: new mail is refused until there is room", room >> 20U);
        } else {
            log::info("storage", "there is room on the disk again: mail is accepted");
        }
    }
    if (!enough)
        return Error(Errc::no_space,
                     "the disk that holds the data directory is too full to take more: make room there");
    return {};
}

Health Committer::health() const { return health_; }

StoreStatistics Committer::statistics() const {
    StoreStatistics out;
    out.commits = commits_;
    out.writes = writes_;
    out.writes_failed = writes_failed_;
    out.bytes_appended = bytes_appended_;
    out.pending = pending_count_;
    return out;
}

void Committer::note_error(const Error& error) {
    // A database that another process keeps locked is no damage, nor is a full disk: the next batch tries again.
    if (error.code == Errc::unavailable) return;
    if (error.code == Errc::no_space) return note_full(error);
    if (error.code != Errc::corrupt) return note_failure(error);
    // One damaged page must not end the service to all others: the store is opened anew, and that must succeed.
    suspect_ = true;
    writer_.abandon();
    health_ = Health::suspect;
    log::error("storage", "a commit failed: {}", error.context);
}

void Committer::note_full(const Error& error) {
    directory_->forget_free_octets();
    met_full_disk_ = true;
    // What the connection holds is in doubt only where more than a write failed.
    suspect_ = suspect_ || (db_ && db_->damaged());
    Health before = Health::good;
    if (health_.compare_exchange_strong(before, Health::low_disk)) log::warn("storage", "{}", error.context);
}

void Committer::note_failure(const Error& error) {
    suspect_ = true;
    writer_.abandon();
    ++failures_;
    log::error("storage", "a commit failed ({} in a row): {}", failures_, error.context);
    health_ = failures_ >= kFailuresMax ? Health::failed : Health::suspect;
    if (health_ == Health::failed) {
        log::error("storage", "the store has failed for good: the process should end and be started again");
    }
}

Result<> Committer::reopen_and_verify() {
    // A new connection: what the old one holds in memory may differ from what reached the disk.
    db_.reset();
    next_message_ = reserved_until_ = 0;
    TRY_VOID(open_database());
    TRY_VOID(migrate_schema(*db_));
    TRY_VOID(db_->exec("BEGIN IMMEDIATE"));
    Result<> proof = db_->query("UPDATE counters SET value = value + 1 WHERE name = 'verify'").run();
    if (proof) proof = db_->exec("COMMIT");
    if (!proof) {
        if (db_->in_transaction()) static_cast<void>(db_->exec("ROLLBACK"));
        return proof;
    }
    log::info("storage", "the store was opened again and verified");
    suspect_ = false;
    health_ = met_full_disk_ ? Health::low_disk : Health::good;
    return {};
}

void Committer::note_unverified(const Error& error) {
    // While the disk is full nothing can be proven: that is no reason to give up.
    if (error.code == Errc::no_space) return note_full(error);
    note_failure(error);
}

void Committer::watch() {
    if (suspect_ && health_ != Health::failed) {
        if (const Result<> good = reopen_and_verify(); !good) return note_unverified(good.error());
    }
    if (health_ == Health::low_disk) static_cast<void>(check_room(0));
    watch_others();
}

void Committer::watch_others() {
    if (!options_.watch_other_processes || !db_) return;
    const Result<std::int64_t> version = db_->value("PRAGMA data_version");
    if (!version || *version == data_version_) return;
    data_version_ = *version;
    CommitNotice notice;
    notice.external = true;
    publish(notice);
}

void Committer::after_commit() {
    if (suspect_) return;
    // Most of the WAL is folded in elsewhere while commits go on; here only what came meanwhile, so that the next
    // commit finds all of it done and begins the WAL anew.
    if (auto folded = checkpointer_.take()) {
        if (*folded) *folded = db_->checkpoint(Connection::Checkpoint::passive);
        if (!*folded) return note_error(folded->error());
    }
    if (db_->wal_pages() >= kCheckpointPagesMax) {
        if (const Result<> done = db_->checkpoint(Connection::Checkpoint::restart); !done) note_error(done.error());
    } else if (db_->wal_pages() >= kCheckpointPages) {
        checkpointer_.ask();
    }
}

void Committer::idle() {
    if (!db_ || suspect_) return;
    if (db_->wal_pages() > 0) {
        if (const Result<> done = db_->checkpoint(Connection::Checkpoint::passive); !done) note_error(done.error());
    }
    db_->release_memory();
}

}  // namespace posthouse::storage
