// IDLE (RFC 2177): a second task (news_writer.h) tells what happens while the session waits for DONE.
#include <array>

#include "protocols/imap/grammar.h"
#include "server/imap/news_writer.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// A command in the place of DONE: the octets that follow it are no commands (reader.h, invariant 1).
net::Task<Reply> refuse_literal(Session& session, std::uint64_t octets) {
    if (octets > session.limits().swallow_octets_max) co_return Reply::hang_up("[TOOBIG] Command is too long");
    const auto swallowed = co_await session.reader().swallow(octets);
    if (!swallowed) co_return Reply::hang_up("");
    const auto rest = co_await session.reader().finish_line();
    if (!rest) co_return Reply::hang_up("");
    co_return Reply::bad("DONE expected");
}

net::Task<Reply> on_idle(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    session.put("+ idling\r\n");
    const auto told = co_await session.tell(Expunges::told, NumbersAre::message_numbers);
    if (!told) co_return reply_for(told.error());
    const auto flushed = co_await session.flush();
    if (!flushed) co_return Reply::hang_up("");
    auto& idling = session.deps().metrics->gauge("imap_idling", "IMAP sessions that wait in IDLE");
    idling.add(1);
    NewsWriter writer(session, Expunges::told);
    writer.start();
    const auto line = co_await session.stream().read_line(session.limits().line_octets_max);
    // The view ends with the next read; decide now.
    const bool done = line && ascii::equals_ci(*line, "DONE");
    const auto literal = line && !done ? wire::literal_at_end(*line) : std::nullopt;
    co_await writer.stop();
    idling.add(-1);
    if (writer.mailbox_gone()) co_return Reply::hang_up(std::string(session.gone_reason()));
    if (literal && !literal->synchronising) co_return co_await refuse_literal(session, literal->octets);
    if (line && !done) co_return Reply::bad("DONE expected");
    if (done) co_return Reply::ok("Idle completed");
    if (line.error().code == Errc::timeout) co_return Reply::hang_up("Idle for too long");
    if (line.error().code == Errc::cancelled) co_return Reply::hang_up(std::string(session.stop_reason()));
    if (line.error().code == Errc::too_large) co_return Reply::hang_up("[TOOBIG] Command is too long");
    co_return Reply::hang_up("");
}

constexpr std::array<Command, 1> kCommands = {{
    {"IDLE", kLoggedIn, Expunges::told, "IDLE", on_idle, "2177"},
}};

}  // namespace

std::span<const Command> idle_commands() { return kCommands; }

}  // namespace posthouse::server::imap
