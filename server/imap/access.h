#pragma once
/// server/imap/access: all that an IMAP session may ask of the rest of the program, on behalf of one account.
///
/// Asynchronous calls with plain values: a session holds no transaction, no file and no key, so that a
/// later release can put it into a process of its own. The account is bound when the object is made (after login) and
/// cannot be named again.
/// Invariants  1. A call that changes mail completes with success only when the change is durable.
///             2. What is neither this account's nor shared with it (storage/shared_mail.h) does not exist here.
/// Errors: as storage/mail.h; unavailable where too much work is queued.   Threads: the loop's.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/imap/search.h"
#include "protocols/imap/sort.h"
#include "protocols/imap/thread.h"
#include "protocols/net/task.h"
#include "server/imap/entry_list.h"
#include "server/imap/fetch_facts.h"
#include "storage/body.h"
#include "storage/mail.h"
#include "storage/search/condition.h"

namespace posthouse::server::imap {

using storage::Entry;
using storage::FlagBits;
using storage::Mailbox;
using storage::MailboxId;
using storage::ModSeq;
using storage::Uid;

using KeywordSets = std::vector<std::pair<std::uint32_t, std::vector<std::string>>>;

/// A mailbox at the moment of SELECT.
struct OpenedMailbox {
    Mailbox mailbox;
    EntryListPtr entries;      ///< never null; shared with other sessions
    KeywordSets keyword_sets;  ///< of all sets that `entries` name

    OpenedMailbox(Mailbox box, EntryListPtr list, KeywordSets sets)
        : mailbox(std::move(box)), entries(std::move(list)), keyword_sets(std::move(sets)) {}
};

/// What happened in a mailbox since a modseq.
struct MailboxNews {
    Mailbox mailbox;
    std::vector<Entry> changed;  ///< new ones too, by UID
    std::vector<Uid> expunged;   ///< by UID
    KeywordSets keyword_sets;    ///< of all sets that `changed` name
    EntryListPtr entries;        ///< all at mailbox.highest_modseq, for sharing; null where that would cost a read
};

/// What STATUS must read beyond the mailbox's own row; bits. kMustRead: Errc::denied where the account may not.
enum StatusReads : std::uint8_t { kReadRecent = 1, kReadDeleted = 2, kReadAnnotations = 4, kMustRead = 8 };

/// STATUS of a mailbox.
struct MailboxStatus {
    Mailbox mailbox;
    std::uint64_t recent = 0;                      ///< to a session that would select it now; with kReadRecent
    storage::Totals deleted;                       ///< what EXPUNGE would remove; with kReadDeleted
    std::vector<storage::Annotation> annotations;  ///< with kReadAnnotations
};

/// What the account holds and may hold; limits of 0 are none.
struct Quota {
    std::uint64_t octets = 0;
    std::uint64_t octets_max = 0;
    std::uint64_t messages = 0;
    std::uint64_t messages_max = 0;
};

/// All mailboxes and all subscribed names, of one moment.
struct MailboxListing {
    std::vector<MailboxStatus> mailboxes;  ///< by name
    std::vector<std::string> subscriptions;
};

struct BodyRange {
    Uid uid = 0;
    std::uint64_t offset = 0;
    std::uint64_t octets = 0;
};

/// What SEARCH could not decide from memory.
struct SearchCandidate {
    std::uint32_t number = 0;
    Line entry;
    bool recent = false;
    std::vector<std::string> keywords;
};

/// no, yes, or by what it is to be judged: the kept text (cheap) or the message (dear).
using SearchVerdict = storage::search::Verdict;

/// A message that is to be ordered.
struct ListedLine {
    std::uint32_t told = 0;  ///< its number or its UID
    Uid uid = 0;
    std::int64_t internal_date_s = 0;
    std::uint64_t size_octets = 0;
};

struct Copied {
    MailboxId mailbox{};             ///< the target
    std::uint32_t uid_validity = 0;  ///< of the target
    std::vector<std::pair<Uid, Uid>> uids;
    bool readable = true;  ///< the target: else its UIDs are not told (RFC 4315 3, RFC 9051 6.3.12)

    Copied() = default;
    Copied(const Mailbox& target, std::vector<std::pair<Uid, Uid>> pairs)
        : mailbox(target.id),
          uid_validity(target.uid_validity),
          uids(std::move(pairs)),
          readable(has(target.rights, storage::Right::read)) {}
};

struct Appended {
    MailboxId mailbox{};
    std::uint32_t uid_validity = 0;
    std::vector<Uid> uids;  ///< in the order of the messages
    bool readable = true;   ///< as in Copied

    Appended() = default;
    explicit Appended(const Mailbox& target)
        : mailbox(target.id),
          uid_validity(target.uid_validity),
          readable(has(target.rights, storage::Right::read)) {}
};

/// A message on its way into a mailbox.
struct NewMessage {
    storage::StagedBodyPtr body;
    storage::AppendOptions options;

    NewMessage(storage::StagedBodyPtr octets, storage::AppendOptions with)
        : body(std::move(octets)), options(std::move(with)) {}
};

/// A message that another one takes the place of (RFC 8508).
struct Replaced {
    MailboxId mailbox{};
    Uid uid = 0;
};

class Access {
 public:
    template <class T>
    using Answer = net::Task<Result<T>>;

