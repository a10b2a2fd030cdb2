#pragma once
/// storage/mail_impl (internal): the mailboxes of one account over SQL; serves a write and,
/// through MailView, a snapshot. Every public call checks that the mailbox it is given belongs to the account.
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/context.h"
#include "storage/mail.h"

namespace posthouse::storage {

inline constexpr std::size_t kMailboxLevelOctetsMax = 255;
inline constexpr std::size_t kMailboxNameOctetsMax = 1000;
inline constexpr std::size_t kMailboxLevelsMax = 20;
inline constexpr std::size_t kKeywordOctetsMax = 100;
inline constexpr std::size_t kKeywordsMax = 100;  ///< of one entry

inline constexpr FlagBits kAllFlags =
    bit(Flag::seen) | bit(Flag::answered) | bit(Flag::flagged) | bit(Flag::deleted) | bit(Flag::draft);
inline bool is_unseen(FlagBits flags) { return (flags & bit(Flag::seen)) == 0; }
inline std::int64_t seconds(Time time) { return to_unix_ms(time) / 1000; }

/// A mailbox name that can be made, with INBOX in its spelling. Errc::invalid says why not.
Result<std::string> check_mailbox_name(std::string_view name);
/// INBOX in its spelling, the rest as it is.
std::string canonical_mailbox_name(std::string_view name);

#define ENTRY_COLUMNS "uid, flags, keyword_set, modseq, internal_date_s, save_date_s, size_octets, message"
/// A row of ENTRY_COLUMNS.
Entry entry_of(const Query& row);

class MailImpl final : public MailTx {
 public:
    MailImpl(Context& context, AccountId account) : context_(context), db_(context.db), account_(account) {}
    AccountId account() const { return account_; }

    Result<std::vector<Mailbox>> mailboxes() const override;
    Result<Mailbox> mailbox(std::string_view name) const override;
    Result<Mailbox> mailbox(MailboxId id) const override;
    Result<std::vector<std::string>> subscriptions() const override;
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
    Result<std::vector<Annotation>> annotations(MailboxId mailbox) const override {
        return annotations_for(mailbox, account_);
    }
    Result<std::vector<RightsRow>> rights(MailboxId mailbox) const override;
    Result<std::vector<DeletedEntry>> deleted(const DeletedQuery& query) const override;
    Result<std::vector<DeletedMailbox>> deleted_mailboxes() const override;

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
    Result<> annotate(MailboxId mailbox, std::span<const AnnotationChange> changes) override {
        return annotate_as(mailbox, account_, changes);
    }
    Result<> set_rights(MailboxId mailbox, std::string_view identifier, RightsChange how, Rights rights) override;
    /// With may_be_missing any address of our domains is taken: what comes of it tells nobody who has an account.
    enum class Accounts { must_exist, may_be_missing };
    Result<> set_rights(MailboxId mailbox, std::string_view identifier, RightsChange how, Rights rights,
                        Accounts accounts);
    Result<Restored> restore(std::span<const DeletedKey> keys, std::string_view into) override;
    Result<Mailbox> restore_mailbox(Time deleted, MailboxId mailbox) override;

    /// One new entry for a message of `size` octets whose row counts this reference already; the mailbox by name, made
    /// where missing. The road of delivery: four statements.
    Result<Entry> deliver(std::string_view mailbox, FlagBits flags, MessageId message, std::uint64_t size,
                          QuotaRule quota);
    /// That the message came in through this transaction or is this account's; else not_found.
    Result<> check_holds(MessageId message) const;
    /// append() of a message that the caller knows to be readable to whom it acts for.
    Result<Entry> put(MailboxId mailbox, MessageId message, const AppendOptions& options);
    /// annotations() and annotate() by an account whose rights the caller has looked at.
    Result<std::vector<Annotation>> annotations_for(MailboxId mailbox, AccountId viewer) const;
    Result<> annotate_as(MailboxId mailbox, AccountId author, std::span<const AnnotationChange> changes);
    /// What SETMETADATA of kSpecialUseEntry does.
    Result<> set_special_use(MailboxId id, const std::optional<std::string>& value);
    /// Before the account goes: mailboxes, entries, what could be restored, keywords, subscriptions.
    Result<> remove_everything();

