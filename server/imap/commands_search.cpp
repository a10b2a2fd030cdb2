// SEARCH and UID SEARCH (RFC 3501 6.4.4, 6.4.8), with RETURN (RFC 4731, 5182, 9394).
#include <array>

#include "protocols/imap/response.h"
#include "protocols/imap/search.h"
#include "protocols/imap/search_return.h"
#include "server/imap/finder.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// Numbers, or in their place the UIDs of the same messages.
std::vector<std::uint32_t> told_as(const Selected& selected, std::vector<std::uint32_t> numbers, NumbersAre are) {
    if (are == NumbersAre::message_numbers) return numbers;
    for (std::uint32_t& number : numbers) number = selected.uid_of(number);
    return numbers;
}

void answer(Session& session, const wire::SearchReturn& wanted, std::vector<std::uint32_t> found, NumbersAre are) {
    Selected& selected = session.selected();
    if (wanted.has(wire::SearchReturn::kSave)) selected.save_result(wire::kept_of(found, wanted));
    if (wanted.extended && !wanted.answers()) return;
    const std::vector<std::uint32_t> told = told_as(selected, std::move(found), are);
    std::string out;
    if (wanted.extended) {
        wire::SearchCorrelator correlator;
        correlator.tag = session.tag();
        correlator.uids = are == NumbersAre::uids;
        wire::append_esearch_head(out, correlator);
        wire::append_esearch_results(out, told, wanted);
    } else {
        out = "SEARCH";
        for (const std::uint32_t number : told) {
            out += ' ';
            wire::append_number(out, number);
        }
    }
    session.untagged(out);
}

net::Task<Reply> search(Session& session, Cursor args, NumbersAre are) {
    const auto wanted = wire::take_search_return(args);
    if (!wanted) co_return syntax(wanted.error());
    auto parsed = wire::take_search_program(args, session.limits());
    if (!parsed && parsed.error().code != Errc::unsupported) co_return syntax(parsed.error());
    SharedProgram program;
    if (parsed) program = resolve_program(*std::move(parsed), session.selected(), session.deps().clock->now());
    // Where nothing comes to be saved, what was saved is lost (RFC 5182 2.1).
    const bool saves = wanted->has(wire::SearchReturn::kSave);
    if (saves) session.selected().save_result({});
    if (!program) co_return Reply::no("BADCHARSET (US-ASCII UTF-8)", "Unknown charset");
    auto found = co_await find_messages(session.access(), session.selected(), std::move(program));
    if (!found) co_return reply_for(found.error());
    answer(session, *wanted, *std::move(found), are);
    co_return Reply::ok(saves ? "Search completed, result saved" : "Search completed");
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
