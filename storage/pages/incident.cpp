#include "storage/pages/incident.h"

#include <fmt/format.h>

#include "protocols/policy/incident_page.h"
#include "storage/store.h"
#include "storage/tx.h"

namespace posthouse::storage {
namespace {

policy::IncidentFacts facts_of(const Incident& one, std::uint64_t held) {
    policy::IncidentFacts out;
    out.number = raw(one.id);
    out.what = describe(one);
    out.since = format_rfc3339(one.since);
    out.remote = one.remote;
    out.reply = one.reply;
    out.advice = advice(one);
    if (holds_mail(one.key.kind)) out.held = held;
    out.is_open = one.open;
    if (one.open) return out;
    out.ended = format_rfc3339(one.cleared);
    out.because = one.cleared_why;
    return out;
}

Page unknown() { return Page(404, policy::incident_unknown_page()); }

}  // namespace

Result<Page> show_incident(const Snapshot& snapshot, std::string_view token, std::string_view sealing_key, Time now) {
    const IncidentView view(snapshot);
    TRY(const auto found, open_incident_token(view, token, sealing_key, now));
    if (!found) return unknown();
    TRY(const std::uint64_t held, view.held_count(found->id));
    return Page(200, policy::incident_page(facts_of(*found, held)));
}

Result<Page> press_fixed(Tx& tx, std::string_view token, std::string_view sealing_key, std::string_view how) {
    IncidentTx incidents(tx);
    TRY(const auto found, open_incident_token(incidents, token, sealing_key, tx.now()));
    if (!found) return unknown();
    TRY(const std::uint64_t held, incidents.held_count(found->id));
    const policy::IncidentFacts facts = facts_of(*found, held);
    if (!found->open) return Page(200, policy::incident_page(facts));
    TRY(const Mended done, incidents.mended(found->id, fmt::format("it was said to be mended ({})", how)));
    return Page(200, policy::incident_fixed_page(facts, done.released, done.is_over ? "" : done.why));
}

}  // namespace posthouse::storage
