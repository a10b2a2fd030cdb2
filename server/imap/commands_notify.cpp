// NOTIFY (RFC 5465).
#include <array>

#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/notify.h"
#include "server/imap/names.h"
#include "server/imap/offered.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// Names that cannot be mailboxes are passed over, as those that do not exist (RFC 5465 3.1).
void decode_names(wire::NotifyProgram& program, wire::NameForm form) {
    for (wire::NotifyGroup& group : program.groups) {
        std::vector<std::string> names;
        for (const std::string& name : group.names) {
            auto decoded = wire::decode_mailbox(name, form);
            if (decoded) names.push_back(*std::move(decoded));
        }
        group.names = std::move(names);
    }
}

// The events of METADATA are none where it is not for this client, nor are the items of other extensions.
Result<wire::NotifyProgram> take_program(const Session& session, Cursor args) {
    TRY(wire::NotifyProgram program, wire::take_notify(args, session.limits()));
    const wire::FetchModifiers none;
    for (const wire::NotifyGroup& group : program.groups) {
        const bool known = (group.events & wire::kMetadataEvents) == 0 || session.offers("METADATA");
        if (!known) return Error(Errc::unsupported, "There is no such event here");
        if (group.fetch) TRY_VOID(check_offered(session, *group.fetch, none));
    }
    return program;
}

net::Task<Reply> on_notify(Session& session, Cursor args) {
    auto program = take_program(session, args);
    if (!program && program.error().code == Errc::unsupported) {
        const std::uint8_t without = session.offers("METADATA") ? 0 : wire::kMetadataEvents;
        co_return Reply::no("BADEVENT (" + wire::notify_event_names(without) + ")", program.error().context);
    }
    if (!program) co_return syntax(program.error());
    decode_names(*program, session.names());
    // What has gathered so far is told as it was before this command: an implicit NOOP (RFC 5465 3.1).
    const auto told = co_await session.tell(Expunges::told, NumbersAre::message_numbers);
    if (!told) co_return reply_for(told.error());
    Hub& hub = *session.deps().hub;
    AccountWatches watches;
    watches.watch(hub, session.account(), session.wake());
    std::uint64_t generation = watches.generation();
    const auto mailboxes = co_await session.access().mailboxes();
    if (!mailboxes) co_return reply_for(mailboxes.error());
    const bool with_status = program->status;
    auto notifier = std::make_unique<Notifier>(*std::move(program), session.account(), *mailboxes);
    if (notifier->mailboxes().size() > session.limits().notify_mailboxes_max) {
        co_return Reply::no("NOTIFICATIONOVERFLOW", "There are too many mailboxes to watch");
    }
    if (watches.watch(hub, notifier->mailboxes(), session.wake())) {
        generation = 0;  // what they did meanwhile is found by another look
        session.wake().set();
    }
    if (notifier->watches_metadata()) {
        auto noted = co_await read_noted(session.access());
        if (!noted) co_return reply_for(noted.error());
        notifier->keep_metadata(*std::move(noted));
    }
    std::string inaccessible;
    notifier->append_no_access(inaccessible, session.names());
    session.put(inaccessible);
    if (with_status) {
        std::string out;
        const MailboxId selected = session.has_selected() ? session.selected().id() : MailboxId{};
        notifier->append_status(out, selected, session.notify_dialect());
        session.put(out);
    }
    session.set_notifier(std::move(notifier), std::move(watches), generation);
    co_return Reply::ok("Notify completed");
}

constexpr std::array<Command, 1> kCommands = {{
    {"NOTIFY", kLoggedIn, Expunges::told, "NOTIFY", on_notify, "5465"},
}};

}  // namespace

std::span<const Command> notify_commands() { return kCommands; }

}  // namespace posthouse::server::imap
