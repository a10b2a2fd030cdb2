#include "storage/transport.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

using Days = std::chrono::duration<std::int64_t, std::ratio<86'400>>;

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        if (end > 0) out.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

std::string joined(const std::vector<std::string>& lines) {
    std::string out;
    for (const std::string& line : lines) out.append(line).append("\n");
    return out;
}

#define STS_COLUMNS "domain, id, policy, fetched_ms, expires_ms"

StsEntry sts_of(const Query& row) {
    StsEntry out;
    out.domain = row.text(0);
    out.id = row.text(1);
    out.policy = row.text(2);
    out.fetched = row.time(3);
    out.expires = row.time(4);
    return out;
}

TlsSessions sessions_of(const Query& row) {
    TlsSessions out;
    out.day = row.i64(0);
    out.domain = row.text(1);
    out.policy = static_cast<int>(row.i64(2));
    out.result = static_cast<int>(row.i64(3));
    out.mx_host = row.text(4);
    out.receiving_ip = row.text(5);
    out.sending_ip = row.text(6);
    out.reason = row.text(7);
    out.policy_text = row.text(8);
    out.mx_patterns = row.text(9);
    out.sessions = row.u64(10);
    return out;
}

}  // namespace

std::int64_t day_of(Time at) { return std::chrono::floor<Days>(at).time_since_epoch().count(); }
Time start_of_day(std::int64_t day) { return Time(Days(day)); }

TransportView::TransportView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}

Result<std::optional<StsEntry>> TransportView::sts_policy(std::string_view domain) const {
    const std::string key = ascii::to_lower(domain);
    Query q = db_.query("SELECT " STS_COLUMNS " FROM sts_policies WHERE domain = ?1");
    q.bind(key);
    TRY(const bool found, q.row());
    if (!found) return std::optional<StsEntry>();
    return std::optional(sts_of(q));
}

Result<std::vector<StsEntry>> TransportView::sts_policies(Time now, std::size_t count_max) const {
    Query q = db_.query("SELECT " STS_COLUMNS " FROM sts_policies WHERE expires_ms > ?1 ORDER BY domain LIMIT ?2");
    q.bind(now, static_cast<std::int64_t>(count_max));
    std::vector<StsEntry> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(sts_of(q));
    }
}

Result<std::optional<StsServed>> TransportView::sts_served(std::string_view domain) const {
    const std::string key = ascii::to_lower(domain);
    Query q = db_.query(
        "SELECT d.name, s.mode, s.edition, s.mx FROM sts_served s JOIN domains d ON d.id = s.domain "
        "WHERE d.name = ?1");
    q.bind(key);
    TRY(const bool found, q.row());
    if (!found) return std::optional<StsServed>();
    StsServed out;
    out.domain = q.text(0);
    out.mode = static_cast<int>(q.i64(1));
    out.id = fmt::format("{}", q.i64(2));
    out.mx = lines_of(q.view(3));
    return std::optional(std::move(out));
}

Result<std::vector<std::pair<std::int64_t, std::string>>> TransportView::tls_days_before(std::int64_t day) const {
    Query q = db_.query("SELECT DISTINCT day, domain FROM tls_sessions WHERE day < ?1 ORDER BY day, domain");
    q.bind(day);
    std::vector<std::pair<std::int64_t, std::string>> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.emplace_back(q.i64(0), q.text(1));
    }
}

Result<std::vector<TlsSessions>> TransportView::tls_sessions(std::int64_t day, std::string_view domain) const {
    Query q = db_.query(
        "SELECT day, domain, policy, result, mx_host, receiving_ip, sending_ip, reason, policy_text, mx_patterns, "
        "sessions FROM tls_sessions WHERE day = ?1 AND domain = ?2");
    q.bind(day, domain);
    std::vector<TlsSessions> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(sessions_of(q));
    }
}

Result<std::vector<TlsReportEntry>> TransportView::tls_reports(std::size_t count_max) const {
    Query q = db_.query(
        "SELECT id, received_ms, organization, report_id, domain, start_at, end_at, successes, failures, report "
        "FROM tls_reports ORDER BY id DESC LIMIT ?1");
    q.bind(static_cast<std::int64_t>(count_max));
    std::vector<TlsReportEntry> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        TlsReportEntry one;
        one.id = q.i64(0);
        one.received = q.time(1);
        one.organization = q.text(2);
        one.report_id = q.text(3);
        one.domain = q.text(4);
        one.start = q.text(5);
        one.end = q.text(6);
        one.successes = q.u64(7);
        one.failures = q.u64(8);
        one.text = q.text(9);
        out.push_back(std::move(one));
    }
}

TransportTx::TransportTx(Tx& tx) : TransportView(context_of(tx).db), tx_(tx) {}

Result<> TransportTx::keep_sts_policy(const StsEntry& entry) {
    const std::string key = ascii::to_lower(entry.domain);
    return db_
        .query(
            "INSERT OR REPLACE INTO sts_policies (domain, id, policy, fetched_ms, expires_ms) "
            "VALUES (?1, ?2, ?3, ?4, ?5)")
        .bind(key, entry.id, entry.policy, entry.fetched, entry.expires)
        .run();
}

