#pragma once
/// storage: the shared message store. The truth is DATA/mail.db (SQLite, WAL, synchronous=FULL), the octets of messages
/// lie in DATA/segments; see storage/schema.sql and storage/segment_format.md.
///
/// The promise: `done` of a write is called with success only when what it wrote would survive a power cut
/// (submit_ordered excepted: nobody outside is ever told of what that wrote).
/// How: one commit thread drains the pending writes: all bodies are appended (steps of 256 KiB), one fdatasync, then
/// one transaction for all writes, then every waiter is completed, one post per queue and batch (group commit).
/// Invariants  1. Bytes first: a row never names octets that are not synced.
///             2. A write that fails changes nothing (savepoint); its neighbours in the batch are not touched.
///             3. A failed write, sync or commit is never retried into a success: every waiter gets Errc::io or
///                no_space, the store is suspect, reopens itself and verifies; if that repeats, health() says failed
///                for good.
///             4. No transaction outlives the closure it was given to; none can be held across a co_await.
///             5. Every read and write of mail names the account on whose behalf it is done.
/// Reads use connections of their own and never wait for the writer.
/// Threads: submit, write, read, stage, subscribe: any.  Closures run on the commit thread (write) or the caller's
/// (read). A closure of read() must not read again: it would wait for a second connection of a bounded pool.
/// Limits: see StoreOptions.  Layer: knows mail terms (protocols/mime), no sockets, no coroutines (but await.h).
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/completion.h"
#include "protocols/base/result.h"
#include "protocols/mime/facts.h"
#include "storage/body.h"
#include "storage/catalog.h"
#include "storage/events.h"
#include "storage/imports.h"
#include "storage/mail.h"
#include "storage/queue.h"
#include "storage/types.h"

namespace posthouse::storage {

/// A consistent picture of the store at one moment.
class Snapshot {
 public:
    virtual ~Snapshot() = default;
    virtual const CatalogView& catalog() const = 0;
    /// Mail on behalf of `account`. Valid while the snapshot lives.
    virtual const MailView& mail(AccountId account) const = 0;
    /// The same, and what others let the account use (RFC 4314), under "Other Users/" and "Shared/".
    virtual const MailView& shared_mail(AccountId acting) const = 0;
    virtual const QueueView& queue() const = 0;
    virtual const EventView& events() const = 0;
    virtual const ImportView& imports() const = 0;
};

/// A copy that differs from the message: with fields for this recipient alone.
struct OwnOctets {
    StagedBodyPtr body;
    mime::MessageFacts facts;
};

/// One copy of a message for a local account.
struct LocalCopy {
    AccountId account{};
    std::string mailbox = "INBOX";  ///< created where missing
    bool junk = false;              ///< into the account's Junk mailbox instead, made where there is none
    FlagBits flags = 0;
    std::string recipient;                 ///< the envelope address that led here, for the event
    std::shared_ptr<const OwnOctets> own;  ///< null: the message as it is
};

/// Everything that one acceptance changes, in one transaction.
struct Delivery {
    StagedBodyPtr body;
    mime::MessageFacts facts;
    std::string sender;           ///< reverse-path, for events
    std::string received_detail;  ///< event sentence: "from mx.b.example [192.0.2.1] over ESMTPS"
    std::vector<LocalCopy> local;
    std::optional<AccountId> submitter;  ///< gets a copy in Sent, if it wants one (storage/sent_copy.h)
    std::optional<NewQueueItem> outgoing;
    Time first_attempt{};
    /// `promised`: each recipient was found to have room when it was taken (RCPT). A mailbox that filled up since gets
    /// this message all the same, so that it never holds up those of the others; the next RCPT hears 452. For a message
    /// with one recipient that is not needed: it can be refused as a whole.
    QuotaRule quota = QuotaRule::keep;
};

struct Accepted {
    MessageId message{};
    std::optional<QueueId> queue;
};

class Tx {
 public:
    virtual ~Tx() = default;
    virtual Time now() const = 0;
    virtual CatalogTx& catalog() = 0;
    virtual MailTx& mail(AccountId account) = 0;
    virtual MailTx& shared_mail(AccountId acting) = 0;
    virtual QueueTx& queue() = 0;
    virtual EventTx& events() = 0;
    virtual ImportTx& imports() = 0;
    /// `body` must be among the bodies this write was submitted with. The message is dropped at the end of the
    /// transaction if no entry and no queue row refers to it.
    virtual Result<MessageId> add_message(const StagedBodyPtr& body, const mime::MessageFacts& facts) = 0;
    /// add_message, the entries, the queue rows and the events. Errc::over_quota names the account.
    virtual Result<Accepted> deliver(const Delivery& delivery) = 0;
};

struct MailboxChange {
    AccountId account{};
    MailboxId mailbox{};  ///< 0: the subscriptions
    ModSeq modseq = 0;
    bool removed = false;  ///< deleted on its own, not with its account
};

/// What a commit changed, told after it is durable.
struct CommitNotice {
    std::vector<MailboxChange> mailboxes;
    bool catalog = false;
    bool queue = false;
    bool due = false;       ///< some of the queue waits now that did not, or for another time
    bool external = false;  ///< another process wrote: anything may have changed
};

struct StoreOptions {
    std::string directory;
    std::uint64_t free_octets_min = 512ULL * 1024 * 1024;  ///< below it writes that add are refused with no_space
    std::uint64_t segment_octets_max = 128ULL * 1024 * 1024;
    std::uint64_t cache_octets = 64ULL * 1024 * 1024;
    unsigned readers_max = 4;
    const Clock* clock = nullptr;        ///< null: the system's
    bool watch_other_processes = false;  ///< the server: they ring (storage/commit_bell.h), and it looks each second
    StoreOptions() = default;
};

enum class Health { good, low_disk, suspect, failed };
std::string_view to_string(Health health);

struct StoreStatistics {
    std::uint64_t commits = 0;
    std::uint64_t writes = 0;
    std::uint64_t writes_failed = 0;
    std::uint64_t bytes_appended = 0;
    std::uint64_t pending = 0;
};

class Store {
 public:
    using WriteFn = std::move_only_function<Result<>(Tx&)>;
    using Done = std::move_only_function<void(Result<>)>;

