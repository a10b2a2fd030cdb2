#include "server/returns/late_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/account_guard.h"
#include "storage/reputation.h"
#include "storage/takers.h"
#include "storage/transport.h"

namespace posthouse::server {

namespace {

constexpr std::size_t kReplyShown = 500;

std::string_view domain_of(std::string_view address) { return address.substr(address.rfind('@') + 1); }

// The bounce's own words: hard, and about the mailbox.
std::optional<storage::SuppressionReason> evidence_of(const report::BouncedRecipient& one) {
    if (!one.hard || one.action != report::Action::failed) return std::nullopt;
    switch (one.found.what) {
        case bounce::ReplyClass::recipient_unknown: return storage::SuppressionReason::recipient_unknown;
        case bounce::ReplyClass::recipient_disabled: return storage::SuppressionReason::recipient_disabled;
        default: return std::nullopt;
    }
}

bool names(const report::BouncedRecipient& one, std::string_view address) {
    return ascii::equals_ci(one.final_recipient, address) || ascii::equals_ci(one.original_recipient, address);
}

LateNews news_about(const std::string& recipient, const report::BouncedRecipient& one, const std::string& reporter) {
    LateNews out;
    out.recipient = recipient;
    out.is_delay = one.action == report::Action::delayed;
    out.reply = one.reply;
    out.remote = one.remote.empty() ? reporter : one.remote;
    const bool is_itself = names(one, recipient);
    out.is_named = is_itself;
    out.what = one.found.what;
    if (is_itself) out.evidence = evidence_of(one);
    out.detail = std::string(kLate);
    if (!out.remote.empty()) out.detail += out.remote + ": ";
    const std::string words = one.reply.empty() ? one.status : one.reply.substr(0, kReplyShown);
    out.detail += words.empty() ? std::string(report::to_string(one.action)) : words;
    if (!is_itself && !one.final_recipient.empty()) out.detail += fmt::format(" (about {})", one.final_recipient);
    if (!out.is_delay) out.detail += fmt::format(" ({})", bounce::to_string(one.found.what));
    return out;
}

// The remote took it, and its bounce is faster than our commit; or it goes out once more after a crash.
Result<bool> is_under_way(const storage::Snapshot& snapshot, storage::QueueId queue,
                          const mailauth::ReturnToken& token) {
    TRY(const auto rows, snapshot.queue().recipients(queue));
    return std::ranges::any_of(rows, [&](const storage::QueueRecipient& row) {
        const bool is_open =
            row.state == storage::RecipientState::sending || row.state == storage::RecipientState::waiting;
        return is_open && mailauth::is_about(token, row.address);
    });
}

// Who took mail before is not given up for one word.
Result<bool> is_enough(storage::Tx& tx, const SentMail& sent, const LateNews& news) {
    if (*news.evidence != storage::SuppressionReason::recipient_unknown) return true;
    const auto facts = sent.facts.find(news.recipient);
    const auto taken = sent.taken.find(news.recipient);
    const std::string provider = facts == sent.facts.end() ? std::string() : facts->second.provider;
    storage::UnknownSaid said(storage::directory_of_recipient(provider, news.recipient),
                              ascii::to_lower(domain_of(sent.sender)), news.recipient, news.reply, news.remote);
    said.taken = taken == sent.taken.end() ? tx.now() : taken->second;
    TRY(const storage::UnknownFound found, storage::TakerTx(tx).note(said));
    return found.worth == storage::UnknownWorth::believed;
}

// "mx.far.example [192.0.2.1]: 250 ok"
std::string host_in(std::string_view detail) {
    const std::string_view host = detail.substr(0, detail.find(' '));
    const std::string_view behind = detail.substr(host.size());
    return behind.starts_with(" [") ? ascii::to_lower(host) : std::string();
}

}  // namespace

Result<SentMail> find_sent(const storage::Snapshot& snapshot, const mailauth::ReturnToken& token) {
    SentMail out;
    out.queue = static_cast<storage::QueueId>(token.queue);
    TRY(const auto events, snapshot.events().by_queue(out.queue));
    std::map<std::string, std::size_t, std::less<>> late;
    for (const storage::Event& event : events) {
        if (event.detail.starts_with(kLate)) ++late[event.recipient];
        if (event.kind != storage::EventKind::delivered) continue;
        out.message = event.message;
        out.message_id = event.message_id;
        out.sender = event.sender;
        out.facts.insert_or_assign(event.recipient, event.facts);
        out.taken.insert_or_assign(event.recipient, event.at);
        out.hosts.insert_or_assign(event.recipient, host_in(event.detail));
        const bool is_meant = mailauth::is_about(token, event.recipient);
        if (is_meant && std::ranges::find(out.recipients, event.recipient) == out.recipients.end()) {
            out.recipients.push_back(event.recipient);
        }
    }
    if (out.recipients.empty() || out.sender.empty()) {
        TRY(const bool waits, is_under_way(snapshot, out.queue, token));
        if (waits) return Error(Errc::unavailable, "The message that this report is about is still under way");
        return Error(Errc::refused, "The message that this report is about is not known here any more");
    }
    for (const std::string& one : out.recipients) {
        if (late[one] >= kLateReportsMax) out.silenced.insert(one);
    }
    if (out.silenced.size() == out.recipients.size()) {
        return Error(Errc::refused, "Enough reports about this message have come already");
    }
    return out;
}

Result<SentMail> find_sent_by_id(const storage::Snapshot& snapshot, std::string_view message_id, Time since) {
    const Error unknown(Errc::refused, "The message that this report is about is not known here");
    if (message_id.empty()) return unknown;
    TRY(const auto events, snapshot.events().by_message_id(message_id));
    // The newest that left, where a name was used twice.
    const auto last = std::ranges::find_if(events.rbegin(), events.rend(), [&](const storage::Event& event) {
        return event.kind == storage::EventKind::delivered && storage::raw(event.queue) != 0 && event.at >= since;
    });
    if (last == events.rend()) return unknown;
    mailauth::ReturnToken token;
    token.queue = static_cast<std::uint64_t>(storage::raw(last->queue));
    return find_sent(snapshot, token);
}

std::vector<LateNews> news_of(const SentMail& sent, const report::Bounce& bounce) {
    std::vector<LateNews> out;
    for (const report::BouncedRecipient& one : bounce.recipients) {
        if (one.action != report::Action::failed && one.action != report::Action::delayed) continue;
        const auto named =
            std::ranges::find_if(sent.recipients, [&](const std::string& address) { return names(one, address); });
        // Alone it is meant, whatever it is called behind an alias.
        const bool is_alone = sent.recipients.size() == 1 && bounce.recipients.size() == 1;
        if (named == sent.recipients.end() && !is_alone) continue;
        const std::string& recipient = named == sent.recipients.end() ? sent.recipients.front() : *named;
        if (sent.silenced.contains(recipient)) continue;
        const bool is_known = std::ranges::any_of(out, [&](const LateNews& n) { return n.recipient == recipient; });
        if (!is_known) out.push_back(news_about(recipient, one, bounce.reporting_mta));
    }
    return out;
}

Result<> note_evidence(storage::Tx& tx, const SentMail& sent, const std::string& recipient, Evidence what) {
    const auto known = sent.facts.find(recipient);
    if (known == sent.facts.end() || known->second.provider.empty()) return {};  // by a relay: its address, not ours
    storage::EvidenceDay day;
    day.source = known->second.source;
    day.provider = known->second.provider;
    day.day = storage::day_of(tx.now());
    (what == Evidence::bounced ? day.bounced : day.complained).add(recipient);
    return storage::ReputationTx(tx).add(day);
}

namespace {

storage::Event event_about(const storage::Tx& tx, const SentMail& sent, const LateNews& one, storage::EventKind kind) {
    storage::Event event;
    event.at = tx.now();
    event.kind = kind;
    event.message = sent.message;
    event.queue = sent.queue;
    event.message_id = sent.message_id;
    event.sender = sent.sender;
    event.recipient = one.recipient;
    event.detail = one.detail;
    if (const auto known = sent.facts.find(one.recipient); known != sent.facts.end()) event.facts = known->second;
    event.facts.marks.clear();  // of the delivery alone
    event.facts.tries.reset();
    event.facts.reply_class = bounce::to_string(one.what);
    return event;
}

// A stolen account is known by it soon after it sent, or not at all.
Result<> tell_guard(storage::Tx& tx, const std::vector<storage::Event>& events, const LateNews& one) {
    const auto queued = std::ranges::find_if(events, [&](const storage::Event& event) {
        return event.kind == storage::EventKind::queued && event.recipient == one.recipient;
    });
    if (queued == events.end() || !queued->facts.who.starts_with('a')) return {};
    if (storage::hour_number(queued->at) + 1 < storage::hour_number(tx.now())) return {};
    const auto account = ascii::parse_number(std::string_view(queued->facts.who).substr(1));
    if (!account) return {};
    const auto told = storage::AccountGuardTx(tx).bounced(static_cast<storage::AccountId>(*account));
    if (!told && told.error().code == Errc::not_found) return {};  // the account is gone
    return told;
}

}  // namespace

Result<> record_news(storage::Tx& tx, const SentMail& sent, const std::vector<LateNews>& news) {
    if (news.empty()) return {};
    TRY(const auto events, tx.events().by_queue(sent.queue));
    for (const LateNews& one : news) {
        const bool is_known = !one.is_delay && std::ranges::any_of(events, [&](const storage::Event& event) {
            return event.kind == storage::EventKind::bounced && event.recipient == one.recipient;
        });
        if (is_known) {
            storage::Event again = event_about(tx, sent, one, storage::EventKind::noted);
            again.detail += ", told again";
            TRY_VOID(tx.events().append(again));
            continue;
        }
        const auto kind = one.is_delay ? storage::EventKind::delayed : storage::EventKind::bounced;
        TRY_VOID(tx.events().append(event_about(tx, sent, one, kind)));
        if (one.what == bounce::ReplyClass::recipient_unknown && one.is_named && !one.is_delay) {
            TRY_VOID(note_evidence(tx, sent, one.recipient, Evidence::bounced));
            TRY_VOID(tell_guard(tx, events, one));
        }
        if (!one.evidence) continue;
        TRY(const bool is_believed, is_enough(tx, sent, one));
        if (!is_believed) continue;
        const storage::SuppressionProof proof(*one.evidence, one.reply, one.remote);
        TRY_VOID(storage::SuppressionTx(tx).add(domain_of(sent.sender), one.recipient, proof));
    }
    return {};
}

Result<> note_unproven(storage::Tx& tx, const SentMail& sent, const LateNews& news, std::string_view why) {
    TRY(const auto events, tx.events().by_queue(sent.queue));
    const auto noted =
        std::ranges::count_if(events, [](const storage::Event& event) { return event.detail.starts_with(kUnproven); });
    if (static_cast<std::size_t>(noted) >= kUnprovenMax) return {};
    storage::Event event = event_about(tx, sent, news, storage::EventKind::noted);
    const std::string_view words = std::string_view(news.detail).substr(kLate.size());
    event.detail = fmt::format("{}{}; {}, so that it changes nothing", kUnproven, words, why);
    return tx.events().append(event);
}

}  // namespace posthouse::server
