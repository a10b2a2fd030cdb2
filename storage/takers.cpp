#include "storage/takers.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "storage/address_hash.h"
#include "storage/context.h"
#include "storage/incidents.h"
#include "storage/suppression.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kGrainDays = 30;  // last_day is no finer: most deliveries change nothing
constexpr std::int64_t kUsualDays = 28;
constexpr std::int64_t kNotLookedAt = -1;

std::int64_t day_of_time(Time at) { return to_unix_ms(at) / kDayMs; }

/// Of a thousand recipients there how many were unknown, in four weeks before today.
Result<std::int64_t> usual_share(Connection& db, const std::string& site, std::int64_t today) {
    Query q = db.query(
        "SELECT coalesce(sum(CASE WHEN c.what = 4 AND c.class = 'recipient-unknown' THEN c.n ELSE 0 END), 0), "
        "coalesce(sum(CASE WHEN c.what = 1 THEN c.n ELSE 0 END), 0) FROM report_rows r JOIN report_counts c ON c.row = "
        "r.id WHERE r.day BETWEEN ?1 AND ?2 AND c.what IN (1, 4) AND (r.provider = ?3 OR r.destination = ?3)");
    TRY_VOID(q.bind(today - kUsualDays, today - 1, site).row());
    const std::int64_t unknown = q.i64(0);
    const std::int64_t whole = unknown + q.i64(1);
    return whole == 0 ? std::int64_t{0} : unknown * 1000 / whole;
}

IncidentKey key_of(const std::string& site) {
    IncidentKey key;
    key.kind = IncidentKind::directory;
    key.site = site;
    return key;
}

}  // namespace

struct TakerTx::Site {
    Time since{};
    std::uint64_t known = 0;
    std::uint64_t taken = 0;
    std::int64_t usual = kNotLookedAt;
    Time until{};
    IncidentId incident{};
};

std::string directory_of_recipient(std::string_view provider, std::string_view address) {
    if (!provider.empty() && provider != "other") return std::string(provider);
    return ascii::to_lower(address.substr(address.rfind('@') + 1));
}

TakerView::TakerView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}

Result<bool> TakerView::is_due(Time now) const {
    Query q = db_.query(
        "SELECT EXISTS (SELECT 1 FROM unknown_sites WHERE (until_ms <> 0 AND until_ms <= ?1) OR (until_ms = 0 AND "
        "since_ms < ?2)) OR EXISTS (SELECT 1 FROM unknown_lately WHERE at_ms < ?2)");
    TRY_VOID(q.bind(now, now - Milliseconds(2 * kOutageWindow)).row());
    return q.flag(0);
}

Result<bool> TakerView::in_burst(std::string_view site, Time now) const {
    Query q = db_.query("SELECT 1 FROM unknown_sites WHERE site = ?1 AND until_ms > ?2");
    return q.bind(site, now).row();
}

Result<UnknownFound> TakerView::weigh(std::string_view site, std::string_view address, Time now) const {
    Query q = db_.query(
        "SELECT s.incident FROM unknown_sites s, takers t, incidents i WHERE s.site = ?1 AND s.until_ms > ?2 AND "
        "t.hash = ?3 AND t.last_day >= ?4 AND i.id = s.incident AND (i.state <> 0 OR i.since_ms > ?5)");
    q.bind(site, now, address_hash(address), day_of_time(now) - kTakerDays, now - Milliseconds(kOutageMost));
    TRY(const bool found, q.row());
    return found ? UnknownFound(UnknownWorth::outage, q.id<IncidentId>(0)) : UnknownFound();
}

TakerTx::TakerTx(Tx& tx) : TakerView(context_of(tx).db), tx_(tx) {}

Result<> TakerTx::took(std::string_view site, std::string_view address) {
    const std::int64_t hash = address_hash(address);
    const std::int64_t today = day_of_time(tx_.now());
    bool is_known = false;
    bool is_fresh = false;
    {
        Query q = db_.query("SELECT last_day, unknown_ms FROM takers WHERE hash = ?1");
        TRY(is_known, q.bind(hash).row());
        is_fresh = is_known && q.i64(0) > today - kGrainDays && q.i64(1) == 0;
    }
    if (!is_known) {
        TRY_VOID(
            db_.query("INSERT INTO takers (hash, first_day, last_day) VALUES (?1, ?2, ?2)").bind(hash, today).run());
    } else if (!is_fresh) {
        // Who had not taken any for so long is new again.
        TRY_VOID(db_.query("UPDATE takers SET first_day = CASE WHEN last_day < ?3 THEN ?2 ELSE first_day END, last_day "
                           "= ?2, unknown_ms = 0 WHERE hash = ?1")
                     .bind(hash, today, today - kTakerDays)
                     .run());
    }
    return db_.query("UPDATE unknown_sites SET taken = taken + 1 WHERE site = ?1 AND (since_ms > ?2 OR until_ms > ?3)")
        .bind(site, tx_.now() - Milliseconds(kOutageWindow), tx_.now())
        .run();
}