    /// Makes the directory (0700), an empty store and its sealing key file. Errc::already_exists where one is there.
    static Result<std::unique_ptr<Store>> create(StoreOptions options);
    /// Errc::not_found, corrupt, io, denied (wide mode or foreign owner), unsupported (newer schema).
    static Result<std::unique_ptr<Store>> open(StoreOptions options);
    virtual ~Store() = default;

    virtual std::unique_ptr<BodyWriter> stage() = 0;
    /// Queues a write. `done` is posted to `where` when it is durable or has failed.
    virtual void submit(std::vector<StagedBodyPtr> bodies, WriteFn write, CompletionQueue& where, Done done) = 0;
    /// The same for what may be forgotten in a power cut, but not in a crash: answered, it is seen by every reader and
    /// every process, and whatever is durable later makes it durable too. It may overtake what was submitted before
    /// with submit(), and itself waits for a sync in every second commit at most.
    virtual void submit_ordered(WriteFn write, CompletionQueue& where, Done done) = 0;
    /// submit(), waiting (command line, HTTP threads, tests). Never on a loop's thread.
    virtual Result<> write(std::vector<StagedBodyPtr> bodies, WriteFn write) = 0;

    /// Runs `fn(const Snapshot&)`, which returns a Result, on a consistent snapshot on the calling thread.
    template <class F>
    std::invoke_result_t<F, const Snapshot&> read(F fn) {
        std::optional<std::invoke_result_t<F, const Snapshot&>> out;
        TRY_VOID(read_with([&](const Snapshot& snapshot) { out.emplace(fn(snapshot)); }));
        return std::move(*out);
    }
    /// write() that gives back a value.
    template <class F>
    std::invoke_result_t<F, Tx&> write_value(std::vector<StagedBodyPtr> bodies, F fn) {
        std::optional<std::invoke_result_t<F, Tx&>> out;
        TRY_VOID(write(std::move(bodies), [&](Tx& tx) -> Result<> {
            out.emplace(fn(tx));
            if (!*out) return Error(out->error());
            return {};
        }));
        return std::move(*out);
    }

    /// Called on the commit thread after each commit; must be quick and must not call back into the store.
    virtual void subscribe(std::function<void(const CommitNotice&)> listener) = 0;
    /// Errc::no_space where `octets` more would go below the floor.
    virtual Result<> check_room(std::uint64_t octets) = 0;
    virtual Health health() const = 0;
    virtual StoreStatistics statistics() const = 0;
    /// The 32-octet key for crypto::seal; kept in a file beside, not in, the database.
    virtual const std::string& sealing_key() const = 0;

 protected:
    virtual Result<> read_with(const std::function<void(const Snapshot&)>& fn) = 0;
};

}  // namespace posthouse::storage
