#include "relay/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "protocols/policy/one_click.h"
#include "relay/job.h"
#include "relay/reverse_path.h"
#include "storage/settings.h"
#include "storage/streams.h"

namespace posthouse::relay {

namespace {

// What the copy for one recipient of a list says (RFC 8058 3.1), before it is signed; "" for all other mail.
Result<std::string> list_fields(const storage::Snapshot& snapshot, const Job& job, const std::string& sealing_key,
                                const std::string& hostname) {
    if (job.item.stream.empty() || job.recipients.size() != 1) return std::string();
    const storage::StreamView view(snapshot);
    TRY(const auto stream, view.find(job.item.stream));
    if (!stream || !stream->is_list) return std::string();
    TRY(const std::string token, view.token(stream->name, job.recipients.front().address, sealing_key));
    if (token.empty()) return std::string();
    TRY(std::string url, storage::setting_text(snapshot.catalog(), "unsubscribe.url"));
    if (url.empty()) url = "https://" + hostname;
    if (url.ends_with('/')) url.pop_back();
    return "\n" + policy::one_click_fields(url, token, stream->owner.substr(stream->owner.rfind('@') + 1));
}

// What a service that knows keys recognises a message by: the same at every attempt, and another for every recipient,
// whose copy it would else take for one that it has delivered already. Where keys are asked for there is one recipient
// (Lane::recipients_at_once).
std::string key_of(const Job& job, const std::string& hostname) {
    return fmt::format("{}.{}.r{}@{}", storage::format_queue_id(job.item.id), to_unix_ms(job.item.created),
                       storage::raw(job.recipients.front().id), hostname);
}

}  // namespace

struct Loader::Wish {
    Wish(net::Loop& loop, const Parcel& parcel, const Target& target, Loading w)
        : queue(parcel.entries.front().queue), way(target.way), what(w), ready(loop) {
        for (const LaneEntry& entry : parcel.entries) ids.push_back(entry.recipient);
        message.edit.preset = target.way.preset;
        message.edit.headers = target.way.headers;
    }
    storage::QueueId queue;
    std::vector<storage::RecipientId> ids;
    MessageWish message;
    PathWay way;
    Loading what;
    net::Event ready;
    Result<Job> result = Error(Errc::unavailable, "too much work is queued");
};

struct Loader::Batch {
    Batch(Core& c, const storage::Snapshot& s) : core(c), snapshot(s), now(c.now()) {}

    Result<Job> load(const Wish& wish) {
        Job out;
        TRY(out.item, snapshot.queue().item(wish.queue));
        TRY(out.recipients, snapshot.queue().find(wish.ids));
        std::erase_if(out.recipients, [](const auto& r) {
            return r.state != storage::RecipientState::waiting && r.state != storage::RecipientState::sending;
        });
        if (out.recipients.empty()) return Error(Errc::not_found, "nothing of it waits any more");
        const std::string& sealing_key = core.deps.store->sealing_key();
        TRY(out.reverse_path, choose_reverse_path(snapshot, out.item, out.recipients, wish.way, sealing_key, now));
        if (wish.what == Loading::rows) return out;
        const std::map<storage::QueueId, storage::QueueItem> items = {{wish.queue, out.item}};
        TRY(out.suppressed, read_suppressed(snapshot, items, out.recipients, now));
        MessageWish how = wish.message;
        how.edit.message_key = key_of(out, core.deps.hostname);
        TRY(const std::string unsubscribe, list_fields(snapshot, out, sealing_key, core.deps.hostname));
        how.edit.headers += unsubscribe;
        if (!dkim_keys) {
            TRY(dkim_keys.emplace(), snapshot.catalog().dkim_keys());
        }
        how.arc = ArcWish(out.item.forwarded_by, core.deps.hostname);
        how.sender = out.item.reverse_path;
        // What strangers send to an address that leads on may bear any From: it is sealed (ARC), and no more.
        how.is_ours = out.item.forwarded_by.empty();
        how.envelope.reverse_path = out.reverse_path;
        for (const storage::QueueRecipient& one : out.recipients) how.envelope.recipients.push_back(one.address);
        const Signing signing(*dkim_keys, core.keys, sealing_key);
        auto message = load_message(snapshot, out.item, signing, now, how);
        if (message) {
            out.message = *std::move(message);
        } else {
            out.unreadable = message.error().context;
        }
        return out;
    }

    Core& core;
    const storage::Snapshot& snapshot;
    const Time now;
    std::optional<std::vector<storage::DkimKey>> dkim_keys;  // read once
};

net::Task<Result<Job>> Loader::load(Core& core, const Parcel& parcel, const Target& target, Loading what) {
    const auto wish = std::make_shared<Wish>(*core.deps.loop, parcel, target, what);
    waiting_.push_back(wish);
    begin(core);
    co_await wish->ready.wait();
    co_return std::move(wish->result);
}

void Loader::begin(Core& core) {
    while (!waiting_.empty() && under_way_ < kReadsAtOnce) {
        Wishes some;
        while (!waiting_.empty() && some.size() < kLoadedAtOnce) {
            some.push_back(std::move(waiting_.front()));
            waiting_.pop_front();
        }
        ++under_way_;
        // Whoever waits keeps the Core; who is done with is told on the loop.
        const bool taken = core.deps.pool->submit([this, &core, some]() mutable {
            auto work = [&]() -> Result<> {
                return core.deps.store->read([&](const storage::Snapshot& snapshot) -> Result<> {
                    Batch batch(core, snapshot);
                    for (const auto& wish : some) wish->result = batch.load(*wish);
                    return {};
                });
            };
            const Result<> done = net::run_guarded<Result<>>(work);
            if (!done) {
                for (const auto& wish : some) wish->result = Error(done.error());
            }
            core.deps.loop->post([this, &core, some = std::move(some)] { done_with(core, some); });
        });
        if (!taken) done_with(core, some);
    }
}

void Loader::done_with(Core& core, const Wishes& some) {
    --under_way_;
    begin(core);  // the next are read while these are sent
    for (const auto& wish : some) wish->ready.set();
}

}  // namespace posthouse::relay
