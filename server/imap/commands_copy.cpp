// COPY (RFC 3501 6.4.7), MOVE (RFC 6851), their UID forms, COPYUID (RFC 4315 3).
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/response.h"
#include "server/imap/answers.h"
#include "server/imap/names.h"
#include "server/imap/offered.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

enum class Transfer { copy, move };

// "COPYUID" SP uidvalidity SP uid-set SP uid-set; empty where nothing was transferred.
std::string copyuid(const Session& session, const Copied& copied) {
    if (copied.uids.empty() || !copied.readable || !session.offers("UIDPLUS")) return "";
    std::vector<Uid> from;
    std::vector<Uid> to;
    for (const auto& [old_uid, new_uid] : copied.uids) {
        from.push_back(old_uid);
        to.push_back(new_uid);
    }
    std::string out = "COPYUID ";
    wire::append_number(out, copied.uid_validity);
    return out + ' ' + wire::format_set(from) + ' ' + wire::format_set(to);
}

std::vector<Uid> old_uids(const Copied& copied) {
    std::vector<Uid> out;
    for (const auto& pair : copied.uids) out.push_back(pair.first);
    return out;
}
std::vector<Uid> new_uids(const Copied& copied) {
    std::vector<Uid> out;
    for (const auto& pair : copied.uids) out.push_back(pair.second);
    return out;
}

net::Task<Reply> transfer(Session& session, Cursor args, NumbersAre are, Transfer how) {
    const auto set = take_set(session, args);
    if (!set) co_return syntax(set.error());
    auto target = take_space_mailbox(args, session.names());
    if (!target) co_return syntax(target.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    Selected& selected = session.selected();
    const auto numbers = selected.numbers(*set, are);
    if (!numbers) co_return syntax(numbers.error());
    if (how == Transfer::move && selected.mode() == Mode::read_only) {
        co_return Reply::no("READ-ONLY", "Mailbox is read-only");
    }
    std::vector<Uid> uids;
    for (const std::uint32_t number : *numbers) {
        // COPY is whole or not at all (RFC 3501 6.4.7); a UID that is no more is ignored (RFC 9051 6.4.9).
        const Selected::Row row = selected.row(number);
        if (row.gone && are == NumbersAre::uids) continue;
        if (row.gone) co_return Reply::no("EXPUNGEISSUED", "Some of the messages no longer exist");
        uids.push_back(row.entry.uid);
    }
    Access& access = session.access();
    if (uids.empty()) {
        const auto there = co_await access.status(*std::move(target), 0);
        if (!there) co_return reply_for_target(there.error());
        co_return Reply::ok("No messages to transfer");
    }
    Result<Copied> copied(Errc::internal, "");
    if (how == Transfer::copy)
        copied = co_await access.copy(selected.id(), std::move(uids), *std::move(target));
    else
        copied = co_await access.move(selected.id(), std::move(uids), *std::move(target));
    if (!copied) co_return reply_for_target(copied.error());
    session.expect_news();
    if (copied->mailbox == selected.id() && !copied->uids.empty()) session.expect_own_arrivals(new_uids(*copied));
    if (how == Transfer::move) session.expect_own_expunges(old_uids(*copied));
    if (how == Transfer::copy) co_return Reply::ok(copyuid(session, *copied), "Copy completed");
    // The code must come before the EXPUNGE responses, so it is in an untagged OK (RFC 6851 4.3).
    const std::string code = copyuid(session, *copied);
    if (!code.empty()) session.untagged("OK [" + code + "] Moved");
    if (copied->uids.empty()) co_return Reply::ok("Move completed");
    co_return co_await expunged_ok(session, are, "Move completed");
}

net::Task<Reply> on_copy(Session& session, Cursor args) {
    return transfer(session, args, NumbersAre::message_numbers, Transfer::copy);
}
net::Task<Reply> on_uid_copy(Session& session, Cursor args) {
    return transfer(session, args, NumbersAre::uids, Transfer::copy);
}
net::Task<Reply> on_move(Session& session, Cursor args) {
    return transfer(session, args, NumbersAre::message_numbers, Transfer::move);
}
net::Task<Reply> on_uid_move(Session& session, Cursor args) {
    return transfer(session, args, NumbersAre::uids, Transfer::move);
}

constexpr std::array<Command, 4> kCommands = {{
    {"COPY", kSelected, Expunges::told, "", on_copy, "3501 6.4.7", Progress::told},
    {"UID COPY", kSelected, Expunges::told, "", on_uid_copy, "3501 6.4.8", Progress::told},
    {"MOVE", kSelected, Expunges::told, "MOVE", on_move, "6851 3.1", Progress::told},
    {"UID MOVE", kSelected, Expunges::told, "", on_uid_move, "6851 3.2", Progress::told},
}};

}  // namespace

std::span<const Command> copy_commands() { return kCommands; }

}  // namespace posthouse::server::imap
