// Annotations: rows of their own, so that a mailbox costs nothing for having none. Mailbox 0 stands for the account as
// a whole; what is for everyone there is the administrator's to set.
#include <fmt/format.h>

#include "storage/mail_impl.h"

namespace posthouse::storage {
namespace {

/// Whose row it is: that of a value for everyone is nobody's.
AccountId row_owner(Audience audience, AccountId account) {
    return audience == Audience::everyone ? AccountId{} : account;
}

}  // namespace

Result<std::vector<Annotation>> MailImpl::annotations_for(MailboxId mailbox, AccountId viewer) const {
    if (mailbox != MailboxId{}) TRY_VOID(check(mailbox));
    Query q = db_.query(
        "SELECT account, entry, value FROM annotations WHERE mailbox = ?1 AND account IN (0, ?2) "
        "ORDER BY account DESC, entry");
    q.bind(mailbox, viewer);
    std::vector<Annotation> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(Annotation{q.i64(0) == 0 ? Audience::everyone : Audience::owner, q.text(1), q.text(2)});
    }
}

Result<> MailImpl::annotate_as(MailboxId mailbox, AccountId author, std::span<const AnnotationChange> changes) {
    if (mailbox != MailboxId{}) TRY_VOID(check(mailbox));
    for (const AnnotationChange& change : changes) {
        const AccountId owner = row_owner(change.audience, author);
        if (mailbox == MailboxId{} && change.audience == Audience::everyone) {
            return Error(Errc::denied, "only the administrator annotates the server for everyone");
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
