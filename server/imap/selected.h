#pragma once
/// server/imap/selected: the selected mailbox as this client knows it: message numbers, UIDs and flags in memory.
///
/// Numbers change only when the client has been told (RFC 3501 7.4.1, RFC 9051 7.5.1): a message that another session
/// expunged keeps its place, marked gone, until take_expunges() writes the responses (RFC 2180 4.1). FETCH of flags,
/// UIDs, dates and sizes needs no read.
/// The entries are a version of the mailbox that all its sessions share (entry_list.h); of its own a session has only
/// what differs for it: which are \Recent, which are gone, which flags are to be told. Where that makes another version
/// necessary it shares all blocks but those that differ, and goes back to the common one when nothing differs any more.
/// Invariants  1. entries are in the order of UIDs, which only grow; number n is entry n - 1.
///             2. told_exists <= entries; messages beyond it have not been announced and are not addressed.
///             3. Every gone UID is among the entries.
/// Threads: the loop's. Pure but for its own state: reading the store is the session's part.
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/imap/sequence_set.h"
#include "server/imap/access.h"
#include "server/imap/entry_list.h"

namespace posthouse::server::imap {

enum class Mode { read_write, read_only };
enum class NumbersAre { message_numbers, uids };

/// How a client is told of changes: what it has enabled, and whether its command spoke of UIDs.
struct Dialect {
    bool uids = false;      ///< FETCH says the UID
    bool modseqs = false;   ///< and the mod-sequence (RFC 7162 3.1)
    bool vanished = false;  ///< VANISHED in the place of EXPUNGE (RFC 7162 3.2.10)
    bool recent = true;     ///< \Recent, and how many have it: not from IMAP4rev2 on (RFC 9051 E)
    bool uidfetch = false;  ///< UIDFETCH in the place of FETCH: no message numbers at all (RFC 9586)

    Dialect() = default;
    // NOLINTNEXTLINE(google-explicit-constructor): what a client has that enabled nothing
    Dialect(NumbersAre are) : uids(are == NumbersAre::uids) {}
};

class Selected {
 public:
    struct Row {
        Line entry;
        bool recent = false;
        bool gone = false;  ///< expunged, the client does not know yet
    };

    /// Messages from `recent_from` on are \Recent to this session.
    Selected(OpenedMailbox opened, Mode mode, Uid recent_from);

    const Mailbox& mailbox() const { return mailbox_; }
    MailboxId id() const { return mailbox_.id; }
    Mode mode() const { return mode_; }
    ModSeq known_modseq() const { return mailbox_.highest_modseq; }
    /// apply_own() has brought all that there is up to `modseq`.
    void set_known_modseq(ModSeq modseq) { mailbox_.highest_modseq = modseq; }
    /// Messages the client may address.
    std::uint32_t exists() const { return told_exists_; }
    std::uint32_t recent() const;
    /// Number of the first message without \Seen; 0 where there is none.
    std::uint32_t first_unseen() const;
    Uid uid_max() const;
    /// `number` is one that exists. Cheapest in the order of numbers.
    Row row(std::uint32_t number) const;
    bool is_gone(Uid uid) const;
    /// Number of a UID, or 0.
    std::uint32_t number_of(Uid uid) const;
    /// Number of the first message with this UID or a higher one, addressed or not.
    std::uint32_t number_from(Uid uid) const { return list_->lower_bound(uid) + 1; }
    Uid uid_of(std::uint32_t number) const { return list_->uid(number - 1, near_); }
    std::span<const std::string> keywords(std::uint32_t keyword_set) const;
    /// All keywords ever seen here, sorted, for FLAGS and PERMANENTFLAGS.
    const std::vector<std::string>& all_keywords() const { return all_keywords_; }

    /// What "$" stands for from now on: messages by number, ascending (RFC 5182 2.1). Kept as UIDs, so that what is
    /// expunged is no more in it.
    void save_result(std::span<const std::uint32_t> numbers);
    /// UIDs, ascending and apart.
    std::span<const posthouse::imap::SequenceSet::Range> last_result() const { return last_result_; }

    /// Numbers that a set names, ascending, gone ones among them. Errc::invalid for numbers that do not exist.
    Result<std::vector<std::uint32_t>> numbers(const posthouse::imap::SequenceSet& set, NumbersAre are) const;

