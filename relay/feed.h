#pragma once
/// relay/feed: what comes due, from the queue on disk in slices. What was added since the last look comes first, so a
/// new letter does not queue behind a hundred thousand that wait; the rest follows in the order of its time. Nothing is
/// read again that was read, but for a short overlap: a row may be committed later than its time says.
/// While the runner waits for work, the look is begun by the commit that brings some: it is done beside the answer to
/// whoever submitted it, and a letter has not to wait until the loop has come round to it.
/// Threads: the loop's; committed() and overtaken() any.
/// Limits: kSlice recipients at a time; a whole look anew every kRescan.
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "relay/core.h"
#include "relay/suppress.h"
#include "storage/queue.h"
#include "storage/routes.h"

namespace posthouse::relay {

inline constexpr std::size_t kSlice = 500;
inline constexpr Milliseconds kOverlap{2'000};
inline constexpr Milliseconds kRescan{10 * 60'000};

class Feed {
 public:
    struct Slice {
        std::vector<storage::QueueRecipient> recipients;
        std::map<storage::QueueId, storage::QueueItem> items;
        Suppressed suppressed;  ///< of the recipients
        storage::RoutePicture routes;
        std::vector<storage::QueueId> kicked;  ///< to be tried at once, whatever their lanes wait for
        Slice() = default;
    };

    explicit Feed(Core& core) : core_(core), early_(std::make_shared<Early>(core)) {}
    ~Feed() { early_->end(); }
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;

    /// The next slice, without those for which `held` holds. With `added_only` nothing but what is new.
    net::Task<Result<Slice>> next(const std::function<bool(storage::RecipientId)>& held, bool added_only);
    /// The runner has nothing to do until a commit brings something: the next one begins the look.
    void expect();
    /// On the commit thread, after a commit that brought some, while the Relay lives.
    void committed() { early_->begin(); }
    /// So too after a commit that changed what may be sent, though it added nothing that is due.
    void overtaken() { early_->overtake(); }
    /// The next look begins at the front.
    void rescan() { rescan_at_ = Time{}; }
    /// The last slice reached the end of what is due.
    bool is_exhausted() const { return exhausted_; }
    /// When the next row comes due that was not when we looked.
    std::optional<Time> next_due() const { return next_due_; }

 private:
    struct Look {
        Time at{};
        std::vector<storage::DueRecipient> added;
        std::vector<storage::DueRecipient> due;
        storage::RecipientId last{};
        std::optional<Time> next_due;
        std::vector<storage::QueueId> kicked;
        bool is_alone = false;      ///< little is new and much is due: what is new goes first, by itself
        std::optional<Slice> rows;  ///< where it is little, and some is new
    };
    struct LookWish {
        storage::DueRecipient cursor;
        std::optional<storage::RecipientId> last_added;
        bool added_only = false;
        bool takes_turns = false;  ///< what is new went alone the last time
    };
    /// A look that the commit thread begins, and where it stands.
    struct Early : std::enable_shared_from_this<Early> {
        explicit Early(Core& core);
        void begin();
        void overtake();
        void end();
        storage::Store* store;
        net::ThreadPool* pool;
        net::Loop* loop;
        const Clock* clock;
        std::mutex mutex;              // of the next four
        std::optional<LookWish> wish;  // one is wanted
        bool under_way = false;
        bool overtaken = false;  // a commit came after it began: it may not have seen that
        bool ended = false;  // nobody waits for it any more
        net::Event done;
        std::optional<Result<Look>> found;  // the loop's
    };
    static Result<Look> look_at(const storage::Snapshot& snapshot, const LookWish& wish, Time now);
    struct EarlyLook {
        Result<Look> look;
        bool overtaken = false;
    };
    net::Task<std::optional<EarlyLook>> early_look();
    /// Of all that was found, each once.
    static std::vector<storage::RecipientId> ids_of(const Look& look);
    static Result<Slice> rows_of(const storage::Snapshot& snapshot, const std::vector<storage::RecipientId>& ids,
                                 Time now);
    net::Task<void> forget_kicks(std::vector<storage::QueueId> queues);
    net::Task<Result<Look>> look(bool added_only);
    net::Task<Result<Slice>> read(std::vector<storage::RecipientId> ids);

    Core& core_;
    std::shared_ptr<Early> early_;
    storage::DueRecipient cursor_{};
    std::optional<storage::RecipientId> last_added_;  // none before the first look
    Time rescan_at_{};
    Time looked_{};
    bool exhausted_ = false;
    bool was_alone_ = false;
    std::optional<Time> next_due_;
};

}  // namespace posthouse::relay
