// CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7).
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/mailbox_name.h"
#include "protocols/mime/text.h"
#include "server/imap/names.h"
#include "server/imap/offered.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// The one name that most of these commands take, and nothing behind it.
Result<std::string> take_only_name(Cursor args, wire::NameForm form) {
    TRY(std::string name, take_mailbox(args, form));
    TRY_VOID(wire::take_end(args));
    return name;
}

// Names that LIST could not ask for by themselves are not made (RFC 3501 5.1), nor plain ones that would look like
// others and be none (RFC 9051 5.1: Net-Unicode, RFC 5198 2: in NFC).
bool may_be_made(std::string_view name, wire::NameForm form) {
    if (name.find_first_of("%*") != std::string_view::npos) return false;
    return form == wire::NameForm::modified_utf7 || mime::is_composed(name);
}

struct CreateArguments {
    std::string name;
    storage::SpecialUse use = storage::SpecialUse::none;
};

// "USE" SP "(" [use-attr *(SP use-attr)] ")" (RFC 6154 6). Errc::unsupported: a use that cannot be had.
Result<storage::SpecialUse> take_uses(Cursor& args) {
    if (!args.take_word("USE")) return Error(Errc::invalid, "Unknown CREATE parameter");
    TRY_VOID(wire::take_space(args));
    if (!args.take('(')) return Error(Errc::invalid, "Special uses expected");
    auto out = storage::SpecialUse::none;
    bool supported = true;
    if (args.take(')')) return out;
    do {
        if (!args.take('\\')) return Error(Errc::invalid, "Special use expected");
        TRY(const std::string name, wire::take_atom(args));
        const auto use = special_use_of("\\" + name);
        // A mailbox has one use here.
        supported = supported && use && (out == storage::SpecialUse::none || out == *use);
        if (use) out = *use;
    } while (args.take(' '));
    if (!args.take(')')) return Error(Errc::invalid, "Special uses are not closed");
    if (!supported) return Error(Errc::unsupported, "That special use is not supported");
    return out;
}

// create = "CREATE" SP mailbox [SP "(" create-param ")"] (RFC 4466 2.3)
Result<CreateArguments> take_create(const Session& session, Cursor args) {
    CreateArguments out;
    TRY(out.name, take_mailbox(args, session.names()));
    if (args.take(" (")) {
        TRY_VOID(check_offered(session, "CREATE-SPECIAL-USE", "Unexpected arguments"));
        TRY(out.use, take_uses(args));
        if (!args.take(')')) return Error(Errc::invalid, "CREATE parameters are not closed");
    }
    TRY_VOID(wire::take_end(args));
    return out;
}

// A trailing delimiter says that children will follow; the mailbox is made all the same (RFC 3501 6.3.3).
net::Task<Reply> on_create(Session& session, Cursor args) {
    auto arguments = take_create(session, args);
    if (!arguments && arguments.error().code == Errc::unsupported) {
        co_return Reply::no("USEATTR", arguments.error().context);
    }
    if (!arguments) co_return syntax(arguments.error());
    std::string name = std::move(arguments->name);
    if (name.ends_with(wire::kDelimiter)) name.pop_back();
    if (name.empty() || !may_be_made(name, session.names())) co_return Reply::no("CANNOT", "Invalid mailbox name");
    const auto created = co_await session.access().create(name, arguments->use);
    if (!created && created.error().code == Errc::conflict) {
        co_return Reply::no("USEATTR", "Another mailbox has that special use");
    }
    if (!created) co_return reply_for(created.error());
    session.expect_own(OwnChange(OwnChange::Kind::created, std::move(name)));
    if (!session.offers("OBJECTID")) co_return Reply::ok("Mailbox created");
    co_return Reply::ok("MAILBOXID (" + mailbox_object_id(created->id) + ")", "Mailbox created");
}

net::Task<Reply> on_delete(Session& session, Cursor args) {
    auto name = take_only_name(args, session.names());
    if (!name) co_return syntax(name.error());
    if (*name == "INBOX") co_return Reply::no("CANNOT", "INBOX cannot be deleted");  // RFC 3501 6.3.4
    const bool named = session.has_selected() && session.selected().mailbox().name == *name;
    session.set_removal(Session::Removal::expected);
    const auto removed = co_await session.access().remove(*name);
    const bool seen = session.removal() == Session::Removal::seen;
    session.set_removal(Session::Removal::unexpected);
    if (!removed) co_return reply_for(removed.error());  // was it removed by another session: tell() says BYE
    session.expect_own(OwnChange(OwnChange::Kind::removed, *std::move(name)));
    // Another session may have renamed it: then only the store knows that it was this one.
    if (named || seen) {
        session.untagged("OK [CLOSED] The selected mailbox was deleted");
        session.unselect();
    }
    co_return Reply::ok("Mailbox deleted");
}

net::Task<Reply> on_rename(Session& session, Cursor args) {
    auto from = take_mailbox(args, session.names());
    if (!from) co_return syntax(from.error());
    auto to = take_space_mailbox(args, session.names());
    if (!to) co_return syntax(to.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    if (to->ends_with(wire::kDelimiter)) to->pop_back();
    if (to->empty() || !may_be_made(*to, session.names())) co_return Reply::no("CANNOT", "Invalid mailbox name");
    const auto renamed = co_await session.access().rename(*from, *to);
    if (!renamed) co_return reply_for(renamed.error());
    // What lay in INBOX moved to a new mailbox, INBOX itself stayed (RFC 3501 6.3.5).
    if (*from == "INBOX")
        session.expect_own(OwnChange(OwnChange::Kind::created, *std::move(to)));
    else
        session.expect_own(OwnChange(OwnChange::Kind::renamed, *std::move(from), *std::move(to)));
    session.expect_news();  // INBOX may be selected and empty now
    co_return Reply::ok("Mailbox renamed");
}

net::Task<Reply> set_subscribed(Session& session, Cursor args, bool subscribed) {
    auto name = take_only_name(args, session.names());
    if (!name) co_return syntax(name.error());
    const auto done = co_await session.access().set_subscribed(*name, subscribed);
    if (!done) co_return reply_for(done.error());
    const auto kind = subscribed ? OwnChange::Kind::subscribed : OwnChange::Kind::unsubscribed;
    session.expect_own(OwnChange(kind, *std::move(name)));
    co_return Reply::ok(subscribed ? "Subscribed" : "Unsubscribed");
}

net::Task<Reply> on_subscribe(Session& session, Cursor args) { return set_subscribed(session, args, true); }
net::Task<Reply> on_unsubscribe(Session& session, Cursor args) { return set_subscribed(session, args, false); }

constexpr std::array<Command, 5> kCommands = {{
    {"CREATE", kLoggedIn, Expunges::told, "", on_create, "3501 6.3.3"},
    {"DELETE", kLoggedIn, Expunges::told, "", on_delete, "3501 6.3.4"},
    {"RENAME", kLoggedIn, Expunges::told, "", on_rename, "3501 6.3.5"},
    {"SUBSCRIBE", kLoggedIn, Expunges::told, "", on_subscribe, "3501 6.3.6"},
    {"UNSUBSCRIBE", kLoggedIn, Expunges::told, "", on_unsubscribe, "3501 6.3.7"},
}};

}  // namespace

std::span<const Command> mailbox_commands() { return kCommands; }

}  // namespace posthouse::server::imap