    /// Whether news are noted for take_touched(); with `off` what was noted is forgotten.
    enum class Tracking : bool { off, on };
    void track_changes(Tracking tracking);
    /// UIDs of messages that came or changed since it was called last, announced or not, ascending.
    std::vector<Uid> take_touched();
    /// UIDs of messages that are expunged and still count, ascending.
    std::span<const Uid> gone() const { return gone_; }

    /// Marks all from `first` on as \Recent to this session.
    void mark_recent(Uid first);
    /// Takes over what the store says. True where there are new messages.
    bool apply(const MailboxNews& news);
    /// Takes over what this session changed itself and tells itself, by UID; what is known to be newer stays. False
    /// where some have keywords that are not known here, and these are left: news must be read first.
    bool apply_own(std::span<const storage::EntryFlags> changed);

    /// Appends "* n EXPUNGE", or one VANISHED, for all that are gone and closes the gaps.
    void take_expunges(std::string& out, const Dialect& dialect = Dialect());
    /// The same of `which` alone, by UID: the numbers of the others that are gone still count.
    void take_expunges(std::string& out, std::span<const Uid> which, const Dialect& dialect);
    /// Appends EXISTS and RECENT where messages came.
    void take_arrivals(std::string& out, const Dialect& dialect);
    /// Appends EXISTS, RECENT, FLAGS (for new keywords) and FETCH of changed flags, in the order of RFC 3501 7.
    void take_news(std::string& out, const Dialect& dialect);
    bool has_news() const;
    /// Changed flags are not told (RFC 5465 5.1); the client asks for them when it wants them.
    void forget_changed_flags() {
        forgot_flags_ = forgot_flags_ || !stale_.empty();
        stale_.clear();
    }
    bool has_expunges() const { return !gone_.empty(); }
    /// Nothing is left that the client has not been told, so that it may keep known_modseq() for its own.
    bool has_told_all() const { return !has_news() && !has_expunges() && !forgot_flags_; }
    /// Up to which mod-sequence the client knows everything, at a tagged response: where that is not the highest it has
    /// seen, since something is held back, and once more when it is again (RFC 7162 6). Else nothing.
    std::optional<ModSeq> take_known_whole();

    /// Only FLAGS and PERMANENTFLAGS, where keywords came up that have not been told: before a FETCH that shows them.
    void take_keywords(std::string& out);

    void append_flags_response(std::string& out) const;
    void append_permanent_flags(std::string& out) const;
    void append_fetch_flags(std::string& out, std::uint32_t number, const Dialect& dialect) const;
    /// "* 12 FETCH (UID 40 ", or "* 40 UIDFETCH (", up to the first item.
    void append_fetch_head(std::string& out, std::uint32_t number, const Dialect& dialect) const;

 private:
    struct UidRange {
        Uid first = 0;
        Uid last = 0;
    };
    void learn(const KeywordSets& sets);
    bool is_recent(Uid uid) const;
    std::uint32_t index_after(Uid uid) const;
    void take_changes(const MailboxNews& news, std::vector<Line>& lines);
    void take_removals(std::span<const Uid> expunged);
    void drop_unannounced();
    void share();

    Mailbox mailbox_;
    Mode mode_;
    EntryListPtr list_;             // never null; gone ones are in it
    EntryListPtr common_;           // the store's at mailbox_.highest_modseq, or null
    mutable std::size_t near_ = 0;  // where the last look at a row ended
    std::vector<Uid> gone_;         // by UID
    std::vector<Uid> stale_;        // by UID: flags changed, the client does not know yet
    std::vector<UidRange> recent_;  // apart and in order
    std::vector<posthouse::imap::SequenceSet::Range> last_result_;
    std::map<std::uint32_t, std::vector<std::string>> keyword_sets_;
    std::vector<std::string> all_keywords_;
    std::vector<Uid> touched_;  // by UID
    Tracking tracking_ = Tracking::off;
    std::uint32_t told_exists_ = 0;
    bool keywords_grew_ = false;
    bool recent_changed_ = false;
    bool forgot_flags_ = false;  // changes of flags that nobody wanted to hear of
    ModSeq told_modseq_ = 0;     // up to here all is told
    bool held_back_ = false;     // the client knows that it may not go further
};

}  // namespace posthouse::server::imap
