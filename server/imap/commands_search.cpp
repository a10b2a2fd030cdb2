// SEARCH and UID SEARCH (RFC 3501 6.4.4, 6.4.8). Flags, dates, sizes and sets are judged from memory; of what stays
// unknown the index rules out most and decides some; only the rest is read, in batches on the pool.
#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/response.h"
#include "protocols/imap/search.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// A batch is one turn on the pool, which other sessions wait for: as much as takes a few milliseconds.
constexpr std::size_t kBatchCost = 512;
constexpr std::size_t kTextCost = 1;  // judging by a text that the index kept
constexpr std::size_t kMailCost = 8;  // reading the message

using Program = std::shared_ptr<const wire::SearchProgram>;

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

net::Task<Result<std::vector<Uid>>> judge_by_content(Session& session, Program program, std::vector<Uid> uids) {
    const Selected& selected = session.selected();
    const MailboxId mailbox = selected.id();
    const auto verdicts = co_await session.access().narrow(mailbox, program, uids);
    if (!verdicts) co_return Error(verdicts.error());
    std::vector<Uid> found;
    std::vector<SearchCandidate> batch;
    std::size_t cost = 0;
    for (std::size_t i = 0; i <= uids.size(); ++i) {
        if (cost >= kBatchCost || (i == uids.size() && !batch.empty())) {
            const auto read = co_await session.access().search(mailbox, program, std::move(batch));
            if (!read) co_return Error(read.error());
            found.insert(found.end(), read->begin(), read->end());
            batch.clear();
            cost = 0;
        }
        if (i == uids.size()) break;
        const SearchVerdict verdict = (*verdicts)[i];
        if (verdict == SearchVerdict::yes) found.push_back(uids[i]);
        if (verdict == SearchVerdict::yes || verdict == SearchVerdict::no) continue;
        batch.push_back(candidate_of(selected, selected.number_of(uids[i])));
        cost += verdict == SearchVerdict::in_text ? kTextCost : kMailCost;
    }
    co_return found;
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
    std::vector<Uid> unknown;
    for (std::uint32_t number = 1; number <= selected.exists(); ++number) {
        const Selected::Row row = selected.row(number);
        if (row.gone) continue;
        const wire::Match match = wire::judge(*program, view_of(selected, number, row));
        if (match == wire::Match::yes) found.push_back(row.entry.uid);
        if (match == wire::Match::unknown) unknown.push_back(row.entry.uid);
    }
    if (!unknown.empty()) {
        const auto read = co_await judge_by_content(session, program, std::move(unknown));
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
