#pragma once
/// storage/queue_impl (internal): the outgoing queue over SQL; serves a write and, through QueueView, a snapshot.
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "storage/context.h"
#include "storage/events_impl.h"
#include "storage/queue.h"

namespace posthouse::storage {

/// Between the remote and our address in queue_recipients.last_remote.
inline constexpr std::string_view kFromSource = " from ";

/// Writes the event of a recipient that changes its state without an attempt.
Result<> tell_of(Context& context, const QueueItem& owner, const QueueRecipient& recipient, EventKind kind,
                 std::string_view detail, std::optional<std::uint32_t> tries = {});

class QueueImpl final : public QueueTx {
 public:
    explicit QueueImpl(Context& context) : context_(context), db_(context.db) {}

    Result<std::vector<QueueRecipient>> due(Time until, std::size_t count_max) const override;
    Result<std::optional<Time>> next_due() const override;
    Result<std::vector<DueRecipient>> due_after(DueRecipient after, Time until, std::size_t count_max) const override;
    Result<std::vector<DueRecipient>> added_after(RecipientId after, Time until, std::size_t count_max) const override;
    Result<RecipientId> last_recipient() const override;
    Result<std::vector<QueueRecipient>> find(std::span<const RecipientId> ids) const override;
    Result<std::vector<LaneRecord>> lanes() const override;
    Result<std::vector<QueueId>> kicked() const override;
    Result<QueueItem> item(QueueId id) const override;
    Result<std::vector<QueueRecipient>> recipients(QueueId id) const override;
    Result<std::vector<QueueItem>> list(QueueId after, std::size_t count_max) const override;
    Result<std::uint64_t> waiting_count() const override;
    Result<BodyReader> body(QueueId id) const override;
    Result<BodyReader> body(const QueueItem& item) const override;
    Result<mime::MessageFacts> facts(QueueId id) const override;

    Result<QueueId> add(MessageId message, const NewQueueItem& item, Time first_attempt) override;
    Result<std::vector<StartedRecipient>> start(std::span<const RecipientId> recipients) override;
    Result<> finish(RecipientId recipient, const Outcome& outcome) override;
    Result<> finish(const QueueItem& owner, RecipientId recipient, const Outcome& outcome) override;
    Result<> give_back(std::span<const RecipientId> recipients) override;
    Result<> mark(std::span<const RecipientId> recipients, WaitCause cause, LaneId lane) override;
    Result<LaneId> save_lane(const LaneRecord& lane) override;
    Result<> forget_kicks(std::span<const QueueId> queues) override;
    Result<> forget_lanes(Time before) override;
    Result<std::uint64_t> recover() override;
    Result<> retry_now(QueueId id) override;
    Result<> hold(QueueId id) override;
    Result<> hold_recipients(std::span<const RecipientId> recipients, std::string_view why) override;
    Result<> release(QueueId id) override;
    Result<> cancel(QueueId id) override;

    /// The rows of one item, without touching the message's references: `message` counts this one already.
    Result<QueueId> insert(MessageId message, std::string_view message_id, std::uint64_t size_octets,
                           const NewQueueItem& item, Time first_attempt);
    /// At the end of a write: items whose recipients are all final go.
    Result<> drop_finished();

 private:
    Result<QueueRecipient> recipient(RecipientId id) const;
    struct Shift {
        RecipientState from;
        RecipientState also_from;
        RecipientState to;
        EventKind kind;
        std::string_view detail;
    };
    /// Moves every recipient of an item in one of two states to another, with its event.
    Result<> shift(QueueId id, const Shift& shift);
    /// held under an incident -> waiting, but for an account's under review.
    Result<> let_try(const QueueItem& owner);
    void touch(QueueId id);
    void note_touched(QueueId id);

    Context& context_;
    Connection& db_;
};

}  // namespace posthouse::storage
