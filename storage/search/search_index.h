#pragma once
/// storage/search: finds any string in the mail of the store at once (DATA/search.db, SQLite FTS5).
///
/// The index is derived, never in a backup, and only ever narrows: what it names is verified with the kept texts, what
/// it does not know is read. So a search gives what reading every message would give, whatever state the file is in.
/// Invariants  1. Text comes from mime::search_text() and nowhere else, for the index as for the full scan.
///             2. A message counts as indexed only after the commit that put it into search.db.
///             3. Only the holder of DATA/search.lock writes; the server holds it while it runs.
///             4. A file that is damaged (SQLite says so, a checksum fails, an audit misses something), older than the
///                program, or made from other mail is thrown away and built anew. Octets that change within a list of
///                messages without breaking its form are seen by audits alone: until then a hit may be missed.
///             5. Nothing here delays a delivery: step() runs on its own thread at low priority, in small commits.
/// Work is found mailbox by mailbox (entries whose modseq is above the one looked through): message ids are given in
/// blocks to several processes, so that their order says nothing. Messages that are gone are taken out by a sweep.
/// What is too large to be indexed (search.part_octets_max) or cannot be read is noted, and read by every search.
/// Threads: narrow, texts, status, note: any; step, sweep, run_to_end and rebuild: one thread.
/// Limits: readers in database.h; kBatchMessages and kBatchOctets a commit; 20 MB of caches in all, 1 bit a message;
/// the UIDs of mailboxes that were searched, up to 24 MB (uid_map.h).
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <span>
#include <vector>

#include "protocols/mime/search_text.h"
#include "storage/background.h"
#include "storage/search/condition.h"
#include "storage/search/database.h"
#include "storage/search/id_set.h"
#include "storage/search/uid_map.h"
#include "storage/store.h"

namespace posthouse::storage::search {

struct Status {
    std::uint64_t indexed = 0;     ///< messages that a search finds at once
    std::uint64_t waiting = 0;     ///< not looked at yet: read by every search
    std::uint64_t too_large = 0;   ///< noted, read by every search
    std::uint64_t unreadable = 0;  ///< likewise
    std::uint64_t encrypted = 0;   ///< of the indexed: with parts that nobody can search
    std::uint64_t octets = 0;      ///< of the file
    bool being_written = false;    ///< a process holds the lock
    bool usable = false;           ///< there is a file made from this store as it is
};

/// Looks from outside, beside a server that may run. Slow where much waits: asks for each message.
Result<Status> read_status(Store& store);

class SearchIndex;

/// Kept texts for verification. Holds a reader: for one batch, not longer.
class Texts {
 public:
    Texts(SearchIndex& index, std::shared_lock<std::shared_mutex> hold, std::unique_ptr<Reader> reader);
    ~Texts();
    Texts(const Texts&) = delete;
    Texts& operator=(const Texts&) = delete;
    /// Valid until the next call for the same part; nothing where there is none: the message itself must be read.
    std::optional<std::string_view> of(MessageId message, TextPart part);

 private:
    SearchIndex& index_;
    std::shared_lock<std::shared_mutex> hold_;
    std::unique_ptr<Reader> reader_;
};

class SearchIndex {
 public:
    static constexpr std::size_t kBatchMessages = 50;
    static constexpr std::uint64_t kBatchOctets = 4ULL * 1024 * 1024;

    /// Opens nothing yet. The store must outlive it.
    explicit SearchIndex(Store& store);
    ~SearchIndex();
    SearchIndex(const SearchIndex&) = delete;
    SearchIndex& operator=(const SearchIndex&) = delete;

    /// The messages that UIDs of a mailbox name, for narrow(): see uid_map.h.
    Result<std::vector<MessageId>> messages_of(const MailView& mail, MailboxId mailbox, std::span<const Uid> uids) {
        return uid_map_.messages_of(mail, mailbox, uids);
    }
    /// One verdict a message, in the same order. Any error means: read them all.
    Result<std::vector<Verdict>> narrow(const Condition& condition, std::span<const MessageId> messages);
    /// Null where there is no index to be had.
    std::unique_ptr<Texts> texts();

