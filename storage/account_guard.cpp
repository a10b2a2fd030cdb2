#include "storage/account_guard.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/address_hash.h"
#include "storage/catalog_impl.h"
#include "storage/context.h"
#include "storage/incidents.h"
#include "storage/reputation.h"
#include "storage/settings.h"

namespace posthouse::storage {
namespace {

bool is_share(std::uint64_t part, std::uint64_t whole, std::uint64_t percent) { return part * 100 >= whole * percent; }

// The open incident of an account.
Result<std::optional<Incident>> held_under(Tx& tx, AccountId account) {
    TRY(const Account owner, tx.catalog().account(account));
    TRY(const auto open, IncidentTx(tx).open());
    const auto found = std::ranges::find_if(open, [&](const Incident& one) {
        return one.key.kind == IncidentKind::account && one.key.domain == owner.address;
    });
    return found == open.end() ? std::optional<Incident>() : std::optional(*found);
}

Result<> hold_item(Tx& tx, QueueId queue, const Incident& incident) {
    TRY(const auto recipients, tx.queue().recipients(queue));
    std::vector<RecipientId> ids;
    for (const QueueRecipient& one : recipients) {
        if (one.state == RecipientState::waiting) ids.push_back(one.id);
    }
    TRY_VOID(IncidentTx(tx).hold(ids, incident));  // it was read as open in this commit
    return {};
}

}  // namespace

std::optional<std::string> judge_sending(const SendingFigures& f) {
    if (f.recipients < std::max(kBurstMin, f.busiest * kBurstFactor)) return std::nullopt;
    if (!is_share(f.fresh, f.recipients, kFreshPercent)) return std::nullopt;
    const std::string burst = fmt::format(
        "{} recipients within two hours, {} of them never written to before; its "
        "busiest hour of four weeks had {}",
        f.recipients, f.fresh, f.busiest);
    if (f.bounced >= kBouncesMin && is_share(f.bounced, f.recipients, kBouncesPercent)) {
        return fmt::format("{}; {} do not exist", burst, f.bounced);
    }
    const bool is_flood = f.recipients >= std::max(kFloodRecipients, f.busiest * kFloodFactor);
    if (is_flood && f.letters >= kFloodMessages && is_share(f.fresh, f.recipients, kFloodFreshPercent)) {
        return fmt::format("{}, in {} messages", burst, f.letters);
    }
    return std::nullopt;
}

std::optional<std::string> judge_bulk(const BulkFigures& f) {
    if (!f.usual_fresh || f.messages < kBulkMessages) return std::nullopt;
    if (f.fresh < std::max(kBulkMessages, *f.usual_fresh * kBulkFactor)) return std::nullopt;
    if (!is_share(f.fresh, f.recipients, kBulkFreshPercent)) return std::nullopt;
    return fmt::format(
        "{} messages to many within two hours, {} of their {} recipients never written to before; the most of an hour "
        "before were {}",
        f.messages, f.fresh, f.recipients, *f.usual_fresh);
}

AccountGuardView::AccountGuardView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}
AccountGuardView::AccountGuardView(Tx& tx) : db_(context_of(tx).db) {}

Result<SendingFigures> AccountGuardView::figures(AccountId account, Time now) const {
    const std::int64_t hour = hour_number(now);
    SendingFigures out;
    {
        Query q = db_.query(
            "SELECT coalesce(sum(messages), 0), coalesce(sum(letters), 0), coalesce(sum(recipients), 0), "
            "coalesce(sum(fresh), 0), coalesce(sum(bounced), 0) FROM account_hours "
            "WHERE account = ?1 AND hour >= ?2");
        TRY_VOID(q.bind(account, hour - 1).row());
        out.messages = q.u64(0);
        out.letters = q.u64(1);
        out.recipients = q.u64(2);
        out.fresh = q.u64(3);
        out.bounced = q.u64(4);
    }
    Query q = db_.query(
        "SELECT coalesce(max(recipients), 0) FROM account_hours "
        "WHERE account = ?1 AND hour < ?2 AND hour >= ?3");
    TRY_VOID(q.bind(account, hour - 1, hour - kPastHours).row());
    out.busiest = q.u64(0);
    return out;
}

Result<BulkFigures> AccountGuardView::bulk_figures(AccountId account, std::string_view stream, Time now) const {
    BulkFigures out;
    {
        Query q = db_.query(
            "SELECT coalesce(sum(messages), 0), coalesce(sum(recipients), 0), coalesce(sum(fresh), 0) FROM bulk_hours "
            "WHERE stream = ?1 AND account = ?2 AND hour >= ?3");
        TRY_VOID(q.bind(stream, account, hour_number(now) - 1).row());
        out.messages = q.u64(0);
        out.recipients = q.u64(1);
        out.fresh = q.u64(2);
    }
    // What costs more is looked at where the rest is not as ever.
    const bool is_odd = out.messages >= kBulkMessages && out.fresh >= kBulkMessages &&
                        is_share(out.fresh, out.recipients, kBulkFreshPercent);
    if (!is_odd) return out;
    TRY(out.usual_fresh, usual_fresh(account, stream, now));
    return out;
}