    virtual ~Access() = default;

    /// The account's own and those of others that it may look up, by name. What it may not read has no numbers.
    virtual Answer<std::vector<Mailbox>> mailboxes() = 0;
    /// `reads`: bits of StatusReads.
    virtual Answer<MailboxListing> list(std::uint8_t reads) = 0;
    virtual Answer<MailboxStatus> status(std::string name, std::uint8_t reads) = 0;
    Answer<MailboxStatus> status(std::string name) { return status(std::move(name), 0); }
    /// Errc::conflict: another mailbox has that special use.
    virtual Answer<Mailbox> create(std::string name, storage::SpecialUse use) = 0;
    virtual Answer<void> remove(std::string name) = 0;
    virtual Answer<void> rename(std::string from, std::string to) = 0;
    virtual Answer<void> set_subscribed(std::string name, bool subscribed) = 0;

    virtual Answer<Quota> quota() = 0;
    /// What is noted at a mailbox; "": at the account as a whole.
    virtual Answer<std::vector<storage::Annotation>> annotations(std::string name) = 0;
    virtual Answer<void> annotate(std::string name, std::vector<storage::AnnotationChange> changes) = 0;

    /// Errc::denied without the right to administer it (RFC 4314).
    virtual Answer<std::vector<storage::RightsRow>> rights(std::string name) = 0;
    /// The address of whose it is.
    virtual Answer<std::string> owner(std::string name) = 0;
    virtual Answer<void> set_rights(std::string name, std::string identifier, storage::RightsChange how,
                                    storage::Rights rights) = 0;

    virtual Answer<OpenedMailbox> open(std::string name) = 0;
    /// The first UID that is \Recent to this session; all are told with it (RFC 3501 2.3.2). Needs no waiting: that
    /// it is told again after a power cut does no harm.
    virtual Uid take_recent(const Mailbox& mailbox) = 0;
    virtual Answer<MailboxNews> news(MailboxId mailbox, ModSeq since) = 0;

    /// One element a UID, in the same order.
    virtual Answer<FetchedFacts> facts(MailboxId mailbox, std::vector<Uid> uids, FactsOf of) = 0;
    /// One element a range, in the same order; nothing where the message is gone. The caller bounds the sum.
    virtual Answer<std::vector<std::optional<std::string>>> read(MailboxId mailbox, std::vector<BodyRange> ranges) = 0;
    /// What only the store knows of entries, one element a UID, in the same order; zeros where the message is gone.
    virtual Answer<std::vector<posthouse::imap::SearchSaved>> saved(MailboxId mailbox, std::vector<Uid> uids) = 0;
    /// What the search index says of messages that only their content can decide, one verdict a UID, in the same order.
    /// Without an index all are `in_mail`. `program` is resolved and never changes.
    virtual Answer<std::vector<SearchVerdict>> narrow(MailboxId mailbox,
                                                      std::shared_ptr<const posthouse::imap::SearchProgram> program,
                                                      std::vector<Uid> uids) = 0;
    /// UIDs of the candidates that match, judged by their content. `program` as above.
    virtual Answer<std::vector<Uid>> search(MailboxId mailbox,
                                            std::shared_ptr<const posthouse::imap::SearchProgram> program,
                                            std::vector<SearchCandidate> candidates) = 0;

    /// Adds messages to an order, by UID; those that are gone are left out. Nobody else may use `into` meanwhile.
    virtual Answer<void> sort(MailboxId mailbox, std::vector<ListedLine> lines,
                              std::shared_ptr<posthouse::imap::Sorter> into) = 0;
    /// Likewise to threads. `line.told` is what the response names.
    virtual Answer<void> thread(MailboxId mailbox, std::vector<ListedLine> lines,
                                std::shared_ptr<posthouse::imap::Threader> into) = 0;
    /// Work without any mail that would hold the loop for long.
    virtual Answer<void> compute(std::function<void()> work) = 0;

    /// UIDs expunged with a mod-sequence above `since`, by UID; where that is no longer remembered, all that are not
    /// there (RFC 7162 3.2.6).
    virtual Answer<std::vector<Uid>> expunged_since(MailboxId mailbox, ModSeq since) = 0;
    /// Messages with a mod-sequence above `unchanged_since` are left as they are (RFC 7162 3.1.3).
    virtual Answer<storage::StoreOutcome> store(MailboxId mailbox, std::vector<Uid> uids, storage::FlagChange change,
                                                std::optional<ModSeq> unchanged_since) = 0;
    virtual Answer<Copied> copy(MailboxId from, std::vector<Uid> uids, std::string to) = 0;
    virtual Answer<Copied> move(MailboxId from, std::vector<Uid> uids, std::string to) = 0;
    virtual Answer<std::vector<Uid>> expunge(MailboxId mailbox, std::vector<Uid> uids) = 0;

    /// Room for a message of that size: Errc::no_space. The writer takes it piece by piece.
    virtual Result<std::unique_ptr<storage::BodyWriter>> stage(std::uint64_t octets) = 0;
    /// All of them or none (RFC 3502 6.3.11), and in the same moment without `replaced`. Errc::conflict: that one is
    /// gone.
    virtual Answer<Appended> append(std::string name, std::vector<NewMessage> messages,
                                    std::optional<Replaced> replaced) = 0;
};

}  // namespace posthouse::server::imap
