// The writing half of SearchIndex: what is new is read and indexed, what is gone is taken out.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "protocols/base/log.h"
#include "storage/fail_point.h"
#include "storage/search/search_index.h"
#include "storage/settings.h"

namespace posthouse::storage::search {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kGather{300};       // after a time of idleness: more mail may follow the first
constexpr milliseconds kIdle{10'000};      // between looks without a cause
constexpr milliseconds kLockRetry{5'000};  // another process writes the index
constexpr milliseconds kSweepPause{50};
constexpr std::uint64_t kSweepIds = 4096;
constexpr std::chrono::hours kSweepEvery{1};
constexpr std::uint64_t kMessageOctetsMax = 256ULL * 1024 * 1024;  // larger ones are not held in memory for this
constexpr std::uint64_t kTextMax = 32ULL * 1024 * 1024;            // whatever the setting says: a row must take it
constexpr std::uint64_t kPendingMany = 16;                         // deliveries that wait: they go first
constexpr int kNiceness = 10;
constexpr unsigned kAuditMessages = 20;  // each idle step: a few milliseconds in ten seconds

mime::SearchText no_text() { return {}; }

}  // namespace

struct SearchIndex::Work {
    MessageId message{};
    std::int64_t note = 0;
    mime::SearchText text;
};

bool SearchIndex::note(const CommitNotice& notice) {
    const std::lock_guard hold(notes_mutex_);
    for (const MailboxChange& change : notice.mailboxes) {
        if (change.mailbox != MailboxId{}) changed_.insert(change.mailbox);
    }
    if (notice.external) look_everywhere_ = true;
    if (notice.external || notice.catalog) look_at_settings_ = true;
    const bool news = !notice.mailboxes.empty() || notice.external || notice.catalog;
    const bool wake = news && !awake_;
    awake_ = awake_ || news;
    return wake;
}

Result<milliseconds> SearchIndex::step() {
    if (!low_priority_) {
        // Of this thread alone: Linux keeps it by thread. Where it is refused, pauses must do.
        ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNiceness);
        low_priority_ = true;
    }
    if (gather_) {
        gather_ = false;
        return kGather;
    }
    if (damaged_) TRY_VOID(rebuild());
    if (const auto opened = ensure_open(); !opened) {
        if (opened.error().code == Errc::conflict) return kLockRetry;
        return Error(opened.error());
    }
    const auto started = Clock::now();
    TRY(const bool worked, work_once());
    if (worked) return pause_after(started);
    {
        const std::lock_guard hold(notes_mutex_);
        if (!changed_.empty() || look_everywhere_ || look_at_settings_) return milliseconds(0);
        awake_ = false;
        gather_ = true;
    }
    TRY([[maybe_unused]] const bool sound, audit(kAuditMessages));
    return sweep_a_little();
}

Result<> SearchIndex::run_to_end(const std::function<bool(std::uint64_t)>& go_on) {
    if (damaged_) TRY_VOID(rebuild());
    TRY_VOID(ensure_open());
    std::uint64_t done = 0;
    for (;;) {
        const std::size_t before = done_;
        TRY(const bool worked, work_once());
        if (!worked) return {};
        done += done_ > before ? done_ - before : done_;
        if (!go_on(done)) return {};
    }
}

// One batch; false where nothing waits.
Result<bool> SearchIndex::work_once() {
    TRY_VOID(follow_settings());
    while (done_ == todo_.size()) {
        TRY(const bool found, find_work());
        if (!found) return false;
    }
    const auto done = index_batch();
    if (done) return true;
    // What failed may have been the store's: that is no reason to throw the index away.
    if (writer_->damaged()) suspect(done.error());
    return Error(done.error());
}

Result<> SearchIndex::follow_settings() {
    {
        const std::lock_guard hold(notes_mutex_);
        if (!std::exchange(look_at_settings_, false)) return {};
    }
    TRY(const Origin now, origin_of(store_));
    if (check_origin(*writer_, now)) return {};
    log::info("search", "the index is built anew, as was asked");
    return rebuild();
}

// ---- what is new

// Fills todo_ from the next mailbox that changed, if it has anything new; false where there is none.
Result<bool> SearchIndex::find_work() {
    bool everywhere = false;
    {
        const std::lock_guard hold(notes_mutex_);
        everywhere = std::exchange(look_everywhere_, false);
    }
    MailboxId mailbox{};
    auto looked = everywhere ? look_at_all() : Result<>();
    {
        const std::lock_guard hold(notes_mutex_);
        if (looked && changed_.empty()) return false;
        if (looked) {
            mailbox = *changed_.begin();
            changed_.erase(changed_.begin());
        }
    }
    if (looked) looked = look_at(mailbox);
    if (looked) return true;
    // Nothing that was noted may be forgotten by this.
    const std::lock_guard hold(notes_mutex_);
    look_everywhere_ = true;
    return Error(looked.error());
}

Result<> SearchIndex::look_at_all() {
    // looked_ is changed by this thread alone. The lock is taken at the end: a commit's notice waits for it.
    std::vector<MailboxId> found;
    TRY_VOID(store_.read([&](const Snapshot& snapshot) -> Result<> {
        Query q = context_of(snapshot).db.query("SELECT id, highest_modseq FROM mailboxes");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return {};
            const auto at = looked_.find(q.id<MailboxId>(0));
            if (q.u64(1) > (at == looked_.end() ? 0 : at->second)) found.push_back(q.id<MailboxId>(0));
        }
    }));
    const std::lock_guard hold(notes_mutex_);
    changed_.insert(found.begin(), found.end());
    return {};
}

