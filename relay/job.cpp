#include "relay/job.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/log.h"
#include "protocols/policy/one_click.h"
#include "relay/reverse_path.h"
#include "storage/await.h"
#include "storage/settings.h"
#include "storage/streams.h"

namespace posthouse::relay {

namespace {
constexpr storage::LaneId kNoLane{};
constexpr Milliseconds kLookMin{1'000};
constexpr Milliseconds kLookMax{3'600'000};  // the routes may have been changed by then

// Nobody was asked, so no attempt is used up. Those that wait for the same do not come all at once.
void wait_until(Aftermath& after, Time until, const Core& core) {
    const Milliseconds span = std::clamp(until - core.now(), kLookMin, kLookMax);
    const std::uint64_t spread = core.deps.random->below(1 + static_cast<std::uint64_t>(span.count()) / 10);
    after.wait = span + Milliseconds(static_cast<std::int64_t>(spread));
    after.counts = false;
}

// What the copy for one recipient of a list says (RFC 8058 3.1), before it is signed; "" for all other mail.
Result<std::string> list_fields(const storage::Snapshot& snapshot, const Job& job, const std::string& sealing_key,
                                const std::string& hostname) {
    if (job.item.stream.empty() || job.recipients.size() != 1) return std::string();
    const storage::StreamView view(snapshot);
    TRY(const auto stream, view.find(job.item.stream));
    if (!stream || !stream->is_list) return std::string();
    TRY(const std::string token, view.token(stream->name, job.recipients.front().address, sealing_key));
    if (token.empty()) return std::string();
    TRY(const std::string url, storage::unsubscribe_url(snapshot.catalog(), hostname));
    return "\n" + policy::one_click_fields(url, token, stream->owner.substr(stream->owner.rfind('@') + 1));
}
}  // namespace

// Recipients that are no longer waiting (held, cancelled, another worker) drop out. False where none is left.
net::Task<Started> start_attempt(Core& core, Job& job) {
    std::vector<storage::RecipientId> ids;
    for (const auto& recipient : job.recipients) ids.push_back(recipient.id);
    auto begin = [ids](storage::Tx& tx) { return tx.queue().start(ids); };
    // Ordered is enough: where a power cut forgets the start, the recipient still waits and is tried again, as it would
    // be with the start known. What a `queue hold` answered before us is seen all the same.
    const auto started = co_await storage::commit_ordered(*core.deps.store, *core.deps.loop, std::move(begin));
    if (!started) {
        log::error("relay", "an attempt cannot be recorded, so it is not made: {}", started.error().context);
        static_cast<void>(co_await net::sleep_for(*core.deps.loop, Milliseconds(1'000), &core.stopping));
        co_return Started::cannot;
    }
    job.began = core.now();
    std::erase_if(job.recipients, [&](const auto& r) { return std::ranges::find(*started, r.id) == started->end(); });
    co_return job.recipients.empty() ? Started::nobody : Started::yes;
}

// One read for the rows and the message: it is one step to another thread and back.
net::Task<Result<Job>> load_job(Core& core, const Parcel& parcel, const Target& target, Loading what) {
    std::vector<storage::RecipientId> ids;
    for (const LaneEntry& entry : parcel.entries) ids.push_back(entry.recipient);
    HeaderEdit edit;
    edit.preset = target.way.preset;
    edit.headers = target.way.headers;
    auto read = [&core, ids = std::move(ids), edit = std::move(edit), return_path = target.way.return_path,
                 queue = parcel.entries.front().queue, what,
                 now = core.now()](const storage::Snapshot& snapshot) mutable -> Result<Job> {
        Job out;
        TRY(out.item, snapshot.queue().item(queue));
        TRY(out.recipients, snapshot.queue().find(ids));
        std::erase_if(out.recipients, [](const auto& r) { return r.state != storage::RecipientState::waiting; });
        if (out.recipients.empty()) return Error(Errc::not_found, "nothing of it waits any more");
        const std::string& sealing_key = core.deps.store->sealing_key();
        TRY(out.reverse_path, choose_reverse_path(snapshot, out.item, out.recipients, return_path, sealing_key, now));
        if (what == Loading::rows) return out;
        const std::map<storage::QueueId, storage::QueueItem> items = {{queue, out.item}};
        TRY(out.suppressed, read_suppressed(snapshot, items, out.recipients, now));
        edit.message_key = fmt::format("{}.{}@{}", storage::format_queue_id(out.item.id), to_unix_ms(out.item.created),
                                       core.deps.hostname);
        TRY(const std::string unsubscribe, list_fields(snapshot, out, sealing_key, core.deps.hostname));
        edit.headers += unsubscribe;
        const ArcWish arc(out.item.forwarded_by, core.deps.hostname);
        auto message = load_message(snapshot, queue, out.item.reverse_path, core.keys, sealing_key, now, edit, arc);
        if (message) {
            out.message = *std::move(message);
        } else {
            out.unreadable = message.error().context;
        }
        return out;
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

net::Task<bool> settle_unsent(Core& core, const Parcel& parcel, const Unsent& unsent) {
    const Verdict& verdict = unsent.verdict;
    // The report quotes the header, so a failure needs the message too.
    const Loading what = verdict.fate == Fate::failed ? Loading::rows_and_message : Loading::rows;
    const Target nowhere;
    auto job = co_await load_job(core, parcel, nowhere, what);
    if (!job && job.error().code != Errc::not_found) {
        log::error("relay", "the queue cannot be read: {}", job.error().context);
        static_cast<void>(co_await net::sleep_for(*core.deps.loop, Milliseconds(1'000), &core.stopping));
    }
    if (!job) co_return job.error().code == Errc::not_found;
    const Started started = co_await start_attempt(core, *job);
    if (started != Started::yes) co_return started == Started::nobody;
    std::vector<Settled> settled = settle_all(*job, verdict, "");
    for (Settled& one : settled) {
        if (const auto found = unsent.suppressed.find(one.recipient.id); found != unsent.suppressed.end()) {
            one.suppressed = true;
            one.verdict = verdict_of(found->second);
        }
        one.after = judge(one.verdict, "", Stage::transaction, one.recipient.attempts, *core.deps.random);
        // There is none; what is said of the ways may quote a remote, but is not about this attempt.
        if (one.after.stays_in_lane) {
            one.after.wait = retry_wait(bounce::ReplyClass::other, one.recipient.attempts + 1, *core.deps.random);
        }
        one.after.stays_in_lane = false;
        if (unsent.cause != storage::WaitCause::none) one.after.cause = unsent.cause;
        if (unsent.until != Time{}) wait_until(one.after, unsent.until, core);
        log::info("relay", "{} to {}: {}", storage::format_queue_id(job->item.id), one.recipient.address,
                  one.verdict.reply);
    }
    co_await record_outcome(core, job->item, std::move(settled), "", job->message, kNoLane);
    co_return true;
}

}  // namespace posthouse::relay
