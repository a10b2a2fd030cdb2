#include "server/imap/notifier.h"

#include <algorithm>
#include <map>
#include <set>

#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/response.h"
#include "server/imap/metadata_response.h"
#include "server/imap/names.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

void sort_by_id(std::vector<Mailbox>& mailboxes) { std::ranges::sort(mailboxes, {}, &Mailbox::id); }

bool is_below(std::string_view name, std::string_view root) {
    return name.size() > root.size() && name.starts_with(root) && name[root.size()] == wire::kDelimiter;
}

void append_status_line(std::string& out, const Mailbox& mailbox, NotifyDialect dialect) {
    out += "* STATUS ";
    wire::append_mailbox(out, mailbox.name, dialect.names);
    out += " (MESSAGES ";
    wire::append_number(out, mailbox.messages);
    out += " UIDNEXT ";
    wire::append_number(out, mailbox.uid_next);
    out += " UIDVALIDITY ";
    wire::append_number(out, mailbox.uid_validity);
    out += " UNSEEN ";
    wire::append_number(out, mailbox.unseen);
    if (dialect.modseqs == ModSeqs::told) {
        out += " HIGHESTMODSEQ ";
        wire::append_number(out, mailbox.highest_modseq);
    }
    out += ")\r\n";
}

// RFC 5465 5.1: without mod-sequences a client can be told of changed flags only where the number of unseen ones is
// another.
bool differs(const Mailbox& before, const Mailbox& now, std::uint8_t events, ModSeqs modseqs) {
    if ((events & wire::kMessageNew) != 0 && (before.messages != now.messages || before.uid_next != now.uid_next)) {
        return true;
    }
    if ((events & wire::kFlagChange) == 0) return false;
    return before.unseen != now.unseen || (modseqs == ModSeqs::told && before.highest_modseq != now.highest_modseq);
}

// The name above, or "".
std::string_view parent_of(std::string_view name) {
    const std::size_t end = name.rfind(wire::kDelimiter);
    return end == std::string_view::npos ? std::string_view() : name.substr(0, end);
}

// The names of mailboxes that got others, by the old ones.
using Renames = std::map<std::string_view, std::string_view>;
Renames renames_of(std::span<const Mailbox> before, std::span<const Mailbox> now) {
    Renames out;
    auto old = before.begin();
    for (const Mailbox& mailbox : now) {
        while (old != before.end() && old->id < mailbox.id) ++old;
        if (old == before.end()) break;
        if (old->id == mailbox.id && old->name != mailbox.name) out.emplace(old->name, mailbox.name);
    }
    return out;
}

// Whether it got its new name because a mailbox above it got one.
bool was_moved_along(const Renames& renames, std::string_view before, std::string_view now) {
    for (std::string_view above = parent_of(before); !above.empty(); above = parent_of(above)) {
        const auto at = renames.find(above);
        if (at == renames.end()) continue;
        const std::string_view rest = before.substr(above.size());
        if (now.size() == at->second.size() + rest.size() && now.starts_with(at->second) && now.ends_with(rest))
            return true;
    }
    return false;
}

bool is_readable(const Mailbox& mailbox) { return has(mailbox.rights, storage::Right::read); }

void append_inaccessible(std::string& out, std::string_view name, wire::NameForm names) {
    out += "* LIST (\\NoAccess) \"/\" ";
    wire::append_mailbox(out, name, names);
    out += "\r\n";
}

// "* METADATA name /shared/comment /private/comment" of what came, went or has another value (RFC 5464 4.4.2).
void append_differing(std::string& out, std::string_view name, std::span<const storage::Annotation> before,
                      std::span<const storage::Annotation> now, wire::NameForm names) {
    std::set<std::string> entries;
    const auto is_in = [](std::span<const storage::Annotation> all, const storage::Annotation& one) {
        return std::ranges::any_of(all, [&](const storage::Annotation& other) {
            return other.audience == one.audience && other.entry == one.entry && other.value == one.value;
        });
    };
    for (const storage::Annotation& one : before) {
        if (!is_in(now, one)) entries.insert(full_entry(one));
    }
    for (const storage::Annotation& one : now) {
        if (!is_in(before, one)) entries.insert(full_entry(one));
    }
    if (entries.empty()) return;
    out += "* METADATA ";
    wire::append_mailbox(out, name, names);
    for (const std::string& entry : entries) {
        out += ' ';
        wire::append_astring(out, entry);
    }
    out += "\r\n";
}

}  // namespace