Result<> SearchIndex::look_at(MailboxId mailbox) {
    ModSeq since = 0;
    {
        const std::lock_guard hold(notes_mutex_);
        if (const auto at = looked_.find(mailbox); at != looked_.end()) since = at->second;
    }
    todo_.clear();
    done_ = 0;
    mailbox_ = mailbox;
    mailbox_modseq_ = since;
    TRY_VOID(store_.read([&](const Snapshot& snapshot) -> Result<> {
        Connection& db = context_of(snapshot).db;
        Query top = db.query("SELECT highest_modseq FROM mailboxes WHERE id = ?1");
        TRY(const bool found, top.bind(mailbox).row());
        if (!found) return {};  // gone in the meantime
        mailbox_modseq_ = top.u64(0);
        // What came in since stands behind all that did not (storage/flag_runs.h).
        Query q = db.query("SELECT message, modseq FROM entries WHERE mailbox = ?1 ORDER BY uid DESC");
        q.bind(mailbox);
        const std::shared_lock sets(sets_mutex_);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more || q.u64(1) <= since) return {};
            if (!sets_.known.contains(q.id<MessageId>(0))) todo_.push_back(q.id<MessageId>(0));
        }
    }));
    // In the order they lie on disk; a message may be twice in a mailbox.
    std::ranges::sort(todo_);
    todo_.erase(std::ranges::unique(todo_).begin(), todo_.end());
    if (!todo_.empty() || mailbox_modseq_ == since) return {};
    // Only flags changed: worth remembering, not worth a commit of its own.
    unsaved_[mailbox_] = mailbox_modseq_;
    const std::lock_guard hold(notes_mutex_);
    looked_[mailbox_] = mailbox_modseq_;
    return {};
}

Result<> SearchIndex::index_batch() {
    std::vector<Work> batch;
    const std::size_t from = done_;
    const auto counter = read_batch(batch);
    if (!counter) {
        done_ = from;
        return Error(counter.error());
    }
    const auto written = write_batch(batch, *counter, done_ == todo_.size());
    if (!written) {
        done_ = from;
        return written;
    }
    for (const Work& work : batch) remember(work.message, work.note);
    if (done_ < todo_.size()) return {};
    const std::lock_guard hold(notes_mutex_);
    looked_[mailbox_] = mailbox_modseq_;
    return {};
}

