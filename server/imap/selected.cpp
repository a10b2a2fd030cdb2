#include "server/imap/selected.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/imap/response.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// What is in both, or in one of them; all by UID.
std::vector<Uid> united(std::span<const Uid> a, std::span<const Uid> b) {
    std::vector<Uid> out;
    out.reserve(a.size() + b.size());
    std::ranges::set_union(a, b, std::back_inserter(out));
    return out;
}

std::vector<Uid> without(std::span<const Uid> a, std::span<const Uid> b) {
    std::vector<Uid> out;
    std::ranges::set_difference(a, b, std::back_inserter(out));
    return out;
}

}  // namespace

Selected::Selected(OpenedMailbox opened, Mode mode, Uid recent_from)
    : mailbox_(std::move(opened.mailbox)), mode_(mode), list_(std::move(opened.entries)) {
    learn(opened.keyword_sets);
    keywords_grew_ = false;
    told_exists_ = list_->size();
    mark_recent(recent_from);
    recent_changed_ = false;
    told_modseq_ = known_modseq();
}

std::optional<ModSeq> Selected::take_known_whole() {
    const bool before = std::exchange(held_back_, !has_told_all());
    if (!held_back_) told_modseq_ = known_modseq();
    if (!held_back_ && !before) return std::nullopt;
    return told_modseq_;
}

void Selected::learn(const KeywordSets& sets) {
    for (const auto& [id, keywords] : sets) {
        if (!keyword_sets_.emplace(id, keywords).second) continue;
        for (const std::string& keyword : keywords) {
            const auto at = std::lower_bound(all_keywords_.begin(), all_keywords_.end(), keyword);
            if (at != all_keywords_.end() && *at == keyword) continue;
            all_keywords_.insert(at, keyword);
            keywords_grew_ = true;
        }
    }
}

// Index of the first entry above `uid`.
std::uint32_t Selected::index_after(Uid uid) const {
    return uid == std::numeric_limits<Uid>::max() ? list_->size() : list_->lower_bound(uid + 1);
}

Selected::Row Selected::row(std::uint32_t number) const {
    Row out;
    out.entry = list_->line(number - 1, near_);
    out.recent = is_recent(out.entry.uid);
    out.gone = is_gone(out.entry.uid);
    return out;
}

bool Selected::is_gone(Uid uid) const { return !gone_.empty() && std::ranges::binary_search(gone_, uid); }

bool Selected::is_recent(Uid uid) const {
    const auto range = std::ranges::lower_bound(recent_, uid, {}, &UidRange::last);
    return range != recent_.end() && range->first <= uid;
}

std::uint32_t Selected::recent() const {
    std::uint32_t out = 0;
    for (const UidRange& range : recent_) out += index_after(range.last) - list_->lower_bound(range.first);
    return out;
}

std::uint32_t Selected::first_unseen() const {
    const std::uint32_t index = list_->first_unseen();
    return index == list_->size() ? 0 : index + 1;
}

Uid Selected::uid_max() const { return told_exists_ == 0 ? 0 : list_->uid(told_exists_ - 1, near_); }

std::uint32_t Selected::number_of(Uid uid) const {
    const std::uint32_t index = list_->lower_bound(uid);
    return index < list_->size() && list_->uid(index, near_) == uid ? index + 1 : 0;
}

std::span<const std::string> Selected::keywords(std::uint32_t keyword_set) const {
    const auto at = keyword_sets_.find(keyword_set);
    if (at == keyword_sets_.end()) return {};
    return at->second;
}

Result<std::vector<std::uint32_t>> Selected::numbers(const wire::SequenceSet& set, NumbersAre are) const {
    std::vector<std::uint32_t> out;
    if (are == NumbersAre::message_numbers && !set.last_result) {
        TRY(const auto ranges, wire::resolve_numbers(set, told_exists_));
        for (const auto& range : ranges) {
            for (std::uint32_t n = range.first; n <= range.last; ++n) out.push_back(n);
        }
        return out;
    }
    for (const auto& range : set.last_result ? last_result_ : wire::resolve(set, uid_max())) {
        const std::uint32_t end = std::min(index_after(range.last), told_exists_);
        for (std::uint32_t index = list_->lower_bound(range.first); index < end; ++index) out.push_back(index + 1);
    }
    return out;
}

// Neighbours by number are one range: no message will ever come between their UIDs.
void Selected::save_result(std::span<const std::uint32_t> numbers) {
    last_result_.clear();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const Uid uid = uid_of(numbers[i]);
        if (i > 0 && numbers[i] == numbers[i - 1] + 1)
            last_result_.back().last = uid;
        else
            last_result_.push_back({uid, uid});
    }
}