Notifier::Notifier(wire::NotifyProgram program, storage::AccountId account, std::vector<Mailbox> mailboxes)
    : program_(std::move(program)), account_(account), told_(std::move(mailboxes)) {
    drop_unwatched(told_);
    sort_by_id(told_);
}

bool Notifier::names_it(const wire::NotifyGroup& group, const Mailbox& mailbox) const {
    switch (group.filter) {
        case wire::NotifyFilter::selected:
        case wire::NotifyFilter::selected_delayed: return false;
        // Rules may file anywhere: inboxes are all there are of its own (RFC 5465 6.3).
        case wire::NotifyFilter::inboxes:
        case wire::NotifyFilter::personal: return mailbox.account == account_;
        case wire::NotifyFilter::subscribed: return mailbox.subscribed;
        case wire::NotifyFilter::mailboxes: return std::ranges::find(group.names, mailbox.name) != group.names.end();
        case wire::NotifyFilter::subtree:
            return std::ranges::any_of(group.names, [&](const std::string& root) {
                return mailbox.name == root || is_below(mailbox.name, root);
            });
        case wire::NotifyFilter::subtree_one:
            return std::ranges::any_of(group.names, [&](const std::string& root) {
                return mailbox.name == root || parent_of(mailbox.name) == root;
            });
    }
    return false;
}

void Notifier::drop_unwatched(std::vector<Mailbox>& mailboxes) const {
    // A subscription may come later, a name may come into being: what could be reached stays.
    const bool reaches = std::ranges::any_of(program_.groups, [](const wire::NotifyGroup& group) {
        return group.events != 0 &&
               (group.filter == wire::NotifyFilter::subscribed || group.filter == wire::NotifyFilter::mailboxes ||
                group.filter == wire::NotifyFilter::subtree || group.filter == wire::NotifyFilter::subtree_one);
    });
    if (!reaches) std::erase_if(mailboxes, [&](const Mailbox& mailbox) { return mailbox.account != account_; });
}

void Notifier::append_no_access(std::string& out, wire::NameForm names) const {
    for (const Mailbox& mailbox : told_) {
        if (asked_of(mailbox) != 0 && !is_readable(mailbox)) append_inaccessible(out, mailbox.name, names);
    }
}

bool Notifier::watches_others() const {
    return std::ranges::any_of(program_.groups, [](const wire::NotifyGroup& group) {
        return group.events != 0 && group.filter != wire::NotifyFilter::selected &&
               group.filter != wire::NotifyFilter::selected_delayed;
    });
}

bool Notifier::watches_metadata() const {
    return std::ranges::any_of(program_.groups, [](const wire::NotifyGroup& group) {
        return (group.events & (wire::kMailboxMetadataChange | wire::kServerMetadataChange)) != 0;
    });
}

void Notifier::take_metadata(std::string& out, Noted now, NotifyDialect dialect) {
    const bool of_server = std::ranges::any_of(program_.groups, [](const wire::NotifyGroup& group) {
        return (group.events & wire::kServerMetadataChange) != 0;
    });
    if (of_server) append_differing(out, "", noted_[MailboxId{}], now[MailboxId{}], dialect.names);
    for (const Mailbox& mailbox : told_) {
        if ((events_of(mailbox) & wire::kMailboxMetadataChange) == 0) continue;
        append_differing(out, mailbox.name, noted_[mailbox.id], now[mailbox.id], dialect.names);
    }
    noted_ = std::move(now);
}

