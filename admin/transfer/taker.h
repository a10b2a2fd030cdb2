#pragma once
/// admin/transfer: mail from elsewhere (Maildir, mbox, IMAP) into the mailboxes of an account, and out again as files.
/// This header: the Taker, which every import puts its messages into.
///
///   open_folder -> for each message: find(key) -> stage, add  |  set_flags  |  remove   -> finish
/// Messages are gathered into batches of at most kBatchMessagesMax or kBatchOctetsMax; each batch is one write, and up
/// to kBatchesMax of them are on their way while the caller reads on. So memory stays flat, whatever the source holds.
/// Invariants  1. A message and the memory of its key are one transaction: after a kill, a repeated run takes exactly
///                what is missing.
///             2. A key is looked at again inside that transaction: two runs at once make no duplicate.
///             3. UIDs are given in the order of add(), as long as nothing fails.
///             4. One bad message is reported and never takes its neighbours with it.
///             5. A full disk or account ends the import with a sentence; what is in stays in.
/// Threads: one; facts are computed on it while the store's commit thread writes.
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/completion.h"
#include "protocols/base/result.h"
#include "storage/store.h"

namespace posthouse::transfer {

/// Larger messages are not taken: nothing could read them back within the limits of the protocols.
inline constexpr std::uint64_t kTakenOctetsMax = 128ULL * 1024 * 1024;

struct FolderSpec {
    std::string name;                ///< the folder there, in its own spelling: remembered, never shown to clients
    std::uint64_t uid_validity = 0;  ///< of the folder there; 0 for files
    std::string mailbox;             ///< name here, UTF-8 with '/'; see folder_names.h
    /// The account's mailbox of this use is taken, whatever its name; `mailbox` is made where there is none.
    storage::SpecialUse use = storage::SpecialUse::none;
    bool subscribed = true;
};

/// A folder of the source, and where its mail goes.
struct TakenFolder {
    storage::ImportFolderId id{};
    storage::MailboxId mailbox{};
    std::string mailbox_name;
    bool known = false;  ///< an earlier run took messages from it
};

struct TakenItem {
    std::string key;   ///< names the message in its folder for ever
    std::string name;  ///< how a report calls it: a file name, "UID 17"
    storage::StagedBodyPtr body;
    storage::FlagBits flags = 0;
    std::vector<std::string> keywords;            ///< those that cannot be keywords here are left out
    std::optional<std::int64_t> internal_date_s;  ///< nothing: the Date field, else now
};

struct TakerStatistics {
    std::uint64_t taken = 0;          ///< messages that are on disk now
    std::uint64_t known = 0;          ///< were here already
    std::uint64_t failed = 0;         ///< reported, left out
    std::uint64_t octets = 0;         ///< of the messages taken
    std::uint64_t flags_changed = 0;  ///< known messages that got other flags
    std::uint64_t removed = 0;
};

/// Tells of one message that was left out: its name and why. On the caller's thread.
using FailureListener = std::function<void(const std::string& name, const Error& why)>;

class Taker {
 public:
    /// `source` names where the mail comes from, the same in every run: "maildir:/path", "imap://user@host".
    Taker(storage::Store& store, storage::AccountId account, std::string source, FailureListener on_failure);
    /// Waits for the batches on their way.
    ~Taker();
    Taker(const Taker&) = delete;
    Taker& operator=(const Taker&) = delete;

    /// Finds or makes the mailbox. A folder that is known keeps its mailbox, even if it was renamed here since.
    Result<TakenFolder> open_folder(const FolderSpec& spec);
    /// Whether an earlier run, or this one, took the message.
    Result<bool> has(const TakenFolder& folder, std::string_view key);
    /// Where a body is written to; finish() of it gives TakenItem::body.
    std::unique_ptr<storage::BodyWriter> stage() { return store_.stage(); }
    /// stage() and finish() at once.
    Result<storage::StagedBodyPtr> stage(std::string_view octets);

    /// Takes the message with the batch. An error means that the import must end (see stopped()); a message that
    /// cannot be taken is reported instead, now or with its batch.
    Result<> add(const TakenFolder& folder, TakenItem item);
    /// Counts one that is known and left as it is.
    void count_known() { ++statistics_.known; }
    /// Reports a message that could not even be read.
    void fail(const std::string& name, const Error& why);
    /// Gives a known message exactly these flags; `keywords` nothing: they stay as they are. Counts it as known.
    Result<> set_flags(const TakenFolder& folder, std::string key, storage::FlagBits flags,
                       std::optional<std::vector<std::string>> keywords);
    /// Expunges the message and forgets its key; nothing happens where it is not known.
    Result<> remove(const TakenFolder& folder, std::string key);
    /// Writes what is gathered and waits until all of it is durable. The error that ended the import, if one did.
    Result<> finish();

    const TakerStatistics& statistics() const { return statistics_; }
    /// Why the import must end: a sentence that says what to do.
    const std::optional<Error>& stopped() const { return stopped_; }

 private:
    struct Place {
        TakenFolder folder;
        TakenItem item;
        mime::MessageFacts facts;
        bool was_known = false;
    };
    struct Batch {
        std::vector<Place> places;
        std::uint64_t octets = 0;
        std::size_t failed_at = 0;  ///< set by the write that failed
        int tries = 0;
    };
    using BatchPtr = std::shared_ptr<Batch>;
    struct Change {
        storage::ImportFolderId folder{};
        storage::MailboxId mailbox{};
        std::string key;
        bool remove = false;
        storage::FlagBits flags = 0;
        std::optional<std::vector<std::string>> keywords;
        storage::Uid uid = 0;
    };
    /// Results come from the commit thread and are worked off on the caller's.
    class Landing final : public CompletionQueue {
     public:
        void post_batch(std::vector<Completion> batch) override;
        void run_one();

     private:
        std::mutex mutex_;
        std::condition_variable arrived_;
        std::deque<Completion> completions_;
    };

    void submit(BatchPtr batch);
    void land(const BatchPtr& batch, Result<> result);
    void split(const BatchPtr& batch, const Error& why);
    static Result<> write_batch(storage::Tx& tx, storage::AccountId account, Batch& batch);
    void forget_pending(const Place& place);
    void stop(const Error& why);
    /// Hands on what is gathered; waits while more than `flying_max` batches are on their way.
    void launch(std::size_t flying_max);
    Result<> add_change(const TakenFolder& folder, Change change);
    Result<> apply_changes();
    Result<> find_differences(std::vector<Change>& changes);

    storage::Store& store_;
    const storage::AccountId account_;
    const std::string source_;
    const FailureListener on_failure_;
    BatchPtr gathered_;
    std::vector<Change> changes_;
    std::set<std::pair<storage::ImportFolderId, std::string>> pending_;  ///< keys not committed yet
    std::size_t flying_ = 0;
    Landing landing_;
    TakerStatistics statistics_;
    std::optional<Error> stopped_;
};

/// Whether `name` may be a keyword here (RFC 3501 9, flag-keyword); a system flag is none.
bool is_usable_keyword(std::string_view name);

}  // namespace posthouse::transfer
