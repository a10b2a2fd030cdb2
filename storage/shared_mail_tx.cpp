// Changing what is shared: each call asks for the rights of RFC 4314 4 before it hands over to the owner's mail.
#include <fmt/format.h>

#include <algorithm>

#include "storage/shared_mail.h"
#include "storage/tx.h"

namespace posthouse::storage {
namespace {

constexpr Rights need(Right right) { return static_cast<Rights>(right); }
constexpr Rights kFlagRights = any_of(Right::seen, Right::write, Right::mark_deleted);

Error not_allowed(std::string_view what) {
    return Error(Errc::denied, fmt::format("the owner does not allow that for \"{}\"", what));
}

/// The same of a mailbox by its name, which those who may not look it up do not learn of (RFC 4314 6).
Error not_allowed(const Mailbox& seen) {
    if (!has(seen.rights, Right::lookup)) return Error(Errc::not_found, "there is no such mailbox");
    return not_allowed(seen.name);
}

/// The flags that these rights let an account change.
FlagBits changeable(Rights rights) {
    FlagBits out = 0;
    if (has(rights, Right::seen)) out |= bit(Flag::seen);
    if (has(rights, Right::mark_deleted)) out |= bit(Flag::deleted);
    if (has(rights, Right::write)) out |= bit(Flag::answered) | bit(Flag::flagged) | bit(Flag::draft);
    return out;
}

/// What came of a second step over the same messages.
void merge(StoreOutcome& into, StoreOutcome&& more) {
    for (const EntryFlags& entry : more.changed) {
        const auto at = std::ranges::lower_bound(into.changed, entry.uid, {}, &EntryFlags::uid);
        if (at != into.changed.end() && at->uid == entry.uid)
            *at = entry;
        else
            into.changed.insert(at, entry);
    }
    into.modified.insert(into.modified.end(), more.modified.begin(), more.modified.end());
    if (into.before == 0) into.before = more.before;
    into.after = std::max(into.after, more.after);
}

}  // namespace

// RFC 4314 4: "k" on the nearest mailbox above that exists.
Result<> SharedMail::check_create(const Place& place) const {
    if (place.owner == AccountId{}) return Error(Errc::not_found, "there is no such mailbox");
    std::string above = place.rest;
    for (;;) {
        const std::size_t slash = above.rfind('/');
        // Beside the owner's topmost mailboxes only the owner makes some; and nobody learns whether there are any.
        if (slash == std::string::npos) return Error(Errc::not_found, "there is no such mailbox");
        above.resize(slash);
        const auto parent = of(place.owner).mailbox(above);
        if (!parent) continue;
        TRY(const Mailbox seen, mailbox(place.prefix + above));
        if (!has(seen.rights, Right::create)) return not_allowed(seen);
        return {};
    }
}

Result<Mailbox> SharedMail::create(std::string_view name, SpecialUse use) {
    TRY(const auto where, place(name));
    if (!where) return own().create(name, use);
    TRY_VOID(check_create(*where));
    if (use != SpecialUse::none) return not_allowed(name);
    TRY(const Mailbox made, of(where->owner).create(where->rest, SpecialUse::none));
    TRY(const Grants found, grants(made.id));  // the rights of the mailbox above
    if (found.empty()) return made;
    return seen_as(found.begin()->second, made.id);
}

Result<> SharedMail::rename(std::string_view from, std::string_view to) {
    TRY(const auto target, place(to));
    const bool mine = own().mailbox(from).has_value();
    TRY(const auto source, place(from));
    if (mine || !source) {
        if (target) return Error(Errc::unsupported, "a mailbox cannot move to another account");
        // What lies below would come to stand where others' mailboxes are shown.
        TRY(const auto all, own().mailboxes());
        const std::string above = fmt::format("{}/", from);
        if (is_namespace(to) && std::ranges::any_of(all, [&](const Mailbox& m) { return m.name.starts_with(above); })) {
            return Error(Errc::unsupported, fmt::format("\"{}\" is for what others share", to));
        }
        return own().rename(from, to);
    }
    TRY(const Mailbox moved, mailbox(from));
    if (!has(moved.rights, Right::remove) || source->rest == "INBOX") return not_allowed(moved);
    if (!target || target->owner != source->owner) {
        return Error(Errc::unsupported, "a mailbox cannot move to another account");
    }
    TRY_VOID(check_create(*target));
    // What lies below moves too.
    TRY(const auto all, of(source->owner).mailboxes());
    for (const Mailbox& below : all) {
        if (!below.name.starts_with(source->rest + "/")) continue;
        TRY(const Grants found, grants(below.id));
        if (found.empty() || !has(found.begin()->second.rights, Right::remove)) return not_allowed(from);
    }
    return of(source->owner).rename(source->rest, target->rest);
}

Result<> SharedMail::remove(std::string_view name) {
    TRY(const auto where, place(name));
    if (!where || own().mailbox(name)) return own().remove(name);
    TRY(const Mailbox gone, mailbox(name));
    if (!has(gone.rights, Right::remove)) return not_allowed(gone);
    return of(where->owner).remove(where->rest);
}

Result<> SharedMail::set_subscribed(std::string_view name, bool subscribed) {
    return own().set_subscribed(name, subscribed);
}

Result<Entry> SharedMail::append(MailboxId mailbox, MessageId message, const AppendOptions& options) {
    TRY(MailImpl* const mail, reach(mailbox, need(Right::insert)));
    TRY(const Grant found, grant(mailbox));
    // Flags that may not be set are left out, the message comes all the same (RFC 4314 4).
    AppendOptions allowed = options;
    allowed.flags &= changeable(found.rights);
    if (!has(found.rights, Right::write)) allowed.keywords.clear();
    // It is the account that must hold the message, not the owner of the mailbox.
    TRY_VOID(own().check_holds(message));
    return mail->put(mailbox, message, allowed);
}

Result<StoreOutcome> SharedMail::store(MailboxId mailbox, std::span<const Uid> uids, const FlagChange& change,
                                       std::optional<ModSeq> unchanged_since) {
    TRY(MailImpl* const mail, reach(mailbox, need(Right::read)));
    TRY(const Grant found, grant(mailbox));
    if ((found.rights & kFlagRights) == kFlagRights) return mail->store(mailbox, uids, change, unchanged_since);
    const FlagBits may = changeable(found.rights);
    const bool words = has(found.rights, Right::write);
    using How = FlagChange::How;
    if (may == 0) return not_allowed(found.shared_name);
    FlagChange allowed = change;
    allowed.flags &= may;
    if (!words) allowed.keywords.clear();
    if (change.how != How::replace) {
        // It fails only where nothing of it is allowed (RFC 4314 4).
        if (allowed.flags == 0 && allowed.keywords.empty()) return not_allowed(found.shared_name);
        return mail->store(mailbox, uids, allowed, unchanged_since);
    }
    if (!words) {
        FlagChange off;
        off.how = How::remove;
        off.flags = may & static_cast<FlagBits>(~allowed.flags);
        TRY(StoreOutcome out, mail->store(mailbox, uids, off, unchanged_since));
        allowed.how = How::add;
        std::vector<Uid> rest(uids.begin(), uids.end());
        std::erase_if(rest, [&](Uid uid) { return std::ranges::find(out.modified, uid) != out.modified.end(); });
        TRY(StoreOutcome on, mail->store(mailbox, rest, allowed, std::nullopt));
        merge(out, std::move(on));
        return out;
    }
    // All else is replaced, and what may not be changed stays: messages alike in that go together.
    std::map<FlagBits, std::vector<Uid>> alike;
    for (const Uid uid : uids) {
        TRY(const auto entry, mail->entries(mailbox, uid, uid));
        if (!entry.empty()) alike[entry[0].flags & static_cast<FlagBits>(~may)].push_back(uid);
    }
    StoreOutcome out;
    for (const auto& [kept, group] : alike) {
        FlagChange one = allowed;
        one.flags |= kept;
        TRY(StoreOutcome done, mail->store(mailbox, group, one, unchanged_since));
        merge(out, std::move(done));
    }
    std::ranges::sort(out.modified);
    return out;
}

Result<std::vector<std::pair<Uid, Uid>>> SharedMail::copy_across(MailImpl& from_mail, MailboxId from,
                                                                 std::span<const Uid> uids, MailImpl& to_mail,
                                                                 MailboxId to, Rights rights) {
    std::vector<Uid> ascending(uids.begin(), uids.end());
    std::ranges::sort(ascending);
    const auto [first, last] = std::ranges::unique(ascending);
    ascending.erase(first, last);
    std::vector<std::pair<Uid, Uid>> out;
    for (const Uid uid : ascending) {
        TRY(const auto entry, from_mail.entries(from, uid, uid));
        if (entry.empty()) continue;
        AppendOptions options;
        options.flags = entry[0].flags & changeable(rights);
        if (has(rights, Right::write)) {
            TRY(options.keywords, from_mail.keywords(entry[0].keyword_set));
        }
        options.internal_date_s = entry[0].internal_date_s;
        TRY(const Entry made, to_mail.put(to, entry[0].message, options));
        out.emplace_back(uid, made.uid);
    }
    return out;
}

Result<std::vector<std::pair<Uid, Uid>>> SharedMail::copy(MailboxId from, std::span<const Uid> uids, MailboxId to) {
    TRY(MailImpl* const source, reach(from, need(Right::read)));
    TRY(MailImpl* const target, reach(to, need(Right::insert)));
    TRY(const Grant found, grant(to));
    const bool whole = (found.rights & kFlagRights) == kFlagRights;
    if (source == target && whole) return source->copy(from, uids, to);
    return copy_across(*source, from, uids, *target, to, found.rights);
}

// As COPY, then \Deleted and EXPUNGE (RFC 6851 3.3).
Result<std::vector<std::pair<Uid, Uid>>> SharedMail::move(MailboxId from, std::span<const Uid> uids, MailboxId to) {
    TRY(MailImpl* const source, reach(from, any_of(Right::read, Right::mark_deleted, Right::expunge)));
    TRY(MailImpl* const target, reach(to, need(Right::insert)));
    TRY(const Grant found, grant(to));
    const bool whole = (found.rights & kFlagRights) == kFlagRights;
    if (source == target && whole) return source->move(from, uids, to);
    TRY(auto out, copy_across(*source, from, uids, *target, to, found.rights));
    TRY_VOID(source->expunge(from, uids));
    return out;
}

Result<std::vector<Uid>> SharedMail::expunge(MailboxId mailbox, std::span<const Uid> uids) {
    TRY(MailImpl* const mail, reach(mailbox, any_of(Right::read, Right::expunge)));
    return mail->expunge(mailbox, uids);
}

Result<> SharedMail::note_recent(MailboxId mailbox, Uid up_to) {
    TRY(MailImpl* const mail, reach(mailbox, need(Right::read)));
    return mail->note_recent(mailbox, up_to);
}

Result<> SharedMail::annotate(MailboxId mailbox, std::span<const AnnotationChange> changes) {
    if (mailbox == MailboxId{}) return own().annotate(mailbox, changes);
    TRY(const Grant found, grant(mailbox));
    const bool shared = std::ranges::any_of(
        changes, [](const AnnotationChange& change) { return change.audience == Audience::everyone; });
    const bool allowed = has(found.rights, Right::lookup) && has(found.rights, shared ? Right::write : Right::read);
    if (!allowed) return missing(found);
    return of(found.owner).annotate_as(mailbox, acting_, changes);
}

Result<> SharedMail::set_rights(MailboxId mailbox, std::string_view identifier, RightsChange how, Rights rights) {
    TRY(MailImpl* const mail, reach(mailbox, need(Right::administer)));
    // Nobody learns here who has an account.
    return mail->set_rights(mailbox, identifier, how, rights, MailImpl::Accounts::may_be_missing);
}

}  // namespace posthouse::storage