Result<UnknownFound> TakerTx::note(const UnknownSaid& said) {
    const std::int64_t hash = address_hash(said.address);
    const bool is_late = said.taken != Time{};
    bool took_before = false;
    {
        Query q = db_.query("SELECT first_day FROM takers WHERE hash = ?1 AND last_day >= ?2");
        TRY(took_before, q.bind(hash, day_of_time(tx_.now()) - kTakerDays).row());
        // That this very message was taken says nothing.
        if (took_before && is_late) took_before = q.i64(0) < day_of_time(said.taken);
    }
    const std::string folded = ascii::to_lower(said.address);
    TRY_VOID(
        db_.query("INSERT INTO unknown_lately (site, address, scope, at_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO "
                  "UPDATE SET at_ms = excluded.at_ms WHERE at_ms <= ?5")
            .bind(said.site, folded, said.scope, tx_.now(), tx_.now() - Milliseconds(kOutageWindow))
            .run());
    const bool is_new = db_.changes() > 0;
    if (!took_before) {
        TRY(const bool bursts, in_burst(said.site, tx_.now()));
        return UnknownFound(bursts ? UnknownWorth::doubted : UnknownWorth::believed, IncidentId{});
    }
    TRY(const Site site, note_known(said, is_new));
    if (site.until > tx_.now()) {
        TRY(const UnknownFound found, weigh(said.site, said.address, tx_.now()));
        if (found.worth != UnknownWorth::outage) {
            TRY_VOID(db_.query("DELETE FROM takers WHERE hash = ?1").bind(hash).run());
        }
        return found;
    }
    TRY(const bool is_enough, speaks(said, is_late));
    return UnknownFound(is_enough ? UnknownWorth::believed : UnknownWorth::doubted, IncidentId{});
}

// Whether it is the second of two refusals far enough apart.
Result<bool> TakerTx::speaks(const UnknownSaid& said, bool is_late) {
    const std::int64_t hash = address_hash(said.address);
    Time first{};
    {
        Query q = db_.query("SELECT unknown_ms, late_ms FROM takers WHERE hash = ?1");
        TRY_VOID(q.bind(hash).row());
        first = is_late ? q.time(1) : q.time(0);
    }
    const bool is_old = is_late && tx_.now() - first > Milliseconds(kLateApart);
    if (first != Time{} && !is_old) return tx_.now() - first >= Milliseconds(kUnknownApart);
    log::info("suppression",
              "{} took mail before: that it is unknown now is believed when it is said on another day ({})",
              said.address, said.reply);
    if (is_late) {
        TRY_VOID(db_.query("UPDATE takers SET late_ms = ?2 WHERE hash = ?1").bind(hash, tx_.now()).run());
    } else {
        TRY_VOID(db_.query("UPDATE takers SET unknown_ms = ?2 WHERE hash = ?1").bind(hash, tx_.now()).run());
    }
    return false;
}

Result<TakerTx::Site> TakerTx::site_now(const std::string& site) {
    Site out;
    Query q = db_.query("SELECT since_ms, known, taken, usual, until_ms, incident FROM unknown_sites WHERE site = ?1");
    TRY(const bool found, q.bind(site).row());
    if (found) {
        out.since = q.time(0);
        out.known = q.u64(1);
        out.taken = q.u64(2);
        out.usual = q.i64(3);
        out.until = q.time(4);
        out.incident = q.id<IncidentId>(5);
    }
    if (found && tx_.now() - out.since < Milliseconds(kOutageWindow)) return out;
    // Few may try again within an hour: as long as nobody at all is taken it is the same trouble. Once somebody was,
    // a few that really left do not add up to it, however often they are tried.
    if (found && out.until > tx_.now() && out.taken == 0 && out.known >= kOutageKnown) return out;
    out.since = tx_.now();
    out.known = 0;
    out.taken = 0;
    out.usual = kNotLookedAt;
    return out;
}

Result<bool> TakerTx::is_open(IncidentId id) const {
    const auto incident = IncidentView(tx_).by_id(id);
    if (!incident && incident.error().code != Errc::not_found) return Error(incident.error());
    return incident && incident->open;
}

