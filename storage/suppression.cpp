#include "storage/suppression.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

constexpr std::string_view kReasons[] = {"recipient-unknown", "recipient-disabled", "complaint", "unsubscribed",
                                         "by-hand"};
constexpr std::uint8_t kLetter = 0;       // QueueClass::interactive
constexpr std::uint8_t kBulk = 2;         // QueueClass::bulk
constexpr std::size_t kWordsShown = 200;  // of a reply within a reply: a line has 512 octets

#define SUPPRESSION_COLUMNS "address, scope, reason, reply, remote, step, times, since_ms, last_ms, until_ms, undone_ms"

Suppression suppression_of(const Query& row) {
    Suppression out;
    out.address = row.text(0);
    out.scope = row.text(1);
    // An unknown word can only come from a newer program; by hand is what it can be undone as.
    out.reason = parse_suppression_reason(row.view(2)).value_or(SuppressionReason::by_hand);
    out.reply = row.text(3);
    out.remote = row.text(4);
    out.step = row.u32(5);
    out.times = row.u64(6);
    out.since = row.time(7);
    out.last = row.time(8);
    out.until = row.time(9);
    out.undone = row.time(10);
    return out;
}

Result<> take_all(Query& query, std::vector<Suppression>& out) {
    for (;;) {
        TRY(const bool more, query.row());
        if (!more) return {};
        out.push_back(suppression_of(query));
    }
}

Time end_of_step(std::uint32_t step, Time now) {
    if (step >= kSuppressionDays.size()) return Time{};
    return now + std::chrono::hours(24) * kSuppressionDays[step];
}

// No stream has a dot in its name, and each domain that mail is sent from has one.
bool is_of_stream(const Suppression& one) { return !one.scope.empty() && one.scope.find('.') == std::string::npos; }

std::string cut(std::string_view text, std::size_t most) { return std::string(text.substr(0, most)); }

std::string day_of(Time at) { return format_rfc3339(at).substr(0, 10); }

std::string_view what_happened(SuppressionReason reason) {
    switch (reason) {
        case SuppressionReason::recipient_unknown: return "there is nobody at {}";
        case SuppressionReason::recipient_disabled: return "the mailbox {} is closed";
        case SuppressionReason::complaint: return "{} called our mail spam";
        case SuppressionReason::unsubscribed: return "{} has unsubscribed";
        case SuppressionReason::by_hand: return "{} is to get no mail";
    }
    return "{} is to get no mail";
}

}  // namespace

std::string_view to_string(SuppressionReason reason) { return kReasons[static_cast<std::size_t>(reason)]; }

std::optional<SuppressionReason> parse_suppression_reason(std::string_view text) {
    const auto* const found = std::ranges::find(kReasons, text);
    if (found == std::end(kReasons)) return std::nullopt;
    return static_cast<SuppressionReason>(found - std::begin(kReasons));
}

bool is_evidence(SuppressionReason reason) {
    return reason == SuppressionReason::recipient_unknown || reason == SuppressionReason::recipient_disabled;
}

SuppressionRule parse_suppression_rule(std::string_view text) {
    if (text == "all") return SuppressionRule::all;
    return text == "off" ? SuppressionRule::off : SuppressionRule::programs;
}

bool may_stop(SuppressionRule rule, std::uint8_t mail_class) {
    return rule == SuppressionRule::all || mail_class != kLetter;
}

bool stops(const Suppression& suppression, SuppressionRule rule, std::uint8_t mail_class) {
    if (!may_stop(rule, mail_class)) return false;
    if (suppression.reason == SuppressionReason::complaint) {
        if (mail_class == kLetter || (!is_of_stream(suppression) && mail_class != kBulk)) return false;
    }
    return rule != SuppressionRule::off || suppression.reason == SuppressionReason::unsubscribed;
}

