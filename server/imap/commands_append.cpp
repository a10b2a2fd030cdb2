// APPEND (RFC 3501 6.3.11) of one message or many (RFC 3502), also put together from others (RFC 4469), with APPENDUID
// (RFC 4315 3).
#include <array>

#include "protocols/imap/grammar.h"
#include "server/imap/incoming.h"
#include "server/imap/names.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

constexpr std::uint64_t kUnaskedOctets = 128UL * 1024;

// A client that waits is told that there is no such mailbox before it sends its message (RFC 3501 6.3.11). A small one
// that comes anyway is taken first: the commit finds out as well, and a look at the store costs as much as the rest.
bool must_ask(const std::optional<wire::LiteralMark>& literal) {
    return !literal || literal->synchronising || literal->octets > kUnaskedOctets;
}

net::Task<Reply> on_append(Session& session, Cursor args) {
    Incoming incoming(session, wire::Messages::many);
    auto name = take_mailbox(args, session.names());
    const auto space = wire::take_space(args);
    if (!space && name) co_return syntax(space.error());
    if (!name) co_return co_await incoming.refuse(args.rest(), syntax(name.error()));
    if (must_ask(session.message_literal())) {
        const auto target = co_await session.access().status(*name);
        if (!target) {
            Reply refusal = reply_for_target(target.error());
            co_return co_await incoming.refuse(args.rest(), std::move(refusal));
        }
    }
    auto refused = co_await incoming.receive(args.rest());
    if (refused) co_return *std::move(refused);
    const std::optional<Replaced> nothing;
    const auto appended = co_await session.access().append(*std::move(name), std::move(incoming.messages()), nothing);
    if (!appended) co_return reply_for_target(appended.error());
    if (session.has_selected() && session.selected().id() == appended->mailbox)
        session.expect_own_arrivals(appended->uids);
    co_return Reply::ok(append_uid_code(session, *appended), "Message appended");
}

constexpr auto kCommands = std::to_array<Command>({
    {"APPEND", kLoggedIn, Expunges::told, "", on_append, "3501 6.3.11"},
});

}  // namespace

std::string append_uid_code(const Session& session, const Appended& appended) {
    if (!appended.readable || !session.offers("UIDPLUS")) return "";
    return "APPENDUID " + std::to_string(appended.uid_validity) + " " + wire::format_set(appended.uids);
}

std::span<const Command> append_commands() { return kCommands; }

}  // namespace posthouse::server::imap
