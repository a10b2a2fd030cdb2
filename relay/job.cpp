#include "relay/job.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/log.h"
#include "storage/await.h"

namespace posthouse::relay {

// Recipients that are no longer waiting (held, cancelled, another worker) drop out. False where none is left.
net::Task<bool> start_attempt(Core& core, Job& job) {
    std::vector<storage::RecipientId> ids;
    for (const auto& recipient : job.recipients) ids.push_back(recipient.id);
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto begin = [ids](storage::Tx& tx) { return tx.queue().start(ids); };
    const auto started =
        co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(begin));
    if (!started) {
        log::error("relay", "an attempt cannot be recorded, so it is not made: {}", started.error().context);
        static_cast<void>(co_await net::sleep_for(*core.deps.loop, Milliseconds(1'000), &core.stopping));
        co_return false;
    }
    std::erase_if(job.recipients, [&](const auto& r) { return std::ranges::find(*started, r.id) == started->end(); });
    co_return !job.recipients.empty();
}

net::Task<Result<OutgoingMessagePtr>> load_for(Core& core, const Job& job) {
    HeaderEdit edit;
    edit.preset = job.target.way.preset;
    edit.headers = job.target.way.headers;
    edit.message_key = fmt::format("{}.{}@{}", storage::format_queue_id(job.item.id), to_unix_ms(job.item.created),
                                   core.deps.hostname);
    auto read = [&core, edit = std::move(edit), id = job.item.id, sender = job.item.reverse_path,
                 now = core.now()](const storage::Snapshot& snapshot) {
        return load_message(snapshot, id, sender, core.keys, core.deps.store->sealing_key(), now, edit);
    };
    co_return co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
}

std::vector<Settled> settle_all(const Job& job, const Verdict& verdict, const std::string& remote) {
    std::vector<Settled> out;
    for (const storage::QueueRecipient& recipient : job.recipients) {
        Settled one;
        one.recipient = recipient;
        one.verdict = verdict;
        one.remote = remote;
        out.push_back(std::move(one));
    }
    return out;
}

net::Task<void> settle_unsent(Core& core, Job job, Verdict verdict) {
    if (!co_await start_attempt(core, job)) co_return;
    OutgoingMessagePtr message;
    if (verdict.fate == Fate::failed) {  // the report quotes its header
        auto loaded = co_await load_for(core, job);
        if (loaded) message = *std::move(loaded);
    }
    for (const storage::QueueRecipient& recipient : job.recipients) {
        log::info("relay", "{} to {}: {}", storage::format_queue_id(job.item.id), recipient.address, verdict.reply);
    }
    std::vector<Settled> settled = settle_all(job, verdict, "");
    co_await record_outcome(core, job.item, std::move(settled), "", message);
}

}  // namespace posthouse::relay