 private:
    /// Mailbox counters that change together.
    struct Counters {
        std::int64_t messages = 0;
        std::int64_t unseen = 0;
        std::int64_t octets = 0;
    };
    Result<> check(MailboxId mailbox) const;
    Result<std::string> check_identifier(std::string_view identifier, Accounts accounts) const;
    Result<> wake_viewers(std::string_view identifier);
    Result<std::vector<Entry>> take_entries(Query&& query) const;
    /// An entry, and its place: between two whose places follow each other the mailbox has no other entry.
    template <class Row>
    struct Found {
        Row entry;
        std::uint64_t place = 0;
    };
    /// The entries of `uids` that exist, ascending, each once; a Row is an Entry or EntryFlags.
    template <class Row>
    Result<std::vector<Found<Row>>> find(MailboxId mailbox, std::span<const Uid> uids) const;
    /// Entries that stand side by side: from the first UID to the last there is no other.
    struct Run {
        std::size_t begin = 0;  ///< index among what was found
        Uid first = 0;
        Uid last = 0;
    };
    /// `found` in as few runs as there can be; with Gaps::none without a gap between the UIDs of a run either.
    enum class Gaps { allowed, none };
    template <class Row>
    static std::vector<Run> runs_of(const std::vector<Found<Row>>& found, Gaps gaps);
    /// More than a quarter of a mailbox has changed since.
    Result<bool> changed_much(MailboxId mailbox, ModSeq since) const;
    /// From the first entry on behind which every one has changed since, ascending.
    Result<std::vector<Entry>> newest_since(MailboxId mailbox, ModSeq since) const;
    Result<std::vector<Uid>> missing_uids(MailboxId mailbox) const;
    Result<std::vector<std::string>> children(std::string_view name) const;

    Result<ModSeq> next_modseq();
    Result<> make_row(const std::string& name, SpecialUse use);
    Result<> make_parents(const std::string& name);
    Result<> rename_inbox(const std::string& to);
    /// Takes octets and messages of the quota, and the next MODSEQ for them; Errc::over_quota names the account.
    Result<ModSeq> take_place(std::uint64_t octets, std::uint64_t messages, QuotaRule quota);
    Result<> check_domain_quota(DomainId domain);
    Result<> give_quota(std::uint64_t octets, std::uint64_t messages);
    /// `count` fresh UIDs of a mailbox; gives back the first.
    Result<Uid> take_uids(MailboxId mailbox, std::uint64_t count, ModSeq modseq, const Counters& more);
    Result<> count_changes(MailboxId mailbox, ModSeq modseq, const Counters& by);
    Result<> insert_entry(MailboxId mailbox, const Entry& entry);
    /// Entries of a run go; their UIDs are remembered for QRESYNC.
    Result<> delete_run(MailboxId mailbox, const Run& run, ModSeq modseq);
    Result<> update_run(MailboxId mailbox, const Run& run, const FlagChange& change, std::optional<std::uint32_t> set,
                        ModSeq modseq);
    Result<std::uint32_t> keyword_set(std::span<const std::string> names);
    Result<std::string> keyword(const std::string& name);
    Result<bool> holds(MessageId message) const;
    Result<std::uint64_t> size_of(MessageId message) const;
    Result<std::uint32_t> changed_keywords(std::uint32_t before, const FlagChange& change);
    enum class Transfer { copy, move };
    Result<std::vector<std::pair<Uid, Uid>>> transfer(MailboxId from, std::span<const Uid> uids, MailboxId to,
                                                      Transfer how);
    static void count(Counters& by, const Entry& entry, std::int64_t sign);
    struct Removed {
        DeletedKey key;
        std::string mailbox_name;
        Entry entry;
    };
    Result<std::vector<Removed>> find_removed(std::span<const DeletedKey> keys) const;
    Result<MailboxId> place_of(const Removed& removed, std::string_view into);
    Result<Mailbox> made_again(const DeletedMailbox& gone);
    Result<std::optional<DeletedMailbox>> last_removal(MailboxId mailbox) const;
    Result<> put_back(MailboxId mailbox, std::vector<Removed>& removed);

    Context& context_;
    Connection& db_;
    AccountId account_;
};

}  // namespace posthouse::storage