// The new range reaches as far as any before it.
void Selected::mark_recent(Uid first) {
    if (list_->last_uid() < first || list_->size() == 0) return;
    const std::uint32_t before = recent();
    UidRange range(first, list_->last_uid());
    while (!recent_.empty() && recent_.back().last >= range.first - 1) {
        range.first = std::min(range.first, recent_.back().first);
        range.last = std::max(range.last, recent_.back().last);
        recent_.pop_back();
    }
    recent_.push_back(range);
    recent_changed_ = recent_changed_ || recent() != before;
}

// The entries of `news` that have a place here, into `lines`.
void Selected::take_changes(const MailboxNews& news, std::vector<Line>& lines) {
    std::vector<Uid> stale;
    const Uid last = list_->last_uid();
    for (const Entry& entry : news.changed) {
        if (entry.uid <= last) {
            const std::uint32_t number = number_of(entry.uid);
            if (number == 0) continue;
            const Line old = list_->line(number - 1, near_);
            if (old.flags != entry.flags || old.keyword_set != entry.keyword_set) stale.push_back(entry.uid);
        }
        lines.emplace_back(entry);
    }
    if (!stale.empty()) stale_ = united(stale_, stale);
    if (tracking_ == Tracking::off) return;
    std::vector<Uid> touched;
    for (const Line& line : lines) touched.push_back(line.uid);
    touched_ = united(touched_, touched);
}

void Selected::track_changes(Tracking tracking) {
    if (tracking == Tracking::off) touched_.clear();
    tracking_ = tracking;
}

std::vector<Uid> Selected::take_touched() { return std::exchange(touched_, {}); }

void Selected::take_removals(std::span<const Uid> expunged) {
    std::vector<Uid> gone;
    for (const Uid uid : expunged) {
        if (number_of(uid) != 0) gone.push_back(uid);
    }
    if (!gone.empty()) gone_ = united(gone_, gone);
}

// A message that came and went before it was announced has never been.
void Selected::drop_unannounced() {
    std::uint32_t kept = list_->size();
    while (kept > told_exists_ && is_gone(list_->uid(kept - 1, near_))) --kept;
    if (kept == list_->size()) return;
    const auto first = std::ranges::lower_bound(gone_, list_->uid(kept, near_));
    list_ = list_->with({}, std::span(first, gone_.end()));
    gone_.erase(first, gone_.end());
}

// Goes back to the version that others hold too, where it says the same.
void Selected::share() {
    if (!common_ || !gone_.empty()) return;
    if (common_->size() != list_->size() || common_->last_uid() != list_->last_uid()) return;
    list_ = std::move(common_);
    common_.reset();
}

bool Selected::apply(const MailboxNews& news) {
    mailbox_ = news.mailbox;
    learn(news.keyword_sets);
    const Uid last = list_->last_uid();
    std::vector<Line> lines;
    take_changes(news, lines);
    common_ = news.entries;
    if (!lines.empty()) list_ = list_->with(lines, {});
    const bool grew = list_->last_uid() > last;
    take_removals(news.expunged);
    drop_unannounced();
    share();
    return grew;
}

bool Selected::apply_own(std::span<const storage::EntryFlags> changed) {
    bool known = true;
    std::vector<Line> lines;
    std::vector<Uid> told;
    lines.reserve(changed.size());
    told.reserve(changed.size());
    for (const storage::EntryFlags& entry : changed) {
        const std::uint32_t number = number_of(entry.uid);
        if (number == 0) continue;
        Line line = list_->line(number - 1, near_);
        if (entry.modseq < line.modseq) continue;
        if (entry.keyword_set != 0 && !keyword_sets_.contains(entry.keyword_set)) {
            known = false;
            continue;
        }
        line.flags = entry.flags;
        line.keyword_set = entry.keyword_set;
        line.modseq = entry.modseq;
        lines.push_back(line);
        told.push_back(entry.uid);
    }
    if (lines.empty()) return known;
    list_ = list_->with(lines, {});
    stale_ = without(stale_, told);
    common_.reset();  // older than this
    return known;
}

void Selected::take_expunges(std::string& out, const Dialect& dialect) {
    const std::vector<Uid> all = gone_;
    take_expunges(out, all, dialect);
}

