// SEARCH and UID SEARCH (RFC 3501 6.4.4, 6.4.8). Flags, dates, sizes and sets are judged from memory; only what stays
// unknown is read, in batches on the pool.
#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/response.h"
#include "protocols/imap/search.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

constexpr std::size_t kBatchMessages = 64;

wire::SearchMessage view_of(const Selected& selected, std::uint32_t number) {
    const Selected::Row& row = selected.row(number);
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
    const Selected::Row& row = selected.row(number);
    SearchCandidate out;
    out.number = number;
    out.entry = row.entry;
    out.recent = row.recent;
    const auto keywords = selected.keywords(row.entry.keyword_set);
    out.keywords.assign(keywords.begin(), keywords.end());
    return out;
}

net::Task<Reply> search(Session& session, Cursor args, NumbersAre are) {
    auto parsed = wire::take_search_program(args, session.limits());
    if (!parsed && parsed.error().code == Errc::unsupported) {
        co_return Reply::no("BADCHARSET (US-ASCII UTF-8)", "Unknown charset");
    }
    if (!parsed) co_return syntax(parsed.error());
    const Selected& selected = session.selected();
    wire::resolve_sets(*parsed, selected.exists(), selected.uid_max());
    const auto program = std::make_shared<const wire::SearchProgram>(*std::move(parsed));
    std::vector<Uid> found;
    std::vector<SearchCandidate> unknown;
    for (std::uint32_t number = 1; number <= selected.exists(); ++number) {
        if (selected.row(number).gone) continue;
        const wire::Match match = wire::judge(*program, view_of(selected, number));
        if (match == wire::Match::yes) found.push_back(selected.row(number).entry.uid);
        if (match == wire::Match::unknown) unknown.push_back(candidate_of(selected, number));
        const bool last = number == selected.exists();
        if (unknown.empty() || (!last && unknown.size() < kBatchMessages)) continue;
        std::vector<SearchCandidate> batch;
        batch.swap(unknown);
        const auto read = co_await session.access().search(selected.id(), program, std::move(batch));
        if (!read) co_return reply_for(read.error());
        found.insert(found.end(), read->begin(), read->end());
    }
    // The last batch where the last messages were gone.
    if (!unknown.empty()) {
        const auto read = co_await session.access().search(selected.id(), program, std::move(unknown));
        if (!read) co_return reply_for(read.error());
        found.insert(found.end(), read->begin(), read->end());
    }
    std::sort(found.begin(), found.end());
    std::string out = "SEARCH";
    for (const Uid uid : found) {
        out += ' ';
        wire::append_number(out, are == NumbersAre::uids ? uid : selected.number_of(uid));
    }
    session.untagged(out);
    co_return Reply::ok("Search completed");
}

net::Task<Reply> on_search(Session& session, Cursor args) { return search(session, args, NumbersAre::message_numbers); }
net::Task<Reply> on_uid_search(Session& session, Cursor args) { return search(session, args, NumbersAre::uids); }

constexpr std::array<Command, 2> kCommands = {{
    {"SEARCH", kSelected, Expunges::held, "", on_search, "3501 6.4.4"},
    {"UID SEARCH", kSelected, Expunges::told, "", on_uid_search, "3501 6.4.8"},
}};

}  // namespace

std::span<const Command> search_commands() { return kCommands; }

}  // namespace posthouse::server::imap