std::vector<std::string> suppression_scopes(std::string_view sender) {
    std::vector<std::string> out{""};
    const std::size_t at = sender.rfind('@');
    if (at != std::string_view::npos) out.push_back(ascii::to_lower(sender.substr(at + 1)));
    return out;
}

std::string_view status_of(SuppressionReason reason) {
    if (reason == SuppressionReason::recipient_unknown) return "5.1.1";
    return reason == SuppressionReason::recipient_disabled ? "5.2.1" : "5.7.1";
}

SuppressionSentence describe(const Suppression& one) {
    SuppressionSentence out;
    out.why = fmt::format("Not sent, for {}", fmt::format(fmt::runtime(what_happened(one.reason)), one.address));
    const bool is_bulk_alone = one.reason == SuppressionReason::complaint && !is_of_stream(one);
    if (!one.scope.empty())
        out.why += fmt::format(" ({} {})", is_bulk_alone ? "mail to many of" : "mail of", one.scope);
    out.why += fmt::format(", since {}", day_of(one.since));
    if (!one.reply.empty()) out.why += fmt::format(": {}", cut(one.reply, kWordsShown));
    out.what_to_do = one.until == Time{} ? "This is for good"
                                         : fmt::format("Mail is sent to it again from {} on", day_of(one.until));
    out.what_to_do += fmt::format("; at once with: posthouse suppression remove {}", one.address);
    return out;
}

// ---- reading

SuppressionView::SuppressionView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}
SuppressionView::SuppressionView(Tx& tx) : db_(context_of(tx).db) {}

Result<std::vector<Suppression>> SuppressionView::find(std::span<const std::string> scopes,
                                                       std::span<const std::string> addresses, Time now) const {
    std::vector<Suppression> out;
    Query q = db_.query("SELECT " SUPPRESSION_COLUMNS
                        " FROM suppressions WHERE address = ?1 AND scope = ?2 "
                        "AND undone_ms = 0 AND (until_ms = 0 OR until_ms > ?3) ORDER BY reason");
    for (const std::string& address : addresses) {
        const std::string folded = ascii::to_lower(address);
        for (const std::string& scope : scopes) {
            const std::string where = ascii::to_lower(scope);
            q.reset();
            q.bind(folded, where, now);
            TRY_VOID(take_all(q, out));
        }
    }
    return out;
}

Result<std::vector<Suppression>> SuppressionView::of_address(std::string_view address) const {
    const std::string folded = ascii::to_lower(address);
    std::vector<Suppression> out;
    Query q = db_.query("SELECT " SUPPRESSION_COLUMNS " FROM suppressions WHERE address = ?1 ORDER BY scope, reason");
    q.bind(folded);
    TRY_VOID(take_all(q, out));
    return out;
}

Result<std::vector<Suppression>> SuppressionView::list(const Wanted& wanted) const {
    std::vector<Suppression> out;
    const std::string domain = wanted.domain.empty() ? std::string() : "@" + ascii::to_lower(wanted.domain);
    const std::size_t most = std::min<std::size_t>(wanted.count_max, 1'000'000);
    Query q = db_.query(
        "SELECT " SUPPRESSION_COLUMNS
        " FROM suppressions WHERE (?1 IS NULL OR scope = ?1) AND (?2 = '' OR substr(address, -length(?2)) = ?2) AND "
        "(?3 OR (undone_ms = 0 AND (until_ms = 0 OR until_ms > ?4))) "
        "ORDER BY address, scope, reason LIMIT ?5");
    q.bind(wanted.scope, domain, wanted.with_past, wanted.now, most);
    TRY_VOID(take_all(q, out));
    return out;
}

// ---- writing

SuppressionTx::SuppressionTx(Tx& tx) : SuppressionView(tx), tx_(tx) {}

