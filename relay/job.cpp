#include "relay/job.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/log.h"
#include "storage/await.h"

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
}  // namespace

bool Beginning::covers(const std::vector<storage::QueueRecipient>& all) const {
    return !error && std::ranges::all_of(all, [&](const storage::QueueRecipient& one) {
        return std::ranges::find(recipients, one.id, &storage::StartedRecipient::id) != recipients.end();
    });
}

// Ordered is enough: where a power cut forgets the start, the recipient still waits and is tried again, as it would be
// with the start known. What a `queue hold` answered before us is seen all the same.
BeginningPtr begin_attempt(Core& core, std::vector<storage::RecipientId> ids) {
    auto beginning = std::make_shared<Beginning>(*core.deps.loop, core.now());
    const auto rows = std::make_shared<std::vector<storage::StartedRecipient>>();
    auto write = [rows, ids = std::move(ids)](storage::Tx& tx) -> Result<> {
        TRY(*rows, tx.queue().start(ids));
        return {};
    };
    auto done = [beginning, rows](Result<> recorded) {
        if (recorded) {
            beginning->recipients = std::move(*rows);
        } else {
            beginning->error = recorded.error();
        }
        beginning->known.set();
    };
    core.deps.store->submit_ordered(std::move(write), *core.deps.loop, std::move(done));
    return beginning;
}

net::Task<Started> begun(Core& core, BeginningPtr beginning, Job& job) {
    co_await beginning->known.wait();
    job.began = beginning->at;
    if (beginning->error) {
        log::error("relay", "an attempt cannot be recorded, so it is not made: {}", beginning->error->context);
        static_cast<void>(co_await net::sleep_for(*core.deps.loop, Milliseconds(1'000), &core.stopping));
        co_return Started::cannot;
    }
    std::vector<storage::QueueRecipient> left;
    for (storage::QueueRecipient& one : job.recipients) {
        const auto found = std::ranges::find(beginning->recipients, one.id, &storage::StartedRecipient::id);
        if (found == beginning->recipients.end()) continue;
        one.attempts = found->attempts;
        left.push_back(std::move(one));
    }
    job.recipients = std::move(left);
    co_return job.recipients.empty() ? Started::nobody : Started::yes;
}

net::Task<Started> start_attempt(Core& core, Job& job) {
    std::vector<storage::RecipientId> ids;
    for (const auto& recipient : job.recipients) ids.push_back(recipient.id);
    const BeginningPtr beginning = begin_attempt(core, std::move(ids));
    co_return co_await begun(core, beginning, job);
}

net::Task<void> give_back(Core& core, BeginningPtr beginning) {
    std::vector<storage::RecipientId> ids;
    for (const storage::StartedRecipient& one : beginning->recipients) ids.push_back(one.id);
    while (!ids.empty() && !core.stopping.is_set()) {
        auto write = [ids](storage::Tx& tx) { return tx.queue().give_back(ids); };
        std::vector<storage::StagedBodyPtr> no_bodies;
        const auto done =
            co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
        if (done) co_return;
        log::error("relay", "an attempt that was not made cannot be taken back: {}", done.error().context);
        static_cast<void>(co_await net::sleep_for(*core.deps.loop, Milliseconds(1'000), &core.stopping));
    }
}

namespace {

class SourceBehind final : public MessageSource {
 public:
    SourceBehind(BeginningPtr beginning, std::vector<storage::QueueRecipient> recipients,
                 std::unique_ptr<MessageSource> source)
        : beginning_(std::move(beginning)), recipients_(std::move(recipients)), source_(std::move(source)) {}

    net::Task<Result<std::string_view>> next() override {
        if (beginning_) {
            co_await beginning_->known.wait();
            if (!beginning_->covers(recipients_)) co_return Error(Errc::conflict, "its start was not recorded");
            beginning_.reset();
        }
        co_return co_await source_->next();
    }

 private:
    BeginningPtr beginning_;  // null once it is there
    std::vector<storage::QueueRecipient> recipients_;
    std::unique_ptr<MessageSource> source_;
};

}  // namespace

std::unique_ptr<MessageSource> behind(BeginningPtr beginning, std::vector<storage::QueueRecipient> recipients,
                                      std::unique_ptr<MessageSource> source) {
    return std::make_unique<SourceBehind>(std::move(beginning), std::move(recipients), std::move(source));
}

net::Task<Result<Job>> load_job(Core& core, const Parcel& parcel, const Target& target, Loading what) {
    co_return co_await core.loader.load(core, parcel, target, what);
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
    co_await record_outcome(core, job->item, std::move(settled), job->message, kNoLane);
    co_return true;
}

}  // namespace posthouse::relay
