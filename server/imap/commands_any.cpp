// CAPABILITY, NOOP, LOGOUT (RFC 3501 6.1), ID (RFC 2971), ENABLE (RFC 5161), NAMESPACE (RFC 2342).
#include <array>

#include "protocols/base/log.h"
#include "protocols/imap/grammar.h"
#include "protocols/imap/response.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

net::Task<Reply> on_capability(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    session.untagged("CAPABILITY " + session.capabilities());
    co_return Reply::ok("Capabilities listed");
}

// What changed is told by the dispatcher, as after every command.
net::Task<Reply> on_noop(Session&, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    co_return Reply::ok("Nothing done");
}

net::Task<Reply> on_logout(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    session.untagged("BYE Logging out");
    session.unselect();
    session.enter(Phase::logout);
    co_return Reply::ok("Goodbye");
}

// id-params-list = "(" *(string SP nstring) ")" / nil; at most 30 pairs (RFC 2971 3.3).
struct ClientId {
    std::string text;  // for the log
    std::string name;
};
Result<ClientId> take_id(Cursor& args) {
    constexpr std::size_t kPairsMax = 30;
    ClientId out;
    if (args.take_word("NIL")) return out;
    if (!args.take('(')) return Error(Errc::invalid, "List expected");
    for (std::size_t pairs = 0; !args.take(')'); ++pairs) {
        if (pairs >= kPairsMax) return Error(Errc::invalid, "Too many ID fields");
        if (pairs > 0) TRY_VOID(wire::take_space(args));
        TRY(const std::string field, wire::take_string(args));
        TRY_VOID(wire::take_space(args));
        TRY(const auto value, wire::take_nstring(args));
        out.text += (out.text.empty() ? "" : ", ") + field + "=" + value.value_or("NIL");
        if (ascii::equals_ci(field, "name")) out.name = value.value_or("");
    }
    return out;
}

// id = "ID" SP id-params-list. Clients may send it again at any time; session.h says what that changes.
net::Task<Reply> on_id(Session& session, Cursor args) {
    const auto id = take_id(args);
    if (!id) co_return syntax(id.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    if (!id->text.empty()) log::info("imap", "client at {}: {}", session.stream().raw().peer().to_string(), id->text);
    session.untagged("ID (\"name\" \"Posthouse\" \"version\" \"" POSTHOUSE_VERSION "\")");
    if (session.set_client(id->name)) session.untagged("CAPABILITY " + session.capabilities());
    co_return Reply::ok("ID completed");
}

// enable = "ENABLE" 1*(SP capability). What is not known or needs no enabling is ignored (RFC 5161 3.1).
net::Task<Reply> on_enable(Session& session, Cursor args) {
    std::vector<const Enabling*> known;
    do {
        const auto name = wire::take_atom(args);
        if (!name) co_return syntax(name.error());
        for (const Enabling& row : enablings()) {
            if (ascii::equals_ci(row.name, *name) && session.offers(row.name)) known.push_back(&row);
        }
    } while (wire::take_space(args) && !args.at_end());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    std::string out = "ENABLED";
    for (const Enabling* row : known) {
        out += ' ';
        out += row->name;
    }
    session.untagged(out);
    for (const Enabling* row : known) session.enable(row->enables);
    const auto watched = co_await session.watch_metadata();
    if (!watched) co_return reply_for(watched.error());
    co_return Reply::ok("Enabled");
}

net::Task<Reply> on_namespace(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    session.untagged("NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) ((\"Shared/\" \"/\"))");
    co_return Reply::ok("Namespace completed");
}

constexpr std::array<Command, 6> kCommands = {{
    {"CAPABILITY", kAnyPhase, Expunges::told, "", on_capability, "3501 6.1.1"},
    {"NOOP", kAnyPhase, Expunges::told, "", on_noop, "3501 6.1.2"},
    {"LOGOUT", kAnyPhase, Expunges::told, "", on_logout, "3501 6.1.3"},
    {"ID", kAnyPhase, Expunges::told, "ID", on_id, "2971"},
    {"ENABLE", kLoggedIn, Expunges::told, "ENABLE", on_enable, "5161"},
    {"NAMESPACE", kLoggedIn, Expunges::told, "NAMESPACE", on_namespace, "2342"},
}};

}  // namespace

std::span<const Command> any_commands() { return kCommands; }

}  // namespace posthouse::server::imap