Result<Suppression> SuppressionTx::add(std::string_view scope, std::string_view address,
                                       const SuppressionProof& proof) {
    const Time now = tx_.now();
    const std::size_t at = address.rfind('@');
    if (at == std::string_view::npos || at == 0 || at + 1 == address.size()) {
        return Error(Errc::invalid, fmt::format("\"{}\" is no address; write local@domain", address));
    }
    Suppression out;
    out.address = ascii::to_lower(address);
    out.scope = ascii::to_lower(scope);
    out.reason = proof.reason;
    out.since = now;
    out.until = is_evidence(proof.reason) ? end_of_step(0, now) : proof.until.value_or(Time{});
    {
        Query q = db_.query("SELECT " SUPPRESSION_COLUMNS
                            " FROM suppressions WHERE address = ?1 AND scope = ?2 AND reason = ?3");
        TRY(const bool found, q.bind(out.address, out.scope, to_string(out.reason)).row());
        const Suppression before = found ? suppression_of(q) : Suppression();
        const bool is_known = found && before.undone == Time{};
        if (is_known) out.times = before.times + 1;
        if (is_known && before.in_force(now) && is_evidence(out.reason)) {
            out.step = before.step;
            out.since = before.since;
            out.until = before.until;
        } else if (is_known && is_evidence(out.reason)) {
            out.step = std::min<std::uint32_t>(before.step + 1, kSuppressionDays.size());
            out.until = end_of_step(out.step, now);
        } else if (is_known && before.in_force(now)) {
            out.since = before.since;
            const bool is_longer = before.until == Time{} || (out.until != Time{} && out.until < before.until);
            if (out.reason == SuppressionReason::complaint && is_longer) out.until = before.until;
        }
    }
    out.last = now;
    out.reply = cut(proof.reply, kSuppressionReplyMax);
    out.remote = proof.remote;
    TRY_VOID(db_.query("INSERT OR REPLACE INTO suppressions (" SUPPRESSION_COLUMNS
                       ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0)")
                 .bind(out.address, out.scope, to_string(out.reason), out.reply, out.remote, out.step, out.times,
                       out.since, out.last, out.until)
                 .run());
    log::info(
        "suppression", "{} gets no mail of {} {}: {} ({})", out.address, out.scope.empty() ? "anybody" : out.scope,
        out.until == Time{} ? "any more" : "until " + format_rfc3339(out.until), to_string(out.reason), out.reply);
    return out;
}

Result<> SuppressionTx::delivered(std::string_view scope, std::string_view address) {
    const std::string folded = ascii::to_lower(address);
    const std::string where = ascii::to_lower(scope);
    return db_
        .query(
            "DELETE FROM suppressions WHERE address = ?1 AND scope = ?2 AND "
            "reason IN ('recipient-unknown', 'recipient-disabled')")
        .bind(folded, where)
        .run();
}

Result<std::vector<Suppression>> SuppressionTx::remove(std::optional<std::string_view> scope,
                                                       std::string_view address) {
    const Time now = tx_.now();
    const std::optional<std::string> where = scope ? std::optional(ascii::to_lower(*scope)) : std::nullopt;
    TRY(auto rows, of_address(address));
    std::erase_if(rows, [&](const Suppression& one) { return !one.in_force(now) || (where && one.scope != *where); });
    if (rows.empty()) {
        return Error(Errc::not_found, fmt::format("nothing is kept from {}{}; posthouse suppression list shows what is",
                                                  address, where ? " in that scope" : ""));
    }
    for (Suppression& one : rows) {
        one.undone = now;
        TRY_VOID(db_.query("UPDATE suppressions SET undone_ms = ?4 WHERE address = ?1 AND scope = ?2 AND reason = ?3")
                     .bind(one.address, one.scope, to_string(one.reason), now)
                     .run());
    }
    return rows;
}

Result<> SuppressionTx::forget_old() {
    const Time before = tx_.now() - Milliseconds(kSuppressionMemory);
    return db_
        .query(
            "DELETE FROM suppressions WHERE (undone_ms <> 0 AND undone_ms < ?1) OR (until_ms <> 0 AND until_ms < ?1)")
        .bind(before)
        .run();
}

}  // namespace posthouse::storage
