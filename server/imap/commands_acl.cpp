// SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 3). The store judges (storage/shared_mail.h).
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

using storage::Rights;
using storage::RightsChange;

constexpr std::string_view kNewRights = "texk";  // RFC 4314 2.1: the old "c" and "d" stood for them

struct AclArguments {
    std::string name;
    std::string identifier;
};

// mailbox SP identifier
Result<AclArguments> take_acl(Cursor& args, wire::NameForm form) {
    AclArguments out;
    TRY(out.name, take_mailbox(args, form));
    TRY_VOID(wire::take_space(args));
    TRY(out.identifier, wire::take_astring(args));
    if (out.identifier.empty() || out.identifier == "-") return Error(Errc::invalid, "Identifier expected");
    return out;
}

// mod-rights = astring: +rights to add, -rights to remove, rights to replace
struct ModRights {
    RightsChange how = RightsChange::replace;
    Rights rights = 0;
};
Result<ModRights> take_mod_rights(const Session& session, Cursor& args) {
    ModRights out;
    TRY(const std::string text, wire::take_astring(args));
    if (text.find_first_of(kNewRights) != std::string::npos) {
        TRY_VOID(check_offered(session, "RIGHTS=texk", "Unknown right"));
    }
    std::string_view letters = text;
    if (letters.starts_with('+')) out.how = RightsChange::add;
    if (letters.starts_with('-')) out.how = RightsChange::remove;
    if (out.how != RightsChange::replace) letters.remove_prefix(1);
    TRY(out.rights, storage::parse_rights(letters));
    return out;
}

net::Task<Reply> change_rights(Session& session, AclArguments arguments, ModRights to) {
    const auto done = co_await session.access().set_rights(std::move(arguments.name), std::move(arguments.identifier),
                                                           to.how, to.rights);
    if (!done) co_return reply_for(done.error());
    co_return Reply::ok("Rights changed");
}

net::Task<Reply> on_set_acl(Session& session, Cursor args) {
    auto arguments = take_acl(args, session.names());
    if (!arguments) co_return syntax(arguments.error());
    const auto space = wire::take_space(args);
    if (!space) co_return syntax(space.error());
    const auto to = take_mod_rights(session, args);
    if (!to) co_return syntax(to.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    co_return co_await change_rights(session, *std::move(arguments), *to);
}

net::Task<Reply> on_delete_acl(Session& session, Cursor args) {
    auto arguments = take_acl(args, session.names());
    if (!arguments) co_return syntax(arguments.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    const ModRights none;
    co_return co_await change_rights(session, *std::move(arguments), none);
}

net::Task<Reply> on_get_acl(Session& session, Cursor args) {
    const auto name = take_mailbox(args, session.names());
    if (!name) co_return syntax(name.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    const auto rows = co_await session.access().rights(*name);
    if (!rows) co_return reply_for(rows.error());
    const auto owner = co_await session.access().owner(*name);
    if (!owner) co_return reply_for(owner.error());
    std::string out = "ACL ";
    wire::append_mailbox(out, *name, session.names());
    const auto add = [&](std::string_view identifier, Rights rights) {
        out += ' ';
        wire::append_astring(out, identifier);
        out += ' ' + format_rights(session, rights);
    };
    add(*owner, storage::kAllRights);
    for (const storage::RightsRow& row : *rows) add(row.identifier, row.rights);
    session.untagged(out);
    co_return Reply::ok("Rights listed");
}

// Any right can be granted by itself; the old "c" and "d" stand for members that are free too (RFC 4314 2.1.1).
net::Task<Reply> on_list_rights(Session& session, Cursor args) {
    const auto arguments = take_acl(args, session.names());
    if (!arguments) co_return syntax(arguments.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    const auto rows = co_await session.access().rights(arguments->name);
    if (!rows) co_return reply_for(rows.error());
    const auto owner = co_await session.access().owner(arguments->name);
    if (!owner) co_return reply_for(owner.error());
    std::string out = "LISTRIGHTS ";
    wire::append_mailbox(out, arguments->name, session.names());
    out += ' ';
    wire::append_astring(out, arguments->identifier);
    if (ascii::equals_ci(arguments->identifier, *owner)) {
        out += ' ' + format_rights(session, storage::kAllRights);
    } else {
        out += " \"\"";
        for (const char letter : format_rights(session, storage::kAllRights)) {
            out += ' ';
            out += letter;
        }
    }
    session.untagged(out);
    co_return Reply::ok("Rights listed");
}

net::Task<Reply> on_my_rights(Session& session, Cursor args) {
    const auto name = take_mailbox(args, session.names());
    if (!name) co_return syntax(name.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    const auto status = co_await session.access().status(*name);
    if (!status) co_return reply_for(status.error());
    std::string out = "MYRIGHTS ";
    wire::append_mailbox(out, *name, session.names());
    session.untagged(out + ' ' + format_rights(session, status->mailbox.rights));
    co_return Reply::ok("Rights listed");
}

constexpr auto kCommands = std::to_array<Command>({
    {"SETACL", kLoggedIn, Expunges::told, "ACL", on_set_acl, "4314 3.1"},
    {"DELETEACL", kLoggedIn, Expunges::told, "", on_delete_acl, "4314 3.2"},
    {"GETACL", kLoggedIn, Expunges::told, "", on_get_acl, "4314 3.3"},
    {"LISTRIGHTS", kLoggedIn, Expunges::told, "", on_list_rights, "4314 3.4"},
    {"MYRIGHTS", kLoggedIn, Expunges::told, "", on_my_rights, "4314 3.5"},
});

}  // namespace

std::span<const Command> acl_commands() { return kCommands; }

std::string format_rights(const Session& session, storage::Rights rights) {
    std::string out = storage::format_rights_for_clients(rights);
    if (!session.offers("RIGHTS=texk")) std::erase_if(out, [](char letter) { return kNewRights.contains(letter); });
    return out;
}

}  // namespace posthouse::server::imap
