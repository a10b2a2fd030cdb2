#include "storage/check/fault.h"

#include <algorithm>

namespace posthouse::storage {
namespace {

using enum Weight;
using enum Mending;
using K = FaultKind;

constexpr KindRow kRows[] = {
    {K::database_damaged, "database-damaged", "mail.db is damaged",
     "--repair makes its indexes anew; what stays must come from a backup, or from the copy that "
     "fsck --rebuild-database makes while the server is stopped; fsck --salvage DIR saves the octets of all mail "
     "without it",
     fault, by_repair},
    {K::search_damaged, "search-damaged", "the search index is damaged",
     "no mail is in it, and searches read the mail itself meanwhile: the server builds it anew when it meets the "
     "damage, "
     "or at once with posthouse search rebuild",
     fault, by_hand},
    {K::counter_behind, "counter-behind", "a counter is below a number already given", "--repair raises it", fault,
     by_repair},
    {K::account_without_domain, "account-without-domain", "an account belongs to a domain that is not there",
     "--repair adds the domain of its address", fault, by_repair},
    {K::domain_not_hosted, "domain-not-hosted", "a domain that only signs has accounts, which get no mail",
     "--repair lets it receive mail", fault, by_repair},
    {K::alias_without_targets, "alias-without-targets", "an alias leads nowhere",
     "mail to it is refused: set it again with posthouse alias add, or remove it", fault, by_hand},
    {K::row_without_owner, "row-without-owner", "a row belongs to something that is not there",
     "--repair removes the row and notes it in the report file", fault, by_repair},
    {K::setting_value, "setting-value", "a setting has a value that cannot be",
     "--repair removes it, so that the default counts: set it again with posthouse setting set", fault, by_repair},
    {K::segment_row_missing, "segment-row-missing", "messages lie in a segment that mail.db does not know",
     "--repair enters the segment, sealed", fault, by_repair},
    {K::segment_file_missing, "segment-file-missing", "the file of a segment is not there",
     "put the file back from a backup; --repair forgets the segment once no message lies in it", fault, by_repair},
    {K::segment_short, "segment-short", "the file of a segment is shorter than what was committed to it",
     "put the file back from a backup; --repair seals it at its present length once no message lies beyond it", fault,
     by_repair},
    {K::segment_header, "segment-header", "the first 16 octets of a segment are wrong",
     "no mail is in them; --repair writes them again", fault, by_repair},
    {K::segment_not_sealed, "segment-state", "a segment has a state that cannot be", "--repair seals it", fault,
     by_repair},
    {K::message_place, "message-place", "a message is said to lie where none can lie",
     "--repair raises the end of its segment if its record is there all the same, else looks for its octets in all "
     "segments; what is not found is set aside as body-unreadable",
     fault, by_repair},
    {K::messages_overlap, "messages-overlap", "two messages are said to lie in the same octets",
     "--repair looks for both in all segments; the one that is not found is set aside as body-unreadable", fault,
     by_repair},
    {K::body_unreadable, "body-unreadable", "the octets of a message cannot be read",
     "--repair looks for them in all segments; what is found nowhere is removed from its mailbox as by an ordinary "
     "expunge and listed in the report file: restore it from a backup",
     fault, by_repair},
    {K::body_damaged, "body-damaged", "the octets of a message are not those that were stored",
     "restore it from a backup and remove this one; --salvage DIR --damaged writes its octets as they are to a file. "
     "It stays where it is",
     fault, by_hand},
    {K::facts_stale, "facts-stale", "what is kept about a message differs from what its octets say",
     "--repair computes it anew", fault, by_repair},
    {K::entry_without_message, "entry-without-message", "a mailbox lists a message that mail.db does not know",
     "--repair looks for its octets in all segments and enters it again; what is found nowhere is removed from its "
     "mailbox as by an ordinary expunge and listed in the report file",
     fault, by_repair},
    {K::deleted_without_message, "deleted-without-message",
     "a removed message that can be restored is not known to mail.db",
     "--repair looks for its octets in all segments and enters it again; what is found nowhere is listed in the report "
     "file and forgotten",
     fault, by_repair},
    {K::queue_without_message, "queue-without-message", "a queued message is not known to mail.db",
     "--repair looks for its octets in all segments and enters it again; what is found nowhere is taken out of the "
     "queue, with an event and a line in the report file",
     fault, by_repair},
    {K::entry_without_mailbox, "entry-without-mailbox", "messages lie in a mailbox that is not there",
     "--repair makes the mailbox again, as Recovered/... of its last owner, or of the account named with --account",
     fault, with_an_account},
    {K::mailbox_without_account, "mailbox-without-account", "a mailbox belongs to an account that is not there",
     "--repair --account ADDRESS gives it to that account, as Recovered/...", fault, with_an_account},
    {K::recipient_without_item, "recipient-without-item", "a recipient of a queued message that is not there",
     "--repair removes the row and notes it in the report file", fault, by_repair},
    {K::item_without_recipients, "item-without-recipients", "a queued message has no recipients",
     "--repair takes it out of the queue, with an event and a line in the report file", fault, by_repair},
    {K::item_finished, "item-finished", "a queued message is finished but still there",
     "--repair takes it out of the queue", fault, by_repair},
    {K::recipient_state, "recipient-state", "a queued recipient has a state that does not exist",
     "--repair holds it; look at it with posthouse queue list and release or cancel it", fault, by_repair},
    {K::recipient_address, "recipient-address", "a queued recipient has no address",
     "--repair holds it; look at it with posthouse queue list and cancel it", fault, by_repair},
    {K::recipient_waits, "recipient-waits", "a queued recipient waits beyond the day its message is given up",
     "--repair makes it due now", fault, by_repair},
    {K::recipient_held, "recipient-held",
     "a queued recipient is held under an incident that is over or was never there", "--repair makes it due now", fault,
     by_repair},
    {K::mailbox_name, "mailbox-name", "a mailbox has a name that cannot be",
     "--repair names it Recovered/mailbox N; rename it with a mail program", fault, by_repair},
    {K::mailbox_uids, "mailbox-uids", "UIDs, UIDNEXT or UIDVALIDITY of a mailbox are out of range",
     "--repair gives new ones where they are; mail programs load that folder again", fault, by_repair},
    {K::uid_validity_twice, "uid-validity-twice", "two mailboxes of an account have the same UIDVALIDITY",
     "--repair gives the younger one another; mail programs load that folder again", fault, by_repair},
    {K::special_use_twice, "special-use-twice", "two mailboxes of an account have the same special use",
     "--repair keeps it for the elder one", fault, by_repair},
    {K::entry_keywords, "entry-keywords", "a message has keywords that are not there, or of another account",
     "--repair removes its keywords; other flags stay", fault, by_repair},
    {K::entry_flags, "entry-flags", "a message has flags that do not exist", "--repair removes those flags", fault,
     by_repair},
    {K::entry_size, "entry-size", "a mailbox says another size of a message than the message has",
     "--repair takes the message's", fault, by_repair},
    {K::entry_modseq, "entry-modseq", "a message has a MODSEQ below 1", "--repair gives it a new one", fault,
     by_repair},
    {K::flag_runs, "flag-runs", "the list of changed flags in a mailbox does not fit its messages",
     "--repair works it out anew", fault, by_repair},
    {K::expunged_alive, "expunged-alive", "a message is listed as expunged but is there",
     "--repair removes it from the list of expunged ones", fault, by_repair},
    {K::expunged_without_mailbox, "expunged-without-mailbox",
     "expunged messages are remembered for a mailbox that is not there", "--repair forgets them", fault, by_repair},
    {K::message_unreferenced, "message-unreferenced", "a stored message is in no mailbox and no queue",
     "--repair puts it into the mailbox Recovered of those it was delivered to, or of the account named with --account",
     fault, with_an_account},
    {K::message_refs, "message-refs", "the number of places that name a message is wrong", "--repair counts again",
     fault, by_repair},
    {K::mailbox_counters, "mailbox-counters", "the counters of a mailbox are wrong", "--repair counts again", fault,
     by_repair},
    {K::mailbox_uid_next, "mailbox-uid-next", "UIDNEXT of a mailbox is not above its UIDs", "--repair raises it", fault,
     by_repair},
    {K::mailbox_modseq, "mailbox-modseq", "HIGHESTMODSEQ of a mailbox is below a change in it", "--repair raises it",
     fault, by_repair},
    {K::account_used, "account-used", "the space an account uses is counted wrong", "--repair counts again", fault,
     by_repair},
    {K::account_modseq, "account-modseq", "the last MODSEQ of an account is below one it has given",
     "--repair raises it", fault, by_repair},
    {K::account_uid_validity, "account-uid-validity", "the next UIDVALIDITY of an account is not above those given",
     "--repair raises it", fault, by_repair},
    {K::segment_dead_octets, "segment-dead-octets", "the dead octets of a segment are counted wrong",
     "--repair counts again", fault, by_repair},
    {K::segment_row_left, "segment-row-left",
     "a segment without messages is half removed: a crash during a compaction leaves such",
     "the server removes the rest when it starts; --repair does so at once", note, by_repair},
    {K::orphan_file, "orphan-file",
     "a file in DATA/segments with messages that mail.db does not know: a crash before their commit leaves such",
     "nobody was told that they were taken in; --repair moves the file to DATA/fsck-aside, and the server removes it "
     "30 days after it has noticed it",
     note, by_repair},
    {K::leftover_file, "leftover-file", "a file without messages that nobody needs any more: a crash leaves such",
     "--repair removes it if still nothing refers to it; the server does so when it starts", note, by_repair},
};
static_assert(std::size(kRows) == kFaultKinds);

}  // namespace

const KindRow& row_of(FaultKind kind) { return kRows[static_cast<std::size_t>(kind)]; }

void Findings::add(FaultKind kind, std::int64_t a, std::int64_t b, std::string sentence, Place place) {
    Group& group = groups_[kind];
    if (!group.targets.insert(Target{a, b}).second || group.shown.size() >= kSentencesMax) return;
    Fault made;
    made.kind = kind;
    made.sentence = std::move(sentence);
    made.place = std::move(place);
    made.a = a;
    made.b = b;
    group.shown.push_back(std::move(made));
}

const std::set<Findings::Target>& Findings::targets(FaultKind kind) const {
    static const std::set<Target> kNone;
    const auto found = groups_.find(kind);
    return found == groups_.end() ? kNone : found->second.targets;
}

std::uint64_t Findings::faults() const {
    std::uint64_t count = 0;
    for (const auto& [kind, group] : groups_) count += row_of(kind).weight == fault ? group.targets.size() : 0;
    return count;
}

std::uint64_t Findings::notes() const {
    std::uint64_t count = 0;
    for (const auto& [kind, group] : groups_) count += row_of(kind).weight == note ? group.targets.size() : 0;
    return count;
}

void Findings::settle(const Findings& left) {
    for (auto& [kind, group] : groups_) {
        const std::set<Target>& still = left.targets(kind);
        group.repaired = static_cast<std::uint64_t>(
            std::ranges::count_if(group.targets, [&](const Target& target) { return !still.contains(target); }));
        for (Fault& one : group.shown) one.repaired = !still.contains(Target{one.a, one.b});
    }
}

void Findings::merge(const Findings& more) {
    for (const auto& [kind, group] : more.groups_) {
        Group& into = groups_[kind];
        for (const Fault& one : group.shown) {
            if (!into.targets.contains(Target{one.a, one.b})) add(kind, one.a, one.b, one.sentence, one.place);
        }
        into.targets.insert(group.targets.begin(), group.targets.end());
    }
}

}  // namespace posthouse::storage
