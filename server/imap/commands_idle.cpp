// IDLE (RFC 2177): a second task writes what happens while the session waits for DONE.
#include <array>

#include "protocols/imap/grammar.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// Shared by the two tasks of one IDLE; both live on the loop's thread, and the session joins the writer.
struct Idle {
    explicit Idle(net::Loop& loop) : group(loop) {}
    net::TaskGroup group;
    bool stopping = false;
    bool mailbox_gone = false;
};

// A silent client is cut after the inactivity limit however much is written to it: the deadline is put back to what is
// left of it after each write.
void restore_deadline(Session& session, Time ends) {
    const auto left = ends - session.deps().clock->now();
    session.stream().raw().expires_in(std::max<std::chrono::milliseconds>(left, std::chrono::milliseconds(1)));
}

net::Task<void> write_news(Session* session, Idle* idle, Time ends) {
    while (!idle->stopping) {
        const auto woken = co_await session->wake().wait_for(session->limits().idle_keepalive);
        if (idle->stopping) co_return;
        // Before looking: what happens while we look must wake us again.
        session->wake().reset();
        if (!woken) session->untagged("OK Still here");
        const auto told = co_await session->tell(Expunges::told, NumbersAre::message_numbers);
        idle->mailbox_gone = !told;
        if (idle->mailbox_gone) {
            session->stream().raw().interrupt();  // ends the wait for DONE
            co_return;
        }
        if (idle->stopping) co_return;
        const auto flushed = co_await session->flush();
        if (!flushed) co_return;
        restore_deadline(*session, ends);
    }
}

net::Task<Reply> on_idle(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    session.put("+ idling\r\n");
    const auto told = co_await session.tell(Expunges::told, NumbersAre::message_numbers);
    if (!told) co_return reply_for(told.error());
    const auto flushed = co_await session.flush();
    if (!flushed) co_return Reply::hang_up("");
    const Time ends = session.deps().clock->now() + session.limits().inactivity_max;
    restore_deadline(session, ends);
    Idle idle(*session.deps().loop);
    idle.group.spawn("imap.idle", write_news(&session, &idle, ends));
    const auto line = co_await session.stream().read_line(session.limits().line_octets_max);
    // The view ends with the next read; decide now.
    const bool done = line && ascii::equals_ci(*line, "DONE");
    idle.stopping = true;
    session.wake().set();
    co_await idle.group.join();
    session.wake().reset();
    if (idle.mailbox_gone) co_return Reply::hang_up("[NONEXISTENT] The selected mailbox was deleted");
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
