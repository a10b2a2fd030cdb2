// SEARCH and UID SEARCH (RFC 3501 6.4.4, 6.4.8), with RETURN (RFC 4731, 5182, 9394).
#include <array>

#include "server/imap/offered.h"
#include "server/imap/search_answer.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

net::Task<Reply> search(Session& session, Cursor args, NumbersAre are) {
    auto wanted = wire::take_search_return(args, session.limits());
    if (!wanted) co_return syntax(wanted.error());
    const auto offered = check_offered(session, *wanted, "ESEARCH");
    if (!offered) co_return syntax(offered.error());
    if (!wanted->extended && session.has(Enabled::imap4rev2) && session.offers("ESEARCH")) {
        wanted->extended = true;  // RFC 9051 E 4: no SEARCH response any more
        wanted->options = wire::SearchReturn::kAll;
    }
    const auto request = take_search(session, *std::move(wanted), args, Charset::optional);
    if (!request) co_return syntax(request.error());
    if (!request->program) co_return bad_charset();
    auto found = co_await find_messages(session.access(), session.selected(), request->program, &session.progress());
    if (!found) co_return reply_for(found.error());
    const ModSeq modseq = modseq_of(session.selected(), *request->program, request->wanted, *found);
    if (request->wanted.extended) {
        answer_extended(session, request->wanted, *found, are, modseq);
        const bool updates = request->wanted.has(wire::SearchReturn::kUpdate);
        if (updates) keep_updated(session, *request->program, request->wanted, *found, are);
    } else {
        std::string out = "SEARCH";
        append_numbers(out, told_as(session.selected(), *std::move(found), are));
        if (modseq != 0) out += " (MODSEQ " + std::to_string(modseq) + ")";
        session.untagged(out);
    }
    const bool saved = request->wanted.has(wire::SearchReturn::kSave);
    co_return Reply::ok(saved ? "Search completed, result saved" : "Search completed");
}

net::Task<Reply> on_search(Session& session, Cursor args) { return search(session, args, NumbersAre::message_numbers); }
net::Task<Reply> on_uid_search(Session& session, Cursor args) { return search(session, args, NumbersAre::uids); }

constexpr std::array<Command, 2> kCommands = {{
    {"SEARCH", kSelected, Expunges::held, "", on_search, "3501 6.4.4", Progress::told},
    {"UID SEARCH", kSelected, Expunges::told, "", on_uid_search, "3501 6.4.8", Progress::told},
}};

}  // namespace

std::span<const Command> search_commands() { return kCommands; }

}  // namespace posthouse::server::imap
