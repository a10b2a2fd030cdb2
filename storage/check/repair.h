#pragma once
/// storage/check/repair (internal): one function a kind of fault. Each runs inside a write, looks again whether its
/// fault is there and mends that alone; what follows from it (a counter, a reference) is found by the next round.
/// Threads: repairs run on the commit thread, one write after the other; the driver waits for each.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/check/check.h"
#include "storage/context.h"

namespace posthouse::storage {

using Targets = std::vector<Findings::Target>;

/// DATA/fsck-<time>.txt: what was removed, and from whom. Made with its first line; synced before the write commits.
class ReportFile {
 public:
    explicit ReportFile(const Directory& directory) : directory_(directory) {}
    Result<> note(std::string_view sentence);
    const std::string& name() const { return name_; }

 private:
    const Directory& directory_;
    Descriptor file_;
    std::string name_;
    std::uint64_t end_ = 0;
};

struct Repairer {
    Store& store;
    ReportFile& notes;
    std::optional<AccountId> heir;  ///< who gets mail whose owner is lost
};

/// Mends some targets of one kind in the transaction of `tx`.
using RepairFn = Result<> (*)(Repairer& repairer, Tx& tx, const Targets& targets);

// ---- repair_mail.cpp

Result<> repair_mailbox_without_account(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_entry_without_mailbox(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_uid_validity_twice(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_special_use_twice(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_mailbox_name(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_mailbox_uids(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_flag_runs(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_entry_modseq(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_entry_keywords(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_entry_flags(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_entry_size(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_expunged_alive(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_expunged_without_mailbox(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_mailbox_counts(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_account_counts(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_message_unreferenced(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_message_refs(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_facts(Repairer& repairer, Tx& tx, const Targets& targets);

// ---- repair_files.cpp

Result<> repair_segment_row_left(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_orphan_file(Repairer& repairer, Tx& tx, const Targets& targets);
Result<> repair_leftover_file(Repairer& repairer, Tx& tx, const Targets& targets);

// ---- repair_messages.cpp

/// Messages whose octets or rows are lost: found again in the segments, else set aside.
Result<> repair_lost_messages(Repairer& repairer, const Findings& findings, const CheckObserver& observer);
/// Takes an item out of the queue with its recipients; its message loses a reference.
Result<> drop_queue_item(Repairer& repairer, Tx& tx, std::int64_t item, std::string_view why);

}  // namespace posthouse::storage