Result<> TransportTx::drop_sts_expired(Time now) {
    return db_.query("DELETE FROM sts_policies WHERE expires_ms <= ?1").bind(now).run();
}

Result<StsServed> TransportTx::serve_sts(std::string_view domain, int mode, const std::vector<std::string>& mx) {
    TRY(const Domain home, tx_.catalog().home(domain));
    TRY(const auto before, sts_served(domain));
    if (before && before->mode == mode && before->mx == mx) return *before;
    // The edition is the second of the change, and never the one before: senders compare for equality only.
    const std::int64_t second = std::chrono::floor<std::chrono::seconds>(tx_.now()).time_since_epoch().count();
    const std::int64_t last = before ? static_cast<std::int64_t>(ascii::parse_number(before->id).value_or(0)) : 0;
    const std::int64_t edition = std::max(second, last + 1);
    const std::string hosts = joined(mx);
    TRY_VOID(db_.query("INSERT OR REPLACE INTO sts_served (domain, mode, edition, mx) VALUES (?1, ?2, ?3, ?4)")
                 .bind(home.id, mode, edition, hosts)
                 .run());
    StsServed out;
    out.domain = home.name;
    out.mode = mode;
    out.id = fmt::format("{}", edition);
    out.mx = mx;
    return out;
}

Result<> TransportTx::count_one(const TlsSessions& one, bool in_detail) {
    const std::string_view none;
    const std::string_view host = in_detail ? std::string_view(one.mx_host) : none;
    const std::string_view to = in_detail ? std::string_view(one.receiving_ip) : none;
    const std::string_view from = in_detail ? std::string_view(one.sending_ip) : none;
    const std::string_view reason = in_detail ? std::string_view(one.reason) : none;
    return db_
        .query(
            "INSERT INTO tls_sessions (day, domain, policy, result, mx_host, receiving_ip, sending_ip, reason, "
            "policy_text, mx_patterns, sessions) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
            "ON CONFLICT (day, domain, policy, result, mx_host, receiving_ip, sending_ip, reason) DO UPDATE SET "
            "sessions = sessions + excluded.sessions, policy_text = excluded.policy_text, "
            "mx_patterns = excluded.mx_patterns")
        .bind(one.day, one.domain, one.policy, one.result, host, to, from, reason, one.policy_text, one.mx_patterns,
              static_cast<std::int64_t>(one.sessions))
        .run();
}

Result<std::uint64_t> TransportTx::count_tls(std::span<const TlsSessions> sessions) {
    std::uint64_t dropped = 0;
    for (const TlsSessions& one : sessions) {
        std::int64_t of_domain = 0;
        std::int64_t of_day = 0;
        {
            Query q = db_.query("SELECT count(*) FROM tls_sessions WHERE day = ?1 AND domain = ?2");
            TRY_VOID(q.bind(one.day, one.domain).row());
            of_domain = q.i64(0);
        }
        if (of_domain == 0) {
            Query q = db_.query("SELECT count(*) FROM tls_sessions WHERE day = ?1");
            TRY_VOID(q.bind(one.day).row());
            of_day = q.i64(0);
        }
        if (of_day >= static_cast<std::int64_t>(kTlsRowsPerDayMax)) {
            dropped += one.sessions;
            continue;
        }
        TRY_VOID(count_one(one, of_domain < static_cast<std::int64_t>(kTlsRowsPerDomainMax)));
    }
    return dropped;
}

Result<> TransportTx::drop_tls_sessions(std::int64_t day, std::string_view domain) {
    return db_.query("DELETE FROM tls_sessions WHERE day = ?1 AND domain = ?2").bind(day, domain).run();
}

Result<> TransportTx::drop_tls_before(std::int64_t day) {
    return db_.query("DELETE FROM tls_sessions WHERE day < ?1").bind(day).run();
}

Result<bool> TransportTx::add_tls_report(const TlsReportEntry& report) {
    const std::string_view text =
        report.text.size() <= kTlsReportTextOctetsMax ? std::string_view(report.text) : std::string_view();
    TRY_VOID(db_.query("INSERT OR IGNORE INTO tls_reports (received_ms, organization, report_id, domain, start_at, "
                       "end_at, successes, failures, report) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
                 .bind(tx_.now(), report.organization, report.report_id, report.domain, report.start, report.end,
                       static_cast<std::int64_t>(report.successes), static_cast<std::int64_t>(report.failures), text)
                 .run());
    const bool is_new = db_.changes() > 0;
    TRY_VOID(db_.query("DELETE FROM tls_reports WHERE id <= (SELECT max(id) FROM tls_reports) - ?1")
                 .bind(static_cast<std::int64_t>(kTlsReportsMax))
                 .run());
    return is_new;
}

}  // namespace posthouse::storage
