#include "relay/lane.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "storage/await.h"

namespace posthouse::relay {

struct Lane::Worker {
    std::unique_ptr<Connection> connection;
};

Lane::Lane(Core& core, Target target, Released released)
    : core_(core), target_(std::move(target)), released_(std::move(released)), more_(*core.deps.loop) {}

void Lane::add(Job job) {
    jobs_.push_back(std::move(job));
    more_.set();
}

bool Lane::wants_worker() const {
    const std::size_t allowed = target_.way.limits.connections_max;
    const std::size_t usual = core_.deps.options.connections_per_lane_max;
    return jobs_.size() > idle_ + starting_ && workers_ < (allowed == 0 ? usual : std::min(allowed, usual));
}

void Lane::release_idle() {
    ++release_round_;
    more_.set();
}

net::Task<void> Lane::work(std::shared_ptr<Lane> self) {
    Worker worker;
    --self->starting_;
    for (;;) {
        auto job = co_await self->take(worker);
        if (!job) break;
        const Job done = *job;
        co_await self->carry(worker, *std::move(job));
        self->released_(done);
    }
    co_await self->close(worker);
    --self->workers_;
    self->released_(Job());  // the runner may have work for another lane now
}

// The next job; with an open connection it is worth waiting for a while.
net::Task<std::optional<Job>> Lane::take(Worker& worker) {
    const std::uint64_t round = release_round_;
    for (;;) {
        if (core_.stopping.is_set()) co_return std::nullopt;
        if (!jobs_.empty()) {
            Job job = std::move(jobs_.front());
            jobs_.pop_front();
            co_return job;
        }
        const bool open = worker.connection && worker.connection->client().usable();
        if (!open || release_round_ != round) co_return std::nullopt;
        more_.reset();
        ++idle_;
        const auto woken = co_await more_.wait_for(core_.deps.options.idle);
        --idle_;
        if (!woken && jobs_.empty()) co_return std::nullopt;
    }
}

net::Task<void> Lane::carry(Worker& worker, Job job) {
    const auto turn = core_.ways.turn(job.target.way, job.recipients.size());
    if (turn.count() > 0) static_cast<void>(co_await net::sleep_for(*core_.deps.loop, turn, &core_.stopping));
    if (core_.stopping.is_set() || !co_await start_attempt(core_, job)) co_return;
    Dialogue dialogue;
    std::vector<Settled> settled;
    auto message = co_await load_for(core_, job);
    if (!message) {
        if (message.error().code == Errc::not_found) co_return;  // taken out of the queue meanwhile
        const Verdict unread(Fate::deferred, "4.3.0", "The message cannot be read here: " + message.error().context);
        settled = settle_all(job, unread, "");
        co_await record_outcome(core_, job.item, std::move(settled), dialogue.text(), nullptr);
        co_return;
    }
    const auto refused = co_await ensure_connection(worker, job, dialogue);
    if (refused) {
        settled = settle_all(job, *refused, down_ ? down_->remote : "");
    } else {
        settled = co_await send(worker, job, *message, dialogue);
    }
    co_await take_lessons(job, settled);
    for (const Settled& one : settled) {
        log::info("relay", "{} to {}: {} ({})", storage::format_queue_id(job.item.id), one.recipient.address,
                  one.verdict.reply, one.remote);
    }
    co_await record_outcome(core_, job.item, std::move(settled), dialogue.text(), *message);
}

// What came of it is known of the way before it is known of the recipients; those whom another way may serve better
// are due at once.
net::Task<void> Lane::take_lessons(const Job& job, std::vector<Settled>& settled) {
    std::vector<Verdict> verdicts;
    for (const Settled& one : settled) verdicts.push_back(one.verdict);
    std::string site = job.plan ? job.plan->site : std::string();
    std::string sender = job.item.reverse_path;
    Target target = job.target;
    const auto again =
        co_await keep_lessons(core_, std::move(target), std::move(site), std::move(sender), std::move(verdicts));
    for (std::size_t i = 0; i < settled.size(); ++i) settled[i].another_way = again[i];
}

Destination Lane::destination(const Job& job) const {
    Destination out;
    out.target = target_;
    out.plan = job.plan;
    // RFC 8689 5: a report is not thrown away because the way back keeps no promise.
    const bool is_report = job.item.reverse_path.empty();
    const bool soft = job.item.tls == storage::TlsWish::require && is_report;
    out.wish = soft ? storage::TlsWish::policy : job.item.tls;
    return out;
}

net::Task<std::optional<Verdict>> Lane::ensure_connection(Worker& worker, const Job& job, Dialogue& dialogue) {
    const Destination to = destination(job);
    std::string hosts = job.plan ? job.plan->mx.site + job.plan->demand.key() : std::string();
    hosts += fmt::format(":{}", static_cast<int>(to.wish));
    if (worker.connection) {
        Client& client = worker.connection->client();
        const std::uint64_t offered = client.capabilities().mail_max.value_or(UINT64_MAX);  // RFC 9422 MAILMAX
        const std::uint64_t most = std::min<std::uint64_t>(offered, core_.deps.options.messages_per_connection_max);
        if (client.usable() && client.messages_sent() < most && worker.connection->serves(to)) {
            dialogue.note(fmt::format("connection to {} used again", worker.connection->remote()));
            co_return std::nullopt;
        }
        co_await close(worker);
    }
    if (down_ && job.number <= down_->jobs_until && down_->hosts == hosts) {
        dialogue.note("not tried again so soon after the last failure");
        co_return down_->verdict;
    }
    auto connected = co_await connect(core_, to, dialogue);
    if (connected.connection) {
        down_.reset();
        worker.connection = std::move(connected.connection);
        co_return std::nullopt;
    }
    const std::uint64_t last = jobs_.empty() ? job.number : jobs_.back().number;
    down_ = Down{connected.verdict, connected.remote, last, hosts};
    co_return std::move(connected.verdict);
}

net::Task<void> Lane::close(Worker& worker) {
    if (!worker.connection) co_return;
    co_await worker.connection->client().quit();
    worker.connection.reset();
}

namespace {

std::string notify_text(storage::NotifyBits bits) {
    const auto has = [&](storage::Notify what) { return (bits & static_cast<storage::NotifyBits>(what)) != 0; };
    if (has(storage::Notify::never)) return "NEVER";
    std::string out;
    const auto add = [&](storage::Notify what, std::string_view name) {
        if (has(what)) out.append(out.empty() ? "" : ",").append(name);
    };
    add(storage::Notify::success, "SUCCESS");
    add(storage::Notify::failure, "FAILURE");
    add(storage::Notify::delay, "DELAY");
    return out;
}

Envelope make_envelope(const Job& job, const OutgoingMessage& message, const std::vector<std::size_t>& which) {
    Envelope out;
    out.reverse_path = job.item.reverse_path;
    out.mail.size_octets = message.size_octets();
    out.mail.eight_bit = job.item.eight_bit;
    out.mail.envid = job.item.envid;
    out.mail.require_tls = job.item.tls == storage::TlsWish::require;
    out.mail.ret = job.item.ret == storage::Ret::full ? "FULL" : job.item.ret == storage::Ret::headers ? "HDRS" : "";
    bool utf8 = message.utf8_header || ascii::has_8bit(job.item.reverse_path);
    for (const std::size_t i : which) {
        const storage::QueueRecipient& from = job.recipients[i];
        EnvelopeRecipient to;
        to.address = from.address;
        to.options.notify = notify_text(from.notify);
        to.options.orcpt = from.orcpt;
        utf8 = utf8 || ascii::has_8bit(from.address);
        out.recipients.push_back(std::move(to));
    }
    // RFC 6531 3.4: the keyword where it is needed; a header in raw 8-bit that nobody declared goes as it came.
    out.needs_smtputf8 = utf8 && (job.item.smtputf8 || !message.utf8_header);
    out.mail.smtputf8 = out.needs_smtputf8 || job.item.smtputf8;
    return out;
}

}  // namespace

net::Task<std::vector<Settled>> Lane::send(Worker& worker, const Job& job, OutgoingMessagePtr message,
                                           Dialogue& dialogue) {
    std::vector<Settled> out(job.recipients.size());
    std::vector<std::size_t> rest;
    for (std::size_t i = 0; i < out.size(); ++i) rest.push_back(i);
    while (!rest.empty()) {
        const auto offered = worker.connection->client().capabilities().recipients_max;  // RFC 9422 RCPTMAX
        std::size_t most = std::clamp<std::size_t>(offered.value_or(kRecipientsMax), 1, kRecipientsMax);
        if (target_.way.limits.recipients_max != 0)
            most = std::min<std::size_t>(most, target_.way.limits.recipients_max);
        const std::size_t count = std::min(most, rest.size());
        std::vector<std::size_t> now(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(count));
        rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(count));
        auto settled = co_await send_some(worker, job, message, now, dialogue);
        std::vector<std::size_t> again;
        for (std::size_t i = 0; i < now.size(); ++i) {
            if (settled[i].verdict.fate == Fate::again) again.push_back(now[i]);
            out[now[i]] = std::move(settled[i]);
        }
        rest.insert(rest.begin(), again.begin(), again.end());
        if (rest.empty() || worker.connection->client().usable()) continue;
        const auto refused = co_await ensure_connection(worker, job, dialogue);
        if (!refused) continue;
        for (const std::size_t i : rest) {
            out[i].recipient = job.recipients[i];
            out[i].verdict = *refused;
        }
        break;
    }
    co_return out;
}