// The site with this counted, in a burst or not.
Result<TakerTx::Site> TakerTx::note_known(const UnknownSaid& said, bool is_new) {
    TRY(Site site, site_now(said.site));
    const bool was_on = site.until > tx_.now();
    if (is_new) ++site.known;
    const std::uint64_t share = site.known * 1000 / std::max<std::uint64_t>(site.known + site.taken, 1);
    bool is_burst = false;
    if (site.known >= kOutageKnown && share >= kOutageShare) {
        if (site.usual == kNotLookedAt) {
            TRY(site.usual, usual_share(db_, said.site, day_of_time(tx_.now())));
        }
        const auto usual = static_cast<std::uint64_t>(site.usual);
        is_burst = share >= std::clamp(usual * kOutageFactor, kOutageShare, kOutageShareMost);
    }
    if (is_burst) {
        // Said to be over by hand, it is told again where it goes on.
        TRY(const bool is_told, is_open(was_on ? site.incident : IncidentId{}));
        if (!is_told) TRY_VOID(tell_burst(said, site));
        site.until = tx_.now() + Milliseconds(kOutageCalm);
    }
    TRY_VOID(db_.query("INSERT OR REPLACE INTO unknown_sites (site, since_ms, known, taken, usual, until_ms, incident) "
                       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
                 .bind(said.site, site.since, site.known, site.taken, site.usual, site.until, site.incident)
                 .run());
    return site;
}

Result<> TakerTx::tell_burst(const UnknownSaid& said, Site& site) {
    Refusal refusal;
    refusal.count = site.known;
    refusal.remote = said.remote;
    refusal.reply = fmt::format(
        "{} recipients that took mail before are unknown within an hour, {} were taken meanwhile; usually {} of a "
        "thousand are unknown there. The last answer: {}",
        site.known, site.taken, site.usual, said.reply);
    TRY(const Incident incident, IncidentTx(tx_).note(key_of(said.site), refusal));
    site.incident = incident.id;
    return undo(said.site);
}

// What was believed of it within the last hour.
Result<> TakerTx::undo(const std::string& site) {
    struct Row {
        std::string address;
        std::string scope;
        Time at{};
    };
    std::vector<Row> rows;
    {
        Query q = db_.query("SELECT address, scope, at_ms FROM unknown_lately WHERE site = ?1 AND at_ms > ?2");
        q.bind(site, tx_.now() - Milliseconds(kOutageWindow));
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            rows.push_back(Row{q.text(0), q.text(1), q.time(2)});
        }
    }
    const std::string_view reason = to_string(SuppressionReason::recipient_unknown);
    for (const Row& row : rows) {
        TRY_VOID(
            db_.query("UPDATE suppressions SET undone_ms = ?5 WHERE address = ?1 AND scope = ?2 AND reason = ?3 AND "
                      "undone_ms = 0 AND since_ms >= ?4")
                .bind(row.address, row.scope, reason, row.at, tx_.now())
                .run());
        TRY_VOID(db_.query("UPDATE takers SET unknown_ms = CASE WHEN unknown_ms >= ?2 THEN 0 ELSE unknown_ms END, "
                           "late_ms = CASE WHEN late_ms >= ?2 THEN 0 ELSE late_ms END WHERE hash = ?1")
                     .bind(address_hash(row.address), row.at)
                     .run());
    }
    return {};
}

Result<> TakerTx::watch() {
    std::vector<std::pair<std::string, IncidentId>> over;
    {
        Query q = db_.query("SELECT site, incident FROM unknown_sites WHERE until_ms <> 0 AND until_ms <= ?1");
        q.bind(tx_.now());
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            over.emplace_back(q.text(0), q.id<IncidentId>(1));
        }
    }
    for (const auto& [site, incident] : over) {
        const auto cleared = IncidentTx(tx_).clear(incident, "it has not gone on for six hours");
        // Said to be over by hand, or forgotten.
        const bool is_over =
            !cleared && (cleared.error().code == Errc::conflict || cleared.error().code == Errc::not_found);
        if (!cleared && !is_over) return Error(cleared.error());
        TRY_VOID(db_.query("UPDATE unknown_sites SET until_ms = 0, incident = 0 WHERE site = ?1").bind(site).run());
    }
    const Time before = tx_.now() - Milliseconds(2 * kOutageWindow);
    TRY_VOID(db_.query("DELETE FROM unknown_lately WHERE at_ms < ?1").bind(before).run());
    return db_.query("DELETE FROM unknown_sites WHERE until_ms = 0 AND since_ms < ?1").bind(before).run();
}

}  // namespace posthouse::storage