void Notifier::note_own(std::string_view name, std::span<const storage::AnnotationChange> changes) {
    MailboxId id{};
    if (!name.empty()) {
        const auto at = std::ranges::find(told_, name, &Mailbox::name);
        if (at == told_.end()) return;
        id = at->id;
    }
    std::vector<storage::Annotation>& known = noted_[id];
    for (const storage::AnnotationChange& change : changes) {
        std::erase_if(known, [&](const storage::Annotation& one) {
            return one.audience == change.audience && one.entry == change.entry;
        });
        if (change.value) known.push_back({change.audience, change.entry, *change.value});
    }
}

std::uint8_t Notifier::asked_of(const Mailbox& mailbox) const {
    std::uint8_t out = 0;
    for (const wire::NotifyGroup& group : program_.groups) {
        if (names_it(group, mailbox)) out |= group.events;
    }
    return out;
}

std::uint8_t Notifier::events_of(const Mailbox& mailbox) const {
    return is_readable(mailbox) ? asked_of(mailbox) : std::uint8_t{0};
}

void Notifier::append_status(std::string& out, MailboxId selected, NotifyDialect dialect) const {
    for (const Mailbox& mailbox : told_) {
        const std::uint8_t events = events_of(mailbox);
        if (mailbox.id == selected || (events & wire::kMessageEvents) == 0) continue;
        NotifyDialect of_this = dialect;  // whether or not the client enabled it (RFC 5465 3.1)
        if ((events & wire::kFlagChange) != 0 && dialect.condstore) of_this.modseqs = ModSeqs::told;
        append_status_line(out, mailbox, of_this);
    }
}

void Notifier::append_list(std::string& out, const Mailbox& mailbox, std::span<const Mailbox> all,
                           std::string_view old_name, NotifyDialect dialect) const {
    const bool parent =
        std::ranges::any_of(all, [&](const Mailbox& other) { return is_below(other.name, mailbox.name); });
    out += "* LIST (";
    if (dialect.children) out += parent ? "\\HasChildren " : "\\HasNoChildren ";
    if (mailbox.subscribed) out += "\\Subscribed ";
    if (dialect.special_uses) out += special_use_attribute(mailbox.special_use);
    while (out.back() == ' ') out.pop_back();
    out += ") \"/\" ";
    wire::append_mailbox(out, mailbox.name, dialect.names);
    if (!old_name.empty()) {
        out += " (\"OLDNAME\" (";
        wire::append_mailbox(out, old_name, dialect.names);
        out += "))";
    }
    out += "\r\n";
}

void Notifier::append_gone(std::string& out, const Mailbox& mailbox, wire::NameForm names) const {
    // That another's mailbox is watched no more is told whatever was asked for (RFC 5465 5.9).
    const std::uint8_t asked = asked_of(mailbox);
    const bool lost = mailbox.account != account_ && asked != 0;
    if (!lost && (asked & wire::kMailboxName) == 0) return;
    out += "* LIST (\\NonExistent) \"/\" ";
    wire::append_mailbox(out, mailbox.name, names);
    out += "\r\n";
}

void Notifier::append_parents(std::string& out, std::span<const Mailbox> affected, std::span<const Mailbox> all,
                              NotifyDialect dialect) const {
    std::set<std::string_view> told;  // by their own responses
    for (const Mailbox& mailbox : affected) told.insert(mailbox.name);
    for (const Mailbox& mailbox : affected) {
        const std::string_view name = parent_of(mailbox.name);
        if (name.empty() || !told.insert(name).second) continue;
        const auto there = std::ranges::find(all, name, &Mailbox::name);
        if (there != all.end()) {
            if ((events_of(*there) & wire::kMailboxName) != 0) append_list(out, *there, all, "", dialect);
            continue;
        }
        // Of another's that is not there, or not seen, nothing is told.
        Mailbox missing;
        missing.name = name;
        missing.account = mailbox.account;
        if (missing.account == account_) append_gone(out, missing, dialect.names);
    }
}

void Notifier::expect_own(OwnChange change) { own_.push_back(std::move(change)); }

