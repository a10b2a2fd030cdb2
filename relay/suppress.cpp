#include "relay/suppress.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "relay/outcome.h"
#include "storage/settings.h"

namespace posthouse::relay {

bool is_ours(const storage::QueueItem& item) { return item.forwarded_by.empty() && !item.reverse_path.empty(); }

std::optional<storage::SuppressionReason> evidence_of(const storage::QueueItem& item, const Settled& settled) {
    const Verdict& verdict = settled.verdict;
    const bool is_said = verdict.fate == Fate::failed && verdict.from_remote && !verdict.after_message;
    if (!is_said || settled.suppressed || !is_ours(item)) return std::nullopt;
    const bounce::Classification found = classify(settled);
    if (!found.permanent) return std::nullopt;
    if (found.what == bounce::ReplyClass::recipient_unknown) return storage::SuppressionReason::recipient_unknown;
    if (found.what == bounce::ReplyClass::recipient_disabled) return storage::SuppressionReason::recipient_disabled;
    return std::nullopt;
}

bool is_unknown(const Settled& settled) {
    if (settled.verdict.fate != Fate::failed || !settled.verdict.from_remote || settled.suppressed) return false;
    const bounce::Classification found = classify(settled);
    return found.permanent && found.what == bounce::ReplyClass::recipient_unknown;
}

Verdict verdict_of(const storage::Suppression& suppression) {
    const storage::SuppressionSentence told = storage::describe(suppression);
    return {Fate::failed, storage::status_of(suppression.reason), told.why + ". " + told.what_to_do};
}

namespace {

// Whose mail it is. What an account sends with a null sender is its mail all the same; our own reports are nobody's.
std::string owner_of(const storage::Snapshot& snapshot, const storage::QueueItem& item) {
    if (!item.reverse_path.empty() || !item.account) return item.reverse_path;
    const auto account = snapshot.catalog().account(*item.account);
    return account ? account->address : std::string();
}

}  // namespace

Result<Suppressed> read_suppressed(const storage::Snapshot& snapshot,
                                   const std::map<storage::QueueId, storage::QueueItem>& items,
                                   std::span<const storage::QueueRecipient> recipients, Time now) {
    Suppressed out;
    TRY(const std::string word, storage::setting_text(snapshot.catalog(), "suppression.apply"));
    const storage::SuppressionRule rule = storage::parse_suppression_rule(word);
    const storage::SuppressionView view(snapshot);
    while (!recipients.empty()) {
        const storage::QueueId queue = recipients.front().queue;
        const auto end = std::ranges::find_if(recipients, [&](const auto& one) { return one.queue != queue; });
        const auto mail = recipients.first(static_cast<std::size_t>(end - recipients.begin()));
        recipients = recipients.subspan(mail.size());
        const storage::QueueItem& item = items.at(queue);
        if (!item.forwarded_by.empty() || !storage::may_stop(rule, item.mail_class)) continue;
        const std::string owner = owner_of(snapshot, item);
        if (owner.empty()) continue;
        std::vector<std::string> addresses;
        for (const storage::QueueRecipient& one : mail) addresses.push_back(one.address);
        std::vector<std::string> scopes = storage::suppression_scopes(owner);
        if (!item.stream.empty()) scopes.push_back(item.stream);
        TRY(const auto found, view.find(scopes, addresses, now));
        for (const storage::Suppression& suppression : found) {
            if (!storage::stops(suppression, rule, item.mail_class)) continue;
            for (const storage::QueueRecipient& one : mail) {
                if (ascii::equals_ci(one.address, suppression.address)) out.emplace(one.id, suppression);
            }
        }
    }
    return out;
}

}  // namespace posthouse::relay
