#include "relay/feed.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "protocols/base/log.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

constexpr std::size_t kReadAlong = 64;
constexpr auto kLastId = static_cast<storage::RecipientId>(std::numeric_limits<std::int64_t>::max());
const Time kNever = from_unix_ms(std::numeric_limits<std::int64_t>::max());

}  // namespace

// The two lists of ids cost no row of the table; rows are read for those alone that are not in hand yet.
Result<Feed::Look> Feed::look_at(const storage::Snapshot& snapshot, const LookWish& wish, Time now) {
    const storage::QueueView& queue = snapshot.queue();
    Look out;
    out.at = now;
    TRY(out.last, queue.last_recipient());
    // At the start the newest come first too: they have waited for nobody yet.
    const std::int64_t newest = std::max<std::int64_t>(storage::raw(out.last) - static_cast<std::int64_t>(kSlice), 0);
    const auto from = wish.last_added.value_or(static_cast<storage::RecipientId>(newest));
    if (from < out.last) {
        TRY(out.added, queue.added_after(from, now, kSlice));
    }
    if (!wish.added_only) {
        TRY(out.due, queue.due_after(wish.cursor, now, kSlice));
    }
    out.is_alone = !wish.added_only && !wish.takes_turns && !out.added.empty() && out.added.size() <= kReadAlong &&
                   out.due.size() > kReadAlong;
    if (out.is_alone) out.due.clear();
    TRY(const auto later, queue.due_after(storage::DueRecipient{now, kLastId}, kNever, 1));
    if (!later.empty()) out.next_due = later.front().at;
    TRY(out.kicked, queue.kicked());
    // A letter that has just come in is read along: it is one step to another thread and back.
    if (!out.added.empty() && out.added.size() + out.due.size() <= kReadAlong) {
        TRY(out.rows, rows_of(snapshot, ids_of(out), now));
    }
    return out;
}

net::Task<Result<Feed::Look>> Feed::look(bool added_only) {
    auto read = [now = core_.now(), wish = LookWish(cursor_, last_added_, added_only, was_alone_)](
                    const storage::Snapshot& snapshot) { return look_at(snapshot, wish, now); };
    co_return co_await storage::read(*core_.deps.store, *core_.deps.pool, *core_.deps.loop, std::move(read));
}

Feed::Early::Early(Core& core)
    : store(core.deps.store),
      pool(core.deps.pool),
      loop(core.deps.loop),
      clock(core.deps.clock),
      done(*core.deps.loop) {}

void Feed::Early::begin() {
    LookWish wanted;
    {
        const std::lock_guard lock(mutex);
        overtaken = overtaken || under_way;
        if (!wish || ended) return;
        wanted = *std::exchange(wish, std::nullopt);
        under_way = true;
        overtaken = false;
    }
    auto look = [self = shared_from_this(), wanted] {
        auto result = std::make_shared<Result<Look>>(self->store->read(
            [&](const storage::Snapshot& snapshot) { return look_at(snapshot, wanted, self->clock->now()); }));
        self->loop->post([self, result] {
            self->found = std::move(*result);
            self->done.set();
        });
    };
    if (!pool->submit(std::move(look))) loop->post([self = shared_from_this()] { self->done.set(); });
}

void Feed::Early::overtake() {
    const std::lock_guard lock(mutex);
    overtaken = overtaken || under_way;
}

void Feed::Early::end() {
    const std::lock_guard lock(mutex);
    ended = true;
}

void Feed::expect() {
    const std::lock_guard lock(early_->mutex);
    if (early_->under_way) return;
    early_->found.reset();
    early_->done.reset();
    early_->wish = LookWish(cursor_, last_added_, false, was_alone_);
}

// What a commit has begun to look at; none where it has not.
net::Task<std::optional<Feed::EarlyLook>> Feed::early_look() {
    {
        const std::lock_guard lock(early_->mutex);
        early_->wish.reset();
        if (!early_->under_way) co_return std::nullopt;
    }
    co_await early_->done.wait();
    const std::lock_guard lock(early_->mutex);
    early_->under_way = false;
    auto found = std::exchange(early_->found, std::nullopt);
    if (!found) co_return std::nullopt;
    co_return EarlyLook(*std::move(found), early_->overtaken);
}

std::vector<storage::RecipientId> Feed::ids_of(const Look& look) {
    std::vector<storage::RecipientId> ids;
    for (const auto* list : {&look.added, &look.due}) {
        for (const storage::DueRecipient& one : *list) ids.push_back(one.id);
    }
    std::ranges::sort(ids);
    const auto repeated = std::ranges::unique(ids);
    ids.erase(repeated.begin(), repeated.end());
    return ids;
}

Result<Feed::Slice> Feed::rows_of(const storage::Snapshot& snapshot, const std::vector<storage::RecipientId>& ids,
                                  Time now) {
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
}

net::Task<Result<Feed::Slice>> Feed::read(std::vector<storage::RecipientId> ids) {
    auto read = [ids = std::move(ids), now = core_.now()](const storage::Snapshot& snapshot) -> Result<Slice> {
        return rows_of(snapshot, ids, now);
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
    auto early = co_await early_look();
    if (now >= rescan_at_ || now < looked_) {  // the second where the clock was set back
        cursor_ = storage::DueRecipient();
        rescan_at_ = now + kRescan;
        early.reset();
    }
    looked_ = now;
    Result<Look> found = Look();
    // What was committed or came due since is for the next look.
    bool is_behind = false;
    if (early) {
        found = std::move(early->look);
        is_behind = early->overtaken || (found && found->next_due && *found->next_due <= now);
        added_only = false;
    } else {
        found = co_await look(added_only);
    }
    if (!found) co_return Error(found.error());
    was_alone_ = found->is_alone;
    added_only = added_only || found->is_alone;
    const bool more_added = found->added.size() >= kSlice;
    last_added_ = more_added ? found->added.back().id : found->last;
    if (!added_only) {
        const bool more_due = found->due.size() >= kSlice;
        cursor_ = more_due ? found->due.back() : storage::DueRecipient{std::max(found->at - kOverlap, Time{}), {}};
        exhausted_ = !more_due && !more_added && !is_behind;
    } else {
        exhausted_ = false;
    }
    next_due_ = found->next_due;
    std::vector<storage::RecipientId> ids = ids_of(*found);
    std::erase_if(ids, held);
    if (!found->kicked.empty()) co_await forget_kicks(found->kicked);
    Result<Slice> out = Slice();
    if (found->rows) {
        out = *std::move(found->rows);
        std::erase_if(out->recipients, [&](const auto& one) { return held(one.id); });
    } else if (!ids.empty()) {
        out = co_await read(std::move(ids));
    }
    if (out) out->kicked = std::move(found->kicked);
    co_return out;
}

}  // namespace posthouse::relay
