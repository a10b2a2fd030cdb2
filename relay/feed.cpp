#include "relay/feed.h"

#include <algorithm>
#include <limits>

#include "protocols/base/log.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

constexpr auto kLastId = static_cast<storage::RecipientId>(std::numeric_limits<std::int64_t>::max());
const Time kNever = from_unix_ms(std::numeric_limits<std::int64_t>::max());

}  // namespace

// The two lists of ids cost no row of the table; rows are read for those alone that are not in hand yet.
net::Task<Result<Feed::Look>> Feed::look(bool added_only) {
    auto read = [now = core_.now(), cursor = cursor_, last = last_added_,
                 added_only](const storage::Snapshot& snapshot) -> Result<Look> {
        const storage::QueueView& queue = snapshot.queue();
        Look out;
        TRY(out.last, queue.last_recipient());
        // At the start the newest come first too: they have waited for nobody yet.
        const std::int64_t newest =
            std::max<std::int64_t>(storage::raw(out.last) - static_cast<std::int64_t>(kSlice), 0);
        const auto from = last.value_or(static_cast<storage::RecipientId>(newest));
        if (from < out.last) {
            TRY(out.added, queue.added_after(from, now, kSlice));
        }
        if (!added_only) {
            TRY(out.due, queue.due_after(cursor, now, kSlice));
        }
        TRY(const auto later, queue.due_after(storage::DueRecipient{now, kLastId}, kNever, 1));
        if (!later.empty()) out.next_due = later.front().at;
        TRY(out.kicked, queue.kicked());
        return out;
    };
    co_return co_await storage::read(*core_.deps.store, *core_.deps.pool, *core_.deps.loop, std::move(read));
}

net::Task<Result<Feed::Slice>> Feed::read(std::vector<storage::RecipientId> ids) {
    auto read = [ids = std::move(ids), now = core_.now()](const storage::Snapshot& snapshot) -> Result<Slice> {
        Slice out;
        TRY(auto found, snapshot.queue().find(ids));
        TRY(out.routes, storage::RouteView(snapshot).picture(storage::day_number(now)));
        for (storage::QueueRecipient& recipient : found) {
            if (recipient.state != storage::RecipientState::waiting) continue;
            if (!out.items.contains(recipient.queue)) {
                auto item = snapshot.queue().item(recipient.queue);
                if (!item && item.error().code == Errc::not_found) continue;
                if (!item) return Error(item.error());
                out.items.emplace(recipient.queue, *std::move(item));
            }
            out.recipients.push_back(std::move(recipient));
        }
        TRY(out.suppressed, read_suppressed(snapshot, out.items, out.recipients, now));
        return out;
    };
    co_return co_await storage::read(*core_.deps.store, *core_.deps.pool, *core_.deps.loop, std::move(read));
}

net::Task<void> Feed::forget_kicks(std::vector<storage::QueueId> queues) {
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [queues](storage::Tx& tx) { return tx.queue().forget_kicks(queues); };
    const auto done =
        co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(write));
    if (!done) log::error("relay", "the queue cannot be written: {}", done.error().context);
}

net::Task<Result<Feed::Slice>> Feed::next(const std::function<bool(storage::RecipientId)>& held, bool added_only) {
    const Time now = core_.now();
    if (now >= rescan_at_ || now < looked_) {  // the second where the clock was set back
        cursor_ = storage::DueRecipient();
        rescan_at_ = now + kRescan;
    }
    looked_ = now;
    auto found = co_await look(added_only);
    if (!found) co_return Error(found.error());
    const bool more_added = found->added.size() >= kSlice;
    last_added_ = more_added ? found->added.back().id : found->last;
    if (!added_only) {
        const bool more_due = found->due.size() >= kSlice;
        cursor_ = more_due ? found->due.back() : storage::DueRecipient{std::max(now - kOverlap, Time{}), {}};
        exhausted_ = !more_due && !more_added;
    } else {
        exhausted_ = false;
    }
    next_due_ = found->next_due;
    std::vector<storage::RecipientId> ids;
    for (const auto* list : {&found->added, &found->due}) {
        for (const storage::DueRecipient& one : *list) {
            if (!held(one.id)) ids.push_back(one.id);
        }
    }
    std::ranges::sort(ids);
    const auto repeated = std::ranges::unique(ids);
    ids.erase(repeated.begin(), repeated.end());
    if (!found->kicked.empty()) co_await forget_kicks(found->kicked);
    Result<Slice> out = Slice();
    if (!ids.empty()) out = co_await read(std::move(ids));
    if (out) out->kicked = std::move(found->kicked);
    co_return out;
}

}  // namespace posthouse::relay
