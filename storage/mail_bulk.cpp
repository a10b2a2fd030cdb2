// Changes of many entries at once: STORE, COPY, MOVE, EXPUNGE. Clients change whole mailboxes, and a statement a
// message costs more than all the rest: what stands side by side is changed by one statement over its range of UIDs.
#include <algorithm>
#include <map>

#include "protocols/base/ascii.h"
#include "storage/flag_runs.h"
#include "storage/mail_impl.h"

namespace posthouse::storage {
namespace {

// Looking at so many entries for one that is meant still costs less than seeking each.
constexpr std::uint64_t kScannedForOne = 4;

/// The entries with UIDs first..last, ascending.
template <class Visit>
Result<> each_row(Connection& db, MailboxId mailbox, Uid first, Uid last, const EntryFlags&, Visit visit) {
    Query q = db.query(
        "SELECT uid, flags, keyword_set, modseq FROM entries WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 "
        "ORDER BY uid");
    q.bind(mailbox, first, last);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        visit(EntryFlags{q.u32(0), static_cast<FlagBits>(q.i64(1)), q.u32(2), q.u64(3)});
    }
}

template <class Visit>
Result<> each_row(Connection& db, MailboxId mailbox, Uid first, Uid last, const Entry&, Visit visit) {
    Query q = db.query("SELECT " ENTRY_COLUMNS " FROM entries WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 "
                       "ORDER BY uid");
    q.bind(mailbox, first, last);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        visit(entry_of(q));
    }
}

}  // namespace

template <class Row>
Result<std::vector<MailImpl::Found<Row>>> MailImpl::find(MailboxId mailbox, std::span<const Uid> uids) const {
    TRY_VOID(check(mailbox));
    std::vector<Uid> wanted(uids.begin(), uids.end());
    std::ranges::sort(wanted);
    const auto [first, last] = std::ranges::unique(wanted);
    wanted.erase(first, last);
    std::vector<Found<Row>> out;
    if (wanted.empty()) return out;
    out.reserve(wanted.size());
    if (wanted.back() - wanted.front() < wanted.size() * kScannedForOne) {
        auto next = wanted.begin();
        std::uint64_t place = 0;
        TRY_VOID(each_row(db_, mailbox, wanted.front(), wanted.back(), Row(), [&](const Row& row) {
            while (next != wanted.end() && *next < row.uid) ++next;
            if (next != wanted.end() && *next == row.uid) out.push_back(Found<Row>{row, place});
            ++place;
        }));
        return out;
    }
    for (const Uid uid : wanted) {
        // No other can be between neighbouring UIDs.
        TRY_VOID(each_row(db_, mailbox, uid, uid, Row(), [&](const Row& row) {
            out.push_back(Found<Row>{row, uid});
        }));
    }
    return out;
}

template <class Row>
std::vector<MailImpl::Run> MailImpl::runs_of(const std::vector<Found<Row>>& found, Gaps gaps) {
    std::vector<Run> out;
    for (std::size_t i = 0; i < found.size(); ++i) {
        const Uid uid = found[i].entry.uid;
        const bool beside = i > 0 && found[i].place == found[i - 1].place + 1;
        if (beside && (gaps == Gaps::allowed || uid == found[i - 1].entry.uid + 1))
            out.back().last = uid;
        else
            out.push_back(Run{i, uid, uid});
    }
    return out;
}

Result<std::uint32_t> MailImpl::changed_keywords(std::uint32_t before, const FlagChange& change) {
    // Worked out once for each set found among the entries, not once an entry: see the caller's map.
    if (change.how == FlagChange::How::replace) return keyword_set(change.keywords);
    if (change.keywords.empty()) return before;
    TRY(std::vector<std::string> now, keywords(before));
    if (change.how == FlagChange::How::add) {
        now.insert(now.end(), change.keywords.begin(), change.keywords.end());
    } else {
        std::erase_if(now, [&change](const std::string& name) {
            return std::ranges::any_of(change.keywords,
                                       [&name](const std::string& gone) { return ascii::equals_ci(name, gone); });
        });
    }
    return keyword_set(now);
}

