#include "server/imap/hub.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

namespace posthouse::server::imap {

using Key = std::pair<storage::AccountId, storage::MailboxId>;

struct Hub::Channel {
    explicit Channel(Key of) : key(of) {}
    Key key;
    std::atomic<std::uint64_t> generation{1};
    std::atomic<storage::ModSeq> modseq{0};  // highest told by this process; raised before the generation
    std::atomic<bool> removed{false};
    bool waiting = false;         // guarded by State::mutex: a wake-up is posted and has not run
    std::vector<Watch*> watches;  // the loop's thread only
};

struct Hub::State {
    std::mutex mutex;
    net::Loop* loop = nullptr;                         // guarded by mutex; null once the hub is gone
    std::map<Key, std::shared_ptr<Channel>> channels;  // guarded by mutex; those with a watch
    std::atomic<std::uint64_t> commits{0};
    std::map<storage::AccountId, std::vector<Seat*>> seats;  // the loop's thread only
    std::list<Visit*> strangers;                             // the loop's thread only; who came first is first
    std::size_t leaving = 0;                                 // of these, pushed out and not gone yet
};

// On the loop's thread: wakes all that watch these channels.
void Hub::wake_all(const std::shared_ptr<State>& state, const std::vector<std::shared_ptr<Channel>>& channels) {
    {
        const std::lock_guard lock(state->mutex);
        for (const auto& channel : channels) channel->waiting = false;
    }
    for (const auto& channel : channels) {
        const bool removed = channel->removed.load(std::memory_order_acquire);
        for (const Watch* watch : channel->watches) {
            watch->wake_.set();
            if (removed && watch->on_removed_) watch->on_removed_();
        }
    }
}

Hub::Watch::Watch(std::shared_ptr<State> state, std::shared_ptr<Channel> channel, net::Event& wake,
                  std::function<void()> on_removed)
    : state_(std::move(state)), channel_(std::move(channel)), wake_(wake), on_removed_(std::move(on_removed)) {
    channel_->watches.push_back(this);
}

Hub::Watch::~Watch() {
    std::erase(channel_->watches, this);
    if (!channel_->watches.empty()) return;
    const std::lock_guard lock(state_->mutex);
    const auto at = state_->channels.find(channel_->key);
    if (at != state_->channels.end() && at->second == channel_) state_->channels.erase(at);
}

std::uint64_t Hub::Watch::generation() const { return channel_->generation.load(std::memory_order_acquire); }

// In one commit there may be the changes of many, which raise the generation once: the last of them has its MODSEQ.
bool Hub::Watch::is_only_change_since(std::uint64_t generation, storage::ModSeq modseq) const {
    return this->generation() == generation + 1 && channel_->modseq.load(std::memory_order_acquire) == modseq;
}

Hub::Visit::Visit(std::shared_ptr<State> state, std::function<void()> on_pushed_out)
    : state_(std::move(state)), on_pushed_out_(std::move(on_pushed_out)) {
    place_ = state_->strangers.insert(state_->strangers.end(), this);
}

Hub::Visit::~Visit() {
    state_->strangers.erase(place_);
    if (leaving_) --state_->leaving;
}

std::unique_ptr<Hub::Visit> Hub::let_in(std::size_t strangers_max, std::function<void()> on_pushed_out) {
    if (state_->strangers.size() - state_->leaving >= strangers_max) {
        const auto first = std::ranges::find_if(state_->strangers,
                                                [](const Visit* visit) { return !visit->busy_ && !visit->leaving_; });
        if (first != state_->strangers.end()) {
            Visit* const gone = *first;
            gone->leaving_ = true;
            ++state_->leaving;
            // Last, where the next look does not begin.
            state_->strangers.splice(state_->strangers.end(), state_->strangers, first);
            gone->on_pushed_out_();
        }
    }
    return std::make_unique<Visit>(state_, std::move(on_pushed_out));
}

Hub::Seat::Seat(std::shared_ptr<State> state, Sitter sitter, std::function<void()> on_revoked)
    : state_(std::move(state)), sitter_(sitter), on_revoked_(std::move(on_revoked)) {
    state_->seats[sitter_.account].push_back(this);
}

Hub::Seat::~Seat() {
    const auto at = state_->seats.find(sitter_.account);
    std::erase(at->second, this);
    if (at->second.empty()) state_->seats.erase(at);
}

std::unique_ptr<Hub::Seat> Hub::take_seat(Sitter sitter, std::size_t sessions_max, std::function<void()> on_revoked) {
    const auto at = state_->seats.find(sitter.account);
    if (at != state_->seats.end() && at->second.size() >= sessions_max) return nullptr;
    return std::make_unique<Seat>(state_, sitter, std::move(on_revoked));
}

std::vector<Hub::Sitter> Hub::seated() const {
    std::vector<Sitter> out;
    for (const auto& [account, seats] : state_->seats) {
        for (const Seat* seat : seats) out.push_back(seat->sitter_);
    }
    std::ranges::sort(out);
    const auto rest = std::ranges::unique(out);
    out.erase(rest.begin(), rest.end());
    return out;
}

void Hub::revoke(const std::shared_ptr<State>& state, const Sitter& sitter) {
    const auto at = state->seats.find(sitter.account);
    if (at == state->seats.end()) return;
    // An interrupted session ends later, on the loop: nobody leaves the list while it is walked.
    for (const Seat* seat : at->second) {
        if (seat->sitter_ == sitter) seat->on_revoked_();
    }
}

std::uint64_t Hub::commits() const { return state_->commits.load(std::memory_order_acquire); }

Hub::Hub(net::Loop& loop) : state_(std::make_shared<State>()) { state_->loop = &loop; }

Hub::~Hub() {
    const std::lock_guard lock(state_->mutex);
    state_->loop = nullptr;
}

std::unique_ptr<Hub::Watch> Hub::watch(storage::AccountId account, storage::MailboxId mailbox, net::Event& wake,
                                       std::function<void()> on_removed) {
    const Key key(account, mailbox);
    std::shared_ptr<Channel> channel;
    {
        const std::lock_guard lock(state_->mutex);
        std::shared_ptr<Channel>& slot = state_->channels[key];
        if (!slot) slot = std::make_shared<Channel>(key);
        channel = slot;
    }
    return std::make_unique<Watch>(state_, std::move(channel), wake, std::move(on_removed));
}

void Hub::publish(const storage::CommitNotice& notice) { publish_to(state_, notice); }

void Hub::publish_to(const std::shared_ptr<State>& state, const storage::CommitNotice& notice) {
    state->commits.fetch_add(1, std::memory_order_acq_rel);
    const std::lock_guard lock(state->mutex);
    if (state->loop == nullptr || state->channels.empty()) return;
    std::vector<std::shared_ptr<Channel>> woken;
    const auto raise = [&](const std::shared_ptr<Channel>& channel) {
        channel->generation.fetch_add(1, std::memory_order_release);
        if (std::exchange(channel->waiting, true)) return;
        woken.push_back(channel);
    };
    if (notice.external) {
        for (const auto& [key, channel] : state->channels) raise(channel);
    } else {
        for (const storage::MailboxChange& change : notice.mailboxes) {
            const auto at = state->channels.find(Key(change.account, change.mailbox));
            if (at != state->channels.end()) {
                if (change.removed) at->second->removed.store(true, std::memory_order_release);
                at->second->modseq.store(change.modseq, std::memory_order_release);
                raise(at->second);
            }
            const auto all = state->channels.find(Key(change.account, kAllMailboxes));
            if (all != state->channels.end()) raise(all->second);
        }
        // With an account its mailboxes leave the sight of others.
        for (auto at = state->channels.begin(); notice.catalog && at != state->channels.end(); ++at) {
            if (at->first.second == kAllMailboxes) raise(at->second);
        }
    }
    if (woken.empty()) return;
    state->loop->post([state, channels = std::move(woken)] { wake_all(state, channels); });
}

}  // namespace posthouse::server::imap
