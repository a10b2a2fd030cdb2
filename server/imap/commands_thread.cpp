// THREAD and UID THREAD (RFC 5256 3): ORDEREDSUBJECT and REFERENCES. Messages are found as by SEARCH.
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/thread.h"
#include "server/imap/offered.h"
#include "server/imap/search_answer.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// Each costs the reading of a header.
constexpr std::size_t kReferencesBatch = 256;

net::Task<Result<std::string>> weave(Session& session, wire::ThreadAlgorithm algorithm,
                                     std::vector<std::uint32_t> numbers, NumbersAre are) {
    const auto threader = std::make_shared<wire::Threader>(algorithm);
    const Selected& selected = session.selected();
    const std::size_t size = algorithm == wire::ThreadAlgorithm::references ? kReferencesBatch : kListedBatch;
    const std::span<const std::uint32_t> all(numbers);
    for (std::size_t at = 0; at < all.size(); at += size) {
        auto lines = listed_lines(selected, all.subspan(at, std::min(size, all.size() - at)), are);
        CO_TRY_VOID(co_await session.access().thread(selected.id(), std::move(lines), threader));
        if (threader->octets() > session.limits().order_octets_max) {
            co_return Error(Errc::limit, "too many messages to thread");
        }
    }
    const auto text = std::make_shared<std::string>();
    std::function<void()> work = [threader, text] { *text = threader->finish(); };
    CO_TRY_VOID(co_await session.access().compute(std::move(work)));
    co_return std::move(*text);
}

net::Task<Reply> thread(Session& session, Cursor args, NumbersAre are) {
    const auto algorithm = wire::take_thread_algorithm(args);
    if (!algorithm) co_return syntax(algorithm.error());
    const bool references = *algorithm == wire::ThreadAlgorithm::references;
    const auto offered =
        check_offered(session, references ? "THREAD=REFERENCES" : "THREAD=ORDEREDSUBJECT", "Unknown THREAD algorithm");
    if (!offered) co_return syntax(offered.error());
    const auto space = wire::take_space(args);
    if (!space) co_return syntax(space.error());
    const wire::SearchReturn plain;
    const auto request = take_search(session, plain, args, Charset::demanded);
    if (!request) co_return syntax(request.error());
    if (!request->program) co_return bad_charset();
    auto found = co_await find_messages(session.access(), session.selected(), request->program, &session.progress());
    if (!found) co_return reply_for(found.error());
    const auto threads = co_await weave(session, *algorithm, *std::move(found), are);
    if (!threads) co_return reply_for(threads.error());
    session.untagged("THREAD" + *threads);
    co_return Reply::ok("Thread completed");
}

net::Task<Reply> on_thread(Session& session, Cursor args) { return thread(session, args, NumbersAre::message_numbers); }
net::Task<Reply> on_uid_thread(Session& session, Cursor args) { return thread(session, args, NumbersAre::uids); }

constexpr std::array<Command, 2> kCommands = {{
    {"THREAD", kSelected, Expunges::held, "THREAD=ORDEREDSUBJECT THREAD=REFERENCES", on_thread, "5256 3",
     Progress::told},
    {"UID THREAD", kSelected, Expunges::told, "", on_uid_thread, "5256 3", Progress::told},
}};

}  // namespace

std::span<const Command> thread_commands() { return kCommands; }

}  // namespace posthouse::server::imap