Result<> MailImpl::update_run(MailboxId mailbox, const Run& run, const FlagChange& change,
                              std::optional<std::uint32_t> set, ModSeq modseq) {
    const FlagBits flags = change.flags & kAllFlags;
    using How = FlagChange::How;
    FlagBits kept = kAllFlags;
    if (change.how == How::replace) kept = 0;
    if (change.how == How::remove) kept = static_cast<FlagBits>(kAllFlags & ~flags);
    const FlagBits added = change.how == How::remove ? FlagBits{0} : flags;
    if (!set) {
        return db_
            .query(
                "UPDATE entries SET flags = (flags & ?4) | ?5, modseq = ?6 WHERE mailbox = ?1 AND uid BETWEEN ?2 AND "
                "?3")
            .bind(mailbox, run.first, run.last, kept, added, modseq)
            .run();
    }
    return db_
        .query(
            "UPDATE entries SET flags = (flags & ?4) | ?5, modseq = ?6, keyword_set = ?7 "
            "WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3")
        .bind(mailbox, run.first, run.last, kept, added, modseq, *set)
        .run();
}

Result<StoreOutcome> MailImpl::store(MailboxId mailbox, std::span<const Uid> uids, const FlagChange& change,
                                     std::optional<ModSeq> unchanged_since) {
    using FoundFlags = Found<EntryFlags>;
    TRY(const std::vector<FoundFlags> found, find<EntryFlags>(mailbox, uids));
    StoreOutcome outcome;
    outcome.changed.reserve(found.size());
    std::map<std::uint32_t, std::uint32_t> sets;                 // most messages share a few sets
    std::map<std::uint32_t, std::vector<FoundFlags>> to_change;  // by the set they had: a run gets one new set
    Counters by;
    for (FoundFlags one : found) {
        EntryFlags& entry = one.entry;
        if (unchanged_since && entry.modseq > *unchanged_since) {
            outcome.modified.push_back(entry.uid);
            continue;
        }
        FlagBits flags = change.flags & kAllFlags;
        if (change.how == FlagChange::How::add) flags = static_cast<FlagBits>(entry.flags | flags);
        if (change.how == FlagChange::How::remove) flags = static_cast<FlagBits>(entry.flags & ~flags);
        auto set = sets.find(entry.keyword_set);
        if (set == sets.end()) {
            TRY(const std::uint32_t after, changed_keywords(entry.keyword_set, change));
            set = sets.emplace(entry.keyword_set, after).first;
        }
        if (flags == entry.flags && set->second == entry.keyword_set) continue;
        by.unseen += (is_unseen(flags) ? 1 : 0) - (is_unseen(entry.flags) ? 1 : 0);
        to_change[entry.keyword_set].push_back(one);
        entry.flags = flags;
        entry.keyword_set = set->second;
        outcome.changed.push_back(entry);
    }
    if (outcome.changed.empty()) return outcome;
    TRY(const Mailbox box, this->mailbox(mailbox));
    TRY(const ModSeq modseq, next_modseq());
    outcome.before = box.highest_modseq;
    outcome.after = modseq;
    for (EntryFlags& entry : outcome.changed) entry.modseq = modseq;
    for (const auto& [before, group] : to_change) {
        std::optional<std::uint32_t> after;
        if (sets[before] != before) after = sets[before];
        for (const Run& run : runs_of(group, Gaps::allowed)) {
            TRY_VOID(update_run(mailbox, run, change, after, modseq));
            if (to_change.size() == 1) TRY_VOID(add_flag_run(db_, mailbox, run.first, run.last, modseq));
        }
    }
    if (to_change.size() > 1) {  // those of different sets of keywords stand side by side
        std::vector<FoundFlags> changed;
        for (const auto& [before, group] : to_change) changed.insert(changed.end(), group.begin(), group.end());
        std::ranges::sort(changed, {}, [](const FoundFlags& one) { return one.entry.uid; });
        for (const Run& run : runs_of(changed, Gaps::allowed)) {
            TRY_VOID(add_flag_run(db_, mailbox, run.first, run.last, modseq));
        }
    }
    TRY_VOID(count_changes(mailbox, modseq, by));
    return outcome;
}

void MailImpl::count(Counters& by, const Entry& entry, std::int64_t sign) {
    by.messages += sign;
    by.unseen += is_unseen(entry.flags) ? sign : 0;
    by.octets += sign * static_cast<std::int64_t>(entry.size_octets);
}

