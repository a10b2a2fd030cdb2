#include "storage/incidents.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "storage/catalog_impl.h"
#include "storage/context.h"
#include "storage/queue_impl.h"
#include "storage/reputation.h"

namespace posthouse::storage {
namespace {

constexpr std::string_view kKinds[] = {"ip-blocked",  "sender-auth", "credentials", "listing",
                                       "address",     "account",     "destination", "webhook",
                                       "dmarc",       "allowance",   "directory",   "warning"};

#define INCIDENT_COLUMNS                                                                                   \
    "id, kind, way, source, site, domain, since_ms, last_ms, refusals, reply, remote, state, cleared_ms, " \
    "cleared_why, probe_ms, probes, told"
// A million may wait: no look at what is held passes by those.
#define ONLY_HELD "INDEXED BY queue_recipients_by_incident"

Incident incident_of(const Query& row) {
    Incident out;
    out.id = row.id<IncidentId>(0);
    // An unknown word can only come from a newer program: it stops nothing that this one knows of.
    out.key.kind = parse_incident_kind(row.view(1)).value_or(IncidentKind::address);
    out.key.way = row.text(2);
    out.key.source = row.text(3);
    out.key.site = row.text(4);
    out.key.domain = row.text(5);
    out.since = row.time(6);
    out.last = row.time(7);
    out.refusals = row.u64(8);
    out.reply = row.text(9);
    out.remote = row.text(10);
    out.open = row.i64(11) == 0;
    out.cleared = row.time(12);
    out.cleared_why = row.text(13);
    out.probe = row.time(14);
    out.probes = row.u32(15);
    out.told = static_cast<int>(row.i64(16));
    return out;
}

Result<std::vector<Incident>> all_incidents(Query&& query) { return all_rows(query, incident_of); }

Result<std::vector<RecipientId>> all_ids(Query&& query) {
    return all_rows(query, [](const Query& row) { return row.id<RecipientId>(0); });
}

std::int64_t limit_of(std::size_t count_max) {
    constexpr std::size_t kMost = 1'000'000'000;
    return static_cast<std::int64_t>(std::min(count_max, kMost));
}

// "mx.b.example", "google", "the other side"
std::string place(const std::string& site) {
    const std::string_view name = ascii::trim(site);
    return name.empty() ? "the other side" : std::string(name);
}

std::string from(const std::string& source) { return source.empty() ? "our address" : source; }

// As posthouse address takes it.
std::string source_name(const std::string& source) { return source.empty() ? "system" : source; }

// Where the big ones are asked to take an address off again.
struct Desk {
    std::string_view site;
    std::string_view where;
};
constexpr Desk kDesks[] = {
    {"google", "https://postmaster.google.com"},
    {"microsoft-consumer", "https://olcsupport.office.com"},
    {"microsoft-365", "https://sender.office.com"},
    {"yahoo", "https://senders.yahooinc.com"},
    {"apple", "icloudadmin@apple.com"},
    {"comcast", "https://postmaster.comcast.net"},
    {"t-online", "tobr@rx.t-online.de"},
    {"united-internet", "https://postmaster.gmx.net"},
};
std::string desk_of(const std::string& site) {
    for (const Desk& desk : kDesks) {
        if (desk.site == site) return fmt::format(" (ask at {})", desk.where);
    }
    return "";
}

std::string advice_on_warning(const IncidentKey& key) {
    if (!key.domain.empty()) {
        return fmt::format(
            "Look at posthouse domain check {} and mend SPF, DKIM or DMARC; mail is tried again by itself", key.domain);
    }
    if (key.source == "ipv6") {
        return "Have your provider set the reverse name of the IPv6 address; until then mail goes there over IPv4";
    }
    return fmt::format(
        "Read the answer: it tells how to be taken off, or what to mend{}; posthouse doctor looks at the reverse DNS "
        "and the lists. Send less to {} meanwhile; mail is tried again by itself",
        desk_of(key.site), place(key.site));
}

}  // namespace

std::string_view to_string(IncidentKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

std::optional<IncidentKind> parse_incident_kind(std::string_view text) {
    const auto* const found = std::ranges::find(kKinds, text);
    if (found == std::end(kKinds)) return std::nullopt;
    return static_cast<IncidentKind>(found - std::begin(kKinds));
}

std::string describe(const Incident& incident) {
    const IncidentKey& key = incident.key;
    switch (key.kind) {
        case IncidentKind::ip_blocked:
            if (key.site.empty()) return fmt::format("the relay of way {} refuses {}", key.way, from(key.source));
            return fmt::format("{} refuses mail from {}", place(key.site), from(key.source));
        case IncidentKind::sender_auth:
            return fmt::format("{} does not believe that mail from {} is yours", place(key.site), key.domain);
        case IncidentKind::credentials: return fmt::format("the relay of way {} refuses the login", key.way);
        case IncidentKind::listing:
            if (key.site == "ptr") return fmt::format("the reverse DNS of {} is wrong", key.source);
            return fmt::format("{} is listed by {}", key.source, key.site);
        case IncidentKind::address:
            return fmt::format("{} is drained{}", from(key.source),
                               key.site.empty() ? " everywhere" : " for " + place(key.site));
        case IncidentKind::account: return fmt::format("the account {} sends as if it were stolen", key.domain);
        case IncidentKind::destination:
            return fmt::format("mail to {} has stopped", key.site.empty() ? "everywhere" : key.site);
        case IncidentKind::webhook: return fmt::format("the webhook {} takes nothing any more", key.domain);
        case IncidentKind::dmarc:
            return fmt::format("others report that mail of yours from {} does not pass DMARC", key.domain);
        case IncidentKind::allowance: return fmt::format("the allowance of way {} is used up", key.way);
        case IncidentKind::directory: return fmt::format("{} does not know many who took mail before", place(key.site));
        case IncidentKind::warning:
            if (key.source == "ipv6") return fmt::format("{} finds fault with our IPv6 address", place(key.site));
            return fmt::format("{} finds fault with mail from {}", place(key.site),
                               key.domain.empty() ? from(key.source) : key.domain);
    }
    return "";
}

std::string advice(const Incident& incident) {
    const IncidentKey& key = incident.key;
    const std::string fixed = fmt::format("posthouse incident fixed {}", raw(incident.id));
    switch (key.kind) {
        case IncidentKind::ip_blocked:
            return fmt::format(
                "Have the address taken off the list that the answer names{}, or give the route another "
                "way (posthouse route add); then {}",
                desk_of(key.site), fixed);
        case IncidentKind::sender_auth:
            return fmt::format("Look at posthouse domain check {} and mend SPF, DKIM or DMARC; then {}", key.domain,
                               fixed);
        case IncidentKind::credentials:
            return fmt::format(
                "Set the password anew (posthouse way add {} ... --replace) and try it with posthouse "
                "route test {}; then {}",
                key.way, key.way, fixed);
        case IncidentKind::listing:
            if (key.site == "ptr") {
                return "Have your provider set the reverse name to the name that this server uses, and that name's "
                       "record to the address; it is looked at every hour";
            }
            return fmt::format(
                "Find out what was sent, then ask {} to take the address off; it is looked at every hour", key.site);
        case IncidentKind::address:
            return fmt::format(
                "posthouse address show {} says why; it comes back by itself, or with posthouse address "
                "restore {}",
                source_name(key.source), source_name(key.source));
        case IncidentKind::account:
            return fmt::format(
                "Look at it with posthouse account review {}; if it is stolen, change its password and "
                "cancel what is held, else posthouse account release {}",
                key.domain, key.domain);
        case IncidentKind::destination:
            return "Look at what is answered (posthouse queue list, posthouse report --by destination); it is over by "
                   "itself as soon as mail arrives there again";
        case IncidentKind::webhook:
            return fmt::format("Mend what listens there, then posthouse webhook resume {}: nothing is left out",
                               key.domain);
        case IncidentKind::dmarc:
            return fmt::format(
                "Look at posthouse report dmarc sources --domain {} and at posthouse domain check {}; it is over by "
                "itself when reports say that it passes",
                key.domain, key.domain);
        case IncidentKind::allowance:
            return fmt::format(
                "Nothing is lost: the mail waits, or takes the next way of its route, and the way is tried again by "
                "itself. Ask the service for more, or give the route another way; posthouse way forget {} tries it at "
                "once",
                key.way);
        case IncidentKind::directory:
            return fmt::format(
                "Its directory is probably out of order: nobody is suppressed for it, and mail to who took some before "
                "waits and is tried again; what came back before it was seen can be sent again. It is over by itself "
                "six hours after the last of it; {} tries all of it at once",
                fixed);
        case IncidentKind::warning: return advice_on_warning(key);
    }
    return "";
}

bool stops(const Incident& incident, std::string_view way, std::string_view source, std::string_view site,
           std::string_view sender_domain) {
    const IncidentKey& key = incident.key;
    switch (key.kind) {
        case IncidentKind::ip_blocked:
            return key.way == way && key.source == source && (key.site.empty() || key.site == site);
        case IncidentKind::sender_auth:
            return key.way == way && key.site == site && ascii::equals_ci(key.domain, sender_domain);
        case IncidentKind::credentials: return key.way == way;
        default: return false;  // what listings and drained addresses mean, storage/reputation says
    }
}

Milliseconds probe_wait(IncidentKind kind, std::uint32_t probes) {
    using std::chrono::minutes;
    const bool login = kind == IncidentKind::credentials;
    const minutes first = login ? minutes(5) : minutes(60);
    const minutes most = login ? minutes(60) : minutes(360);
    return std::min<Milliseconds>(Milliseconds(first) * (std::int64_t{1} << std::min<std::uint32_t>(probes, 10)), most);
}

Result<std::vector<Incident>> open_incidents(Connection& db) {
    return all_incidents(db.query("SELECT " INCIDENT_COLUMNS " FROM incidents WHERE state = 0 ORDER BY id"));
}

// ---- reading

IncidentView::IncidentView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}
IncidentView::IncidentView(Tx& tx) : db_(context_of(tx).db) {}

Result<std::vector<Incident>> IncidentView::open() const { return open_incidents(db_); }

Result<std::vector<Incident>> IncidentView::list(bool with_cleared, std::size_t count_max) const {
    return all_incidents(
        db_.query("SELECT " INCIDENT_COLUMNS " FROM incidents WHERE state <= ?1 ORDER BY id DESC LIMIT ?2")
            .bind(with_cleared ? 1 : 0, limit_of(count_max)));
}

Result<Incident> IncidentView::by_id(IncidentId id) const {
    Query q = db_.query("SELECT " INCIDENT_COLUMNS " FROM incidents WHERE id = ?1");
    TRY(const bool found, q.bind(id).row());
    if (!found) {
        return Error(Errc::not_found,
                     fmt::format("there is no incident {}; posthouse incident list shows them", raw(id)));
    }
    return incident_of(q);
}

Result<std::uint64_t> IncidentView::held_count(IncidentId id) const {
    Query q = db_.query("SELECT count(*) FROM queue_recipients WHERE incident <> 0 AND incident = ?1 AND state = 4");
    TRY_VOID(q.bind(id).row());
    return q.u64(0);
}

Result<std::vector<RecipientId>> IncidentView::held(IncidentId id, RecipientId after, std::size_t count_max) const {
    return all_ids(db_.query("SELECT id FROM queue_recipients WHERE incident <> 0 AND incident = ?1 AND state = 4 AND "
                             "id > ?2 ORDER BY id LIMIT ?3")
                       .bind(id, after, limit_of(count_max)));
}

Result<std::vector<RecipientId>> IncidentView::next_probe(const Incident& incident) const {
    TRY(const std::uint64_t count, held_count(incident.id));
    if (count == 0) return std::vector<RecipientId>();
    return all_ids(db_.query("SELECT id FROM queue_recipients WHERE incident <> 0 AND incident = ?1 AND state = 4 "
                             "ORDER BY id LIMIT 1 OFFSET ?2")
                       .bind(incident.id, static_cast<std::int64_t>(incident.probes % count)));
}

// Mail under review waits for a person: no time is set to that.
Result<std::vector<RecipientId>> IncidentView::overdue(Time before, std::size_t count_max) const {
    return all_ids(db_.query("SELECT r.id FROM queue_recipients r " ONLY_HELD " JOIN incidents i ON i.id = r.incident "
                             "WHERE r.incident <> 0 AND r.state = 4 AND r.fault_ms <> 0 AND r.fault_ms <= ?1 "
                             "AND i.kind <> 'account' ORDER BY r.queue, r.id LIMIT ?2")
                       .bind(before, limit_of(count_max)));
}

Result<std::vector<RecipientId>> IncidentView::untold(Time told_before, std::size_t count_max) const {
    return all_ids(db_.query("SELECT r.id FROM queue_recipients r " ONLY_HELD " JOIN queue_items q ON q.id = r.queue "
                             "WHERE r.incident <> 0 AND r.state = 4 AND r.delay_told = 0 AND q.created_ms <= ?1 "
                             "AND q.reverse_path <> '' AND (r.notify = 0 OR r.notify & 8) "
                             "ORDER BY r.queue, r.id LIMIT ?2")
                       .bind(told_before, limit_of(count_max)));
}

Result<std::vector<RecipientId>> IncidentView::stranded(std::size_t count_max) const {
    return all_ids(db_.query("SELECT r.id FROM queue_recipients r " ONLY_HELD
                             " WHERE r.incident <> 0 AND r.state = 4 AND NOT EXISTS "
                             "(SELECT 1 FROM incidents i WHERE i.id = r.incident AND i.state = 0) "
                             "ORDER BY r.id LIMIT ?1")
                       .bind(limit_of(count_max)));
}

Result<std::vector<Incident>> IncidentView::to_tell(std::size_t count_max) const {
    return all_incidents(db_.query("SELECT " INCIDENT_COLUMNS " FROM incidents WHERE (state = 0 AND told = 0) OR "
                                   "(state = 1 AND told < 2) ORDER BY id LIMIT ?1")
                             .bind(limit_of(count_max)));
}

// ---- writing

IncidentTx::IncidentTx(Tx& tx) : IncidentView(tx), tx_(tx) {}

Result<> IncidentTx::tell(const std::string& sentence) {
    Event event;
    event.at = tx_.now();
    event.kind = EventKind::system;
    event.detail = sentence;
    return tx_.events().append(event);
}

Result<Incident> IncidentTx::note(const IncidentKey& key, const Refusal& refusal) {
    const Time now = tx_.now();
    const std::string_view kind = to_string(key.kind);
    Incident out;
    {
        // Open, or over for a short while only.
        Query q =
            db_.query("SELECT " INCIDENT_COLUMNS
                      " FROM incidents WHERE kind = ?1 AND way = ?2 AND source = ?3 "
                      "AND site = ?4 AND domain = ?5 AND (state = 0 OR cleared_ms > ?6) ORDER BY id DESC LIMIT 1");
        q.bind(kind, key.way, key.source, key.site, key.domain, now - Milliseconds(kIncidentReopens));
        TRY(const bool found, q.row());
        if (found) out = incident_of(q);
    }
    if (raw(out.id) != 0) {
        const bool comes_back = !out.open;
        out.last = now;
        out.refusals += refusal.count;
        out.reply = refusal.reply;
        out.remote = refusal.remote;
        if (comes_back) out.probe = now + probe_wait(key.kind, out.probes);
        out.open = true;
        // Whose beginning no mail told is told now; else what comes and goes is told once.
        TRY_VOID(db_.query("UPDATE incidents SET state = 0, last_ms = ?2, refusals = ?3, reply = ?4, remote = ?5, "
                           "probe_ms = ?6, told = CASE told WHEN 3 THEN 0 ELSE told END WHERE id = ?1")
                     .bind(out.id, out.last, out.refusals, out.reply, out.remote, out.probe)
                     .run());
        if (!comes_back) return out;
    } else {
        out.key = key;
        out.since = out.last = now;
        out.refusals = refusal.count;
        out.reply = refusal.reply;
        out.remote = refusal.remote;
        out.probe = now + probe_wait(key.kind, 0);
        TRY_VOID(
            db_.query("INSERT INTO incidents (kind, way, source, site, domain, since_ms, last_ms, refusals, reply, "
                      "remote, state, probe_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, 0, ?10)")
                .bind(kind, key.way, key.source, key.site, key.domain, now, out.refusals, out.reply, out.remote,
                      out.probe)
                .run());
        out.id = static_cast<IncidentId>(db_.last_id());
    }
    const std::string sentence =
        fmt::format("incident {}: {} ({}). {}", raw(out.id), describe(out), out.reply, advice(out));
    log::error("incident", "{}", sentence);
    TRY_VOID(tell(sentence));
    return out;
}

Result<bool> IncidentTx::hold(std::span<const RecipientId> recipients, const Incident& incident) {
    TRY(const bool open, db_.query("SELECT 1 FROM incidents WHERE id = ?1 AND state = 0").bind(incident.id).row());
    if (!open) return false;
    const std::string why =
        fmt::format("{} {}: {} ({})", kHeldByIncident, raw(incident.id), describe(incident), incident.reply);
    TRY_VOID(tx_.queue().hold_recipients(recipients, why));
    Query q = db_.query(
        "UPDATE queue_recipients SET incident = ?2, fault_ms = CASE WHEN fault_ms = 0 THEN ?3 ELSE "
        "fault_ms END WHERE id = ?1 AND state = 4");
    for (const RecipientId id : recipients) {
        q.reset();
        TRY_VOID(q.bind(id, incident.id, tx_.now()).run());
    }
    return true;
}

Result<> IncidentTx::release(std::span<const RecipientId> recipients, std::string_view why) {
    TRY(const auto rows, tx_.queue().find(recipients));
    for (const QueueRecipient& row : rows) {
        if (row.state != RecipientState::held) continue;
        TRY_VOID(db_.query("UPDATE queue_recipients SET state = 0, next_attempt_ms = ?2, incident = 0, last_reply = ?3 "
                           "WHERE id = ?1")
                     .bind(row.id, tx_.now(), why)
                     .run());
        TRY(const QueueItem owner, tx_.queue().item(row.queue));
        TRY_VOID(tell_of(context_of(tx_), owner, row, EventKind::released, why));
    }
    if (!rows.empty()) context_of(tx_).write->queue_is_due();
    return {};
}

// What waits for its end without being held.
Result<std::uint64_t> IncidentTx::hurry(IncidentId id) {
    TRY(const auto ids, all_ids(db_.query("SELECT id FROM queue_recipients WHERE incident <> 0 AND incident = ?1 AND "
                                          "state = 0 ORDER BY id")
                                    .bind(id)));
    TRY(const auto rows, tx_.queue().find(ids));
    for (const QueueRecipient& row : rows) {
        TRY_VOID(db_.query("UPDATE queue_recipients SET next_attempt_ms = ?2, incident = 0 WHERE id = ?1")
                     .bind(row.id, tx_.now())
                     .run());
        TRY(const QueueItem owner, tx_.queue().item(row.queue));
        const std::string detail = fmt::format("to be tried at once: incident {} is over", raw(id));
        TRY_VOID(tell_of(context_of(tx_), owner, row, EventKind::hurried, detail));
    }
    return static_cast<std::uint64_t>(rows.size());
}

Result<std::uint64_t> IncidentTx::clear(IncidentId id, std::string_view why) {
    TRY(const Incident incident, by_id(id));
    if (!incident.open) {
        return Error(Errc::conflict, fmt::format("incident {} is over since {}: {}", raw(id),
                                                 format_rfc3339(incident.cleared), incident.cleared_why));
    }
    TRY_VOID(db_.query("UPDATE incidents SET state = 1, cleared_ms = ?2, cleared_why = ?3 WHERE id = ?1")
                 .bind(id, tx_.now(), why)
                 .run());
    const IncidentKey& key = incident.key;
    if (!key.way.empty()) {
        // What is remembered of the way for the same reason: the next message shall try it.
        const std::string site = key.kind == IncidentKind::ip_blocked ? key.site : std::string();
        TRY_VOID(db_.query("DELETE FROM route_memory WHERE way = ?1 AND source = ?2 AND site = ?3")
                     .bind(key.way, key.source, site)
                     .run());
    }
    TRY(const auto all, held(id, RecipientId{}, ~std::size_t{0}));
    TRY_VOID(release(all, fmt::format("Released: incident {} is over", raw(id))));
    TRY(const std::uint64_t hurried, hurry(id));
    const std::uint64_t count = all.size() + hurried;
    const std::string sentence = fmt::format("incident {} is over: {}; {}. {} recipients are released", raw(id),
                                             describe(incident), why, count);
    log::warn("incident", "{}", sentence);
    TRY_VOID(tell(sentence));
    context_of(tx_).write->queue_is_due();
    return count;
}

namespace {

// Why it is measured to be so still; nothing where nobody measures it.
Result<std::optional<std::string>> measured(Tx& tx, const Incident& one) {
    const IncidentKey& key = one.key;
    if (key.kind == IncidentKind::listing) {
        TRY(const auto checks, ReputationView(tx).checks());
        const bool known = std::ranges::any_of(
            checks, [&](const AddressCheck& check) { return check.source == key.source && check.list == key.site; });
        if (!known) return std::optional<std::string>();
        TRY_VOID(ReputationTx(tx).ask_again(key.source, key.site));
        return std::optional(fmt::format("{} is asked again within seconds; it is over when {} is",
                                         key.site == "ptr" ? "the reverse DNS" : key.site,
                                         key.site == "ptr" ? "that is right" : "the address is not listed any more"));
    }
    if (key.kind == IncidentKind::address) {
        TRY(const AddressBook book, ReputationView(tx).book());
        const Reputation* const standing = book.find(key.source, key.site);
        const bool is_down = standing != nullptr && (standing->standing == Standing::drained ||
                                                     standing->standing == Standing::probation);
        if (!is_down) return std::optional<std::string>();
        TRY_VOID(ReputationTx(tx).ask_again(key.source, ""));
        return std::optional(fmt::format(
            "{} is still {}: {}. The lists are asked again within seconds, and it comes back in steps by itself; "
            "posthouse address restore {}{}{} brings it back whatever is said",
            from(key.source), to_string(standing->standing), standing->why,
            source_name(key.source), key.site.empty() ? "" : " --provider ", key.site));
    }
    if (key.kind != IncidentKind::destination) return std::optional<std::string>();
    Query q = context_of(tx).db.query("SELECT failing_ms FROM destinations WHERE incident = ?1 AND failing_ms <> 0");
    TRY(const bool failing, q.bind(one.id).row());
    if (!failing) return std::optional<std::string>();
    return std::optional(fmt::format("nothing has arrived there since {}; it is over as soon as something does",
                                     format_rfc3339(q.time(0))));
}

// One that was given up goes on where it stopped; one that somebody paused stays so.
Result<> resume_webhook(Tx& tx, std::string_view name) {
    context_of(tx).write->notice.catalog = true;
    return context_of(tx)
        .db.query("UPDATE webhooks SET state = 0, tries = 0, next_ms = 0, failing_ms = 0 WHERE name = ?1 AND state = 2")
        .bind(name)
        .run();
}

}  // namespace

Result<Mended> IncidentTx::mended(IncidentId id, std::string_view who) {
    TRY(const Incident one, by_id(id));
    Mended out;
    if (one.open) {
        TRY(const auto why, measured(tx_, one));
        if (why) {
            out.is_over = false;
            out.why = *why;
            context_of(tx_).write->queue_is_due();  // the relay looks
            TRY_VOID(tell(fmt::format("incident {} stays open, though {}: {}", raw(id), who, *why)));
            return out;
        }
    }
    TRY(out.released, clear(id, who));
    if (one.key.kind == IncidentKind::webhook) TRY_VOID(resume_webhook(tx_, one.key.domain));
    // Of others than the big ones a standing is about all of them together.
    const bool is_provider = !one.key.site.empty() && !one.key.site.ends_with(' ');
    if (one.key.kind == IncidentKind::ip_blocked && is_provider) {
        TRY_VOID(trust_address(tx_, one.key.source, one.key.site));
    }
    return out;
}

Result<> IncidentTx::stays(IncidentId id, std::string_view why) {
    TRY_VOID(db_.query("UPDATE incidents SET last_ms = ?2, refusals = refusals + 1 WHERE id = ?1 AND state = 0")
                 .bind(id, tx_.now())
                 .run());
    TRY(const Incident one, by_id(id));
    const std::string sentence = fmt::format("incident {} is not over: {}; {}", raw(id), describe(one), why);
    log::warn("incident", "{}", sentence);
    return tell(sentence);
}

Result<> IncidentTx::set_probe(IncidentId id, Time probe, std::uint32_t probes) {
    return db_.query("UPDATE incidents SET probe_ms = ?2, probes = ?3 WHERE id = ?1").bind(id, probe, probes).run();
}

Result<> IncidentTx::set_told(const Incident& as_told) {
    // Back again since it was read as over: that is told as if nothing had been, or when it ends the next time.
    if (as_told.open) return db_.query("UPDATE incidents SET told = 1 WHERE id = ?1").bind(as_told.id).run();
    return db_.query("UPDATE incidents SET told = CASE told WHEN 0 THEN 3 ELSE 2 END WHERE id = ?1 AND state = 1")
        .bind(as_told.id)
        .run();
}

Result<> IncidentTx::forget_old() {
    return db_
        .query(
            "DELETE FROM incidents WHERE state = 1 AND id <= (SELECT id FROM incidents WHERE state = 1 "
            "ORDER BY id DESC LIMIT 1 OFFSET ?1)")
        .bind(limit_of(kIncidentsKept))
        .run();
}

}  // namespace posthouse::storage
