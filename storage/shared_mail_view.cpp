// Whose a mailbox is, what the account may do there, and reading it.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "storage/shared_mail.h"
#include "storage/tx.h"

namespace posthouse::storage {
namespace {

constexpr std::string_view kOtherUsers = "Other Users/";
constexpr std::string_view kShared = "Shared/";

Error no_mailbox() { return Error(Errc::not_found, "there is no such mailbox"); }

constexpr Rights need(Right right) { return static_cast<Rights>(right); }

}  // namespace

MailImpl& SharedMail::of(AccountId owner) const { return parts_.mail(owner); }
MailImpl& SharedMail::own() const { return parts_.mail(acting_); }

Result<SharedMail::Grants> SharedMail::grants(std::optional<MailboxId> only) const {
    std::string address;
    std::int64_t domain = 0;
    {
        Query q = db_.query("SELECT address, domain FROM accounts WHERE id = ?1");
        TRY(const bool found, q.bind(acting_).row());
        if (!found) return Grants();
        address = q.text(0);
        domain = q.i64(1);
    }
    const std::string negative = "-" + address;
    Query q = db_.query(
        "SELECT b.id, b.account, b.name, o.address, r.identifier, r.rights FROM mailbox_rights r "
        "JOIN mailboxes b ON b.id = r.mailbox JOIN accounts o ON o.id = b.account "
        "WHERE r.identifier IN (?1, ?2, 'anyone', '-anyone') AND b.account <> ?3 "
        "AND (r.identifier IN (?1, ?2) OR o.domain = ?4) AND (?5 = 0 OR b.id = ?5)");
    q.bind(address, negative, acting_, domain, only.value_or(MailboxId{}));
    Grants out;
    std::map<MailboxId, Rights> taken;
    std::set<MailboxId> by_name;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        const auto id = q.id<MailboxId>(0);
        Grant& grant = out.try_emplace(id, Grant{{}, "", "", 0}).first->second;
        grant.owner = q.id<AccountId>(1);
        grant.owner_name = q.text(2);
        grant.shared_name = q.text(3) + "/" + grant.owner_name;
        const std::string identifier = q.text(4);
        TRY(const Rights rights, parse_rights(q.view(5)));
        if (identifier.starts_with('-'))
            taken[id] |= rights;
        else
            grant.rights |= rights;
        if (identifier == address && rights != 0) by_name.insert(id);
    }
    for (auto& [id, grant] : out) {
        grant.rights = static_cast<Rights>(grant.rights & ~taken[id]);
        grant.shared_name.insert(0, by_name.contains(id) ? kOtherUsers : kShared);
    }
    std::erase_if(out, [](const auto& one) { return (one.second.rights & kRevealingRights) == 0; });
    return out;
}

Result<SharedMail::Grant> SharedMail::grant(MailboxId mailbox) const {
    if (!mine_.contains(mailbox) && own().mailbox(mailbox)) mine_.insert(mailbox);
    if (mine_.contains(mailbox)) return Grant{acting_, "", "", kAllRights};
    TRY(const Grants found, grants(mailbox));
    if (found.empty()) return no_mailbox();
    return found.begin()->second;
}

Error SharedMail::missing(const Grant& grant, Selected selected) {
    const bool known = selected == Selected::yes && has(grant.rights, Right::read);
    if (!known && !has(grant.rights, Right::lookup)) return no_mailbox();
    return Error(Errc::denied, fmt::format("the owner of \"{}\" does not allow that", grant.shared_name));
}

Result<MailImpl*> SharedMail::reach(MailboxId mailbox, Rights needed) const {
    TRY(const Grant found, grant(mailbox));
    if ((found.rights & needed) != needed) {
        return missing(found, has(needed, Right::read) ? Selected::yes : Selected::no);
    }
    reached_.insert(found.owner);
    return &of(found.owner);
}

bool is_namespace(std::string_view name) {
    return name == kOtherUsers.substr(0, kOtherUsers.size() - 1) || name == kShared.substr(0, kShared.size() - 1);
}

Result<Mailbox> SharedMail::seen_as(const Grant& grant, MailboxId mailbox) const {
    TRY(Mailbox out, of(grant.owner).mailbox(mailbox));
    if (grant.owner == acting_) return out;
    out.name = grant.shared_name;
    out.rights = grant.rights;
    out.special_use = SpecialUse::none;  // it is the owner's Sent, not this account's (RFC 6154 2)
    Query q = db_.query("SELECT 1 FROM subscriptions WHERE account = ?1 AND name = ?2");
    TRY(out.subscribed, q.bind(acting_, grant.shared_name).row());
    return out;
}

