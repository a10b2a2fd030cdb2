#pragma once
/// relay/feed: what comes due, from the queue on disk in slices. What was added since the last look comes first, so a
/// new letter does not queue behind a hundred thousand that wait; the rest follows in the order of its time. Nothing is
/// read again that was read, but for a short overlap: a row may be committed later than its time says.
/// Threads: the loop's.   Limits: kSlice recipients at a time; a whole look anew every kRescan.
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "relay/core.h"
#include "relay/suppress.h"
#include "storage/queue.h"
#include "storage/routes.h"

namespace posthouse::relay {

inline constexpr std::size_t kSlice = 1'000;
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

    explicit Feed(Core& core) : core_(core) {}

    /// The next slice, without those for which `held` holds. With `added_only` nothing but what is new.
    net::Task<Result<Slice>> next(const std::function<bool(storage::RecipientId)>& held, bool added_only);
    /// The next look begins at the front.
    void rescan() { rescan_at_ = Time{}; }
    /// The last slice reached the end of what is due.
    bool is_exhausted() const { return exhausted_; }
    /// When the next row comes due that was not when we looked.
    std::optional<Time> next_due() const { return next_due_; }

 private:
    struct Look {
        std::vector<storage::DueRecipient> added;
        std::vector<storage::DueRecipient> due;
        storage::RecipientId last{};
        std::optional<Time> next_due;
        std::vector<storage::QueueId> kicked;
    };
    net::Task<void> forget_kicks(std::vector<storage::QueueId> queues);
    net::Task<Result<Look>> look(bool added_only);
    net::Task<Result<Slice>> read(std::vector<storage::RecipientId> ids);

    Core& core_;
    storage::DueRecipient cursor_{};
    std::optional<storage::RecipientId> last_added_;  // none before the first look
    Time rescan_at_{};
    Time looked_{};
    bool exhausted_ = false;
    std::optional<Time> next_due_;
};

}  // namespace posthouse::relay
