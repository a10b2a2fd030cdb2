// IDLE (RFC 2177): a second task (news_writer.h) tells what happens while the session waits for DONE.
#include <array>
#include <optional>

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

// What ends the command before the wait.
net::Task<std::optional<Reply>> begin_idle(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    session.put("+ idling\r\n");
    const auto told = co_await session.tell(Expunges::told, NumbersAre::message_numbers);
    if (!told) co_return reply_for(told.error());
    const auto flushed = co_await session.flush();
    if (!flushed) co_return Reply::hang_up("");
    co_return std::nullopt;
}

// What the line says that ended the wait, or why there is none.
Reply reply_to(const Session& session, const Result<std::string_view>& line) {
    if (line && ascii::equals_ci(*line, "DONE")) return Reply::ok("Idle completed");
    if (line) return Reply::bad("DONE expected");
    if (line.error().code == Errc::timeout) return Reply::hang_up("Idle for too long");
    if (line.error().code == Errc::cancelled) return Reply::hang_up(std::string(session.stop_reason()));
    if (line.error().code == Errc::too_large) return Reply::hang_up("[TOOBIG] Command is too long");
    return Reply::hang_up("");
}

// The client's line, once its first octet is there; `literal` is what follows it. The view ends with the next read: the
// answer is made of it here.
net::Task<Reply> take_done(Session& session, std::optional<wire::LiteralMark>& literal) {
    const auto line = co_await session.stream().read_line(session.limits().line_octets_max);
    const bool done = line && ascii::equals_ci(*line, "DONE");
    literal = line && !done ? wire::literal_at_end(*line) : std::nullopt;
    co_return reply_to(session, line);
}

// Thousands wait in here: the frame holds what the wait needs and no more.
net::Task<Reply> on_idle(Session& session, Cursor args) {
    std::optional<Reply> out = co_await begin_idle(session, args);
    if (out) co_return *std::move(out);
    auto& idling = session.deps().metrics->gauge("imap_idling", "IMAP sessions that wait in IDLE");
    idling.add(1);
    NewsWriter writer(session, Expunges::told);
    writer.start();
    if (session.stream().buffered().empty()) static_cast<void>(co_await session.stream().wait_more());
    std::optional<wire::LiteralMark> literal;
    out = co_await take_done(session, literal);  // finds the same where the wait failed
    co_await writer.stop();
    idling.add(-1);
    if (writer.mailbox_gone()) co_return Reply::hang_up(std::string(session.gone_reason()));
    if (literal && !literal->synchronising) co_return co_await refuse_literal(session, literal->octets);
    co_return *std::move(out);
}

constexpr std::array<Command, 1> kCommands = {{
    {"IDLE", kLoggedIn, Expunges::told, "IDLE", on_idle, "2177"},
}};

}  // namespace

std::span<const Command> idle_commands() { return kCommands; }

}  // namespace posthouse::server::imap
