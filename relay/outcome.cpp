#include "relay/outcome.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "protocols/base/log.h"
#include "relay/lost_mail.h"
#include "relay/suppress.h"
#include "storage/account_guard.h"
#include "storage/await.h"
#include "storage/lost_mail.h"
#include "storage/route_match.h"
#include "storage/takers.h"

namespace posthouse::relay {

namespace {

constexpr std::string_view kSuppressedClass = "suppressed";
constexpr Milliseconds kRetryWithoutRoom{5 * 60'000};
constexpr std::size_t kRowsACommit = 25;  // of a transaction for many: some milliseconds

constexpr storage::NotifyBits bit(storage::Notify what) { return static_cast<storage::NotifyBits>(what); }

bool wants(storage::NotifyBits notify, storage::Notify what) {
    if (notify == 0) return what != storage::Notify::success;  // RFC 3461 4.1: left to us
    return (notify & bit(what)) != 0 && (notify & bit(storage::Notify::never)) == 0;
}

}  // namespace

Time expiry(const RelayOptions& options, const storage::QueueItem& item) {
    return std::max(item.expires == Time{} ? item.created + options.lifetime : item.expires, options.give_up_from);
}

namespace {

ReportedRecipient reported(const Settled& one, bool expired) {
    ReportedRecipient out;
    out.address = one.recipient.address;
    out.orcpt = one.recipient.orcpt;
    out.status = one.verdict.enhanced;
    out.reply = one.verdict.reply;
    out.from_remote = one.verdict.from_remote;
    out.expired = expired;
    out.remote = one.remote;
    return out;
}

}  // namespace

bounce::Classification classify(const Settled& settled) {
    if (settled.verdict.fate == Fate::delivered) {  // our own sentences have no code; and words of thanks none to weigh
        bounce::Classification taken;
        taken.what = bounce::ReplyClass::delivered;
        return taken;
    }
    bounce::ReplyFacts facts;
    facts.code = settled.verdict.code;
    facts.enhanced = settled.verdict.enhanced;
    facts.text = settled.verdict.reply;
    facts.host = std::string_view(settled.remote).substr(0, settled.remote.find(' '));  // "mx.b.example [192.0.2.1]"
    facts.first_contact = settled.recipient.attempts == 0;
    return bounce::classify(facts);
}

namespace {

OutcomePlan::Row begin_row(const storage::QueueItem& item, const Settled& one) {
    OutcomePlan::Row row;
    row.id = one.recipient.id;
    row.address = one.recipient.address;
    row.orcpt = one.recipient.orcpt;
    row.outcome.reply = one.verdict.reply;
    row.outcome.enhanced_code = one.verdict.enhanced;
    row.outcome.remote = one.remote;
    row.outcome.dialogue = one.dialogue;
    row.outcome.delay_told = one.recipient.delay_told;
    row.outcome.way = one.way;
    row.outcome.source = one.source;
    row.outcome.provider = one.provider;
    row.outcome.route = one.route;
    row.outcome.under_token = one.under_token;
    const bounce::ReplyClass what = classify(one).what;
    row.outcome.reply_class = one.keeps_class ? one.recipient.last_class : std::string(bounce::to_string(what));
    if (one.suppressed) row.outcome.reply_class = kSuppressedClass;
    row.outcome.suppressed = one.suppressed;
    row.is_nobody = !one.suppressed && !one.outage && one.verdict.fate == Fate::failed &&
                    bounce::fault_of(what) == bounce::Fault::recipient;
    if (!one.outage) row.evidence = evidence_of(item, one);
    row.is_unknown = !one.outage && is_unknown(one);
    // A relay takes mail for anybody.
    row.took = one.verdict.fate == Fate::delivered && is_ours(item);
    row.clears = row.took && one.by_mx;
    row.fault = one.fault;
    row.warnings = one.warnings;
    row.heals = one.heals;
    row.only_under = one.only_under;
    return row;
}

/// Who is to be told of what.
struct Told {
    ReportKind kind;
    std::vector<ReportedRecipient> recipients;
};

Report report_of(Told told, const std::string& hostname, const storage::QueueItem& item, Time expires, Time now) {
    Report out;
    out.kind = told.kind;
    out.hostname = hostname;
    out.item = item;
    out.item.expires = expires;
    out.recipients = std::move(told.recipients);
    out.now = now;
    return out;
}

}  // namespace

OutcomePlan plan_outcome(const RelayOptions& options, const std::string& hostname, const storage::QueueItem& item,
                         const std::vector<Settled>& settled, storage::LaneId lane, Time now) {
    OutcomePlan plan;
    const Time expires = expiry(options, item);
    Told failed(ReportKind::failed, {});
    Told delayed(ReportKind::delayed, {});
    Told relayed(ReportKind::relayed, {});
    const auto note_delay = [&](OutcomePlan::Row& row, const Settled& one) {
        const bool late = now - item.created >= options.delay_notice_after;
        if (!late || one.recipient.delay_told || !wants(one.recipient.notify, storage::Notify::delay) ||
            item.reverse_path.empty()) {
            return;
        }
        row.outcome.delay_told = true;
        row.delay_told_now = true;
        delayed.recipients.push_back(reported(one, false));
    };
    for (const Settled& one : settled) {
        OutcomePlan::Row row = begin_row(item, one);
        const storage::NotifyBits notify = one.recipient.notify;
        const bool stays = one.after.stays_in_lane && !one.another_way;
        const bool put_off = stays || one.another_way || one.outage || one.verdict.fate == Fate::deferred ||
                             one.verdict.fate == Fate::again;
        row.expired = put_off && now >= expires;
        const Time fault_since = one.recipient.fault_since == Time{} ? now : one.recipient.fault_since;
        const bool in_time = now - fault_since < options.hold_max || now < options.give_up_from;
        const bool is_ours = one.fault && !one.another_way;
        const bool is_held = storage::raw(one.held_on) != 0 || (is_ours && in_time);
        if (one.verdict.fate == Fate::delivered) {
            row.outcome.state = storage::RecipientState::delivered;
            if (wants(notify, storage::Notify::success) && !one.dsn_passed_on) {
                relayed.recipients.push_back(reported(one, false));
            }
        } else if (is_held) {
            row.expired = false;
            row.outcome.state = storage::RecipientState::held;
            row.outcome.fault_since = fault_since;
            row.outcome.incident = one.held_on;
            row.outcome.cause = storage::WaitCause::held;
            note_delay(row, one);
        } else if (!put_off || row.expired || is_ours) {
            row.outcome.state = storage::RecipientState::failed;
            if (wants(notify, storage::Notify::failure)) failed.recipients.push_back(reported(one, row.expired));
        } else {
            row.outcome.state = storage::RecipientState::waiting;
            const Milliseconds wait = stays || one.another_way ? Milliseconds(0) : one.after.wait;
            row.outcome.next_attempt = std::min(now + wait, expires);
            row.outcome.cause = one.after.cause;
            row.outcome.uses_attempt = !stays && one.after.counts;
            if (one.outage) row.outcome.incident = *one.outage;
            if (stays) row.outcome.lane = lane;
            row.stays_in_lane = stays;
            note_delay(row, one);
        }
        plan.rows.push_back(std::move(row));
    }
    if (item.reverse_path.empty()) return plan;  // RFC 5321 6.1: no report about a report
    for (Told* told : {&failed, &delayed, &relayed}) {
        if (told->recipients.empty()) continue;
        plan.reports.push_back(report_of(std::move(*told), hostname, item, expires, now));
    }
    return plan;
}

namespace {

// What the outcome itself does not say: that the sender was told of a delay, and that time ran out.
Result<> note_events(storage::Tx& tx, const storage::QueueItem& item, const OutcomePlan::Row& row, bool told) {
    if (!row.expired && !(row.delay_told_now && told)) return {};
    storage::Event event;
    event.at = tx.now();
    event.kind = row.expired ? storage::EventKind::expired : storage::EventKind::delayed;
    event.message = item.message;
    event.queue = item.id;
    event.message_id = item.message_id;
    if (event.message_id.starts_with('<') && event.message_id.ends_with('>')) {
        event.message_id = event.message_id.substr(1, event.message_id.size() - 2);
    }
    event.sender = item.reverse_path;
    event.recipient = row.address;
    event.detail = row.expired ? "given up: the time for delivery is over" : "the sender was told of the delay";
    return tx.events().append(event);
}

using Incidents = std::map<storage::IncidentKey, storage::Incident>;

// Each fault once, with as many refusals as there were.
Result<Incidents> note_faults(storage::Tx& tx, const OutcomePlan& plan) {
    std::map<storage::IncidentKey, storage::Refusal> refusals;
    const auto count = [&](const storage::IncidentKey& key, const std::string& reply, const std::string& remote) {
        storage::Refusal& refusal = refusals[key];
        refusal.count = refusal.reply.empty() ? 1 : refusal.count + 1;
        refusal.reply = reply;
        refusal.remote = remote;
    };
    for (const OutcomePlan::Row& row : plan.rows) {
        if (row.fault) count(*row.fault, row.outcome.reply, row.outcome.remote);
        for (const Warning& one : row.warnings) count(one.key, one.refusal.reply, one.refusal.remote);
    }
    Incidents out;
    for (const auto& [key, refusal] : refusals) {
        TRY(out[key], storage::IncidentTx(tx).note(key, refusal));
    }
    return out;
}

std::string directory_of(const OutcomePlan::Row& row) {
    return storage::directory_of_recipient(row.outcome.provider, row.address);
}

/// What the store makes of "there is no such user".
struct Weighed {
    std::set<storage::RecipientId> believed;
    std::map<storage::RecipientId, storage::IncidentId> outages;  ///< planned to fail, but they are to wait
    Weighed() = default;
};

// All are noted before any is weighed: those of one message may together show that it is the directory.
Result<Weighed> weigh_unknown(storage::Tx& tx, const storage::QueueItem& item, const OutcomePlan& plan) {
    storage::TakerTx takers(tx);
    const std::string scope = storage::address_domain(item.reverse_path);
    for (const OutcomePlan::Row& row : plan.rows) {
        if (row.took && !plan.is_noted) TRY_VOID(takers.took(directory_of(row), row.address));
    }
    Weighed out;
    for (const OutcomePlan::Row& row : plan.rows) {
        if (row.evidence != storage::SuppressionReason::recipient_unknown) continue;
        const storage::UnknownSaid said(directory_of(row), scope, row.address, row.outcome.reply, row.outcome.remote);
        TRY(const storage::UnknownFound found, takers.note(said));
        if (found.worth == storage::UnknownWorth::believed) out.believed.insert(row.id);
    }
    for (const OutcomePlan::Row& row : plan.rows) {
        if (!row.is_unknown) continue;
        const std::string site = directory_of(row);
        TRY(const bool bursts, takers.in_burst(site, tx.now()));
        if (!bursts) continue;
        out.believed.erase(row.id);
        TRY(const storage::UnknownFound found, takers.weigh(site, row.address, tx.now()));
        const bool waits = found.worth == storage::UnknownWorth::outage;
        if (waits && row.outcome.state == storage::RecipientState::failed) out.outages[row.id] = found.incident;
    }
    return out;
}

// Whether it is worth writing to again. Gives back whether it is suppressed from now on.
Result<bool> note_recipient(storage::Tx& tx, const storage::QueueItem& item, const OutcomePlan::Row& row,
                            const Weighed& weighed) {
    const std::string scope = storage::address_domain(item.reverse_path);
    if (row.clears) TRY_VOID(storage::SuppressionTx(tx).delivered(scope, row.address));
    if (!row.evidence) return false;
    const bool is_unknown = *row.evidence == storage::SuppressionReason::recipient_unknown;
    if (is_unknown && !weighed.believed.contains(row.id)) return false;
    const storage::SuppressionProof proof(*row.evidence, row.outcome.reply, row.outcome.remote);
    TRY_VOID(storage::SuppressionTx(tx).add(scope, row.address, proof));
    return true;
}

// "Not there" and "changed meanwhile" are said of the recipient alone, who was cancelled then. Of all else they are
// faults, and what was decided must not be lost for them.
template <class T>
Result<T> of_others(Result<T> result) {
    if (!result && (result.error().code == Errc::not_found || result.error().code == Errc::conflict)) {
        result.error().code = Errc::internal;
    }
    return result;
}

// What was decided while it was held is void where somebody has let it go meanwhile.
Result<> check_held(storage::Tx& tx, const OutcomePlan::Row& row) {
    if (storage::raw(row.only_under) == 0) return {};
    const std::vector<storage::RecipientId> ids{row.id};
    TRY(const auto found, of_others(tx.queue().find(ids)));
    const bool is_held = !found.empty() && found.front().state == storage::RecipientState::held &&
                         found.front().incident == row.only_under;
    return is_held ? Result<>() : Error(Errc::conflict, fmt::format("{} is not held any more", row.address));
}

/// What one commit did.
struct Written {
    std::uint64_t suppressed = 0;  ///< recipients
    /// Not empty: it is noted that these are unknown, and nothing else is written. They are to wait instead.
    std::map<storage::RecipientId, storage::IncidentId> outages;
    Written() = default;
};

Result<Written> write_plan(storage::Tx& tx, const storage::QueueItem& item, const OutcomePlan& plan,
                                 const std::vector<StagedReport>& reports, const RelayOptions& options,
                                 const std::string& sealing_key) {
    Written out;
    for (const OutcomePlan::Row& row : plan.rows) TRY_VOID(check_held(tx, row));
    TRY(const Weighed weighed, of_others(weigh_unknown(tx, item, plan)));
    out.outages = weighed.outages;
    if (!out.outages.empty()) return out;
    TRY(const auto incidents, of_others(note_faults(tx, plan)));
    for (const OutcomePlan::Row& row : plan.rows) {
        TRY_VOID(of_others(note_events(tx, item, row, !reports.empty())));
        storage::Outcome outcome = row.outcome;
        if (outcome.state == storage::RecipientState::held) {
            if (row.fault) outcome.incident = incidents.at(*row.fault).id;
            outcome.reply =
                fmt::format("{} {}: {}", storage::kHeldByIncident, storage::raw(outcome.incident), outcome.reply);
        }
        TRY_VOID(tx.queue().finish(item, row.id, outcome));
        if (outcome.state == storage::RecipientState::failed && item.reverse_path.empty()) {
            TRY_VOID(of_others(note_lost(tx, item, row.orcpt, row.address, outcome.reply)));
        }
        if (row.is_nobody && item.account) TRY_VOID(of_others(storage::AccountGuardTx(tx).bounced(*item.account)));
        TRY(const bool is_suppressed, of_others(note_recipient(tx, item, row, weighed)));
        out.suppressed += is_suppressed ? 1 : 0;
        if (storage::raw(row.heals) == 0) continue;
        const auto healed = storage::IncidentTx(tx).clear(row.heals, "a message was taken again");
        const bool is_over =
            !healed && (healed.error().code == Errc::conflict || healed.error().code == Errc::not_found);
        if (!healed && !is_over) return Error(healed.error());
    }
    if (item.account) {
        std::vector<storage::RecipientId> waiting;
        for (const OutcomePlan::Row& row : plan.rows) {
            if (row.outcome.state == storage::RecipientState::waiting) waiting.push_back(row.id);
        }
        if (!waiting.empty()) TRY_VOID(of_others(storage::AccountGuardTx(tx).put_off(*item.account, waiting)));
    }
    for (const StagedReport& report : reports) {
        TRY_VOID(of_others(deliver_report(tx, report, options, sealing_key)));
    }
    return out;
}

/// `noted`: in place of reports that cannot be made the postmaster is told (relay/lost_mail).
enum class Reporting { with, without, noted };
// So many failures in a row, and the next try goes without the reports: if it succeeds, they were why. Where the store
// as a whole does not write, that fails too, and the reports are tried again.
constexpr std::uint32_t kReportTries = 5;

Result<> note_unmade(storage::Tx& tx, const storage::QueueItem& item, const OutcomePlan& plan, const std::string& why) {
    if (plan.reports.empty()) return {};
    const std::string what =
        fmt::format("delivery report about {}, which could not be made", storage::format_queue_id(item.id));
    return storage::LostMailTx(tx).add(item.id, item.reverse_path, what, why);
}

net::Task<Result<Written>> write_once(Core& core, storage::QueueItem item, OutcomePlan plan, OutgoingMessagePtr message,
                               Reporting reporting, std::string why) {
    storage::Store& store = *core.deps.store;
    std::vector<StagedReport> staged;
    if (reporting == Reporting::with && !plan.reports.empty()) {
        auto make = [&store, reports = plan.reports, message, random = core.deps.random]() mutable {
            return stage_reports(store, std::move(reports), message, *random);
        };
        auto made = co_await net::offload(*core.deps.pool, *core.deps.loop, std::move(make));
        if (!made) co_return Error(made.error());
        staged = *std::move(made);
    }
    std::vector<storage::StagedBodyPtr> bodies;
    for (const StagedReport& report : staged) bodies.push_back(report.body);
    const std::size_t reports = staged.size();
    auto write = [&store, item = std::move(item), plan = std::move(plan), staged = std::move(staged),
                  options = core.deps.options, reporting,
                  why = std::move(why)](storage::Tx& tx) -> Result<Written> {
        TRY(Written written, write_plan(tx, item, plan, staged, options, store.sealing_key()));
        const bool is_done = written.outages.empty();
        if (reporting == Reporting::noted && is_done) TRY_VOID(note_unmade(tx, item, plan, why));
        return written;
    };
    auto written = co_await storage::commit(store, *core.deps.loop, std::move(bodies), std::move(write));
    if (!written) co_return Error(written.error());
    if (written->outages.empty()) core.reports.add(static_cast<std::int64_t>(reports));
    core.evidence.add(static_cast<std::int64_t>(written->suppressed));
    co_return *std::move(written);
}

void count(Core& core, const OutcomePlan& plan) {
    for (const auto& row : plan.rows) {
        switch (row.outcome.state) {
            case storage::RecipientState::delivered: core.delivered.add(); break;
            case storage::RecipientState::failed:
                core.failed.add();
                if (row.outcome.suppressed) core.suppressed.add();
                break;
            case storage::RecipientState::held: core.incidents.held.add(); break;
            default: core.deferred.add(); break;
        }
    }
}

// A failure that cannot be told now is not recorded now: the recipient waits instead.
void put_off_failures(OutcomePlan& plan, Time until) {
    for (OutcomePlan::Row& row : plan.rows) {
        if (row.outcome.state != storage::RecipientState::failed) continue;
        row.outcome.state = storage::RecipientState::waiting;
        row.outcome.next_attempt = until;
        row.expired = false;
    }
}

// Those who took it, in bites; whoever did not, and the reports, stay together.
std::vector<OutcomePlan> split(OutcomePlan plan) {
    std::vector<OutcomePlan> out;
    const bool tells_success =
        std::ranges::find(plan.reports, ReportKind::relayed, &Report::kind) != plan.reports.end();
    if (plan.rows.size() <= kRowsACommit || tells_success) {
        out.push_back(std::move(plan));
        return out;
    }
    OutcomePlan rest;
    rest.reports = std::move(plan.reports);
    for (OutcomePlan::Row& row : plan.rows) {
        if (row.outcome.state != storage::RecipientState::delivered) {
            rest.rows.push_back(std::move(row));
            continue;
        }
        if (out.empty() || out.back().rows.size() == kRowsACommit) out.emplace_back();
        out.back().rows.push_back(std::move(row));
    }
    if (!rest.rows.empty()) out.push_back(std::move(rest));
    return out;
}

// Tries until it is written. Nothing where it need not be any more, or the server stops: then the rows stay "sending"
// and are recovered at the next start.
net::Task<std::optional<Written>> write_until_done(Core& core, const storage::QueueItem& item, OutcomePlan& plan,
                                 OutgoingMessagePtr message) {
    Reporting reporting = Reporting::with;
    Milliseconds pause = core.deps.options.write_again;
    std::string why;
    for (std::uint32_t tries = 0;; ++tries) {
        const bool is_hopeless = reporting == Reporting::with && tries % (kReportTries + 1) == kReportTries;
        const Reporting now = is_hopeless ? Reporting::noted : reporting;
        const auto written = co_await write_once(core, item, plan, message, now, why);
        if (written && written->outages.empty() && now == Reporting::noted) {
            log::error("relay", "{} gets no report about {}; the postmaster is told", item.reverse_path,
                       storage::format_queue_id(item.id));
        }
        if (written) co_return *written;
        const Error error = written.error();
        // Cancelled, removed or let go meanwhile.
        if (error.code == Errc::not_found || error.code == Errc::conflict) co_return std::nullopt;
        log::error("relay", "the outcome of {} cannot be recorded: {}", storage::format_queue_id(item.id),
                   error.context);
        if (now != Reporting::noted) why = error.context;
        const bool is_full = error.code == Errc::over_quota || error.code == Errc::too_large;
        if (is_full && reporting == Reporting::with) {
            log::warn("relay", "the mailbox of {} is full: it gets no delivery report", item.reverse_path);
            reporting = Reporting::noted;
            continue;
        }
        if (error.code == Errc::no_space && reporting == Reporting::with) {
            put_off_failures(plan, core.now() + kRetryWithoutRoom);
            reporting = Reporting::without;
            continue;
        }
        if (core.stopping.is_set()) co_return std::nullopt;
        static_cast<void>(co_await net::sleep_for(*core.deps.loop, pause, &core.stopping));
        // Room on the disk comes back at any moment, and the outcome must not wait long for it.
        pause = std::min(pause * 2, Milliseconds(error.code == Errc::no_space ? 2'000 : 30'000));
    }
}

// Those of the plan anew, with who waits for a directory: the reports, too, say what becomes of them now.
OutcomePlan plan_again(Core& core, const storage::QueueItem& item, const OutcomePlan& before, const Written& written,
                       std::vector<Settled>& settled, storage::LaneId lane) {
    std::vector<Settled> some;
    for (Settled& one : settled) {
        if (std::ranges::find(before.rows, one.recipient.id, &OutcomePlan::Row::id) == before.rows.end()) continue;
        if (const auto found = written.outages.find(one.recipient.id); found != written.outages.end()) {
            one.outage = found->second;
            one.after.cause = storage::WaitCause::directory;
            one.after.wait = retry_wait(bounce::ReplyClass::other, one.recipient.attempts + 1, *core.deps.random);
        }
        some.push_back(one);
    }
    OutcomePlan out = plan_outcome(core.deps.options, core.deps.hostname, item, some, lane, core.now());
    out.is_noted = true;
    return out;
}

}  // namespace

net::Task<std::vector<Staying>> record_outcome(Core& core, storage::QueueItem item, std::vector<Settled> settled,
                                               OutgoingMessagePtr message, storage::LaneId lane) {
    std::vector<Staying> staying;
    if (core.stopping.is_set()) {
        // Ended by us, not by the remote: no reason to wait. It stays "sending", and the next start takes it up at
        // once.
        std::erase_if(settled, [](const Settled& one) {
            const bool put_off =
                one.verdict.fate == Fate::deferred || one.verdict.fate == Fate::again || one.another_way;
            return put_off && !one.verdict.from_remote;
        });
        if (settled.empty()) co_return staying;
    }
    auto plans = split(plan_outcome(core.deps.options, core.deps.hostname, item, settled, lane, core.now()));
    // A job of many goes to the disk bite after bite, one of all at a time: what a single letter writes fits between.
    const bool is_bulk = plans.size() > 1;
    if (is_bulk) co_await core.bulk_writes.take(*core.deps.loop);
    for (OutcomePlan& plan : plans) {
        auto written = co_await write_until_done(core, item, plan, message);
        while (written && !written->outages.empty()) {
            plan = plan_again(core, item, plan, *written, settled, lane);
            written = co_await write_until_done(core, item, plan, message);
        }
        if (!written) continue;
        count(core, plan);
        for (const OutcomePlan::Row& row : plan.rows) {
            const bool waits = row.outcome.state == storage::RecipientState::waiting;
            if (row.stays_in_lane && waits) staying.push_back(Staying{row.id, row.outcome.delay_told});
        }
    }
    if (is_bulk) core.bulk_writes.give();
    co_return staying;
}

}  // namespace posthouse::relay