// The first days of a stream or an account say nothing of what is usual: then everybody is new.
Result<std::optional<std::uint64_t>> AccountGuardView::usual_fresh(AccountId account, std::string_view stream,
                                                                   Time now) const {
    const std::int64_t hour = hour_number(now);
    const auto usual = [&](const Query& q) -> std::optional<std::uint64_t> {
        const bool has_past = !q.is_null(1) && q.i64(1) + kFirstHours <= hour;
        return has_past ? std::optional(q.u64(0)) : std::nullopt;
    };
    if (!stream.empty()) {
        Query made = db_.query("SELECT 1 FROM streams WHERE name = ?1 AND created_ms > ?2");
        TRY(const bool is_new, made.bind(stream, now - Milliseconds(kNewStream)).row());
        if (is_new) return std::optional<std::uint64_t>();
        Query q = db_.query(
            "SELECT coalesce(max(CASE WHEN hour >= first + ?3 THEN fresh END), 0), first FROM bulk_hours, (SELECT "
            "min(hour) AS first FROM bulk_hours WHERE stream = ?1) WHERE stream = ?1 AND hour < ?2 GROUP BY first");
        TRY(const bool has_past, q.bind(stream, hour - 1, kFirstHours).row());
        if (has_past) return usual(q);
    }
    Query q = db_.query(
        "SELECT coalesce(max(CASE WHEN hour >= first + ?3 THEN fresh END), 0), first FROM account_hours, (SELECT "
        "min(hour) AS first FROM account_hours WHERE account = ?1) WHERE account = ?1 AND hour < ?2 GROUP BY first");
    TRY(const bool has_past, q.bind(account, hour - 1, kFirstHours).row());
    return has_past ? usual(q) : std::optional<std::uint64_t>();
}

Result<bool> AccountGuardView::is_trusted(AccountId account, Time now) const {
    Query q = db_.query("SELECT 1 FROM account_trust WHERE account = ?1 AND until_ms > ?2");
    return q.bind(account, now).row();
}

AccountGuardTx::AccountGuardTx(Tx& tx) : AccountGuardView(tx), tx_(tx) {}

// How many of them it never wrote to; they are known from now on.
Result<std::int64_t> AccountGuardTx::count_fresh(AccountId account, const std::vector<NewRecipient>& recipients) {
    std::int64_t known = 0;
    {
        Query q = db_.query("SELECT count(*) FROM account_recipients WHERE account = ?1");
        TRY_VOID(q.bind(account).row());
        known = q.i64(0);
    }
    std::int64_t fresh = 0;
    for (const NewRecipient& one : recipients) {
        if (known + fresh >= static_cast<std::int64_t>(kKnownRecipientsMax)) break;
        const std::int64_t hash = address_hash(one.address);
        TRY_VOID(db_.query("INSERT OR IGNORE INTO account_recipients VALUES (?1, ?2)").bind(account, hash).run());
        fresh += db_.changes();
    }
    return fresh;
}

Result<> AccountGuardTx::submitted(QueueId queue, const NewQueueItem& item) {
    if (!item.account || item.recipients.empty()) return {};
    TRY(const std::string mode, setting_text(tx_.catalog(), "guard.accounts"));
    if (mode == "off") return {};
    const AccountId account = *item.account;
    TRY(const auto held, held_under(tx_, account));
    if (item.reverse_path.empty()) {
        // A report is no letter and says nothing of an account, but one that is held sends nothing.
        return held ? hold_item(tx_, queue, *held) : Result<>();
    }
    TRY(const std::int64_t fresh, count_fresh(account, item.recipients));
    const bool is_letter = item.mail_class != static_cast<std::uint8_t>(QueueClass::bulk);
    TRY_VOID(
        db_.query("INSERT INTO account_hours (account, hour, messages, letters, recipients, fresh, bounced) "
                  "VALUES (?1, ?2, 1, ?3, ?4, ?5, 0) ON CONFLICT (account, hour) DO UPDATE SET "
                  "messages = messages + 1, letters = letters + ?3, recipients = recipients + ?4, "
                  "fresh = fresh + ?5")
            .bind(account, hour_number(tx_.now()), is_letter, static_cast<std::int64_t>(item.recipients.size()), fresh)
            .run());
    if (!is_letter) {
        TRY_VOID(
            db_.query("INSERT INTO bulk_hours (stream, account, hour, messages, recipients, fresh) VALUES (?1, ?2, "
                      "?3, 1, ?4, ?5) ON CONFLICT (stream, account, hour) DO UPDATE SET messages = messages + 1, "
                      "recipients = recipients + ?4, fresh = fresh + ?5")
                .bind(item.stream, account, hour_number(tx_.now()), static_cast<std::int64_t>(item.recipients.size()),
                      fresh)
                .run());
    }
    if (held) return hold_item(tx_, queue, *held);
    return is_letter ? judge(account) : judge_bulk_of(account, item.stream);
}

