#pragma once
/// storage/shared_mail (internal): mail as one account may use it: its own mailboxes, and those of others that let it
/// (RFC 4314). Every call finds out whose the mailbox is and what the account may do there, in the same transaction as
/// the work itself; so a right that was taken away counts from the next call on.
///
/// A mailbox of bob@a.example that alice@a.example may use is "Other Users/bob@a.example/Work" to her where rights
/// name her, and "Shared/bob@a.example/Work" where only "anyone" has rights. A mailbox of her own that has such a name
/// comes first.
/// Invariants  1. Without any right that reveals it (kRevealingRights) a mailbox of another does not exist: not_found,
///                as for any number. Only with the right to look it up is it listed.
///             2. What a right is missing for is Errc::denied to those who may look the mailbox up, to others not_found
///                (RFC 4314 6), and changes nothing.
///             3. Quota, MODSEQ and keywords are the owner's.
/// Threads: as Tx and Snapshot.
#include <map>
#include <optional>
#include <set>

#include "storage/mail_impl.h"
#include "storage/rights.h"

namespace posthouse::storage {

class Parts;

/// "Other Users" or "Shared": above the mailboxes of others.
bool is_namespace(std::string_view name);

class SharedMail final : public MailTx {
 public:
    SharedMail(const Parts& parts, Context& context, AccountId acting)
        : parts_(parts), db_(context.db), acting_(acting) {}
    AccountId acting() const { return acting_; }

    Result<std::vector<Mailbox>> mailboxes() const override;
    Result<Mailbox> mailbox(std::string_view name) const override;
    Result<Mailbox> mailbox(MailboxId id) const override;
    Result<std::vector<std::string>> subscriptions() const override { return own().subscriptions(); }
    Result<std::vector<Entry>> entries(MailboxId mailbox, Uid first, Uid last) const override;
    Result<Totals> deleted_totals(MailboxId mailbox) const override;
    Result<std::uint64_t> count_from(MailboxId mailbox, Uid first) const override;
    Result<std::vector<Entry>> changed_since(MailboxId mailbox, ModSeq since) const override;
    Result<std::vector<Uid>> expunged_since(MailboxId mailbox, ModSeq since) const override;
    Result<std::vector<std::string>> keywords(std::uint32_t keyword_set) const override;
    Result<std::vector<std::string>> mailbox_keywords(MailboxId mailbox) const override;
    Result<mime::MessageFacts> facts(MailboxId mailbox, Uid uid) const override;
    Result<> each_facts(MailboxId mailbox, std::span<const Entry> entries,
                        const std::function<void(std::size_t, const mime::MessageFacts&)>& visit) const override;
    Result<> each_listed(MailboxId mailbox, Uid first, Uid last, Listing listing,
                         const std::function<void(const ListedFacts&)>& visit) const override;
    Result<BodyReader> body(MailboxId mailbox, Uid uid) const override;
    Result<std::vector<Annotation>> annotations(MailboxId mailbox) const override;
    Result<std::vector<RightsRow>> rights(MailboxId mailbox) const override;
    Result<std::vector<DeletedEntry>> deleted(const DeletedQuery& query) const override { return own().deleted(query); }
    Result<std::vector<DeletedMailbox>> deleted_mailboxes() const override { return own().deleted_mailboxes(); }

    Result<Mailbox> create(std::string_view name, SpecialUse use) override;
    Result<> rename(std::string_view from, std::string_view to) override;
    Result<> remove(std::string_view name) override;
    Result<> set_subscribed(std::string_view name, bool subscribed) override;
    Result<Entry> append(MailboxId mailbox, MessageId message, const AppendOptions& options) override;
    Result<StoreOutcome> store(MailboxId mailbox, std::span<const Uid> uids, const FlagChange& change,
                               std::optional<ModSeq> unchanged_since) override;
    Result<std::vector<std::pair<Uid, Uid>>> copy(MailboxId from, std::span<const Uid> uids, MailboxId to) override;
    Result<std::vector<std::pair<Uid, Uid>>> move(MailboxId from, std::span<const Uid> uids, MailboxId to) override;
    Result<std::vector<Uid>> expunge(MailboxId mailbox, std::span<const Uid> uids) override;
    Result<> note_recent(MailboxId mailbox, Uid up_to) override;
    Result<> annotate(MailboxId mailbox, std::span<const AnnotationChange> changes) override;
    Result<> set_rights(MailboxId mailbox, std::string_view identifier, RightsChange how, Rights rights) override;
    Result<Restored> restore(std::span<const DeletedKey> keys, std::string_view into) override {
        return own().restore(keys, into);
    }
    Result<Mailbox> restore_mailbox(Time deleted, MailboxId mailbox) override {
        return own().restore_mailbox(deleted, mailbox);
    }

 private:
    /// What the account may do with a mailbox, and how it calls it.
    struct Grant {
        AccountId owner{};
        std::string owner_name;   ///< the mailbox, as its owner calls it
        std::string shared_name;  ///< "" for its own
        Rights rights = kAllRights;
    };
    using Grants = std::map<MailboxId, Grant>;
    struct Place {
        AccountId owner{};
        std::string prefix;  ///< "Other Users/bob@a.example/"
        std::string rest;    ///< the name there
    };

    MailImpl& own() const;
    MailImpl& of(AccountId owner) const;
    /// All grants of others to this account, of one mailbox or of all; without those that reveal nothing.
    Result<Grants> grants(std::optional<MailboxId> only) const;
    Result<Grant> grant(MailboxId mailbox) const;
    /// What to say where a right is missing (invariant 2). Who has the mailbox selected knows that it is there.
    enum class Selected { no, yes };
    static Error missing(const Grant& grant, Selected selected = Selected::no);
    /// The owner's mail, where the account has all of `needed`; with "r" among them it is for a selected mailbox.
    Result<MailImpl*> reach(MailboxId mailbox, Rights needed) const;
    Result<Mailbox> seen_as(const Grant& grant, MailboxId mailbox) const;
    /// The account and the name behind a shared name; nothing where it is none.
    Result<std::optional<Place>> place(std::string_view name) const;
    /// The nearest mailbox above `place` that exists, where the account may make some below it.
    Result<> check_create(const Place& place) const;
    Result<std::vector<std::pair<Uid, Uid>>> copy_across(MailImpl& from_mail, MailboxId from, std::span<const Uid> uids,
                                                         MailImpl& to_mail, MailboxId to, Rights rights);

    const Parts& parts_;
    Connection& db_;
    AccountId acting_;
    mutable std::set<MailboxId> mine_;     ///< known to be its own; own() finds out where one is gone
    mutable std::set<AccountId> reached_;  ///< whose mailboxes were read: their sets of keywords may be named
};

}  // namespace posthouse::storage
