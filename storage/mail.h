#pragma once
/// storage/mail: mailboxes and their messages on behalf of one account. There is no way to ask without an account.
///
/// Mailbox names are UTF-8 paths with '/' between the levels; "INBOX" in that spelling. A parent need not exist.
/// Invariants  1. UIDs of a mailbox only grow and are never given twice; UIDVALIDITY never changes for a mailbox, and a
///                mailbox made anew under an old name gets a higher one (RFC 3501 2.3.1.1).
///             2. Every change of an entry takes the account's next MODSEQ; it never falls (RFC 7162 3.1).
///             3. Expunged entries leave (uid, modseq) behind for QRESYNC and stay restorable for `undelete.days`; the
///                quota is given back at once and taken again by restore().
///             4. A body that this account has no entry for cannot be read through it.
/// Errors: not_found, already_exists, invalid (names), over_quota, conflict.  Threads: as Tx and Snapshot.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "protocols/mime/facts.h"
#include "storage/annotations.h"
#include "storage/body.h"
#include "storage/rights.h"
#include "storage/types.h"

namespace posthouse::storage {

struct Mailbox {
    MailboxId id{};
    std::string name;
    std::uint32_t uid_validity = 0;
    Uid uid_next = 1;
    ModSeq highest_modseq = 0;
    std::uint64_t messages = 0;
    std::uint64_t unseen = 0;
    std::uint64_t octets = 0;
    Uid recent_from = 1;  ///< entries with this UID or above have not been told to any session yet
    SpecialUse special_use = SpecialUse::none;
    bool subscribed = false;
    AccountId account{};         ///< its owner
    Rights rights = kAllRights;  ///< of the account that asks
};

/// A message in a mailbox; plain octets so that a million of them list fast.
/// What of an entry can change.
struct EntryFlags {
    Uid uid = 0;
    FlagBits flags = 0;
    std::uint32_t keyword_set = 0;  ///< as in Entry
    ModSeq modseq = 0;
};

struct Entry {
    Uid uid = 0;
    FlagBits flags = 0;
    std::uint32_t keyword_set = 0;  ///< 0: none; else see MailView::keywords
    ModSeq modseq = 0;
    std::int64_t internal_date_s = 0;  ///< Unix seconds, UTC
    std::int64_t save_date_s = 0;
    std::uint64_t size_octets = 0;
    MessageId message{};
};

/// What is told of many neighbouring entries at once. Views are valid during the visit.
enum class Listing {
    dates,   ///< the date: to order by
    texts,   ///< also what threads need: envelope, ids, header_octets
    shapes,  ///< what FETCH needs: envelope, structure, header_octets and the entry's own; no date
};
struct ListedFacts {
    Uid uid = 0;
    std::optional<std::int64_t> date_ms;  ///< of the Date field, Unix milliseconds
    std::string_view envelope;
    std::uint32_t header_octets = 0;
    // Empty but with Listing::texts.
    std::string_view message_id;
    std::string_view in_reply_to;
    // Empty but with Listing::shapes.
    std::string_view structure;  ///< mime::encode_structure
    MessageId message{};
    std::int64_t save_date_s = 0;
    std::uint64_t size_octets = 0;
};

/// What names a removed entry; also how far a page of them went.
struct DeletedKey {
    Time deleted{};
    MailboxId mailbox{};  ///< it lay in; the mailbox may be gone
    Uid uid = 0;          ///< it had there
};

/// A removed message that can still be brought back.
struct DeletedEntry {
    DeletedKey key;
    std::string mailbox_name;  ///< as the mailbox was called then
    std::int64_t internal_date_s = 0;
    std::uint64_t size_octets = 0;
    std::string subject;
    std::string from;
};

/// A removed mailbox; what lay in it has the same `deleted`.
struct DeletedMailbox {
    Time deleted{};
    MailboxId mailbox{};
    std::string name;
    SpecialUse special_use = SpecialUse::none;
    bool subscribed = false;
};

/// Which removed messages; all conditions together.
struct DeletedQuery {
    std::string mailbox;               ///< its name then; "": any
    std::optional<MailboxId> lay_in;   ///< that very mailbox
    std::optional<Uid> uid;            ///< with `lay_in`: one message
    std::optional<Time> since;         ///< removed at or after it
    std::optional<Time> at;            ///< removed at that very moment: what went with a mailbox
    std::optional<DeletedKey> before;  ///< the page behind this one
    std::size_t limit = 1000;
};

/// Some messages together.
struct Totals {
    std::uint64_t messages = 0;
    std::uint64_t octets = 0;
};

class MailView {
 public:
    virtual ~MailView() = default;
    virtual Result<std::vector<Mailbox>> mailboxes() const = 0;  ///< by name
    virtual Result<Mailbox> mailbox(std::string_view name) const = 0;
    virtual Result<Mailbox> mailbox(MailboxId id) const = 0;
    /// Subscribed names, of mailboxes that are gone too (RFC 3501 6.3.6).
    virtual Result<std::vector<std::string>> subscriptions() const = 0;
    /// Entries with first <= uid <= last, by UID.
    virtual Result<std::vector<Entry>> entries(MailboxId mailbox, Uid first, Uid last) const = 0;
    /// Entries with \Deleted, and those from `first` on, counted. Both look at each entry in question.
    virtual Result<Totals> deleted_totals(MailboxId mailbox) const = 0;
    virtual Result<std::uint64_t> count_from(MailboxId mailbox, Uid first) const = 0;
    /// Entries whose modseq is above `since`, by UID.
    virtual Result<std::vector<Entry>> changed_since(MailboxId mailbox, ModSeq since) const = 0;
    /// UIDs expunged with a modseq above `since`, by UID.
    virtual Result<std::vector<Uid>> expunged_since(MailboxId mailbox, ModSeq since) const = 0;
    /// The keywords of a set, sorted; never changes for a given id.
    virtual Result<std::vector<std::string>> keywords(std::uint32_t keyword_set) const = 0;
    /// All keywords in use in a mailbox, sorted (FLAGS and PERMANENTFLAGS).
    virtual Result<std::vector<std::string>> mailbox_keywords(MailboxId mailbox) const = 0;
    /// What was computed at arrival (envelope, structure, sizes); not_found unless this account holds the message.
    virtual Result<mime::MessageFacts> facts(MailboxId mailbox, Uid uid) const = 0;
    /// The same for many entries in one pass: `visit(entry index, facts)`.
    virtual Result<> each_facts(MailboxId mailbox, std::span<const Entry> entries,
                                const std::function<void(std::size_t, const mime::MessageFacts&)>& visit) const = 0;
    /// What is kept of all entries with first <= uid <= last, by UID, in one statement.
    virtual Result<> each_listed(MailboxId mailbox, Uid first, Uid last, Listing listing,
                                 const std::function<void(const ListedFacts&)>& visit) const = 0;
    virtual Result<BodyReader> body(MailboxId mailbox, Uid uid) const = 0;
    /// What is noted at a mailbox, this account's own first, by entry; mailbox 0: at the account as a whole.
    virtual Result<std::vector<Annotation>> annotations(MailboxId mailbox) const = 0;
    /// What its owner lets others do with it, by identifier.
    virtual Result<std::vector<RightsRow>> rights(MailboxId mailbox) const = 0;
    /// What can be restored, the latest removal first.
    virtual Result<std::vector<DeletedEntry>> deleted(const DeletedQuery& query) const = 0;
    virtual Result<std::vector<DeletedMailbox>> deleted_mailboxes() const = 0;
};

/// STORE (RFC 3501 6.4.6).
struct FlagChange {
    enum class How { replace, add, remove };
    How how = How::add;
    FlagBits flags = 0;
    std::vector<std::string> keywords;
};

struct StoreOutcome {
    std::vector<EntryFlags> changed;  ///< as they stand now; entries that already were so are left out
    std::vector<Uid> modified;        ///< failed UNCHANGEDSINCE (RFC 7162 3.1.3)
    ModSeq before = 0;                ///< the mailbox's highest before, and what `changed` has; 0: nothing changed
    ModSeq after = 0;
};

struct AppendOptions {
    FlagBits flags = 0;
    std::vector<std::string> keywords;
    std::optional<std::int64_t> internal_date_s;  ///< nothing: now
};

/// What restore() did; a key that is gone by now (purged, restored before) is passed over.
struct Restored {
    struct Place {
        MailboxId mailbox{};
        std::string name;
        std::uint64_t messages = 0;
    };
    std::vector<Place> places;
    std::uint64_t messages = 0;
};

class MailTx : public MailView {
 public:
    /// Creates missing parents too. invalid for bad names (empty, "//", over 255 octets a level, controls).
    virtual Result<Mailbox> create(std::string_view name, SpecialUse use) = 0;
    /// Children follow. INBOX: its messages move to the new mailbox and INBOX stays, children stay (RFC 3501 6.3.5).
    virtual Result<> rename(std::string_view from, std::string_view to) = 0;
    /// Children stay. INBOX is Errc::denied.
    virtual Result<> remove(std::string_view name) = 0;
    virtual Result<> set_subscribed(std::string_view name, bool subscribed) = 0;
    /// The message must have come in through this transaction (Tx::add_message) or be this account's.
    virtual Result<Entry> append(MailboxId mailbox, MessageId message, const AppendOptions& options) = 0;
    virtual Result<StoreOutcome> store(MailboxId mailbox, std::span<const Uid> uids, const FlagChange& change,
                                       std::optional<ModSeq> unchanged_since) = 0;
    /// (source uid, new uid) in ascending order; UIDs that do not exist are left out.
    virtual Result<std::vector<std::pair<Uid, Uid>>> copy(MailboxId from, std::span<const Uid> uids, MailboxId to) = 0;
    virtual Result<std::vector<std::pair<Uid, Uid>>> move(MailboxId from, std::span<const Uid> uids, MailboxId to) = 0;
    /// Removes these entries whatever their flags; gives back those that were there.
    virtual Result<std::vector<Uid>> expunge(MailboxId mailbox, std::span<const Uid> uids) = 0;
    /// A session has been told of all entries below this UID as \Recent.
    virtual Result<> note_recent(MailboxId mailbox, Uid up_to) = 0;
    /// All of them or none. Errc::too_large, limit, denied: see storage/annotations.h.
    virtual Result<> annotate(MailboxId mailbox, std::span<const AnnotationChange> changes) = 0;
    /// Without rights left the row goes. Errc::invalid: no such account; denied: the owner's own.
    virtual Result<> set_rights(MailboxId mailbox, std::string_view identifier, RightsChange how, Rights rights) = 0;
    /// Brings removed messages back, with new UIDs, flags (but \Deleted), keywords and internal date as they were: into
    /// `into`, or where they lay; a mailbox that is gone is made again under its last name. Errc::over_quota: none
    /// came.
    virtual Result<Restored> restore(std::span<const DeletedKey> keys, std::string_view into) = 0;
    /// Makes a removed mailbox again under its name (empty, with a new UIDVALIDITY), with its special use where that is
    /// free; one that stands there already is left as it is. Errc::not_found.
    virtual Result<Mailbox> restore_mailbox(Time deleted, MailboxId mailbox) = 0;
};

}  // namespace posthouse::storage
