#pragma once
/// storage/check/fault: what can be wrong with a store, one row a kind, and what was found.
/// Threads: values.
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "storage/types.h"

namespace posthouse::storage {

enum class FaultKind : std::uint8_t {
    // the databases themselves
    database_damaged,
    search_damaged,
    // what the administrator set
    counter_behind,
    account_without_domain,
    domain_not_hosted,
    alias_without_targets,
    row_without_owner,
    setting_value,
    // where octets lie
    segment_row_missing,
    segment_file_missing,
    segment_short,
    segment_header,
    segment_not_sealed,
    message_place,
    messages_overlap,
    body_unreadable,
    body_damaged,
    facts_stale,
    // what refers to what
    entry_without_message,
    deleted_without_message,
    queue_without_message,
    entry_without_mailbox,
    mailbox_without_account,
    recipient_without_item,
    item_without_recipients,
    item_finished,
    recipient_state,
    recipient_address,
    recipient_waits,
    recipient_held,
    mailbox_name,
    mailbox_uids,
    uid_validity_twice,
    special_use_twice,
    entry_keywords,
    entry_flags,
    entry_size,
    entry_modseq,
    flag_runs,
    expunged_alive,
    expunged_without_mailbox,
    message_unreferenced,
    // what is counted
    message_refs,
    mailbox_counters,
    mailbox_uid_next,
    mailbox_modseq,
    account_used,
    account_modseq,
    account_uid_validity,
    segment_dead_octets,
    // harmless
    segment_row_left,
    orphan_file,
    leftover_file,
};
inline constexpr std::size_t kFaultKinds = static_cast<std::size_t>(FaultKind::leftover_file) + 1;

/// `note`: nothing is lost or wrong, --repair tidies it; it does not count as a fault.
enum class Weight { note, fault };
enum class Mending {
    by_repair,        ///< --repair does it
    with_an_account,  ///< --repair does it when it is told who gets the mail (--account)
    by_hand           ///< the remedy says what to do
};

struct KindRow {
    FaultKind kind;
    std::string_view code;    ///< for programs: "mailbox-counters"
    std::string_view title;   ///< over the list of them
    std::string_view remedy;  ///< what --repair would do, or what the operator can do
    Weight weight;
    Mending mending;
};
const KindRow& row_of(FaultKind kind);

/// Where a fault is, as far as it concerns anybody's mail.
struct Place {
    std::string account;
    std::string mailbox;
    Uid uid = 0;
    MessageId message{};
};

struct Fault {
    FaultKind kind{};
    std::string sentence;  ///< what, where, whose
    Place place;
    std::int64_t a = 0;  ///< what names the row: see the repair of the kind
    std::int64_t b = 0;
    bool repaired = false;
};

/// What one check found. Every fault is counted and can be repaired; sentences are kept of the first ones of a kind.
class Findings {
 public:
    static constexpr std::size_t kSentencesMax = 1000;
    struct Target {
        std::int64_t a = 0;
        std::int64_t b = 0;
        auto operator<=>(const Target&) const = default;
    };
    struct Group {
        std::set<Target> targets;
        std::vector<Fault> shown;
        std::uint64_t repaired = 0;
    };

    /// The same kind with the same (a, b) counts once.
    void add(FaultKind kind, std::int64_t a, std::int64_t b, std::string sentence, Place place = {});
    const std::map<FaultKind, Group>& groups() const { return groups_; }
    bool has(FaultKind kind) const { return groups_.contains(kind); }
    /// Empty where there are none.
    const std::set<Target>& targets(FaultKind kind) const;
    std::uint64_t faults() const;  ///< notes are not counted
    std::uint64_t notes() const;
    /// Marks what `left` no longer has as repaired.
    void settle(const Findings& left);
    void merge(const Findings& more);

 private:
    std::map<FaultKind, Group> groups_;
};

}  // namespace posthouse::storage
