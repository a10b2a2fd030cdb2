#pragma once
/// admin/transfer/imap_known: what the store knows of a folder at the source: the UIDs that were taken, how far the
/// last
/// complete run saw (CONDSTORE), and messages here that no run has claimed (twins).
///
/// A twin: where the source numbers its messages anew (UIDVALIDITY, RFC 3501 2.3.1.1) all keys are forgotten, yet the
/// messages are here. A message that comes in and equals one that no key of this source claims, octet for octet, takes
/// that one over instead of being stored again. This needs no memory of its own, so it holds after a kill, too.
/// Memory: 8 octets a known message, 16 an unclaimed one.   Threads: one.
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "admin/transfer/taker.h"
#include "storage/store.h"

namespace posthouse::transfer {

/// How far a complete run saw: all below uid_next is taken, all flag changes up to modseq are in.
struct FolderState {
    std::uint32_t uid_next = 0;
    std::uint64_t modseq = 0;
};

class KnownFolder {
 public:
    KnownFolder(storage::Store& store, storage::AccountId account) : store_(store), account_(account) {}

    /// `siblings`: the wire names of all folders of this source, some of which may go to the same mailbox.
    Result<> load(const TakenFolder& folder, const std::string& source, const std::vector<std::string>& siblings);
    bool has(std::uint32_t uid) const;
    void add(std::uint32_t uid) { added_.insert(uid); }
    std::size_t count() const { return known_.size() + added_.size(); }
    /// The source UIDs that are known, ascending.
    std::vector<std::uint32_t> uids() const;
    const std::optional<FolderState>& state() const { return state_; }
    Result<> save_state(const FolderState& state);

    /// The unclaimed message here with the same octets, if there is one; it is claimed from now on.
    Result<std::optional<storage::Uid>> take_twin(const storage::StagedBody& body);
    /// Remembers (source UID, UID here) of twins, in one write.
    Result<> remember(const std::vector<std::pair<std::uint32_t, storage::Uid>>& pairs);

 private:
    Result<> load_keys(storage::ImportFolderId folder, std::vector<storage::Uid>& claimed, bool own);
    Result<> load_twins(std::vector<storage::Uid> claimed);

    storage::Store& store_;
    const storage::AccountId account_;
    TakenFolder folder_;
    std::vector<std::uint32_t> known_;  // ascending
    std::set<std::uint32_t> added_;     // by this run
    std::optional<FolderState> state_;
    std::string state_key_;
    std::vector<std::pair<std::uint64_t, storage::Uid>> twins_;  // (octets, UID), ascending
    std::vector<bool> twin_claimed_;                             // of the same place in twins_
};

}  // namespace posthouse::transfer
