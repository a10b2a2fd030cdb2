// Annotations: rows of their own, so that a mailbox costs nothing for having none. Mailbox 0 stands for the account as
// a whole; what is for everyone there is the administrator's to set.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "storage/mail_impl.h"

namespace posthouse::storage {
namespace {

/// Whose row it is: that of a value for everyone is nobody's.
AccountId row_owner(Audience audience, AccountId account) {
    return audience == Audience::everyone ? AccountId{} : account;
}

struct UseRow {
    SpecialUse use;
    std::string_view name;
};
constexpr std::array<UseRow, 5> kUses = {{
    {SpecialUse::drafts, "\\Drafts"},
    {SpecialUse::sent, "\\Sent"},
    {SpecialUse::junk, "\\Junk"},
    {SpecialUse::trash, "\\Trash"},
    {SpecialUse::archive, "\\Archive"},
}};

bool is_special_use(Audience audience, std::string_view entry) {
    return audience == Audience::owner && entry == kSpecialUseEntry;
}

}  // namespace

std::string_view special_use_name(SpecialUse use) {
    const auto row = std::ranges::find(kUses, use, &UseRow::use);
    return row == kUses.end() ? std::string_view() : row->name;
}

std::optional<SpecialUse> special_use_named(std::string_view name) {
    for (const UseRow& row : kUses) {
        if (ascii::equals_ci(row.name, name)) return row.use;
    }
    return std::nullopt;
}

// As CREATE does it (RFC 6154 4): a use that exists, and one mailbox for each.
Result<> MailImpl::set_special_use(MailboxId id, const std::optional<std::string>& value) {
    TRY(const Mailbox target, mailbox(id));
    SpecialUse use = SpecialUse::none;
    if (value && !ascii::trim(*value).empty()) {
        const auto known = special_use_named(ascii::trim(*value));
        if (!known || target.name == "INBOX") {
            return Error(Errc::unsupported, fmt::format("\"{}\" cannot have that special use", target.name));
        }
        use = *known;
    }
    if (use == target.special_use) return {};
    if (use != SpecialUse::none) {
        TRY(const auto all, mailboxes());
        for (const Mailbox& other : all) {
            if (other.special_use != use) continue;
            TRY_VOID(db_.query("UPDATE mailboxes SET special_use = 0 WHERE id = ?1").bind(other.id).run());
            context_.write->changed(account_, other.id, other.highest_modseq);
        }
    }
    TRY_VOID(db_.query("UPDATE mailboxes SET special_use = ?2 WHERE id = ?1").bind(id, use).run());
    context_.write->changed(account_, id, target.highest_modseq);
    return {};
}

Result<std::vector<Annotation>> MailImpl::annotations_for(MailboxId mailbox, AccountId viewer) const {
    if (mailbox != MailboxId{}) TRY_VOID(check(mailbox));
    Query q = db_.query(
        "SELECT account, entry, value FROM annotations WHERE mailbox = ?1 AND account IN (0, ?2) "
        "ORDER BY account DESC, entry");
    q.bind(mailbox, viewer);
    std::vector<Annotation> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        const Audience audience = q.i64(0) == 0 ? Audience::everyone : Audience::owner;
        if (is_special_use(audience, q.text(1))) continue;  // from when it was a value like any other
        out.push_back(Annotation{audience, q.text(1), q.text(2)});
    }
    if (mailbox == MailboxId{} || viewer != account_) return out;
    TRY(const Mailbox seen, this->mailbox(mailbox));
    const std::string_view use = special_use_name(seen.special_use);
    if (use.empty()) return out;
    const auto place = std::ranges::find_if(out, [](const Annotation& one) {
        return one.audience == Audience::everyone || one.entry > kSpecialUseEntry;
    });
    out.insert(place, Annotation{Audience::owner, std::string(kSpecialUseEntry), std::string(use)});
    return out;
}

Result<> MailImpl::annotate_as(MailboxId mailbox, AccountId author, std::span<const AnnotationChange> changes) {
    if (mailbox != MailboxId{}) TRY_VOID(check(mailbox));
    for (const AnnotationChange& change : changes) {
        const AccountId owner = row_owner(change.audience, author);
        if (mailbox == MailboxId{} && change.audience == Audience::everyone) {
            return Error(Errc::denied, "only the administrator annotates the server for everyone");
        }
        if (mailbox != MailboxId{} && is_special_use(change.audience, change.entry)) {
            if (author != account_) return Error(Errc::denied, "only the owner of a mailbox gives it a special use");
            TRY_VOID(set_special_use(mailbox, change.value));
            continue;
        }
        if (!change.value) {
            TRY_VOID(db_.query("DELETE FROM annotations WHERE mailbox = ?1 AND account = ?2 AND entry = ?3")
                         .bind(mailbox, owner, change.entry)
                         .run());
            continue;
        }
        if (change.value->size() > kAnnotationOctetsMax) {
            return Error(Errc::too_large, fmt::format("the annotation \"{}\" is larger than {} octets", change.entry,
                                                      kAnnotationOctetsMax));
        }
        TRY_VOID(db_.query("INSERT OR REPLACE INTO annotations VALUES (?1, ?2, ?3, ?4)")
                     .bind(mailbox, owner, change.entry, Blob(*change.value))
                     .run());
    }
    for (const Audience audience : {Audience::owner, Audience::everyone}) {
        const AccountId owner = row_owner(audience, author);
        Query q = db_.query("SELECT count(*) FROM annotations WHERE mailbox = ?1 AND account = ?2");
        TRY([[maybe_unused]] const bool one, q.bind(mailbox, owner).row());
        if (q.u64(0) > kAnnotationsMax) return Error(Errc::limit, "there are too many annotations");
    }
    context_.write->changed(account_, MailboxId{}, 0);  // for who watches the account (RFC 5465 5.6)
    return {};
}

}  // namespace posthouse::storage