Result<std::optional<SharedMail::Place>> SharedMail::place(std::string_view name) const {
    for (const std::string_view space : {kOtherUsers, kShared}) {
        if (!name.starts_with(space)) continue;
        const std::size_t slash = name.find('/', space.size());
        const std::string address(name.substr(space.size(), slash - space.size()));
        if (slash == std::string_view::npos || address.find('@') == std::string::npos) break;
        Query q = db_.query("SELECT id FROM accounts WHERE address = ?1 AND id <> ?2");
        TRY(const bool found, q.bind(address, acting_).row());
        Place out;
        out.owner = found ? q.id<AccountId>(0) : AccountId{};
        out.prefix = name.substr(0, slash + 1);
        out.rest = canonical_mailbox_name(name.substr(slash + 1));
        return std::optional<Place>(std::move(out));
    }
    return std::optional<Place>();
}

Result<std::vector<Mailbox>> SharedMail::mailboxes() const {
    TRY(std::vector<Mailbox> out, own().mailboxes());
    TRY(const Grants shared, grants(std::nullopt));
    for (const auto& [id, grant] : shared) {
        if (!has(grant.rights, Right::lookup)) continue;
        TRY(Mailbox mailbox, seen_as(grant, id));
        out.push_back(std::move(mailbox));
    }
    std::ranges::sort(out, {}, &Mailbox::name);
    return out;
}

Result<Mailbox> SharedMail::mailbox(std::string_view name) const {
    auto mine = own().mailbox(name);
    if (mine) mine_.insert(mine->id);
    if (mine || mine.error().code != Errc::not_found) return mine;
    TRY(const auto where, place(name));
    if (!where || where->owner == AccountId{}) return no_mailbox();
    const auto theirs = of(where->owner).mailbox(where->rest);
    if (!theirs) return no_mailbox();
    TRY(const Grants found, grants(theirs->id));
    if (found.empty() || found.begin()->second.shared_name != where->prefix + where->rest) return no_mailbox();
    return seen_as(found.begin()->second, theirs->id);
}

Result<Mailbox> SharedMail::mailbox(MailboxId id) const {
    TRY([[maybe_unused]] MailImpl * mail, reach(id, need(Right::read)));
    TRY(const Grant found, grant(id));
    return seen_as(found, id);
}

Result<std::vector<Entry>> SharedMail::entries(MailboxId mailbox, Uid first, Uid last) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->entries(mailbox, first, last);
}

Result<Totals> SharedMail::deleted_totals(MailboxId mailbox) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->deleted_totals(mailbox);
}

Result<std::uint64_t> SharedMail::count_from(MailboxId mailbox, Uid first) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->count_from(mailbox, first);
}

Result<std::vector<Entry>> SharedMail::changed_since(MailboxId mailbox, ModSeq since) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->changed_since(mailbox, since);
}

Result<std::vector<Uid>> SharedMail::expunged_since(MailboxId mailbox, ModSeq since) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->expunged_since(mailbox, since);
}

// A set's number says nothing of whose it is: those come into question whose mailboxes were read just now.
Result<std::vector<std::string>> SharedMail::keywords(std::uint32_t keyword_set) const {
    auto out = own().keywords(keyword_set);
    for (auto owner = reached_.begin(); !out && owner != reached_.end(); ++owner) {
        out = of(*owner).keywords(keyword_set);
    }
    return out;
}

Result<std::vector<std::string>> SharedMail::mailbox_keywords(MailboxId mailbox) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->mailbox_keywords(mailbox);
}

Result<mime::MessageFacts> SharedMail::facts(MailboxId mailbox, Uid uid) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->facts(mailbox, uid);
}

Result<> SharedMail::each_facts(MailboxId mailbox, std::span<const Entry> entries,
                                const std::function<void(std::size_t, const mime::MessageFacts&)>& visit) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->each_facts(mailbox, entries, visit);
}

Result<> SharedMail::each_listed(MailboxId mailbox, Uid first, Uid last, Listing listing,
                                 const std::function<void(const ListedFacts&)>& visit) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->each_listed(mailbox, first, last, listing, visit);
}

Result<BodyReader> SharedMail::body(MailboxId mailbox, Uid uid) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::read)));
    return mail->body(mailbox, uid);
}

// RFC 5464 3.3: "l" and one of "r", "s", "w", "i", "p".
Result<std::vector<Annotation>> SharedMail::annotations(MailboxId mailbox) const {
    if (mailbox == MailboxId{}) return own().annotations(mailbox);
    TRY(const Grant found, grant(mailbox));
    constexpr Rights kAny = any_of(Right::read, Right::seen, Right::write, Right::insert, Right::post);
    if (!has(found.rights, Right::lookup) || (found.rights & kAny) == 0) return missing(found);
    return of(found.owner).annotations_for(mailbox, acting_);
}

Result<std::vector<RightsRow>> SharedMail::rights(MailboxId mailbox) const {
    TRY(const MailImpl* mail, reach(mailbox, need(Right::administer)));
    return mail->rights(mailbox);
}

}  // namespace posthouse::storage