Result<> MailImpl::delete_run(MailboxId mailbox, const Run& run, ModSeq modseq) {
    TRY_VOID(db_.query("INSERT INTO expunged SELECT mailbox, ?4, uid FROM entries "
                       "WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3")
                 .bind(mailbox, run.first, run.last, modseq)
                 .run());
    TRY_VOID(db_.query("DELETE FROM entries WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3")
                 .bind(mailbox, run.first, run.last)
                 .run());
    return cut_flag_runs(db_, mailbox, run.first, run.last);
}

Result<std::vector<std::pair<Uid, Uid>>> MailImpl::transfer(MailboxId from, std::span<const Uid> uids, MailboxId to,
                                                            Transfer how) {
    TRY_VOID(check(to));
    TRY(const std::vector<Found<Entry>> found, find<Entry>(from, uids));
    std::vector<std::pair<Uid, Uid>> pairs;
    if (found.empty()) return pairs;
    Counters more;
    for (const Found<Entry>& one : found) count(more, one.entry, 1);
    // One MODSEQ for both ends: to other sessions the message is in one place or the other (RFC 6851 3.3).
    TRY(const ModSeq modseq, how == Transfer::move ? next_modseq()
                                                   : take_place(static_cast<std::uint64_t>(more.octets), found.size(),
                                                                QuotaRule::keep));
    TRY(const Uid next, take_uids(to, found.size(), modseq, more));
    pairs.reserve(found.size());
    for (const Found<Entry>& one : found) {
        if (how == Transfer::copy) change_refs(context_, one.entry.message, 1);
        pairs.emplace_back(one.entry.uid, next + static_cast<Uid>(pairs.size()));
    }
    // No gaps: the new UIDs of a run have the same distance from the old ones.
    for (const Run& run : runs_of(found, Gaps::none)) {
        const std::int64_t shift = static_cast<std::int64_t>(pairs[run.begin].second) - run.first;
        TRY_VOID(db_.query("INSERT INTO entries SELECT ?4, uid + ?5, ?6, flags, keyword_set, internal_date_s, ?7, "
                           "size_octets, message FROM entries WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3")
                     .bind(from, run.first, run.last, to, shift, modseq, seconds(context_.write->now))
                     .run());
        if (how == Transfer::move) TRY_VOID(delete_run(from, run, modseq));
    }
    if (how == Transfer::copy) return pairs;
    TRY_VOID(count_changes(from, modseq, Counters{-more.messages, -more.unseen, -more.octets}));
    return pairs;
}

Result<std::vector<std::pair<Uid, Uid>>> MailImpl::copy(MailboxId from, std::span<const Uid> uids, MailboxId to) {
    return transfer(from, uids, to, Transfer::copy);
}

Result<std::vector<std::pair<Uid, Uid>>> MailImpl::move(MailboxId from, std::span<const Uid> uids, MailboxId to) {
    return transfer(from, uids, to, Transfer::move);
}

Result<std::vector<Uid>> MailImpl::expunge(MailboxId mailbox, std::span<const Uid> uids) {
    TRY(const Mailbox box, this->mailbox(mailbox));
    TRY(const std::vector<Found<Entry>> found, find<Entry>(mailbox, uids));
    std::vector<Uid> gone;
    if (found.empty()) return gone;
    // The row moves to deleted_entries with its reference to the body: the octets stay until it can no longer be
    // restored. The quota is given back at once, as the user expects of an emptied trash.
    TRY(const ModSeq modseq, next_modseq());
    Counters by;
    for (const Found<Entry>& one : found) {
        count(by, one.entry, -1);
        gone.push_back(one.entry.uid);
    }
    for (const Run& run : runs_of(found, Gaps::allowed)) {
        TRY_VOID(db_.query("INSERT INTO deleted_entries SELECT ?4, ?5, mailbox, uid, ?6, flags, keyword_set, "
                           "internal_date_s, save_date_s, size_octets, message FROM entries "
                           "WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3")
                     .bind(mailbox, run.first, run.last, account_, context_.write->now, box.name)
                     .run());
        TRY_VOID(delete_run(mailbox, run, modseq));
    }
    TRY_VOID(count_changes(mailbox, modseq, by));
    TRY_VOID(give_quota(static_cast<std::uint64_t>(-by.octets), gone.size()));
    return gone;
}

}  // namespace posthouse::storage
