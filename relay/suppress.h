#pragma once
/// relay/suppress: whom not to write to, and how that is learned (storage/suppression).
///   evidence   a permanent refusal in the remote's own words that the mailbox does not exist or is closed, of mail of
///              our own people; from RCPT, not from the answer to the whole message, which a filter may have given
///   use        before its first attempt mail to a suppressed address fails with those words; its sender is told
/// Pure, but for read_suppressed.
#include <map>
#include <optional>
#include <span>

#include "relay/client.h"
#include "storage/queue.h"
#include "storage/suppression.h"

namespace posthouse::relay {

struct Settled;

/// Mail of our own people that comes from somebody: what strangers send through an alias says nothing about them.
bool is_ours(const storage::QueueItem& item);
/// What the outcome shows of the recipient; nothing where it shows nothing.
std::optional<storage::SuppressionReason> evidence_of(const storage::QueueItem& item, const Settled& settled);
/// The receiver's own word, for good, that there is no such user; be it about the whole message.
bool is_unknown(const Settled& settled);
/// What its sender hears instead of an attempt.
Verdict verdict_of(const storage::Suppression& suppression);

using Suppressed = std::map<storage::RecipientId, storage::Suppression>;
/// Those of `recipients` (rows of one message next to each other) that get no mail.
Result<Suppressed> read_suppressed(const storage::Snapshot& snapshot,
                                   const std::map<storage::QueueId, storage::QueueItem>& items,
                                   std::span<const storage::QueueRecipient> recipients, Time now);

}  // namespace posthouse::relay
