#pragma once
/// storage/committer (internal): the commit thread. It alone owns the writing connection and the open segment.
///
///   submit -> pending_ or quick_ -> take_batch -> append bodies -> one fdatasync -> BEGIN IMMEDIATE
///          -> a savepoint a write -> COMMIT -> completions (one post a queue) -> listeners
///          -> checkpoint when the WAL is long
///   COMMIT syncs the WAL, unless every write of the batch is content with its place in it (Durability::ordered) and
///   the commit before it was synced.
///
/// State of the store:  good -(I/O error)-> suspect -(reopened, a self-check was committed)-> good
///                      suspect -(kFailuresMax in a row)-> failed, for good.
///                      good <-> low_disk by free space: below the floor, or a write met a full disk or quota.
///                      Damage in mail.db makes suspect, but never failed: what is whole shall be served.
/// Threads: submit, statistics, health: any. Everything else runs on the commit thread.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "storage/checkpointer.h"
#include "storage/commit_bell.h"
#include "storage/context.h"
#include "storage/directory.h"
#include "storage/segment.h"
#include "storage/sqlite.h"
#include "storage/store.h"

namespace posthouse::storage {

/// Whether a write is answered when it is on disk, or when it has its place in the log (Store::submit_ordered).
enum class Durability { synced, ordered };

class Committer {
 public:
    Committer(std::shared_ptr<Directory> directory, const StoreOptions& options, SegmentReaders& segments);
    /// Finishes what was submitted, then ends the thread.
    ~Committer();
    /// Opens the database and starts the thread.
    Result<> start();
    /// What the destructor does first; may be called earlier.
    void stop();

    /// `where` null: `done` is called on the commit thread itself.
    void submit(std::vector<StagedBodyPtr> bodies, Store::WriteFn write, CompletionQueue* where, Store::Done done,
                Durability durability);
    void subscribe(std::function<void(const CommitNotice&)> listener);
    Result<> check_room(std::uint64_t octets);
    Health health() const;
    StoreStatistics statistics() const;

 private:
    static constexpr int kFailuresMax = 3;
    struct Pending {
        std::vector<StagedBodyPtr> bodies;
        Store::WriteFn write;
        CompletionQueue* where = nullptr;
        Store::Done done;
        Durability durability = Durability::synced;
        std::vector<PlacedBody> placed;
        std::optional<Error> failure;
    };
    using Batch = std::vector<Pending>;

    void run();
    Batch take_batch();
    bool is_idle() const { return pending_.empty() && quick_.empty(); }
    void process(Batch& batch);
    Result<> append_bodies(Batch& batch);
    Result<> transact(Batch& batch, CommitNotice& notice);
    Result<> run_writes(Batch& batch, CommitNotice& notice, std::size_t& succeeded);
    struct BatchState {
        std::int64_t last_event = 0;
        ReportTally tally;
        CommitNotice& notice;
    };
    Result<> run_one(Pending& pending, BatchState& batch);
    Result<> call(Pending& pending, WriteState& state);
    void fail_all(Batch& batch, const Error& error);
    void complete(Batch& batch);
    void publish(const CommitNotice& notice);
    Result<MessageId> next_message_id();
    Result<> open_database();
    /// Opens everything anew and proves it with a commit of its own.
    Result<> reopen_and_verify();
    /// Decides what an error of the whole batch, or of a checkpoint, says about the store.
    void note_error(const Error& error);
    void note_failure(const Error& error);
    void note_full(const Error& error);
    void note_unverified(const Error& error);
    void watch();
    void watch_others();
    void after_commit();
    void idle();

    std::shared_ptr<Directory> directory_;
    const StoreOptions options_;
    const Clock& clock_;
    SegmentReaders& segments_;
    SegmentWriter writer_;
    std::unique_ptr<Connection> db_;
    Checkpointer checkpointer_;
    std::int64_t next_message_ = 0;
    std::int64_t reserved_until_ = 0;
    std::int64_t data_version_ = 0;
    int failures_ = 0;
    bool bodies_failed_ = false;  ///< one of them was about the segments
    bool suspect_ = false;
    bool unsynced_ = false;  ///< the last commit was
    ReportRowCount report_rows_;

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Pending> pending_;
    std::deque<Pending> quick_;  ///< Durability::ordered
    bool was_quick_ = false;     ///< the last batch had those alone
    bool stopping_ = false;
    bool rung_ = false;  ///< another process says that it has committed
    std::mutex listeners_mutex_;
    std::vector<std::function<void(const CommitNotice&)>> listeners_;

    std::atomic<bool> met_full_disk_ = false;  ///< a write was refused by the disk itself, whatever the floor says
    std::atomic<Health> health_ = Health::good;
    std::atomic<std::uint64_t> commits_ = 0;
    std::atomic<std::uint64_t> writes_ = 0;
    std::atomic<std::uint64_t> writes_failed_ = 0;
    std::atomic<std::uint64_t> bytes_appended_ = 0;
    std::atomic<std::uint64_t> pending_count_ = 0;
    std::thread thread_;
    std::unique_ptr<CommitBell> bell_;  ///< last: its thread wakes the other
};

}  // namespace posthouse::storage