    /// What a commit changed; true where the job should be woken. Quick: for the commit thread.
    bool note(const CommitNotice& notice);
    /// Indexes a batch; how long to rest: zero while there is more to do. Errc::conflict: another process writes.
    Result<std::chrono::milliseconds> step();
    /// Takes out messages that are gone, from `first` on, at most `count`; gives back where to go on, nothing at
    /// the end.
    Result<std::optional<MessageId>> sweep(MessageId first, std::uint64_t count);
    /// Looks up terms of `messages` indexed messages, chosen at random, and expects to find them: a page that was lost
    /// would give no error, only too few candidates. False: damaged, and to be built anew with the next step.
    Result<bool> audit(unsigned messages);
    /// Indexes until nothing waits: tests, benchmarks and the command line. Asked after each batch with the number of
    /// messages done, `go_on` may stop it.
    Result<> run_to_end(const std::function<bool(std::uint64_t)>& go_on);
    /// Throws away what there is, to be built anew.
    Result<> rebuild();

    /// Cheap: from memory but for mailboxes that changed.
    Result<Status> status();

 private:
    friend class Texts;
    struct Bounds;
    struct Question;
    struct Work;

    Result<> ensure_open();
    Result<> open_now();
    Result<> load_state();
    void close_now();
    void suspect(const Error& error);
    void remember(MessageId message, std::int64_t note);
    void forget(MessageId message);

    Result<Bounds> evaluate(const Condition& condition, const Question& question, const IdSet& within);
    Result<Bounds> verify(std::string_view needle, Condition::Where where, const Question& question,
                          const IdSet& within);
    static Result<std::optional<IdSet>> find(std::string_view match, Condition::Where where, const Question& question);

    Result<bool> work_once();
    Result<> follow_settings();
    Result<bool> find_work();
    Result<> look_at_all();
    Result<> look_at(MailboxId mailbox);
    Result<> index_batch();
    Result<std::int64_t> read_batch(std::vector<Work>& batch);
    Result<> write_batch(const std::vector<Work>& batch, std::int64_t counter, bool last);
    Result<> take_out(std::span<const MessageId> gone);
    Result<std::chrono::milliseconds> sweep_a_little();
    std::chrono::milliseconds pause_after(std::chrono::steady_clock::time_point started);

    Store& store_;
    const Directory& directory_;

    std::shared_mutex gate_;  ///< shared: uses the file; alone: opens or throws it away
    Descriptor lock_;
    std::unique_ptr<Connection> writer_;  ///< of step()'s thread once it is open
    Readers readers_;
    UidMap uid_map_;
    std::atomic<bool> damaged_ = false;

    /// Rows of `indexed`, by their notes.
    struct Sets {
        IdSet known, searchable, too_large, unreadable, encrypted;
    };
    mutable std::shared_mutex sets_mutex_;
    Sets sets_;

    std::mutex notes_mutex_;              ///< of what follows up to awake_
    std::set<MailboxId> changed_;         ///< by commits, not yet looked through
    std::map<MailboxId, ModSeq> looked_;  ///< how far each was
    bool look_everywhere_ = true;
    bool look_at_settings_ = true;
    bool awake_ = true;  ///< the job looks by itself: no need to wake it

    // Of step()'s thread.
    std::map<MailboxId, ModSeq> unsaved_;  ///< looked through, to be written with the next batch
    MailboxId mailbox_{};
    ModSeq mailbox_modseq_ = 0;
    std::vector<MessageId> todo_;  ///< of mailbox_
    std::size_t done_ = 0;         ///< of todo_
    TextPacker packer_;
    bool gather_ = false;  ///< was idle: the next step lets more mail come before it begins
    std::chrono::steady_clock::time_point sweep_due_;
    std::optional<MessageId> sweep_from_;
    std::int64_t swept_mark_ = -1;
    std::uint64_t writes_seen_ = 0;
    bool low_priority_ = false;
};

/// Looks up one term, chosen at random, of each part of a message's kept text. Errc::corrupt: it has none, it is
/// damaged, or it is not found by its own words.
Result<> audit_message(MessageId message, Reader& reader);

/// The quiet work of the server: steps of `index`, which must outlive it. Its name is kIndexJob.
std::unique_ptr<Job> make_index_job(SearchIndex& index);
inline constexpr const char* kIndexJob = "index";

}  // namespace posthouse::storage::search