// Moves done_ past what it read. Gives back the counter of message ids: what the store has given so far.
Result<std::int64_t> SearchIndex::read_batch(std::vector<Work>& batch) {
    return store_.read([&](const Snapshot& snapshot) -> Result<std::int64_t> {
        const Context& context = context_of(snapshot);
        TRY(const std::int64_t setting, setting_number(snapshot.catalog(), "search.part_octets_max"));
        const std::uint64_t text_max = std::min<std::uint64_t>(static_cast<std::uint64_t>(setting), kTextMax);
        TRY(const std::int64_t counter, context.db.value("SELECT value FROM counters WHERE name = 'message'"));
        std::uint64_t octets = 0;
        while (done_ < todo_.size() && batch.size() < kBatchMessages && octets < kBatchOctets) {
            Work work;
            work.message = todo_[done_++];
            const bool known_already = [&] {
                const std::shared_lock sets(sets_mutex_);
                return sets_.known.contains(work.message);
            }();
            if (known_already) continue;
            Query q = context.db.query("SELECT size_octets, header_octets FROM messages WHERE id = ?1");
            TRY(const bool found, q.bind(work.message).row());
            if (!found) continue;  // gone in the meantime
            octets += q.u64(0);
            if (q.u64(0) > kMessageOctetsMax) {
                work.note = kNoteTooLarge;
                batch.push_back(std::move(work));
                continue;
            }
            const auto body = open_body(context, work.message);
            const auto message = body ? body->read_all() : Result<std::string>(Error(body.error()));
            if (message) {
                work.text = mime::search_text(*message, static_cast<std::size_t>(q.u64(1)));
                if (work.text.has_encrypted) work.note |= kNoteEncrypted;
                if (work.text.header.size() + work.text.body.size() > text_max) work.note |= kNoteTooLarge;
            } else {
                log::warn("search", "message {} is not indexed: {}", raw(work.message), message.error().context);
                work.note = kNoteUnreadable;
            }
            if ((work.note & kNotesRead) != 0) work.text = no_text();
            batch.push_back(std::move(work));
        }
        return counter;
    });
}

Result<> SearchIndex::write_batch(const std::vector<Work>& batch, std::int64_t counter, bool last) {
    Connection& db = *writer_;
    const auto write = [&]() -> Result<> {
        for (const Work& work : batch) {
            TRY_VOID(db.query("INSERT INTO indexed VALUES (?1, ?2)").bind(work.message, work.note).run());
            if ((work.note & kNotesRead) != 0) continue;
            TRY(const std::string header, packer_.pack(work.text.header));
            TRY(const std::string body, packer_.pack(work.text.body));
            TRY_VOID(
                db.query("INSERT INTO texts VALUES (?1, ?2, ?3)").bind(work.message, Blob(header), Blob(body)).run());
            TRY_VOID(db.query("INSERT INTO header_words (rowid, text) VALUES (?1, ?2)")
                         .bind(work.message, work.text.header)
                         .run());
            TRY_VOID(db.query("INSERT INTO body_words (rowid, text) VALUES (?1, ?2)")
                         .bind(work.message, work.text.body)
                         .run());
        }
        if (last) unsaved_[mailbox_] = mailbox_modseq_;
        for (const auto& [mailbox, modseq] : unsaved_) {
            TRY_VOID(db.query("INSERT OR REPLACE INTO mailboxes VALUES (?1, ?2)").bind(mailbox, modseq).run());
        }
        TRY_VOID(save_message_counter(db, counter));
        POSTHOUSE_FAIL_POINT("index-before-commit");
        return db.exec("COMMIT");
    };
    TRY_VOID(db.exec("BEGIN IMMEDIATE"));
    const auto written = write();
    if (!written) {
        if (db.in_transaction()) static_cast<void>(db.exec("ROLLBACK"));
        return written;
    }
    POSTHOUSE_FAIL_POINT("index-after-commit");
    unsaved_.clear();
    return {};
}

// ---- what is gone

