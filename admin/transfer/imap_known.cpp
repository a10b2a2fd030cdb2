#include "admin/transfer/imap_known.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"

namespace posthouse::transfer {
namespace {

using storage::Snapshot;
using storage::Uid;

constexpr std::size_t kKeysAtOnce = 10'000;
constexpr Uid kEntriesAtOnce = 20'000;
constexpr std::uint64_t kPieceOctets = 1024UL * 1024;
// A key that is no UID: "~ UIDNEXT MODSEQ". It goes with the keys when UIDVALIDITY changes.
constexpr std::string_view kStatePrefix = "~ ";

std::optional<FolderState> parse_state(std::string_view key) {
    if (!key.starts_with(kStatePrefix)) return std::nullopt;
    key.remove_prefix(kStatePrefix.size());
    const std::size_t blank = std::min(key.find(' '), key.size());
    const auto uid_next = ascii::parse_number(key.substr(0, blank));
    const auto modseq = ascii::parse_number(ascii::trim(key.substr(blank)));
    if (!uid_next || !modseq || *uid_next > UINT32_MAX) return std::nullopt;
    return FolderState{static_cast<std::uint32_t>(*uid_next), *modseq};
}

}  // namespace

Result<> KnownFolder::load(const TakenFolder& folder, const std::string& source,
                           const std::vector<std::string>& siblings) {
    folder_ = folder;
    known_.clear();
    added_.clear();
    twins_.clear();
    state_.reset();
    state_key_.clear();
    std::vector<Uid> claimed;
    TRY_VOID(load_keys(folder.id, claimed, true));
    for (const std::string& name : siblings) {
        TRY(const auto other,
            store_.read([&](const Snapshot& s) { return s.imports().folder(account_, source, name); }));
        if (other && other->id != folder.id && other->mailbox == folder.mailbox) {
            TRY_VOID(load_keys(other->id, claimed, false));
        }
    }
    std::ranges::sort(known_);
    return load_twins(std::move(claimed));
}

Result<> KnownFolder::load_keys(storage::ImportFolderId folder, std::vector<Uid>& claimed, bool own) {
    std::string after;
    for (;;) {
        TRY(const auto some,
            store_.read([&](const Snapshot& s) { return s.imports().imported(folder, after, kKeysAtOnce); }));
        if (some.empty()) return {};
        after = some.back().key;
        for (const storage::Imported& one : some) {
            if (one.uid != 0) claimed.push_back(one.uid);
            if (!own) continue;
            const auto uid = ascii::parse_number(one.key);
            if (uid && *uid <= UINT32_MAX) known_.push_back(static_cast<std::uint32_t>(*uid));
            if (const auto state = parse_state(one.key)) {
                state_ = state;
                state_key_ = one.key;
            }
        }
    }
}

Result<> KnownFolder::load_twins(std::vector<Uid> claimed) {
    std::ranges::sort(claimed);
    TRY(const storage::Mailbox mailbox,
        store_.read([&](const Snapshot& s) { return s.mail(account_).mailbox(folder_.mailbox); }));
    for (Uid first = 1; first < mailbox.uid_next;) {
        const Uid last = std::min(first + kEntriesAtOnce, mailbox.uid_next) - 1;
        TRY(const auto entries,
            store_.read([&](const Snapshot& s) { return s.mail(account_).entries(folder_.mailbox, first, last); }));
        for (const storage::Entry& entry : entries) {
            if (!std::ranges::binary_search(claimed, entry.uid)) twins_.emplace_back(entry.size_octets, entry.uid);
        }
        first = last + 1;
    }
    std::ranges::sort(twins_);
    twin_claimed_.assign(twins_.size(), false);
    return {};
}

bool KnownFolder::has(std::uint32_t uid) const {
    return std::ranges::binary_search(known_, uid) || added_.contains(uid);
}

std::vector<std::uint32_t> KnownFolder::uids() const {
    std::vector<std::uint32_t> out = known_;
    out.insert(out.end(), added_.begin(), added_.end());
    std::ranges::sort(out);
    return out;
}

Result<> KnownFolder::save_state(const FolderState& state) {
    const std::string key = fmt::format("{}{} {}", kStatePrefix, state.uid_next, state.modseq);
    if (key == state_key_) return {};
    TRY_VOID(store_.write({}, [&](storage::Tx& tx) -> Result<> {
        if (!state_key_.empty()) TRY_VOID(tx.imports().forget(folder_.id, state_key_));
        return tx.imports().remember(folder_.id, key, 0);
    }));
    state_key_ = key;
    state_ = state;
    return {};
}

Result<std::optional<Uid>> KnownFolder::take_twin(const storage::StagedBody& body) {
    const std::uint64_t octets = body.size_octets();
    const auto first = std::ranges::lower_bound(twins_, std::pair<std::uint64_t, Uid>(octets, 0));
    for (auto at = first; at != twins_.end() && at->first == octets; ++at) {
        const auto place = static_cast<std::size_t>(at - twins_.begin());
        if (twin_claimed_[place]) continue;
        const auto same = store_.read([&](const Snapshot& s) -> Result<bool> {
            TRY(const storage::BodyReader reader, s.mail(account_).body(folder_.mailbox, at->second));
            for (std::uint64_t from = 0; from < octets; from += kPieceOctets) {
                TRY(const std::string piece, reader.read(from, kPieceOctets));
                if (piece != body.view().substr(static_cast<std::size_t>(from), kPieceOctets)) return false;
            }
            return true;
        });
        // One that was expunged meanwhile, or is damaged, is no twin of anything.
        if (!same || !*same) continue;
        twin_claimed_[place] = true;
        return std::optional<Uid>(at->second);
    }
    return std::optional<Uid>();
}

Result<> KnownFolder::remember(const std::vector<std::pair<std::uint32_t, Uid>>& pairs) {
    if (pairs.empty()) return {};
    return store_.write({}, [&](storage::Tx& tx) -> Result<> {
        for (const auto& [uid, here] : pairs) {
            TRY_VOID(tx.imports().remember(folder_.id, std::to_string(uid), here));
        }
        return {};
    });
}

}  // namespace posthouse::transfer
