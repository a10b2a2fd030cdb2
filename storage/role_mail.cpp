#include "storage/role_mail.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

#define DMARC_COLUMNS "id, received_ms, organization, report_id, domain, begin_s, end_s, policy, messages, passed"

DmarcEntry entry_of(const Query& row) {
    DmarcEntry out;
    out.id = row.i64(0);
    out.received = row.time(1);
    out.organization = row.text(2);
    out.report_id = row.text(3);
    out.domain = row.text(4);
    out.begin_s = row.i64(5);
    out.end_s = row.i64(6);
    out.policy = row.text(7);
    out.messages = row.u64(8);
    out.passed = row.u64(9);
    return out;
}

DmarcRow row_of(const Query& q) {
    DmarcRow out;
    out.source_ip = q.text(0);
    out.messages = q.u64(1);
    out.disposition = q.text(2);
    out.dkim = q.flag(3);
    out.spf = q.flag(4);
    out.header_from = q.text(5);
    out.dkim_domain = q.text(6);
    out.spf_domain = q.text(7);
    return out;
}

std::int64_t limit_of(std::size_t count_max) {
    return static_cast<std::int64_t>(std::min<std::size_t>(count_max, 1'000'000));
}

}  // namespace

RoleMailView::RoleMailView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}
RoleMailView::RoleMailView(Tx& tx) : db_(context_of(tx).db) {}

Result<Uid> RoleMailView::read_up_to(MailboxId mailbox) const {
    Query q = db_.query("SELECT uid FROM role_marks WHERE mailbox = ?1");
    TRY(const bool found, q.bind(mailbox).row());
    return found ? static_cast<Uid>(q.i64(0)) : Uid{0};
}

Result<std::vector<DmarcEntry>> RoleMailView::dmarc_reports(std::string_view domain, std::size_t count_max) const {
    const std::string folded = ascii::to_lower(domain);
    Query q =
        db_.query("SELECT " DMARC_COLUMNS " FROM dmarc_reports WHERE ?1 = '' OR domain = ?1 ORDER BY id DESC LIMIT ?2");
    q.bind(folded, limit_of(count_max));
    return all_rows(q, entry_of);
}

Result<DmarcEntry> RoleMailView::dmarc_report(std::int64_t id) const {
    DmarcEntry out;
    {
        Query q = db_.query("SELECT " DMARC_COLUMNS " FROM dmarc_reports WHERE id = ?1");
        TRY(const bool found, q.bind(id).row());
        if (!found) {
            return Error(Errc::not_found,
                         fmt::format("there is no report {}; posthouse report dmarc list shows them", id));
        }
        out = entry_of(q);
    }
    Query q = db_.query(
        "SELECT source_ip, messages, disposition, dkim, spf, header_from, dkim_domain, spf_domain "
        "FROM dmarc_rows WHERE report = ?1 ORDER BY position");
    q.bind(id);
    TRY(out.rows, all_rows(q, row_of));
    return out;
}

RoleMailTx::RoleMailTx(Tx& tx) : RoleMailView(tx), tx_(tx) {}

Result<> RoleMailTx::set_read(MailboxId mailbox, Uid uid) {
    return db_.query("INSERT INTO role_marks VALUES (?1, ?2) ON CONFLICT (mailbox) DO UPDATE SET uid = max(uid, ?2)")
        .bind(mailbox, uid)
        .run();
}

Result<bool> RoleMailTx::add_dmarc_report(const DmarcEntry& report) {
    TRY_VOID(db_.query("INSERT OR IGNORE INTO dmarc_reports (received_ms, organization, report_id, domain, begin_s, "
                       "end_s, policy, messages, passed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
                 .bind(tx_.now(), report.organization, report.report_id, report.domain, report.begin_s, report.end_s,
                       report.policy, report.messages, report.passed)
                 .run());
    if (db_.changes() == 0) return false;
    const std::int64_t id = db_.last_id();
    const std::size_t rows = std::min(report.rows.size(), kDmarcRowsMax);
    for (std::size_t i = 0; i < rows; ++i) {
        const DmarcRow& row = report.rows[i];
        TRY_VOID(db_.query("INSERT INTO dmarc_rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
                     .bind(id, i, row.source_ip, row.messages, row.disposition, row.dkim, row.spf, row.header_from,
                           row.dkim_domain, row.spf_domain)
                     .run());
    }
    constexpr auto kMost = static_cast<std::int64_t>(kDmarcReportsMax);
    TRY_VOID(db_.query("DELETE FROM dmarc_rows WHERE report <= ?1").bind(id - kMost).run());
    TRY_VOID(db_.query("DELETE FROM dmarc_reports WHERE id <= ?1").bind(id - kMost).run());
    return true;
}

Result<> RoleMailTx::forget_gone() {
    return db_.query("DELETE FROM role_marks WHERE mailbox NOT IN (SELECT id FROM mailboxes)").run();
}

}  // namespace posthouse::storage
