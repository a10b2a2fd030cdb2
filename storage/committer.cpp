// The commit thread's road from a batch to its completions; what it does when something fails or nothing happens is in
// committer_health.cpp.
#include "storage/committer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>

#include "protocols/base/log.h"
#include "storage/fail_point.h"
#include "storage/schema.h"
#include "storage/tx.h"

namespace posthouse::storage {
namespace {

using namespace std::chrono_literals;

// A batch is what waits, within these bounds: they keep the latency of the first write in it small.
constexpr std::size_t kBatchWritesMax = 512;
constexpr std::uint64_t kBatchOctetsMax = 32ULL * 1024 * 1024;
// Message ids are taken from mail.db in blocks: they stand in the records, which are written before the transaction.
constexpr std::int64_t kMessageIdBlock = 4096;
constexpr auto kIdlePeriod = 1s;
constexpr int kIdleRoundsToRelease = 5;

void merge(CommitNotice& into, const CommitNotice& more) {
    into.catalog = into.catalog || more.catalog;
    into.queue = into.queue || more.queue;
    into.due = into.due || more.due;
    for (const MailboxChange& change : more.mailboxes) {
        const auto known = std::ranges::find_if(into.mailboxes, [&](const MailboxChange& other) {
            return other.account == change.account && other.mailbox == change.mailbox;
        });
        if (known == into.mailboxes.end()) {
            into.mailboxes.push_back(change);
        } else {
            known->modseq = std::max(known->modseq, change.modseq);
            known->removed = known->removed || change.removed;
        }
    }
}

}  // namespace

Committer::Committer(std::shared_ptr<Directory> directory, const StoreOptions& options, SegmentReaders& segments)
    : directory_(directory),
      options_(options),
      clock_(options.clock == nullptr ? system_clock() : *options.clock),
      segments_(segments),
      writer_(directory, options.segment_octets_max),
      checkpointer_(directory->database_path()) {}

Committer::~Committer() { stop(); }

void Committer::stop() {
    bell_.reset();
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

Result<> Committer::start() {
    TRY_VOID(open_database());
    TRY_VOID(migrate_schema(*db_));
    thread_ = std::thread([this] { run(); });
    if (!options_.watch_other_processes) return {};
    auto bell = CommitBell::listen(directory_->root(), [this] {
        {
            const std::lock_guard lock(mutex_);
            rung_ = true;
        }
        wake_.notify_one();
    });
    if (bell)
        bell_ = *std::move(bell);
    else
        log::warn("storage", "what other processes write is noticed within a second only: {}", bell.error().context);
    return {};
}

Result<> Committer::open_database() {
    TRY(db_, Connection::open(directory_->database_path(), Connection::Mode::write, options_.cache_octets));
    TRY(data_version_, db_->value("PRAGMA data_version"));
    return {};
}

void Committer::submit(std::vector<StagedBodyPtr> bodies, Store::WriteFn write, CompletionQueue* where,
                       Store::Done done, Durability durability) {
    Pending pending;
    pending.durability = durability;
    pending.bodies = std::move(bodies);
    pending.write = std::move(write);
    pending.where = where;
    pending.done = std::move(done);
    bool was_empty = false;
    {
        const std::lock_guard lock(mutex_);
        was_empty = is_idle();
        (durability == Durability::ordered ? quick_ : pending_).push_back(std::move(pending));
    }
    pending_count_.fetch_add(1, std::memory_order_relaxed);
    if (was_empty) wake_.notify_one();
}

void Committer::subscribe(std::function<void(const CommitNotice&)> listener) {
    const std::lock_guard lock(listeners_mutex_);
    listeners_.push_back(std::move(listener));
}

void Committer::run() {
    int idle_rounds = 0;
    auto watched = std::chrono::steady_clock::now();
    for (;;) {
        Batch batch;
        bool rung = false;
        {
            std::unique_lock lock(mutex_);
            wake_.wait_for(lock, kIdlePeriod, [this] { return stopping_ || rung_ || !is_idle(); });
            if (stopping_ && is_idle()) return;  // nothing is left to do
            rung = std::exchange(rung_, false);
            batch = take_batch();
        }
        if (rung) watch_others();
        if (rung && batch.empty()) continue;
        // Looked at under load too, but not with every batch.
        if (const auto now = std::chrono::steady_clock::now(); batch.empty() || now - watched >= kIdlePeriod) {
            watched = now;
            watch();
        }
        if (batch.empty()) {
            if (++idle_rounds == kIdleRoundsToRelease) idle();
            continue;
        }
        idle_rounds = 0;
        pending_count_.fetch_sub(batch.size(), std::memory_order_relaxed);
        process(batch);
    }
}

// What needs no sync goes ahead of what does, alone: the disk then holds up nobody who does not wait for it. Never
// twice in a row, and not where the last commit was without a sync: then this one has it, and everybody comes along.
Committer::Batch Committer::take_batch() {
    Batch batch;
    std::uint64_t octets = 0;
    const auto take = [&](std::deque<Pending>& from) {
        while (!from.empty() && batch.size() < kBatchWritesMax && octets < kBatchOctetsMax) {
            for (const StagedBodyPtr& body : from.front().bodies) octets += body ? body->size_octets() : 0;
            batch.push_back(std::move(from.front()));
            from.pop_front();
        }
    };
    was_quick_ = !quick_.empty() && !was_quick_ && !unsynced_;
    if (!was_quick_) take(pending_);
    take(quick_);
    return batch;
}

void Committer::process(Batch& batch) {
    CommitNotice notice;
    if (health_ == Health::failed) {
        fail_all(batch, Error(Errc::io, "the store has failed: look at the log and the disk, then start again"));
        return complete(batch);
    }
    if (suspect_) {
        if (const Result<> good = reopen_and_verify(); !good) {
            note_unverified(good.error());
            fail_all(batch, Error(good.error().code == Errc::no_space ? Errc::no_space : Errc::io,
                                  "the store could not be verified: " + good.error().context));
            return complete(batch);
        }
    }
    // Bytes first (invariant 1 of storage/store.h): no row is written before its octets are synced.
    Result<> done = append_bodies(batch);
    bodies_failed_ = bodies_failed_ || !done;
    if (done) done = transact(batch, notice);
    if (!done) {
        if (db_->in_transaction()) static_cast<void>(db_->exec("ROLLBACK"));
        note_error(done.error());
        fail_all(batch, done.error());
    }
    // Told before anybody is released: who hears of a commit can rely on all subscribers having heard of it before.
    if (done) publish(notice);
    if (done && !options_.watch_other_processes) ring_commit_bell(directory_->root());
    complete(batch);
    after_commit();
    if (!done && done.error().code == Errc::no_space && !suspect_) {
        // A log that was copied into mail.db is written from its start again: room for what deletes.
        static_cast<void>(db_->checkpoint(Connection::Checkpoint::restart));
        suspect_ = db_->damaged();
    }
}

Result<> Committer::append_bodies(Batch& batch) {
    std::vector<SegmentWriter::Item> items;
    std::uint64_t octets = 0;
    for (Pending& pending : batch) {
        std::uint64_t own = 0;
        for (const StagedBodyPtr& body : pending.bodies) own += body ? body->size_octets() : 0;
        // Only writes that add are refused: what removes or changes flags may be what makes room again.
        if (!pending.bodies.empty()) {
            if (const Result<> room = check_room(octets + own); !room) {
                pending.failure = room.error();
                continue;
            }
        }
        for (const StagedBodyPtr& body : pending.bodies) {
            const auto* staged = dynamic_cast<const Staged*>(body.get());
            if (staged == nullptr) {
                pending.failure = Error(Errc::invalid, "a body must come from stage()");
                break;
            }
            const bool twice =
                std::ranges::any_of(pending.placed, [&](const PlacedBody& p) { return p.body == staged; });
            if (twice) continue;
            TRY(const MessageId id, next_message_id());
            pending.placed.push_back(PlacedBody{staged, id, Placement{}});
        }
        if (pending.failure) continue;
        for (const PlacedBody& placed : pending.placed) {
            items.push_back(SegmentWriter::Item{static_cast<const Staged*>(placed.body), placed.message});
        }
        octets += own;
    }
    if (items.empty()) return {};
    auto placements = writer_.append(*db_, items);
    if (!placements) return Error(placements.error());
    auto next = placements->begin();
    for (Pending& pending : batch) {
        if (pending.failure) continue;
        for (PlacedBody& placed : pending.placed) placed.placement = *next++;
    }
    bytes_appended_.fetch_add(octets, std::memory_order_relaxed);
    directory_->note_written(octets);
    return {};
}

Result<> Committer::transact(Batch& batch, CommitNotice& notice) {
    // Never two in a row that are not: the look at the log after a crash (storage/wal_check.h) counts on it.
    const auto is_synced = [](const Pending& pending) { return pending.durability == Durability::synced; };
    const bool syncs = unsynced_ || std::ranges::any_of(batch, is_synced);
    TRY_VOID(db_->sync_commits(syncs));
    // IMMEDIATE: a lock taken late could not be waited for once the transaction has read.
    TRY_VOID(db_->query("BEGIN IMMEDIATE").run());
    std::size_t succeeded = 0;
    TRY_VOID(run_writes(batch, notice, succeeded));
    POSTHOUSE_FAIL_POINT("before-commit");
    if (succeeded == 0) {
        writer_.rolled_back();
        return db_->exec("ROLLBACK");
    }
    if (const int injected = POSTHOUSE_FAIL_ERRNO("commit"); injected != 0) {
        writer_.in_doubt();
        return system_error(injected, "cannot commit");
    }
    if (const Result<> committed = db_->query("COMMIT").run(); !committed) {
        // Whether it reached the disk is unknown, its octets are never written over; unless the log had no room for it.
        if (committed.error().code != Errc::no_space || db_->damaged()) writer_.in_doubt();
        return committed;
    }
    unsynced_ = !syncs;
    POSTHOUSE_FAIL_POINT("after-commit");
    writer_.committed();
    writer_.settle_doubts(*db_);
    commits_.fetch_add(1, std::memory_order_relaxed);
    // Only what has failed shows that it works again: without a sync, or without octets, others do not.
    const auto has_bodies = [](const Pending& pending) { return !pending.failure && !pending.placed.empty(); };
    if (syncs && (!bodies_failed_ || std::ranges::any_of(batch, has_bodies))) {
        failures_ = 0;
        bodies_failed_ = false;
    }
    return {};
}

Result<> Committer::run_writes(Batch& batch, CommitNotice& notice, std::size_t& succeeded) {
    // The segments' rows first, so that a write can count dead octets of a segment begun in this very batch.
    TRY_VOID(writer_.record(*db_));
    TRY(const std::int64_t first, db_->value("SELECT value FROM counters WHERE name = 'event'"));
    BatchState state{first, {}, notice};
    for (Pending& pending : batch) {
        if (pending.failure) continue;
        const Result<> done = run_one(pending, state);
        // After an I/O error, a full disk or a lost transaction nothing in this batch can be trusted.
        if (db_->damaged() || !db_->in_transaction()) {
            return done ? Error(Errc::io, "the transaction was lost") : Error(done.error());
        }
        if (done) {
            ++succeeded;
        } else {
            pending.failure = done.error();
            // Its octets lie there all the same: the compactor shall know.
            for (const PlacedBody& placed : pending.placed) {
                TRY_VOID(note_dead(*db_, placed.placement.segment, placed.placement.payload_octets));
            }
        }
    }
    // In the commit of the events themselves: no figure is lost or counted twice.
    TRY_VOID(write_tally(*db_, state.tally, report_rows_, Others::counted));
    if (state.last_event == first) return {};
    return db_->query("UPDATE counters SET value = ?1 WHERE name = 'event'").bind(state.last_event).run();
}

Result<> Committer::run_one(Pending& pending, BatchState& batch) {
    TRY_VOID(db_->query("SAVEPOINT one").run());
    WriteState state;
    state.now = clock_.now();
    state.last_event = &batch.last_event;
    state.bodies = pending.placed;
    const std::int64_t before = batch.last_event;
    const Result<> done = call(pending, state);
    if (!done) {
        batch.last_event = before;
        if (db_->in_transaction()) {
            TRY_VOID(db_->query("ROLLBACK TO one").run());
            TRY_VOID(db_->query("RELEASE one").run());
        }
        return done;
    }
    for (const PlacedBody& placed : pending.placed) {
        // Given, but never made a message.
        if (!state.is_added(placed.message)) {
            TRY_VOID(note_dead(*db_, placed.placement.segment, placed.placement.payload_octets));
        }
    }
    TRY_VOID(db_->query("RELEASE one").run());
    merge(batch.notice, state.notice);
    batch.tally.merge(std::move(state.tally));
    return {};
}

Result<> Committer::call(Pending& pending, WriteState& state) {
    TxImpl tx(*db_, segments_, state);
    try {
        TRY_VOID(pending.write(tx));
    } catch (const std::exception& thrown) {
        log::error("storage", "a write threw an exception: {}", thrown.what());
        return Error(Errc::internal, "a write threw an exception");
    }
    return tx.settle();
}

void Committer::fail_all(Batch& batch, const Error& error) {
    writer_.rolled_back();
    for (Pending& pending : batch) {
        if (!pending.failure) pending.failure = error;
    }
}

void Committer::complete(Batch& batch) {
    struct Target {
        CompletionQueue* where;
        std::vector<Completion> completions;
    };
    std::vector<Target> targets;
    for (Pending& pending : batch) {
        writes_.fetch_add(1, std::memory_order_relaxed);
        if (pending.failure) writes_failed_.fetch_add(1, std::memory_order_relaxed);
        // The closure may hold what the waiter's frame owns: it goes before the waiter is released.
        pending.write = nullptr;
        pending.bodies.clear();
        Result<> result = pending.failure ? Result<>(*std::move(pending.failure)) : Result<>();
        if (pending.where == nullptr) {
            pending.done(std::move(result));
            continue;
        }
        auto target = std::ranges::find(targets, pending.where, &Target::where);
        if (target == targets.end()) target = targets.insert(targets.end(), Target{pending.where, {}});
        target->completions.push_back(
            [done = std::move(pending.done), result = std::move(result)]() mutable { done(std::move(result)); });
    }
    for (Target& target : targets) target.where->post_batch(std::move(target.completions));
}

void Committer::publish(const CommitNotice& notice) {
    if (notice.mailboxes.empty() && !notice.catalog && !notice.queue && !notice.external) return;
    const std::lock_guard lock(listeners_mutex_);
    for (const auto& listener : listeners_) listener(notice);
}

Result<MessageId> Committer::next_message_id() {
    if (next_message_ == reserved_until_) {
        TRY_VOID(db_->sync_commits(true));  // the commit before it may not have been (see transact)
        TRY_VOID(db_->query("BEGIN IMMEDIATE").run());
        Query q = db_->query("UPDATE counters SET value = value + ?1 WHERE name = 'message' RETURNING value");
        TRY(const bool found, q.bind(kMessageIdBlock).row());
        if (!found) return Error(Errc::corrupt, "the counter of messages is missing");
        const std::int64_t until = q.i64(0);
        TRY_VOID(q.run());
        TRY_VOID(db_->exec("COMMIT"));
        next_message_ = until - kMessageIdBlock;
        reserved_until_ = until;
    }
    return static_cast<MessageId>(next_message_++);
}

}  // namespace posthouse::storage
