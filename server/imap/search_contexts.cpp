#include "server/imap/search_contexts.h"

#include <algorithm>
#include <iterator>

#include "protocols/imap/search_return.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

std::vector<std::uint32_t> told_as(const Selected& selected, std::span<const Uid> uids, NumbersAre are) {
    std::vector<std::uint32_t> out(uids.begin(), uids.end());
    if (are == NumbersAre::uids) return out;
    for (std::uint32_t& uid : out) uid = selected.number_of(uid);
    return out;
}

std::vector<Uid> in_both(std::span<const Uid> a, std::span<const Uid> b) {
    std::vector<Uid> out;
    std::ranges::set_intersection(a, b, std::back_inserter(out));
    return out;
}
std::vector<Uid> in_first(std::span<const Uid> a, std::span<const Uid> b) {
    std::vector<Uid> out;
    std::ranges::set_difference(a, b, std::back_inserter(out));
    return out;
}

std::vector<wire::SequenceSet::Range> ranges_of(std::span<const Uid> uids) {
    std::vector<wire::SequenceSet::Range> out;
    for (const Uid uid : uids) {
        if (!out.empty() && out.back().last + 1 == uid)
            out.back().last = uid;
        else
            out.push_back({uid, uid});
    }
    return out;
}

// `* ESEARCH (TAG "a") UID REMOVEFROM (0 1:2)`
void append_change(std::string& out, const std::string& tag, NumbersAre are, const Selected& selected,
                   wire::SearchChange change, std::span<const Uid> uids) {
    if (uids.empty()) return;
    wire::SearchCorrelator correlator;
    correlator.tag = tag;
    correlator.uids = are == NumbersAre::uids;
    out += "* ";
    wire::append_esearch_head(out, correlator);
    wire::append_esearch_change(out, change, told_as(selected, uids, are));
    out += "\r\n";
}

}  // namespace

bool SearchContexts::has(std::string_view tag) const {
    return std::ranges::find(contexts_, tag, &Context::tag) != contexts_.end();
}

void SearchContexts::add(std::string tag, const wire::SearchProgram& program, std::optional<wire::FetchProgram> fetch,
                         std::span<const std::uint32_t> numbers, NumbersAre are, Selected& selected) {
    Context& context = contexts_.emplace_back();
    context.tag = std::move(tag);
    context.program = program;
    context.fetch = std::move(fetch);
    wire::fix_numbers(context.program, selected.exists(),
                      [&](std::uint32_t number) { return selected.uid_of(number); });
    for (const std::uint32_t number : numbers) context.results.push_back(selected.uid_of(number));
    context.are = are;
    selected.track_changes(Selected::Tracking::on);
}

void SearchContexts::cancel(std::string_view tag, Selected& selected) {
    std::erase_if(contexts_, [&](const Context& context) { return context.tag == tag; });
    if (contexts_.empty()) selected.track_changes(Selected::Tracking::off);
}

void SearchContexts::tell_gone(std::string& out, const Selected& selected, std::span<const Uid> gone) {
    for (Context& context : contexts_) {
        const std::vector<Uid> lost = in_both(context.results, gone);
        if (lost.empty()) continue;
        append_change(out, context.tag, context.are, selected, wire::SearchChange::remove, lost);
        context.results = in_first(context.results, lost);
    }
}

net::Task<Result<SearchContexts::Changes>> SearchContexts::tell_changed(Access& access, Selected& selected) {
    Changes changes;
    std::string& out = changes.responses;
    const std::vector<Uid> touched = in_first(selected.take_touched(), selected.gone());
    if (touched.empty()) co_return changes;
    for (Context& context : contexts_) {
        auto program =
            std::make_shared<const wire::SearchProgram>(wire::restricted(context.program, ranges_of(touched)));
        CO_TRY(const auto numbers, co_await find_messages(access, selected, std::move(program)));
        std::vector<Uid> matching;
        for (const std::uint32_t number : numbers) matching.push_back(selected.uid_of(number));
        const std::vector<Uid> known = in_both(context.results, touched);
        const std::vector<Uid> lost = in_first(known, matching);
        const std::vector<Uid> won = in_first(matching, known);
        append_change(out, context.tag, context.are, selected, wire::SearchChange::remove, lost);
        append_change(out, context.tag, context.are, selected, wire::SearchChange::add, won);
        context.results = in_first(context.results, lost);
        if (context.fetch && !won.empty()) changes.won.push_back({*context.fetch, won});
        std::vector<Uid> all;
        std::ranges::set_union(context.results, won, std::back_inserter(all));
        context.results = std::move(all);
    }
    co_return changes;
}

}  // namespace posthouse::server::imap
