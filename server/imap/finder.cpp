#include "server/imap/finder.h"

#include <algorithm>
#include <limits>

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// A batch is one turn on the pool, which other sessions wait for: as much as takes a few milliseconds.
constexpr std::size_t kBatchCost = 1024;
constexpr std::size_t kTextCost = 1;  // judging by a text that the index kept
constexpr std::size_t kMailCost = 8;  // reading the message
constexpr std::size_t kSavedBatch = 16'384;

wire::SearchMessage view_of(const Selected& selected, std::uint32_t number, const Selected::Row& row) {
    wire::SearchMessage out;
    out.number = number;
    out.uid = row.entry.uid;
    out.system_flags = row.entry.flags;
    out.recent = row.recent;
    out.keywords = selected.keywords(row.entry.keyword_set);
    out.internal_date_s = row.entry.internal_date_s;
    out.size_octets = row.entry.size_octets;
    out.modseq = row.entry.modseq;
    return out;
}

SearchCandidate candidate_of(const Selected& selected, std::uint32_t number) {
    const Selected::Row row = selected.row(number);
    SearchCandidate out;
    out.number = number;
    out.entry = row.entry;
    out.recent = row.recent;
    const auto keywords = selected.keywords(row.entry.keyword_set);
    out.keywords.assign(keywords.begin(), keywords.end());
    return out;
}

class Finder {
 public:
    Finder(Access& access, const Selected& selected, SharedProgram program, ProgressCount* count)
        : access_(access), selected_(selected), program_(std::move(program)), count_(count) {}

    net::Task<Result<std::vector<std::uint32_t>>> run() {
        judge_from_memory();
        if (!unknown_.empty() && wire::needs_saved(*program_)) CO_TRY_VOID(co_await judge_by_entry());
        if (!unknown_.empty()) CO_TRY_VOID(co_await judge_by_content());
        std::sort(found_.begin(), found_.end());
        co_return std::move(found_);
    }

 private:
    void take(wire::Match match, std::uint32_t number, std::vector<std::uint32_t>& unknown) {
        if (match == wire::Match::yes) found_.push_back(number);
        if (match == wire::Match::unknown) unknown.push_back(number);
    }

    // Where sets at the top say between what numbers matches lie, nothing else is looked at.
    void judge_from_memory() {
        const wire::SearchSpan span = wire::span_of(*program_);
        const std::uint32_t first = std::max(span.numbers.first, selected_.number_from(span.uids.first));
        std::uint32_t last = std::min(span.numbers.last, selected_.exists());
        if (span.uids.last < std::numeric_limits<std::uint32_t>::max()) {
            last = std::min(last, selected_.number_from(span.uids.last + 1) - 1);
        }
        for (std::uint32_t number = first; number <= last; ++number) {
            const Selected::Row row = selected_.row(number);
            if (!row.gone) take(wire::judge(*program_, view_of(selected_, number, row)), number, unknown_);
        }
    }

    net::Task<Result<>> judge_by_entry() {
        std::vector<std::uint32_t> still;
        for (std::size_t at = 0; at < unknown_.size();) {
            const std::size_t end = std::min(unknown_.size(), at + kSavedBatch);
            std::vector<Uid> uids;
            for (std::size_t i = at; i < end; ++i) uids.push_back(selected_.uid_of(unknown_[i]));
            CO_TRY(const auto saved, co_await access_.saved(selected_.id(), std::move(uids)));
            for (std::size_t i = at; i < end; ++i) {
                wire::SearchMessage view = view_of(selected_, unknown_[i], selected_.row(unknown_[i]));
                view.saved = &saved[i - at];
                take(wire::judge(*program_, view), unknown_[i], still);
            }
            at = end;
        }
        unknown_ = std::move(still);
        co_return Result<>();
    }

    net::Task<Result<>> judge_by_content() {
        std::vector<Uid> uids;
        uids.reserve(unknown_.size());
        for (const std::uint32_t number : unknown_) uids.push_back(selected_.uid_of(number));
        tell_progress(0);
        CO_TRY(const auto verdicts, co_await access_.narrow(selected_.id(), program_, std::move(uids)));
        std::vector<SearchCandidate> batch;
        std::size_t cost = 0;
        for (std::size_t i = 0; i < unknown_.size(); ++i) {
            const SearchVerdict verdict = verdicts[i];
            if (verdict == SearchVerdict::yes) found_.push_back(unknown_[i]);
            if (verdict == SearchVerdict::yes || verdict == SearchVerdict::no) continue;
            batch.push_back(candidate_of(selected_, unknown_[i]));
            cost += verdict == SearchVerdict::in_text ? kTextCost : kMailCost;
            if (cost < kBatchCost) continue;
            tell_progress(i);
            CO_TRY_VOID(co_await read(std::move(batch)));
            batch.clear();
            cost = 0;
        }
        if (!batch.empty()) CO_TRY_VOID(co_await read(std::move(batch)));
        co_return Result<>();
    }

    void tell_progress(std::size_t done) {
        if (count_ != nullptr) *count_ = ProgressCount(done, unknown_.size());
    }

    net::Task<Result<>> read(std::vector<SearchCandidate> batch) {
        CO_TRY(const auto uids, co_await access_.search(selected_.id(), program_, std::move(batch)));
        for (const Uid uid : uids) found_.push_back(selected_.number_of(uid));
        co_return Result<>();
    }

    Access& access_;
    const Selected& selected_;
    SharedProgram program_;
    ProgressCount* count_;
    std::vector<std::uint32_t> found_;
    std::vector<std::uint32_t> unknown_;  // ascending
};

}  // namespace

SharedProgram resolve_program(wire::SearchProgram program, const Selected& selected, Time now) {
    wire::SearchView view;
    view.exists = selected.exists();
    view.uid_max = selected.uid_max();
    view.now_s = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
    view.last_result = selected.last_result();
    wire::resolve_sets(program, view);
    return std::make_shared<const wire::SearchProgram>(std::move(program));
}

net::Task<Result<std::vector<std::uint32_t>>> find_messages(Access& access, const Selected& selected,
                                                            SharedProgram program, ProgressCount* count) {
    Finder finder(access, selected, std::move(program), count);
    co_return co_await finder.run();
}

}  // namespace posthouse::server::imap
