#include "relay/incidents.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "protocols/base/log.h"
#include "protocols/net/address.h"
#include "relay/core.h"
#include "relay/family.h"
#include "relay/job.h"
#include "relay/way_book.h"
#include "storage/account_guard.h"
#include "storage/await.h"
#include "storage/settings.h"
#include "storage/takers.h"

namespace posthouse::relay {

using storage::Incident;
using storage::IncidentId;
using storage::IncidentKind;
using storage::IncidentTx;
using storage::IncidentView;
using storage::RecipientId;

Incidents::Incidents(Metrics& metrics)
    : held(metrics.counter("relay_held_total", "Recipients held for a fault of ours")), metrics_(metrics) {
    apply({});
}

void Incidents::apply(std::vector<Incident> open) {
    open_ = std::move(open);
    constexpr IncidentKind kKinds[] = {IncidentKind::ip_blocked,  IncidentKind::sender_auth, IncidentKind::credentials,
                                       IncidentKind::listing,     IncidentKind::address,     IncidentKind::account,
                                       IncidentKind::destination, IncidentKind::webhook,     IncidentKind::dmarc,
                                       IncidentKind::allowance,   IncidentKind::directory,   IncidentKind::warning};
    for (const IncidentKind kind : kKinds) {
        const auto count = std::ranges::count(open_, kind, [](const Incident& one) { return one.key.kind; });
        metrics_
            .gauge("incidents_open", "Incidents that are open", fmt::format("kind=\"{}\"", storage::to_string(kind)))
            .set(count);
    }
    tell_stopped();
}

// A gauge a destination that has stopped. Those that were shown once stay, at 0; what is too many is counted together.
void Incidents::tell_stopped() {
    std::set<std::string> now;
    for (const Incident& one : open_) {
        if (one.key.kind == IncidentKind::destination) now.insert(one.key.site.empty() ? "everywhere" : one.key.site);
    }
    const auto gauge = [this](const std::string& place) -> Metrics::Value& {
        std::string label;
        for (const char c : place) {
            if (c == '"' || c == '\\') label += '\\';
            label += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
        }
        return metrics_.gauge("relay_destination_stopped",
                              "1: mail to it has stopped (incident); those without a line of their own are \"other\"",
                              fmt::format("destination=\"{}\"", label));
    };
    std::int64_t others = 0;
    for (const std::string& place : now) {
        if (shown_.contains(place) || shown_.size() < kStoppedShown) {
            shown_.insert(place);
        } else {
            ++others;
        }
    }
    for (const std::string& place : shown_) gauge(place).set(now.contains(place) ? 1 : 0);
    gauge("other").set(others);
}

const Incident* Incidents::met_by(const Target& target, std::string_view site, std::string_view sender,
                                  Time began) const {
    const std::string source = target.source ? target.source->to_string() : std::string();
    const std::string domain = storage::address_domain(sender);
    const auto found = std::ranges::find_if(open_, [&](const Incident& one) {
        return one.last < began && storage::stops(one, target.way.name, source, site, domain);
    });
    return found == open_.end() ? nullptr : &*found;
}

const Incident* Incidents::warned_by(const Target& target, std::string_view site, std::string_view sender,
                                     Time began) const {
    const std::string source = target.source ? target.source->to_string() : std::string();
    const std::string domain = storage::address_domain(sender);
    const auto found = std::ranges::find_if(open_, [&](const Incident& one) {
        const storage::IncidentKey& key = one.key;
        return key.kind == IncidentKind::warning && one.last + kWarningHeals < began && key.way == target.way.name &&
               key.site == site && key.source == source && (key.domain.empty() || key.domain == domain);
    });
    return found == open_.end() ? nullptr : &*found;
}

std::optional<storage::IncidentKey> fault_of(const Job& job, const Settled& settled) {
    const Verdict& verdict = settled.verdict;
    if (verdict.fate == Fate::delivered || verdict.fate == Fate::again) return std::nullopt;
    storage::IncidentKey key;
    key.way = job.target.way.name;
    if (learn(job.target, verdict, false).kind == Lesson::Kind::login) {
        // A token may just be too old, or its endpoint out of reach: the next try brings another.
        if (!job.target.way.oauth.token_url.empty() && settled.recipient.attempts == 0) return std::nullopt;
        key.kind = IncidentKind::credentials;
        return key;
    }
    if (verdict.fate != Fate::failed) return std::nullopt;  // "not now" is no reason to hold it
    key.site = job.plan ? job.plan->site : std::string();
    const bounce::ReplyClass what = classify(settled).what;
    if (what == bounce::ReplyClass::ip_blocked) {
        key.kind = IncidentKind::ip_blocked;
        if (job.target.source) key.source = job.target.source->to_string();
        return key;
    }
    // Mail of others that is only passed on cannot be proved by us: no fault of ours.
    const bool is_ours = job.item.account || !job.item.client.empty();
    if (what != bounce::ReplyClass::sender_auth || !is_ours || !verdict.from_remote) return std::nullopt;
    key.kind = IncidentKind::sender_auth;
    key.domain = storage::address_domain(job.item.reverse_path);
    if (key.domain.empty()) return std::nullopt;
    return key;
}

std::vector<Warning> warnings_of(const Core& core, const Job& job, const Settled& settled) {
    std::vector<Warning> out;
    if (!job.target.is_mx()) return out;
    Warning one;
    one.key.kind = IncidentKind::warning;
    one.key.way = job.target.way.name;
    one.key.site = job.plan ? job.plan->site : std::string();
    if (job.target.source) one.key.source = job.target.source->to_string();
    if (settled.turned_away) {
        one.refusal = *settled.turned_away;
        // Where all of them refuse us it is an incident that holds.
        if (!settled.fault) out.push_back(one);
    }
    const Verdict& verdict = settled.verdict;
    if (settled.fault || verdict.fate == Fate::delivered || verdict.fate == Fate::again || !verdict.from_remote) {
        return out;
    }
    const bounce::Classification found = classify(settled);
    const bool is_ours = job.item.account || !job.item.client.empty();
    const bool of_address = found.what == bounce::ReplyClass::ip_blocked;
    const bool of_domain = found.what == bounce::ReplyClass::sender_auth && is_ours;
    const bool is_throttled = found.what == bounce::ReplyClass::throttled && !found.permanent;
    const bool is_long = is_throttled && found.pace != bounce::Pace::recipient &&
                         core.now() - job.item.created >= Milliseconds(kPutOffTold);
    if (!of_address && !of_domain && !found.alarm && !is_long) return out;
    if (of_address && !job.target.source && is_over_ipv6(settled.remote)) one.key.source = kIpv6;
    if (of_domain) one.key.domain = storage::address_domain(job.item.reverse_path);
    one.refusal.reply = verdict.reply;
    one.refusal.remote = settled.remote;
    out.push_back(std::move(one));
    return out;
}

void mark_faults(const Core& core, const Job& job, std::vector<Settled>& settled) {
    const std::string site = job.plan ? job.plan->site : std::string();
    for (Settled& one : settled) {
        one.by_mx = job.target.is_mx();
        // Over IPv6, without an address of our own choice: IPv4 takes it at once (relay/family).
        const bool by_family = one.another_way && !job.target.source && job.target.is_mx() && is_over_ipv6(one.remote);
        if (!by_family) one.fault = fault_of(job, one);
        one.warnings = warnings_of(core, job, one);
        if (one.verdict.fate != Fate::delivered) continue;
        const Incident* met = core.incidents.met_by(job.target, site, job.item.reverse_path, job.began);
        if (met == nullptr && one.warnings.empty()) {
            met = core.incidents.warned_by(job.target, site, job.item.reverse_path, job.began);
        }
        if (met != nullptr) one.heals = met->id;
    }
}

namespace {

// "mx.b.example [192.0.2.1]"; "" where no address is named.
std::string network_of(std::string_view remote) {
    const std::size_t open = remote.rfind('[');
    if (open == std::string_view::npos) return "";
    std::string_view text = remote.substr(open + 1);
    text = text.substr(0, text.find(']'));
    const auto address = net::IpAddress::parse(text.starts_with("IPv6:") ? text.substr(5) : text);
    if (!address) return "";
    return address->masked(address->family() == net::IpAddress::Family::v4 ? 24 : 48).to_string();
}

}  // namespace

void note_reputation(Core& core, const Job& job, const std::vector<Settled>& settled) {
    std::vector<SaidClass> said;
    for (const Settled& one : settled) {
        const bool taken = one.verdict.fate == Fate::delivered;
        if (!taken && !one.verdict.from_remote) continue;
        const bounce::Classification found = classify(one);
        // A mailbox that gets too much from everybody says nothing of us.
        const bool of_recipient = found.what == bounce::ReplyClass::throttled && found.pace == bounce::Pace::recipient;
        const bounce::ReplyClass what = of_recipient ? bounce::ReplyClass::other : found.what;
        said.emplace_back(one.recipient.address, taken ? bounce::ReplyClass::delivered : what, network_of(one.remote));
    }
    if (!said.empty()) core.reputation.note(job.target, said, core.now());
}

namespace {

constexpr storage::LaneId kNoLane{};

/// What one look at the store finds to do.
struct Found {
    std::vector<Incident> open;
    storage::AddressBook book;
    std::vector<std::pair<Incident, std::vector<RecipientId>>> probes;  ///< due, with who is to try
    std::vector<IncidentId> gone;                                       ///< about a way or an address that is no more
    std::vector<IncidentId> silent;                                     ///< warnings that nobody repeats
    std::vector<IncidentId> idle;                                       ///< refusals that nobody meets any more
    bool asks = false;                                                  ///< a list is to be asked now
    std::vector<RecipientId> stranded;
    std::vector<RecipientId> overdue;
    std::vector<RecipientId> untold;
    bool takers = false;  ///< a burst of unknown users may be over (storage/takers)
    Milliseconds hold_max{0};
};

// Nothing is held under it, and what it is about is not used any more.
Result<bool> is_gone(const storage::Snapshot& snapshot, const Incident& one, std::span<const storage::Way> ways,
                     std::span<const storage::SourceAddress> addresses) {
    const storage::IncidentKey& key = one.key;
    bool no_account = false;
    if (key.kind == IncidentKind::account) {
        const auto account = snapshot.catalog().account(key.domain);
        no_account = !account && account.error().code == Errc::not_found;
    }
    const bool no_way = !key.way.empty() && !storage::find_way(ways, key.way);
    const bool of_source = key.kind == IncidentKind::ip_blocked || key.kind == IncidentKind::address ||
                           (key.kind == IncidentKind::warning && key.source != kIpv6);
    const bool no_source =
        of_source && !key.source.empty() &&
        std::ranges::find(addresses, key.source, &storage::SourceAddress::address) == addresses.end();
    if (!no_way && !no_source && !no_account) return false;
    TRY(const std::uint64_t held, IncidentView(snapshot).held_count(one.id));
    return held == 0;
}

Result<Found> look(const storage::Snapshot& snapshot, Time now, Milliseconds delay_notice_after) {
    const IncidentView view(snapshot);
    Found out;
    TRY(const std::int64_t hours, storage::setting_number(snapshot.catalog(), "incident.hold_hours"));
    out.hold_max = std::chrono::hours(hours);
    TRY(out.open, view.open());
    TRY(out.book, storage::ReputationView(snapshot).book());
    TRY(const auto checks, storage::ReputationView(snapshot).checks());
    out.asks = std::ranges::any_of(checks, [](const storage::AddressCheck& one) { return one.checked == Time{}; });
    TRY(const auto ways, storage::RouteView(snapshot).ways());
    TRY(const auto addresses, storage::RouteView(snapshot).addresses());
    for (const Incident& one : out.open) {
        TRY(const bool gone, is_gone(snapshot, one, ways, addresses));
        if (gone) out.gone.push_back(one.id);
        const bool is_silent = one.key.kind == IncidentKind::warning && one.last + kWarningEnds < now;
        if (is_silent && !gone) out.silent.push_back(one.id);
        const bool of_site = one.key.kind == IncidentKind::ip_blocked || one.key.kind == IncidentKind::sender_auth;
        if (of_site && !gone && one.last + kRefusalEnds < now) {
            TRY(const std::uint64_t held, view.held_count(one.id));
            if (held == 0) out.idle.push_back(one.id);
        }
        if (one.probe == Time{} || one.probe > now || one.key.kind == IncidentKind::account) continue;
        TRY(auto who, view.next_probe(one));
        if (!who.empty()) out.probes.emplace_back(one, std::move(who));
    }
    TRY(out.stranded, view.stranded(kStepMax));
    TRY(out.overdue, view.overdue(now - out.hold_max, kStepMax));
    TRY(out.untold, view.untold(now - delay_notice_after, kStepMax));
    TRY(out.takers, storage::TakerView(snapshot).is_due(now));
    return out;
}

Result<> let_try(storage::Tx& tx, const Found& found) {
    IncidentTx incidents(tx);
    for (const auto& [incident, who] : found.probes) {
        TRY_VOID(incidents.release(
            who, fmt::format("{} {}: whether it is over", storage::kTriedForIncident, storage::raw(incident.id))));
        const std::uint32_t probes = incident.probes + 1;
        TRY_VOID(incidents.set_probe(incident.id, tx.now() + storage::probe_wait(incident.key.kind, probes), probes));
    }
    for (const IncidentId id : found.gone) TRY_VOID(incidents.clear(id, "what it is about is not used any more"));
    for (const IncidentId id : found.silent) TRY_VOID(incidents.clear(id, "it was not said again for 7 days"));
    for (const IncidentId id : found.idle) {
        TRY_VOID(incidents.clear(id, "nothing is held for it, and it was not said again for 30 days"));
    }
    TRY_VOID(incidents.release(found.stranded, "Released: its incident is over"));
    TRY_VOID(storage::AccountGuardTx(tx).forget_old());
    if (found.takers) TRY_VOID(storage::TakerTx(tx).watch());
    return incidents.forget_old();
}

Result<std::vector<Job>> load_held(const storage::Snapshot& snapshot, std::span<const RecipientId> ids, Core& core) {
    std::vector<Job> out;
    TRY(const auto rows, snapshot.queue().find(ids));
    TRY(const auto dkim_keys, snapshot.catalog().dkim_keys());
    const Signing signing(dkim_keys, core.keys, core.deps.store->sealing_key());
    for (const storage::QueueRecipient& row : rows) {
        if (row.state != storage::RecipientState::held) continue;
        if (out.empty() || out.back().item.id != row.queue) {
            Job& fresh = out.emplace_back();
            TRY(fresh.item, snapshot.queue().item(row.queue));
            MessageWish wish;
            wish.sender = fresh.item.reverse_path;
            auto message = load_message(snapshot, fresh.item, signing, core.now(), wish);
            if (message) fresh.message = *std::move(message);
        }
        out.back().recipients.push_back(row);
    }
    return out;
}

net::Task<std::vector<Job>> held_jobs(Core& core, std::vector<RecipientId> ids) {
    auto read = [&core, ids = std::move(ids)](const storage::Snapshot& snapshot) {
        return load_held(snapshot, ids, core);
    };
    auto found = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
    if (!found) log::error("incident", "held mail cannot be read: {}", found.error().context);
    if (!found) co_return std::vector<Job>();
    co_return *std::move(found);
}

// "Held by incident 7: 550 5.7.1 ..." without the beginning.
std::string words_of(const storage::QueueRecipient& row) {
    if (!row.last_reply.starts_with(storage::kHeldByIncident)) return row.last_reply;
    const std::size_t colon = row.last_reply.find(": ");
    return colon == std::string::npos ? row.last_reply : row.last_reply.substr(colon + 2);
}

// The time is over: the sender is told what it was refused with.
net::Task<void> give_up(Core& core, std::vector<RecipientId> ids, Milliseconds hold_max) {
    const auto jobs = co_await held_jobs(core, std::move(ids));
    for (const Job& held : jobs) {
        std::vector<Settled> settled;
        for (const storage::QueueRecipient& row : held.recipients) {
            Settled one;
            one.recipient = row;
            one.remote = row.last_remote;
            one.keeps_class = true;
            one.only_under = row.incident;
            one.verdict = Verdict(Fate::failed, "5.7.1",
                                  fmt::format("Held for {} hours under incident {}, which is not over. The answer: {}",
                                              std::chrono::duration_cast<std::chrono::hours>(hold_max).count(),
                                              storage::raw(row.incident), words_of(row)));
            settled.push_back(std::move(one));
        }
        co_await record_outcome(core, held.item, std::move(settled), held.message, kNoLane);
    }
}

// Held on, and the sender hears of the delay.
net::Task<void> tell_senders(Core& core, std::vector<RecipientId> ids) {
    const auto jobs = co_await held_jobs(core, std::move(ids));
    for (const Job& held : jobs) {
        std::vector<Settled> settled;
        for (const storage::QueueRecipient& row : held.recipients) {
            Settled one;
            one.recipient = row;
            one.remote = row.last_remote;
            one.keeps_class = true;
            one.only_under = row.incident;
            one.held_on = row.incident;
            one.verdict = Verdict(Fate::deferred, "4.7.1", words_of(row));
            settled.push_back(std::move(one));
        }
        co_await record_outcome(core, held.item, std::move(settled), held.message, kNoLane);
    }
}

/// Some of those that an incident holds, and which of them would meet none any more.
struct Page {
    std::vector<RecipientId> free;
    RecipientId last{};
    bool has_more = false;
    Page() = default;
};

Result<Page> released_by_routes(const storage::Snapshot& snapshot, const Incident& incident, RecipientId after,
                                Time now) {
    Page out;
    TRY(const auto picture, storage::RouteView(snapshot).picture(storage::day_number(now)));
    TRY(const auto ids, IncidentView(snapshot).held(incident.id, after, kStepMax));
    out.has_more = ids.size() >= kStepMax;
    if (!ids.empty()) out.last = ids.back();
    TRY(const auto rows, snapshot.queue().find(ids));
    std::map<storage::QueueId, storage::QueueItem> items;
    for (const storage::QueueRecipient& row : rows) {
        if (!items.contains(row.queue)) {
            TRY(items[row.queue], snapshot.queue().item(row.queue));
        }
        const std::string& site = incident.key.site;
        const std::string_view provider = site.ends_with(' ') ? std::string_view() : std::string_view(site);
        storage::ChoiceInput input = choice_input(items[row.queue], row, site, provider, now);
        input.tried = false;
        const storage::Choice choice = storage::choose_way(picture, input);
        const bool stays = choice.kind == storage::Choice::Kind::incident || choice.kind == storage::Choice::Kind::wait;
        // A route that is being replaced is not there for a moment: what no route fits does not leave for that.
        const bool is_meant = !choice.route.empty() || incident.key.way == "direct";
        if (!stays && is_meant) out.free.push_back(row.id);
    }
    return out;
}

// One page after the other: a million may be held. True where anything was released.
net::Task<bool> recheck_one(Core& core, Incident incident) {
    bool any = false;
    RecipientId after{};
    while (!core.stopping.is_set()) {
        auto read = [incident, after, now = core.now()](const storage::Snapshot& snapshot) {
            return released_by_routes(snapshot, incident, after, now);
        };
        auto page = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
        if (!page) break;
        if (!page->free.empty()) {
            std::vector<storage::StagedBodyPtr> no_bodies;
            auto write = [ids = page->free](storage::Tx& tx) {
                return IncidentTx(tx).release(ids, "Released: another way can take it");
            };
            const auto done =
                co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
            if (!done) log::error("incident", "held mail cannot be released: {}", done.error().context);
            any = true;
        }
        if (!page->has_more) break;
        after = page->last;
    }
    co_return any;
}

net::Task<bool> recheck(Core& core, std::vector<Incident> open) {
    bool any = false;
    for (const Incident& incident : open) {
        if (incident.key.kind == IncidentKind::account) continue;
        const bool released = co_await recheck_one(core, incident);
        any = any || released;
    }
    co_return any;
}

}  // namespace

net::Task<Watched> watch_incidents(Core& core) {
    const Time now = core.now();
    auto read = [now, after = core.deps.options.delay_notice_after](const storage::Snapshot& snapshot) {
        return look(snapshot, now, after);
    };
    auto found = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
    if (!found) {
        log::error("incident", "the incidents cannot be read: {}", found.error().context);
        co_return Watched();
    }
    core.incidents.apply(found->open);
    core.deps.options.hold_max = found->hold_max;
    if (!found->overdue.empty() && core.now() >= core.deps.options.give_up_from)
        co_await give_up(core, found->overdue, found->hold_max);
    if (!found->untold.empty()) co_await tell_senders(core, found->untold);
    Watched out;
    out.drained = core.reputation.sees(found->book);
    out.asks = found->asks;
    out.is_due = !found->probes.empty() || !found->stranded.empty() || !found->gone.empty();
    if (out.is_due || found->takers || !found->silent.empty() || !found->idle.empty()) {
        std::vector<storage::StagedBodyPtr> no_bodies;
        auto write = [found = *found](storage::Tx& tx) { return let_try(tx, found); };
        const auto done =
            co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
        if (!done) log::error("incident", "held mail cannot be tried again: {}", done.error().context);
    }
    if (std::exchange(core.incidents.recheck, false) || out.drained) {
        const bool released = co_await recheck(core, found->open);
        out.is_due = out.is_due || released;
    }
    co_await tell_incidents(core);
    co_return out;
}

}  // namespace posthouse::relay
