#pragma once
/// server/imap/notifier: what NOTIFY asked for, and what of it has been told (RFC 5465).
///
/// It keeps how the client's mailboxes stood when they were told last; what differs now is what there is to tell. So
/// nothing is lost between two looks, many changes make one response, and events need no queue of their own.
/// Mailboxes that this session's own commands made, removed, renamed or subscribed are not told (RFC 5465 5).
/// Mailboxes of others are reached by their names and by subscriptions; a right that is taken away ends the news, and
/// one that comes back begins them again (RFC 5465 5.9).
/// Threads: the loop's. Pure but for its own state.
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/notify.h"
#include "server/imap/access.h"

namespace posthouse::server::imap {

/// Whether STATUS carries HIGHESTMODSEQ (RFC 5465 5.1: once CONDSTORE is enabled).
enum class ModSeqs { left_out, told };
struct NotifyDialect {
    ModSeqs modseqs = ModSeqs::left_out;
    posthouse::imap::NameForm names = posthouse::imap::NameForm::modified_utf7;
    bool condstore = true;     ///< there are mod-sequences, enabled or not
    bool children = true;      ///< LIST tells of them (RFC 3348)
    bool special_uses = true;  ///< and of these (RFC 6154)

    NotifyDialect() = default;
    NotifyDialect(ModSeqs modseqs_told, posthouse::imap::NameForm form) : modseqs(modseqs_told), names(form) {}
};

/// What a command of this session did to mailboxes. `to`: the new name, of `renamed` alone.
struct OwnChange {
    enum class Kind { created, removed, renamed, subscribed, unsubscribed };
    Kind kind = Kind::created;
    std::string name;
    std::string to;

    OwnChange(Kind what, std::string of, std::string into = "")
        : kind(what), name(std::move(of)), to(std::move(into)) {}
};

/// Annotations by mailbox; 0 is the account as a whole.
using Noted = std::map<MailboxId, std::vector<storage::Annotation>>;

class Notifier {
 public:
    /// Names in `program` are UTF-8. `account`: whose client it is. `mailboxes` is how they stand now: nothing of that
    /// is told. They are all the account sees; what it does not watch is left out.
    Notifier(posthouse::imap::NotifyProgram program, storage::AccountId account, std::vector<Mailbox> mailboxes);

    /// What is told of the selected mailbox; null: nothing (RFC 5465 3.1).
    const posthouse::imap::NotifyGroup* selected() const { return program_.selected(); }
    /// Whether anything is told of other mailboxes.
    bool watches_others() const;

    /// Leaves out mailboxes of others where nothing asked for can reach them.
    void drop_unwatched(std::vector<Mailbox>& mailboxes) const;
    /// As they were told last.
    std::span<const Mailbox> mailboxes() const { return told_; }
    /// LIST with \NoAccess of what is watched and may be looked up, not read (RFC 5465 3.1).
    void append_no_access(std::string& out, posthouse::imap::NameForm names) const;
    /// STATUS of every mailbox whose messages are watched, but the selected one (RFC 5465 3.1).
    void append_status(std::string& out, MailboxId selected, NotifyDialect dialect) const;
    /// What the client did itself counts as told from the next take_changes() on.
    void expect_own(OwnChange change);
    /// What differs in `now`, which then counts as told.
    void take_changes(std::string& out, std::vector<Mailbox> now, MailboxId selected, NotifyDialect dialect);

    /// Whether what is noted at mailboxes or at the account must be read too.
    bool watches_metadata() const;
    /// How it stands: nothing of that is told.
    void keep_metadata(Noted now) { noted_ = std::move(now); }
    /// The client's own SETMETADATA of a mailbox ("": the account) is not told.
    void note_own(std::string_view name, std::span<const storage::AnnotationChange> changes);
    /// The names of entries that differ in `now`, of mailboxes that take_changes() knows (RFC 5465 5.6, 5.7).
    void take_metadata(std::string& out, Noted now, NotifyDialect dialect);

 private:
    bool names_it(const posthouse::imap::NotifyGroup& group, const Mailbox& mailbox) const;
    /// What of the mailbox was asked for, and what of that the account may be told: "l" and "r" (RFC 5465 5).
    std::uint8_t asked_of(const Mailbox& mailbox) const;
    std::uint8_t events_of(const Mailbox& mailbox) const;
    void append_list(std::string& out, const Mailbox& mailbox, std::span<const Mailbox> all, std::string_view old_name,
                     NotifyDialect dialect) const;
    void append_gone(std::string& out, const Mailbox& mailbox, posthouse::imap::NameForm names) const;
    /// LIST of the parents of what came and went, each once (RFC 5465 5.4).
    void append_parents(std::string& out, std::span<const Mailbox> affected, std::span<const Mailbox> all,
                        NotifyDialect dialect) const;
    void take_own(std::span<const Mailbox> now);
    void compare(std::string& out, const Mailbox& before, const Mailbox& now, std::span<const Mailbox> all,
                 bool moved_along, MailboxId selected, NotifyDialect dialect) const;

    posthouse::imap::NotifyProgram program_;
    storage::AccountId account_;
    std::vector<Mailbox> told_;  // by id
    std::vector<OwnChange> own_;
    Noted noted_;
};

}  // namespace posthouse::server::imap
