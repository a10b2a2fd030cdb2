#include "server/imap/selected.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/imap/response.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

Selected::Selected(OpenedMailbox opened, Mode mode, Uid recent_from)
    : mailbox_(std::move(opened.mailbox)), mode_(mode) {
    rows_.reserve(opened.entries.size());
    for (const Entry& entry : opened.entries) rows_.push_back(Row{entry});
    learn(opened.keyword_sets);
    keywords_grew_ = false;
    told_exists_ = static_cast<std::uint32_t>(rows_.size());
    mark_recent(recent_from);
    recent_changed_ = false;
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

std::uint32_t Selected::recent() const {
    return static_cast<std::uint32_t>(
        std::count_if(rows_.begin(), rows_.end(), [](const Row& row) { return row.recent; }));
}

std::uint32_t Selected::first_unseen() const {
    const auto at = std::find_if(rows_.begin(), rows_.end(), [](const Row& row) {
        return (row.entry.flags & storage::bit(storage::Flag::seen)) == 0;
    });
    return at == rows_.end() ? 0 : static_cast<std::uint32_t>(at - rows_.begin()) + 1;
}

Uid Selected::uid_max() const { return told_exists_ == 0 ? 0 : rows_[told_exists_ - 1].entry.uid; }

std::uint32_t Selected::number_of(Uid uid) const {
    const auto at = std::lower_bound(rows_.begin(), rows_.end(), uid,
                                     [](const Row& row, Uid wanted) { return row.entry.uid < wanted; });
    if (at == rows_.end() || at->entry.uid != uid) return 0;
    return static_cast<std::uint32_t>(at - rows_.begin()) + 1;
}

std::span<const std::string> Selected::keywords(std::uint32_t keyword_set) const {
    const auto at = keyword_sets_.find(keyword_set);
    if (at == keyword_sets_.end()) return {};
    return at->second;
}

Result<std::vector<std::uint32_t>> Selected::numbers(const wire::SequenceSet& set, NumbersAre are) const {
    std::vector<std::uint32_t> out;
    if (are == NumbersAre::message_numbers) {
        TRY(const auto ranges, wire::resolve_numbers(set, told_exists_));
        for (const auto& range : ranges) {
            for (std::uint32_t n = range.first; n <= range.last; ++n) out.push_back(n);
        }
        return out;
    }
    for (const auto& range : wire::resolve(set, uid_max())) {
        const auto first = std::lower_bound(rows_.begin(), rows_.begin() + told_exists_, range.first,
                                            [](const Row& row, Uid wanted) { return row.entry.uid < wanted; });
        for (auto n = static_cast<std::uint32_t>(first - rows_.begin()); n < told_exists_; ++n) {
            if (rows_[n].entry.uid > range.last) break;
            out.push_back(n + 1);
        }
    }
    return out;
}

void Selected::mark_recent(Uid first) {
    for (auto row = rows_.rbegin(); row != rows_.rend() && row->entry.uid >= first; ++row) {
        recent_changed_ = recent_changed_ || !row->recent;
        row->recent = true;
    }
}

bool Selected::apply(const MailboxNews& news) {
    mailbox_ = news.mailbox;
    learn(news.keyword_sets);
    bool grew = false;
    for (const Entry& entry : news.changed) {
        if (rows_.empty() || entry.uid > rows_.back().entry.uid) {
            rows_.push_back(Row{entry});
            grew = true;
            continue;
        }
        const std::uint32_t number = number_of(entry.uid);
        if (number == 0) continue;
        Row& row = rows_[number - 1];
        const bool told = row.entry.flags == entry.flags && row.entry.keyword_set == entry.keyword_set;
        row.entry = entry;
        if (told || row.stale) continue;
        row.stale = true;
        stale_.push_back(entry.uid);
    }
    for (const Uid uid : news.expunged) {
        const std::uint32_t number = number_of(uid);
        if (number == 0 || rows_[number - 1].gone) continue;
        rows_[number - 1].gone = true;
        ++gone_;
    }
    // A message that came and went before it was announced has never been.
    while (rows_.size() > told_exists_ && rows_.back().gone) {
        rows_.pop_back();
        --gone_;
    }
    return grew;
}

bool Selected::apply_own(const Entry& entry) {
    const std::uint32_t number = number_of(entry.uid);
    if (number == 0) return true;
    if (entry.keyword_set != 0 && !keyword_sets_.contains(entry.keyword_set)) return false;
    rows_[number - 1].entry = entry;
    rows_[number - 1].stale = false;
    return true;
}

void Selected::take_expunges(std::string& out) {
    if (gone_ == 0) return;
    std::size_t kept = 0;
    std::uint32_t told_kept = 0;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        if (rows_[i].gone) {
            if (i >= told_exists_) continue;  // never announced
            // Numbers close up with each EXPUNGE, so the next one counts from there (RFC 3501 7.4.1).
            out += "* ";
            wire::append_number(out, kept + 1);
            out += " EXPUNGE\r\n";
            continue;
        }
        if (i < told_exists_) ++told_kept;
        rows_[kept++] = rows_[i];
    }
    rows_.resize(kept);
    told_exists_ = told_kept;
    gone_ = 0;
}

bool Selected::has_news() const {
    return rows_.size() > told_exists_ || !stale_.empty() || keywords_grew_ || recent_changed_;
}

void Selected::take_news(std::string& out, NumbersAre are) {
    if (rows_.size() > told_exists_ || recent_changed_) {
        told_exists_ = static_cast<std::uint32_t>(rows_.size());
        out += "* ";
        wire::append_number(out, told_exists_);
        out += " EXISTS\r\n* ";
        wire::append_number(out, recent());
        out += " RECENT\r\n";
        recent_changed_ = false;
    }
    take_keywords(out);
    for (const Uid uid : stale_) {
        const std::uint32_t number = number_of(uid);
        if (number == 0 || !row(number).stale) continue;
        row(number).stale = false;
        if (!row(number).gone) append_fetch_flags(out, number, are);
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
    std::string flags;
    wire::append_flags(flags, kAll, all_keywords_, wire::Recent::no);
    flags.back() = ' ';
    out += "* OK [PERMANENTFLAGS " + flags + "\\*)] Flags permitted\r\n";
}

void Selected::append_fetch_flags(std::string& out, std::uint32_t number, NumbersAre are) const {
    const Row& of = row(number);
    out += "* ";
    wire::append_number(out, number);
    out += " FETCH (";
    if (are == NumbersAre::uids) {
        out += "UID ";
        wire::append_number(out, of.entry.uid);
        out += ' ';
    }
    out += "FLAGS ";
    wire::append_flags(out, of.entry.flags, keywords(of.entry.keyword_set),
                       of.recent ? wire::Recent::yes : wire::Recent::no);
    out += ")\r\n";
}

}  // namespace posthouse::server::imap
