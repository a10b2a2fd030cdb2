// Evidence from events: the part of storage/reputation.h that is for after a crash.
#include <algorithm>
#include <map>

#include "storage/context.h"
#include "storage/events_impl.h"
#include "storage/reputation.h"
#include "storage/transport.h"

namespace posthouse::storage {
namespace {

/// What we or the network said, not the receiver.
bool is_own_word(std::string_view reply_class) {
    constexpr std::string_view kOwn[] = {"network", "dns", "tls", "protocol", "expired", "suppressed", ""};
    return std::ranges::find(kOwn, reply_class) != std::end(kOwn);
}

bool is_outcome(EventKind kind) {
    return kind == EventKind::attempted || kind == EventKind::delivered || kind == EventKind::bounced ||
           kind == EventKind::held;
}

std::string domain_of(const std::string& recipient) { return recipient.substr(recipient.rfind('@') + 1); }

void count(EvidenceDay& day, EventKind kind, const std::string& recipient, std::string_view reply_class) {
    day.tried.add(recipient);
    if (kind == EventKind::delivered) return;
    // Which of many receivers: by their domains, for their networks are not known any more.
    const bool is_one = day.provider != kOtherProviders;
    if (reply_class == "ip-blocked") day.blocked.add(is_one ? recipient : domain_of(recipient));
    if (reply_class == "throttled") day.deferred.add(recipient);
    if (reply_class == "recipient-unknown") day.bounced.add(recipient);
}

}  // namespace

Result<UnmarkedEvidence> ReputationView::unmarked() const {
    UnmarkedEvidence out;
    TRY(out.seen, db_.value("SELECT coalesce((SELECT value FROM counters WHERE name = 'evidence'), -1)"));
    if (out.seen < 0) return out;
    std::map<std::pair<std::string, std::string>, std::map<std::int64_t, EvidenceDay>> days;
    Query q = db_.query(
        "SELECT id, at_ms, kind, recipient, facts FROM events INDEXED BY events_by_id WHERE id > ?1 ORDER BY id LIMIT "
        "?2");
    q.bind(out.seen, kUnmarkedMax);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        out.seen = q.i64(0);
        const auto kind = static_cast<EventKind>(q.i64(2));
        if (!is_outcome(kind)) continue;
        const EventFacts facts = parse_facts(q.view(4));
        // By a relay it says nothing of our address.
        const bool is_said = kind == EventKind::delivered || !is_own_word(facts.reply_class);
        if (facts.provider.empty() || !is_said) continue;
        const std::int64_t number = day_of(q.time(1));
        EvidenceDay& day = days[{facts.source, facts.provider}][number];
        day.source = facts.source;
        day.provider = facts.provider;
        day.day = number;
        count(day, kind, q.text(3), facts.reply_class);
    }
    for (auto& [key, of_key] : days) {
        for (auto& [number, day] : of_key) out.days.push_back(std::move(day));
    }
    return out;
}

Result<> ReputationTx::set_mark() {
    TRY(const std::int64_t last, tx_.events().last_id());
    return db_.query("INSERT INTO counters VALUES ('evidence', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1")
        .bind(last)
        .run();
}

}  // namespace posthouse::storage
