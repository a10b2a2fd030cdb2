// REPLACE and UID REPLACE (RFC 8508): a message comes and another goes, in one moment.
#include <array>

#include "protocols/imap/grammar.h"
#include "server/imap/answers.h"
#include "server/imap/incoming.h"
#include "server/imap/names.h"
#include "server/imap/offered.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// The one message that is to go. Errc::not_found: it is gone already.
Result<Uid> take_replaced(Session& session, Cursor& args, NumbersAre are) {
    TRY(const auto set, take_set(session, args));
    TRY_VOID(wire::take_space(args));
    TRY(const auto numbers, session.selected().numbers(set, are));
    if (set.ranges.size() != 1 || set.ranges.front().first != set.ranges.front().last) {
        return Error(Errc::invalid, "One message number expected");
    }
    if (numbers.empty()) return Error(Errc::not_found, "no such message");
    const Selected::Row row = session.selected().row(numbers.front());
    if (row.gone) return Error(Errc::not_found, "the message is gone");
    return row.entry.uid;
}

net::Task<Reply> replace(Session& session, Cursor args, NumbersAre are) {
    Incoming incoming(session, wire::Messages::one);
    const auto uid = take_replaced(session, args, are);
    if (!uid && uid.error().code == Errc::invalid) co_return co_await incoming.refuse("", syntax(uid.error()));
    if (!uid) co_return co_await incoming.refuse("", Reply::no("NONEXISTENT", "No such message"));
    auto name = take_mailbox(args, session.names());
    if (!name) co_return co_await incoming.refuse("", syntax(name.error()));
    const auto space = wire::take_space(args);
    if (!space) co_return syntax(space.error());
    if (session.selected().mode() == Mode::read_only) {
        co_return co_await incoming.refuse("", Reply::no("READ-ONLY", "Mailbox is read-only"));
    }
    const auto target = co_await session.access().status(*name);
    if (!target) {
        Reply refusal = reply_for_target(target.error());
        co_return co_await incoming.refuse("", std::move(refusal));
    }
    auto refused = co_await incoming.receive(args.rest());
    if (refused) co_return *std::move(refused);
    std::optional<Replaced> replaced;
    replaced.emplace(session.selected().id(), *uid);
    const auto done = co_await session.access().append(*std::move(name), std::move(incoming.messages()), replaced);
    if (!done && done.error().code == Errc::conflict)
        co_return Reply::no("EXPUNGEISSUED", "The message no longer exists");
    if (!done) co_return reply_for_target(done.error());
    const std::array<Uid, 1> old = {*uid};
    session.expect_own_expunges(old);
    if (done->mailbox == session.selected().id()) session.expect_own_arrivals(done->uids);
    // Before the EXPUNGE of the old one, so that the client knows the new one by then (RFC 8508 4.3).
    const std::string uid_code = append_uid_code(session, *done);
    if (!uid_code.empty()) session.untagged("OK [" + uid_code + "] Replacement is there");
    const auto told = co_await session.tell(Expunges::told, are);
    if (!told) co_return reply_for(told.error());
    co_return co_await expunged_ok(session, are, "Replace completed");
}

net::Task<Reply> on_replace(Session& session, Cursor args) {
    return replace(session, args, NumbersAre::message_numbers);
}
net::Task<Reply> on_uid_replace(Session& session, Cursor args) { return replace(session, args, NumbersAre::uids); }

constexpr auto kCommands = std::to_array<Command>({
    {"REPLACE", kSelected, Expunges::told, "REPLACE", on_replace, "8508 3.3"},
    {"UID REPLACE", kSelected, Expunges::told, "", on_uid_replace, "8508 3.4"},
});

}  // namespace

std::span<const Command> replace_commands() { return kCommands; }

}  // namespace posthouse::server::imap
