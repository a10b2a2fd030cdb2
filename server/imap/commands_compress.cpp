// COMPRESS (RFC 4978) and UNAUTHENTICATE (RFC 8437).
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/net/deflate.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// compress = "COMPRESS" SP "DEFLATE". From the OK's line end on both sides speak compressed; whoever does not wait for
// it has sent octets of which nobody knows what they are.
net::Task<Reply> on_compress(Session& session, Cursor args) {
    const auto algorithm = wire::take_atom(args);
    if (!algorithm) co_return syntax(algorithm.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    if (!ascii::equals_ci(*algorithm, "DEFLATE")) co_return Reply::bad("Unknown compression");
    if (session.is_compressed()) co_return Reply::no("COMPRESSIONACTIVE", "DEFLATE is active already");
    if (!session.stream().buffered().empty()) co_return Reply::hang_up("Nothing may follow COMPRESS");
    session.put(session.tag());
    session.put(" OK DEFLATE active\r\n");
    const auto flushed = co_await session.flush();
    if (!flushed) co_return Reply::hang_up("");
    session.compress();
    co_return Reply::said();
}

// Everything that came with the login is gone: the account, the mailbox, what was enabled and asked for (RFC 8437 3),
// and compression, with the OK on our side and with the command on the client's (RFC 8437 4.1).
net::Task<Reply> on_unauthenticate(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    // The client's compression ended with this line.
    const bool compressed = session.is_compressed();
    if (compressed && !session.stream().buffered().empty()) {
        co_return Reply::hang_up("Nothing compressed may follow UNAUTHENTICATE");
    }
    session.log_out();
    Reply reply = Reply::ok("CAPABILITY " + session.capabilities(), "Nobody is logged in");
    if (!compressed) co_return reply;
    const auto ended = co_await session.end_compression(reply);
    if (!ended) co_return Reply::hang_up("");
    co_return Reply::said();
}

constexpr auto kCommands = std::to_array<Command>({
    {"COMPRESS", kLoggedIn, Expunges::told, "COMPRESS=DEFLATE", on_compress, "4978"},
    {"UNAUTHENTICATE", kLoggedIn, Expunges::held, "UNAUTHENTICATE", on_unauthenticate, "8437"},
});

}  // namespace

std::span<const Command> compress_commands() { return kCommands; }

}  // namespace posthouse::server::imap
