#pragma once
/// storage/context (internal): what the parts of one write, or of one snapshot, share.
/// Threads: lives on the commit thread (write) or the reader's.
#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/clock.h"
#include "storage/report_tally.h"
#include "storage/segment.h"
#include "storage/sqlite.h"
#include "storage/store.h"

namespace posthouse::storage {

/// A body that was appended and synced for this write.
struct PlacedBody {
    const StagedBody* body = nullptr;
    MessageId message{};
    Placement placement;
};

/// State of one write between its savepoint and its end.
struct WriteState {
    Time now{};
    std::int64_t* last_event = nullptr;  ///< shared by the batch, saved before the commit
    std::span<const PlacedBody> bodies;
    std::vector<MessageId> added;  ///< rows inserted by this write
    std::map<MessageId, std::int64_t> ref_changes;
    std::vector<QueueId> touched_items;  ///< may have become final
    ReportTally tally;                   ///< what its events add to the reports
    CommitNotice notice;
    void queue_is_due() { notice.queue = notice.due = true; }

    bool is_added(MessageId message) const { return std::ranges::find(added, message) != added.end(); }
    void changed(AccountId account, MailboxId mailbox, ModSeq modseq) {
        for (MailboxChange& change : notice.mailboxes) {
            if (change.account == account && change.mailbox == mailbox) {
                change.modseq = modseq;
                return;
            }
        }
        notice.mailboxes.push_back(MailboxChange{account, mailbox, modseq});
    }
    void removed(AccountId account, MailboxId mailbox, ModSeq modseq) {
        changed(account, mailbox, modseq);
        for (MailboxChange& change : notice.mailboxes) {
            if (change.account == account && change.mailbox == mailbox) change.removed = true;
        }
    }
};

struct Context {
    Connection& db;
    SegmentReaders& segments;
    WriteState* write = nullptr;  ///< null in a snapshot
};

/// For the rooms beneath storage/ that keep SQL of their own (search, backup, check, upkeep): what stands behind the
/// interfaces of storage/store.h. Valid as long as what was given.
Context& context_of(Tx& tx);
const Context& context_of(const Snapshot& snapshot);
Directory& directory_of(Store& store);
SegmentReaders& segments_of(Store& store);

// ---- rows of `messages` (messages.cpp)

Result<> insert_message(Context& context, const PlacedBody& placed, const mime::MessageFacts& facts, std::int64_t refs);
/// Takes effect at the end of the write.
void change_refs(Context& context, MessageId message, std::int64_t by);
/// A record of a segment that no row names any more.
Result<> note_dead(Connection& db, std::int64_t segment, std::uint64_t payload_octets);
/// Saves the changes and drops messages that nothing refers to.
Result<> settle_refs(Context& context);
/// The message among the bodies of this write.
Result<const PlacedBody*> placed_body(const Context& context, const StagedBodyPtr& body);
Result<BodyReader> open_body(const Context& context, MessageId message);
Result<mime::MessageFacts> load_facts(const Context& context, MessageId message);
/// Columns of kFactColumns, beginning at `column`.
mime::MessageFacts facts_of(const Query& row, int column);
#define POSTHOUSE_FACT_COLUMNS                                                                             \
    "m.envelope, m.structure, m.subject, m.from_text, m.to_text, m.message_id, m.in_reply_to, m.date_ms, " \
    "m.size_octets, "                                                                                      \
    "m.header_octets, m.hops"

}  // namespace posthouse::storage