void Selected::take_expunges(std::string& out, std::span<const Uid> which, const Dialect& dialect) {
    std::vector<Uid> leaving;
    std::ranges::set_intersection(gone_, which, std::back_inserter(leaving));
    if (leaving.empty()) return;
    std::uint32_t told = 0;
    std::vector<Uid> vanished;
    for (const Uid uid : leaving) {
        const std::uint32_t index = list_->lower_bound(uid);
        if (index >= told_exists_) break;  // never announced, as all that follow
        const std::uint32_t before = told++;
        if (dialect.vanished) {
            vanished.push_back(uid);
            continue;
        }
        // Numbers close up with each EXPUNGE, so the next one counts from there (RFC 3501 7.4.1).
        out += "* ";
        wire::append_number(out, index - before + 1);
        out += " EXPUNGE\r\n";
    }
    if (!vanished.empty()) out += "* VANISHED " + wire::format_set(vanished) + "\r\n";
    list_ = list_->with({}, leaving);
    told_exists_ -= told;
    gone_ = without(gone_, leaving);
    share();
}

bool Selected::has_news() const {
    return list_->size() > told_exists_ || !stale_.empty() || keywords_grew_ || recent_changed_;
}

void Selected::take_arrivals(std::string& out, const Dialect& dialect) {
    if (list_->size() <= told_exists_ && !recent_changed_) return;
    told_exists_ = list_->size();
    out += "* ";
    wire::append_number(out, told_exists_);
    out += " EXISTS\r\n";
    if (dialect.recent) {
        out += "* ";
        wire::append_number(out, recent());
        out += " RECENT\r\n";
    }
    recent_changed_ = false;
}

void Selected::take_news(std::string& out, const Dialect& dialect) {
    take_arrivals(out, dialect);
    take_keywords(out);
    for (const Uid uid : stale_) {
        const std::uint32_t number = number_of(uid);
        if (number != 0 && !is_gone(uid)) append_fetch_flags(out, number, dialect);
    }
    stale_.clear();
}

void Selected::take_keywords(std::string& out) {
    if (!keywords_grew_) return;
    append_flags_response(out);
    append_permanent_flags(out);
    keywords_grew_ = false;
}

void Selected::append_flags_response(std::string& out) const {
    constexpr std::uint8_t kAll = 31;
    out += "* FLAGS ";
    wire::append_flags(out, kAll, all_keywords_, wire::Recent::no);
    out += "\r\n";
}

void Selected::append_permanent_flags(std::string& out) const {
    constexpr std::uint8_t kAll = 31;
    if (mode_ == Mode::read_only) {
        out += "* OK [PERMANENTFLAGS ()] Read-only mailbox\r\n";
        return;
    }
    // Only what the rights allow (RFC 4314 5.1.1).
    const bool words = has(mailbox_.rights, storage::Right::write);
    constexpr unsigned kSeen = storage::bit(storage::Flag::seen);
    constexpr unsigned kDeleted = storage::bit(storage::Flag::deleted);
    unsigned system = words ? kAll & ~(kSeen | kDeleted) : 0U;
    if (has(mailbox_.rights, storage::Right::seen)) system |= kSeen;
    if (has(mailbox_.rights, storage::Right::mark_deleted)) system |= kDeleted;
    const std::vector<std::string> none;
    std::string flags;
    wire::append_flags(flags, static_cast<std::uint8_t>(system), words ? all_keywords_ : none, wire::Recent::no);
    if (words) {
        flags.back() = ' ';
        flags += "\\*)";
    }
    out += "* OK [PERMANENTFLAGS " + flags + "] Flags permitted\r\n";
}

void Selected::append_fetch_head(std::string& out, std::uint32_t number, const Dialect& dialect) const {
    const Uid uid = uid_of(number);
    out += "* ";
    wire::append_number(out, dialect.uidfetch ? uid : number);
    out += dialect.uidfetch ? " UIDFETCH (" : " FETCH (";
    if (!dialect.uids || dialect.uidfetch) return;
    out += "UID ";
    wire::append_number(out, uid);
    out += ' ';
}

void Selected::append_fetch_flags(std::string& out, std::uint32_t number, const Dialect& dialect) const {
    const Row of = row(number);
    append_fetch_head(out, number, dialect);
    out += "FLAGS ";
    wire::append_flags(out, of.entry.flags, keywords(of.entry.keyword_set),
                       of.recent && dialect.recent ? wire::Recent::yes : wire::Recent::no);
    if (dialect.modseqs) {
        out += " MODSEQ (";
        wire::append_number(out, of.entry.modseq);
        out += ')';
    }
    out += ")\r\n";
}

}  // namespace posthouse::server::imap