void Notifier::take_own(std::span<const Mailbox> now) {
    const auto add = [&](std::string_view name) {  // what came with it among them
        for (const Mailbox& mailbox : now) {
            if (mailbox.name != name && !is_below(name, mailbox.name)) continue;
            const auto at = std::ranges::lower_bound(told_, mailbox.id, {}, &Mailbox::id);
            if (at == told_.end() || at->id != mailbox.id) told_.insert(at, mailbox);
        }
    };
    for (const OwnChange& change : own_) {
        using Kind = OwnChange::Kind;
        if (change.kind == Kind::created) add(change.name);
        if (change.kind == Kind::renamed) add(parent_of(change.to));
        for (Mailbox& mailbox : told_) {
            const bool named = mailbox.name == change.name;
            if (named && change.kind == Kind::subscribed) mailbox.subscribed = true;
            if (named && change.kind == Kind::unsubscribed) mailbox.subscribed = false;
            if (change.kind != Kind::renamed || (!named && !is_below(mailbox.name, change.name))) continue;
            mailbox.name.replace(0, change.name.size(), change.to);
            const auto moved = std::ranges::lower_bound(now, mailbox.id, {}, &Mailbox::id);  // names are subscribed
            if (moved != now.end() && moved->id == mailbox.id) mailbox.subscribed = moved->subscribed;
        }
        if (change.kind == Kind::removed) std::erase_if(told_, [&](const Mailbox& m) { return m.name == change.name; });
    }
    own_.clear();
}

void Notifier::compare(std::string& out, const Mailbox& before, const Mailbox& now, std::span<const Mailbox> all,
                       bool moved_along, MailboxId selected, NotifyDialect dialect) const {
    if (is_readable(before) != is_readable(now) && asked_of(now) != 0) {
        if (!is_readable(now)) return append_inaccessible(out, now.name, dialect.names);
        append_list(out, now, all, "", dialect);
        if ((events_of(now) & wire::kMessageEvents) != 0) append_status_line(out, now, dialect);
        return;
    }
    const std::uint8_t events = events_of(before) | events_of(now);
    // What moves along with its parent makes no event of its own (RFC 5465 5.4).
    const bool renamed = before.name != now.name && !moved_along && (events & wire::kMailboxName) != 0;
    const bool subscribed = before.subscribed != now.subscribed && (events & wire::kSubscriptionChange) != 0;
    if (renamed || subscribed) append_list(out, now, all, renamed ? std::string_view(before.name) : "", dialect);
    if (now.id != selected && differs(before, now, events, dialect.modseqs)) append_status_line(out, now, dialect);
}

void Notifier::take_changes(std::string& out, std::vector<Mailbox> now, MailboxId selected, NotifyDialect dialect) {
    sort_by_id(now);
    take_own(now);
    const Renames renames = renames_of(told_, now);
    std::vector<Mailbox> affected;
    auto before = told_.begin();
    const auto tell_gone = [&](const Mailbox& mailbox) {
        append_gone(out, mailbox, dialect.names);
        affected.push_back(mailbox);
    };
    for (const Mailbox& mailbox : now) {
        for (; before != told_.end() && before->id < mailbox.id; ++before) tell_gone(*before);
        if (before != told_.end() && before->id == mailbox.id) {
            const bool along = before->name != mailbox.name && was_moved_along(renames, before->name, mailbox.name);
            compare(out, *before, mailbox, now, along, selected, dialect);
            ++before;
            continue;
        }
        affected.push_back(mailbox);
        const std::uint8_t events = events_of(mailbox);
        if (!is_readable(mailbox) && asked_of(mailbox) != 0) append_inaccessible(out, mailbox.name, dialect.names);
        if ((events & wire::kMailboxName) != 0) append_list(out, mailbox, now, "", dialect);
        if ((events & wire::kMessageNew) != 0 && mailbox.messages > 0) append_status_line(out, mailbox, dialect);
    }
    for (; before != told_.end(); ++before) tell_gone(*before);
    append_parents(out, affected, now, dialect);
    told_ = std::move(now);
}

}  // namespace posthouse::server::imap
