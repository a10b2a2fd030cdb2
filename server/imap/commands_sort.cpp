// SORT and UID SORT (RFC 5256 3, RFC 5957), with RETURN (ESORT, RFC 5267 3). Messages are found as by SEARCH; their
// keys come from what was kept at arrival, in one pass over the mailbox.
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/sort.h"
#include "server/imap/offered.h"
#include "server/imap/search_answer.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// `numbers` in the order that `criteria` give.
net::Task<Result<std::vector<std::uint32_t>>> put_in_order(Session& session, std::vector<wire::SortCriterion> criteria,
                                                           std::vector<std::uint32_t> numbers) {
    const auto sorter = std::make_shared<wire::Sorter>(std::move(criteria));
    const Selected& selected = session.selected();
    const std::span<const std::uint32_t> all(numbers);
    for (std::size_t at = 0; at < all.size(); at += kListedBatch) {
        const auto batch = all.subspan(at, std::min(kListedBatch, all.size() - at));
        auto lines = listed_lines(selected, batch, NumbersAre::message_numbers);
        CO_TRY_VOID(co_await session.access().sort(selected.id(), std::move(lines), sorter));
        if (sorter->octets() > session.limits().order_octets_max) {
            co_return Error(Errc::limit, "too many messages to sort");
        }
    }
    const auto sorted = std::make_shared<std::vector<std::uint32_t>>();
    std::function<void()> work = [sorter, sorted] { *sorted = sorter->finish(); };
    CO_TRY_VOID(co_await session.access().compute(std::move(work)));
    co_return std::move(*sorted);
}

net::Task<Reply> sort(Session& session, Cursor args, NumbersAre are) {
    auto wanted = wire::take_search_return(args, session.limits());
    if (!wanted) co_return syntax(wanted.error());
    auto criteria = wire::take_sort_criteria(args);
    if (!criteria) co_return syntax(criteria.error());
    auto offered = check_offered(session, *wanted, "ESORT");
    if (offered) offered = check_offered(session, *criteria);
    if (!offered) co_return syntax(offered.error());
    const auto space = wire::take_space(args);
    if (!space) co_return syntax(space.error());
    const auto request = take_search(session, *std::move(wanted), args, Charset::demanded);
    if (!request) co_return syntax(request.error());
    if (!request->program) co_return bad_charset();
    auto found = co_await find_messages(session.access(), session.selected(), request->program, &session.progress());
    if (!found) co_return reply_for(found.error());
    auto ordered = co_await put_in_order(session, *std::move(criteria), *std::move(found));
    if (!ordered) co_return reply_for(ordered.error());
    const ModSeq modseq = modseq_of(session.selected(), *request->program, request->wanted, *ordered);
    if (request->wanted.extended) {
        answer_extended(session, request->wanted, *ordered, are, modseq);
        const bool updates = request->wanted.has(wire::SearchReturn::kUpdate);
        if (updates) refuse_updates(session, "Only SEARCH is kept up to date");
    } else {
        std::string out = "SORT";
        append_numbers(out, told_as(session.selected(), *std::move(ordered), are));
        if (modseq != 0) out += " (MODSEQ " + std::to_string(modseq) + ")";
        session.untagged(out);
    }
    co_return Reply::ok("Sort completed");
}

net::Task<Reply> on_sort(Session& session, Cursor args) { return sort(session, args, NumbersAre::message_numbers); }
net::Task<Reply> on_uid_sort(Session& session, Cursor args) { return sort(session, args, NumbersAre::uids); }

constexpr std::array<Command, 2> kCommands = {{
    {"SORT", kSelected, Expunges::held, "SORT", on_sort, "5256 3", Progress::told},
    {"UID SORT", kSelected, Expunges::told, "", on_uid_sort, "5256 3", Progress::told},
}};

}  // namespace

std::span<const Command> sort_commands() { return kCommands; }

}  // namespace posthouse::server::imap