Result<> AccountGuardTx::judge_bulk_of(AccountId account, const std::string& stream) {
    TRY(const BulkFigures now, bulk_figures(account, stream, tx_.now()));
    if (const auto why = judge_bulk(now)) return hold_all(account, *why);
    return judge(account);
}

Result<> AccountGuardTx::bounced(AccountId account) {
    TRY_VOID(db_.query("UPDATE account_hours SET bounced = bounced + 1 WHERE account = ?1 AND hour = (SELECT max(hour) "
                       "FROM account_hours WHERE account = ?1 AND hour >= ?2)")
                 .bind(account, hour_number(tx_.now()) - 1)
                 .run());
    if (db_.changes() == 0) return {};  // it sent nothing of late, or is not counted
    TRY(const auto held, held_under(tx_, account));
    return held ? Result<>() : judge(account);
}

Result<> AccountGuardTx::put_off(AccountId account, std::span<const RecipientId> recipients) {
    const auto owner = tx_.catalog().account(account);
    if (!owner && owner.error().code == Errc::not_found) return {};
    TRY(const auto held, held_under(tx_, account));
    if (!held) return {};
    TRY(const auto rows, tx_.queue().find(recipients));
    std::vector<RecipientId> ids;
    for (const QueueRecipient& one : rows) {
        if (one.state == RecipientState::waiting && !one.released) ids.push_back(one.id);
    }
    TRY_VOID(IncidentTx(tx_).hold(ids, *held));
    return {};
}

Result<> AccountGuardTx::judge(AccountId account) {
    TRY(const SendingFigures now, figures(account, tx_.now()));
    const auto why = judge_sending(now);
    return why ? hold_all(account, *why) : Result<>();
}

Result<> AccountGuardTx::hold_all(AccountId account, const std::string& why) {
    TRY(const bool trusted, is_trusted(account, tx_.now()));
    if (trusted) return {};
    TRY(const Account owner, tx_.catalog().account(account));
    IncidentKey key;
    key.kind = IncidentKind::account;
    key.domain = owner.address;
    Refusal refusal;
    refusal.reply = why;
    TRY(const Incident incident, IncidentTx(tx_).note(key, refusal));
    // What waits already is held with it.
    std::vector<QueueId> queues;
    {
        Query q = db_.query("SELECT id FROM queue_items WHERE account = ?1 ORDER BY id");
        q.bind(account);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            queues.push_back(q.id<QueueId>(0));
        }
    }
    for (const QueueId queue : queues) TRY_VOID(hold_item(tx_, queue, incident));
    return {};
}

Result<std::uint64_t> AccountGuardTx::release(AccountId account) {
    TRY(const auto held, held_under(tx_, account));
    if (!held) return Error(Errc::not_found, "the account is not held; posthouse incident list shows what is");
    TRY_VOID(db_.query("INSERT INTO account_trust (account, until_ms) VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE "
                       "SET until_ms = ?2")
                 .bind(account, tx_.now() + Milliseconds(kTrustAfterRelease))
                 .run());
    return IncidentTx(tx_).clear(held->id, "it was looked at and released");
}

Result<std::uint64_t> AccountGuardTx::discard(AccountId account) {
    TRY(const auto held, held_under(tx_, account));
    if (!held) return Error(Errc::not_found, "the account is not held; posthouse incident list shows what is");
    TRY(const auto ids, IncidentTx(tx_).held(held->id, RecipientId{}, ~std::size_t{0}));
    TRY(const auto rows, tx_.queue().find(ids));
    std::vector<QueueId> queues;
    for (const QueueRecipient& row : rows) queues.push_back(row.queue);
    std::ranges::sort(queues);
    queues.erase(std::ranges::unique(queues).begin(), queues.end());
    for (const QueueId queue : queues) TRY_VOID(tx_.queue().cancel(queue));
    TRY_VOID(IncidentTx(tx_).clear(held->id, "it was looked at, and what was held is thrown away"));
    return static_cast<std::uint64_t>(queues.size());
}

Result<> AccountGuardTx::forget_old() {
    TRY_VOID(db_.query("DELETE FROM account_hours WHERE hour < ?1").bind(hour_number(tx_.now()) - kPastHours).run());
    TRY_VOID(db_.query("DELETE FROM bulk_hours WHERE hour < ?1").bind(hour_number(tx_.now()) - kPastHours).run());
    return db_.query("DELETE FROM account_trust WHERE until_ms < ?1").bind(tx_.now()).run();
}

}  // namespace posthouse::storage