Result<> SearchIndex::take_out(std::span<const MessageId> gone) {
    // First from the sets: a message whose terms are half gone must not be judged by them.
    for (const MessageId message : gone) forget(message);
    Connection& db = *writer_;
    TRY(auto reader, readers_.take());
    const auto write = [&]() -> Result<> {
        for (const MessageId message : gone) {
            TRY(const auto header, reader->text(message, TextPart::header));
            TRY(const auto body, reader->text(message, TextPart::body));
            if (header && body) {
                TRY_VOID(db.query("INSERT INTO header_words (header_words, rowid, text) VALUES ('delete', ?1, ?2)")
                             .bind(message, *header)
                             .run());
                TRY_VOID(db.query("INSERT INTO body_words (body_words, rowid, text) VALUES ('delete', ?1, ?2)")
                             .bind(message, *body)
                             .run());
            }
            TRY_VOID(db.query("DELETE FROM texts WHERE message = ?1").bind(message).run());
            TRY_VOID(db.query("DELETE FROM indexed WHERE message = ?1").bind(message).run());
        }
        return db.exec("COMMIT");
    };
    TRY_VOID(db.exec("BEGIN IMMEDIATE"));
    const auto written = write();
    if (!written && db.in_transaction()) static_cast<void>(db.exec("ROLLBACK"));
    readers_.give(std::move(reader));
    if (!written) damaged_ = true;  // the sets no longer say what the file holds
    return written;
}

Result<std::optional<MessageId>> SearchIndex::sweep(MessageId first, std::uint64_t count) {
    TRY_VOID(ensure_open());
    std::vector<MessageId> known;
    const auto next = static_cast<MessageId>(raw(first) + static_cast<std::int64_t>(count));
    MessageId end{};
    {
        const std::shared_lock sets(sets_mutex_);
        sets_.known.each(first, static_cast<MessageId>(raw(next) - 1), [&](MessageId id) { known.push_back(id); });
        end = sets_.known.upper_bound();
    }
    std::vector<MessageId> gone;
    TRY_VOID(store_.read([&](const Snapshot& snapshot) -> Result<> {
        for (const MessageId id : known) {
            Query q = context_of(snapshot).db.query("SELECT 1 FROM messages WHERE id = ?1");
            TRY(const bool found, q.bind(id).row());
            if (!found) gone.push_back(id);
        }
        return {};
    }));
    for (std::size_t from = 0; from < gone.size(); from += kBatchMessages) {
        TRY_VOID(take_out(std::span(gone).subspan(from, std::min(kBatchMessages, gone.size() - from))));
    }
    return next >= end ? std::nullopt : std::optional(next);
}

// At most once an hour, and only where something was removed from the segments since the last time.
Result<milliseconds> SearchIndex::sweep_a_little() {
    if (sweep_from_) {
        TRY(sweep_from_, sweep(*sweep_from_, kSweepIds));
        return sweep_from_ ? kSweepPause : kIdle;
    }
    if (Clock::now() < sweep_due_) return kIdle;
    TRY(const std::int64_t mark, store_.read([](const Snapshot& snapshot) {
        return context_of(snapshot).db.value("SELECT coalesce(sum(dead_octets), 0) + 7 * count(*) FROM segments");
    }));
    sweep_due_ = Clock::now() + kSweepEvery;
    if (mark == swept_mark_) return kIdle;
    swept_mark_ = mark;
    sweep_from_ = MessageId{1};
    return kSweepPause;
}

// Mail goes first: while it is being written this takes at most half of a core, and next to nothing where it queues up.
milliseconds SearchIndex::pause_after(Clock::time_point started) {
    const StoreStatistics now = store_.statistics();
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - started) + milliseconds(1);
    const bool busy = std::exchange(writes_seen_, now.writes) != now.writes;
    if (now.pending > kPendingMany) return 8 * took;
    return busy ? took : milliseconds(0);
}

namespace {

class IndexJob final : public Job {
 public:
    explicit IndexJob(SearchIndex& index) : index_(index) {}
    std::string_view name() const override { return kIndexJob; }
    Result<milliseconds> step() override { return index_.step(); }

 private:
    SearchIndex& index_;
};

}  // namespace

std::unique_ptr<Job> make_index_job(SearchIndex& index) { return std::make_unique<IndexJob>(index); }

}  // namespace posthouse::storage::search