net::Task<std::vector<Settled>> Lane::send_some(Worker& worker, const Job& job, OutgoingMessagePtr message,
                                                std::vector<std::size_t> which, Dialogue& dialogue) {
    const Envelope envelope = make_envelope(job, *message, which);
    auto source = make_source(message, *core_.deps.pool, *core_.deps.loop);
    const bool used = worker.connection->client().messages_sent() > 0;
    auto verdicts = co_await worker.connection->client().send(envelope, *source, dialogue);
    if (used && worker.connection->client().was_stale() && !core_.stopping.is_set()) {
        // The server had hung up while the connection was idle: nothing was said, a new one is tried at once.
        const auto refused = co_await ensure_connection(worker, job, dialogue);
        if (refused) {
            std::ranges::fill(verdicts, *refused);
        } else {
            source = make_source(message, *core_.deps.pool, *core_.deps.loop);
            verdicts = co_await worker.connection->client().send(envelope, *source, dialogue);
        }
    }
    std::vector<Settled> out(which.size());
    for (std::size_t i = 0; i < which.size(); ++i) {
        out[i].recipient = job.recipients[which[i]];
        out[i].verdict = std::move(verdicts[i]);
        if (worker.connection) {
            out[i].remote = worker.connection->remote();
            out[i].dsn_passed_on = worker.connection->client().capabilities().dsn;
        }
    }
    co_return out;
}

}  // namespace posthouse::relay
