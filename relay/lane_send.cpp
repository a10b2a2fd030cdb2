// Handing a parcel over on a worker's connection: the sending part of relay/lane.h.
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "relay/lane_worker.h"

namespace posthouse::relay {

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

Envelope make_envelope(const Job& job, const std::vector<std::size_t>& which) {
    const OutgoingMessage& message = *job.message;
    Envelope out;
    out.reverse_path = job.reverse_path;
    out.mail.size_octets = message.size_octets();
    out.mail.eight_bit = job.item.eight_bit;
    out.mail.envid = job.item.envid;
    out.mail.require_tls = job.item.tls == storage::TlsWish::require;
    out.mail.ret = job.item.ret == storage::Ret::full ? "FULL" : job.item.ret == storage::Ret::headers ? "HDRS" : "";
    bool utf8 = message.utf8_header || ascii::has_8bit(job.reverse_path);
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

// 421: the connection is gone because they want it so.
bool is_stalled(const Verdict& verdict) { return verdict.from_remote && verdict.code == 421; }

// The host did not carry it through, and nothing says that this is about us or the message. The hosts of a provider are
// one system: its 421 is the site's.
bool broke_off(const Verdict& verdict, const std::string& host, const Job& job) {
    if (verdict.cut != Cut::no) return true;
    const smtp::Provider* const provider = job.plan ? job.plan->provider : nullptr;
    return (provider == nullptr || !provider->any_host) && turns_away(verdict, host);
}

}  // namespace

Destination Lane::destination(const Job& job) const {
    Destination out;
    out.target = job.target;
    out.plan = job.plan;
    // RFC 8689 5: a report is not thrown away because the way back keeps no promise.
    const bool is_report = job.item.reverse_path.empty();
    const bool soft = job.item.tls == storage::TlsWish::require && is_report;
    out.wish = soft ? storage::TlsWish::policy : job.item.tls;
    return out;
}

// An open connection that is fit for this job, or a new one; else the verdict.
net::Task<std::optional<Verdict>> Lane::ensure_connection(Worker& worker, const Job& job, Dialogue& dialogue,
                                                          std::optional<net::Endpoint> avoid) {
    Destination to = destination(job);
    to.avoid = avoid;
    if (worker.connection) {
        Client& client = worker.connection->client();
        const std::uint64_t offered = client.capabilities().mail_max.value_or(UINT64_MAX);  // RFC 9422 MAILMAX
        const std::uint64_t few = schedule_.controller().messages_max(core_.now());
        const std::uint64_t most = std::min<std::uint64_t>(offered, few);
        if (client.usable() && client.messages_sent() < most && worker.connection->serves(to)) {
            dialogue.note(fmt::format("connection to {} used again", worker.connection->remote()));
            co_await count_reuse(core_, *worker.connection, to);
            co_return std::nullopt;
        }
        co_await close(worker);
    }
    auto connected = co_await connect(core_, to, dialogue);
    worker.remote = connected.remote;
    worker.turned_away = std::move(connected.turned_away);
    if (connected.connection) {
        worker.connection = std::move(connected.connection);
        schedule_.opened(core_.now());
        co_return std::nullopt;
    }
    co_return std::move(connected.verdict);
}

net::Task<void> Lane::close(Worker& worker) {
    if (!worker.connection) co_return;
    schedule_.closed();
    co_await worker.connection->client().quit();
    worker.connection.reset();
}

net::Task<std::vector<Settled>> Lane::send(Worker& worker, const Job& job, Dialogue& dialogue, BeginningPtr beginning) {
    std::vector<Settled> out(job.recipients.size());
    std::vector<std::size_t> rest;
    bool moved = false;
    for (std::size_t i = 0; i < out.size(); ++i) rest.push_back(i);
    while (!rest.empty()) {
        const auto offered = worker.connection->client().capabilities().recipients_max;  // RFC 9422 RCPTMAX
        std::size_t most = std::clamp<std::size_t>(offered.value_or(kRecipientsMax), 1, kRecipientsMax);
        const std::size_t allowed = job.target.way.limits.recipients_max;
        if (allowed != 0) most = std::min(most, allowed);
        const std::size_t count = std::min(most, rest.size());
        std::vector<std::size_t> now(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(count));
        rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(count));
        auto settled = co_await send_some(worker, job, now, dialogue, beginning);
        if (!moved) moved = co_await ask_another(worker, job, settled, now, dialogue, beginning);
        std::vector<std::size_t> again;
        for (std::size_t i = 0; i < now.size(); ++i) {
            if (settled[i].verdict.fate == Fate::again) again.push_back(now[i]);
            out[now[i]] = std::move(settled[i]);
        }
        rest.insert(rest.begin(), again.begin(), again.end());
        // Turned away in the middle: the others would be, too, and the lane must hear of it first.
        const auto stalled = std::ranges::find_if(now, [&](std::size_t i) { return is_stalled(out[i].verdict); });
        if (stalled != now.end()) {
            const Settled turned = out[*stalled];
            for (const std::size_t i : rest) {
                out[i] = turned;
                out[i].recipient = job.recipients[i];
            }
            break;
        }
        if (rest.empty() || (worker.connection && worker.connection->client().usable())) continue;
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

// Where a host breaks off, another of its site is asked at once. If that carries it through, the first one is at fault;
// else it is the site's trouble, or the message's: the lane and the sender hear of it. True where another was asked:
// once a parcel, for a message that every server chokes on is not sent round.
net::Task<bool> Lane::ask_another(Worker& worker, const Job& job, std::vector<Settled>& settled,
                                  const std::vector<std::size_t>& which, Dialogue& dialogue, BeginningPtr beginning) {
    if (!worker.connection || core_.stopping.is_set()) co_return false;
    const Hop hop = worker.connection->hop();
    const auto broke = [&](const Settled& one) { return broke_off(one.verdict, hop.host, job); };
    const auto found = std::ranges::find_if(settled, broke);
    if (found == settled.end()) {
        const auto is_pace = [&](const Settled& one) { return names_our_pace(one.verdict, hop.host); };
        if (std::ranges::all_of(settled, is_pace)) {
            hop_spoke_of_pace(core_, hop);
        } else {
            hop_served(core_, hop);
        }
        co_return false;
    }
    const Verdict why = found->verdict;
    const HostTrouble trouble = why.cut == Cut::stalled ? HostTrouble::held_up : HostTrouble::broke_off;
    if (!has_other_hop(core_, destination(job), hop)) co_return false;
    if (why.in_doubt) {
        // It may have been taken: sent again at once it would arrive twice. Its next try goes elsewhere.
        hop_failed(core_, hop, HostTrouble::held_up);
        co_return false;
    }
    std::vector<std::size_t> open;  // who has no answer of his own
    std::vector<std::size_t> recipients;
    for (std::size_t i = 0; i < settled.size(); ++i) {
        const Verdict& verdict = settled[i].verdict;
        if (!broke(settled[i]) && (verdict.from_remote || verdict.fate != Fate::deferred)) continue;
        open.push_back(i);
        recipients.push_back(which[i]);
    }
    dialogue.note(fmt::format("{} did not carry it through: another host is asked", worker.connection->remote()));
    if (co_await ensure_connection(worker, job, dialogue, hop.at)) co_return true;
    auto again = co_await send_some(worker, job, recipients, dialogue, beginning);
    if (std::ranges::none_of(again, broke)) {
        hop_failed(core_, hop, trouble);
        if (worker.connection) hop_served(core_, worker.connection->hop());
    }
    for (std::size_t i = 0; i < open.size(); ++i) settled[open[i]] = std::move(again[i]);
    co_return true;
}

net::Task<std::vector<Settled>> Lane::send_some(Worker& worker, const Job& job, std::vector<std::size_t> which,
                                                Dialogue& dialogue, BeginningPtr beginning) {
    const Envelope envelope = make_envelope(job, which);
    if (which.size() > 1) dialogue.begin(which);
    const auto make = [&] {
        return behind(beginning, job.recipients, make_source(job.message, *core_.deps.pool, *core_.deps.loop));
    };
    auto source = make();
    const std::size_t sent = worker.connection->client().messages_sent();
    const bool used = sent > 0;
    auto verdicts = co_await worker.connection->client().send(envelope, *source, dialogue);
    const auto stalled = [](const Verdict& one) { return one.cut == Cut::stalled && !one.in_doubt; };
    if (used && std::ranges::any_of(verdicts, stalled)) schedule_.controller().reuse_stalled(core_.now(), sent);
    if (used && worker.connection->client().was_stale() && !core_.stopping.is_set()) {
        // The server had hung up while the connection was idle: nothing was said, a new one is tried at once.
        const auto refused = co_await ensure_connection(worker, job, dialogue);
        if (refused) {
            std::ranges::fill(verdicts, *refused);
        } else {
            source = make();
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
