// The commands around a transaction: EHLO HELO NOOP RSET VRFY HELP QUIT.
#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "protocols/smtp/limits.h"
#include "server/smtp/session.h"

namespace posthouse::server::smtp {

namespace {

using wire::Reply;

// ehlo = "EHLO" SP ( Domain / address-literal ) CRLF                  RFC 5321 4.1.1.1
// Lenient: any printable word. Mail programs on ordinary machines send host names with underscores and worse, and
// RFC 5321 4.1.4 forbids to refuse mail for a name that does not check out.
std::optional<std::string_view> client_name(std::string_view args) {
    const std::string_view name = ascii::trim(args);
    if (name.empty() || name.size() > wire::kDomainOctetsMax || !ascii::is_valid_utf8(name)) return std::nullopt;
    for (const char c : name) {
        if (c == ' ' || ascii::is_control(c)) return std::nullopt;
    }
    return name;
}

net::Task<Reply> on_ehlo(Session& session, std::string_view args) {
    const auto name = client_name(args);
    if (!name) co_return Reply(501, "5.5.4", "Syntax: EHLO hostname");
    session.greet_client(*name, /*esmtp=*/true);
    Reply reply(250, session.options().hostname);
    for (std::string& line : ehlo_lines(session.extension_context())) reply.lines.push_back(std::move(line));
    co_return reply;
}
constexpr Command kEhlo{.verb = "EHLO",
                        .pipelining = Pipelining::last,
                        .is_idle = true,
                        .run = on_ehlo,
                        .help = "EHLO hostname: opens the session and lists the extensions",
                        .rfc = "5321 4.1.1.1"};

net::Task<Reply> on_helo(Session& session, std::string_view args) {
    const auto name = client_name(args);
    if (!name) co_return Reply(501, "5.5.4", "Syntax: HELO hostname");
    session.greet_client(*name, /*esmtp=*/false);
    co_return Reply(250, session.options().hostname);
}
constexpr Command kHelo{.verb = "HELO",
                        .pipelining = Pipelining::last,
                        .is_idle = true,
                        .run = on_helo,
                        .help = "HELO hostname: opens the session without extensions",
                        .rfc = "5321 4.1.1.1"};

// noop = "NOOP" [ SP String ] CRLF: the argument is ignored            RFC 5321 4.1.1.9
net::Task<Reply> on_noop(Session&, std::string_view) { co_return Reply(250, "2.0.0", "Ok"); }
constexpr Command kNoop{
    .verb = "NOOP", .is_idle = true, .run = on_noop, .help = "NOOP: does nothing", .rfc = "5321 4.1.1.9"};

// rset = "RSET" CRLF                                                   RFC 5321 4.1.1.5
net::Task<Reply> on_rset(Session& session, std::string_view args) {
    if (!ascii::trim(args).empty()) co_return Reply(501, "5.5.4", "Syntax: RSET");
    session.drop_transaction();
    co_return Reply(250, "2.0.0", "Ok");
}
constexpr Command kRset{
    .verb = "RSET", .is_idle = true, .run = on_rset, .help = "RSET: forgets the transaction", .rfc = "5321 4.1.1.5"};

// vrfy = "VRFY" SP String CRLF: tells nobody who lives here            RFC 5321 3.5.3, 7.3
net::Task<Reply> on_vrfy(Session&, std::string_view args) {
    if (ascii::trim(args).empty()) co_return Reply(501, "5.5.4", "Syntax: VRFY address");
    co_return Reply(252, "2.1.5", "Cannot verify; send some mail and it will be tried");
}
constexpr Command kVrfy{.verb = "VRFY",
                        .is_idle = true,
                        .run = on_vrfy,
                        .help = "VRFY address: is always answered 252",
                        .rfc = "5321 4.1.1.6"};

bool is_shown(const Command& row, const Session& session) {
    if (row.offered == Offered::submission_only) return session.options().kind == Kind::submission;
    if (row.offered == Offered::with_tls) return session.extension_context().tls_possible;
    return true;
}

// help = "HELP" [ SP String ] CRLF                                     RFC 5321 4.1.1.8
net::Task<Reply> on_help(Session& session, std::string_view args) {
    const std::string_view verb = ascii::trim(args);
    if (!verb.empty()) {
        const Command* row = find_command(verb);
        if (row == nullptr || !is_shown(*row, session)) co_return Reply(504, "5.5.4", "No such command");
        co_return Reply(214, "2.0.0", fmt::format("{} (RFC {})", row->help, row->rfc));
    }
    std::string names = "Commands:";
    for (const Command& row : all_commands()) {
        if (is_shown(row, session)) names += fmt::format(" {}", row.verb);
    }
    Reply reply(214, "2.0.0", names);
    reply.lines.emplace_back("HELP with a command tells more");
    co_return reply;
}
constexpr Command kHelp{.verb = "HELP",
                        .is_idle = true,
                        .run = on_help,
                        .help = "HELP [command]: lists or explains",
                        .rfc = "5321 4.1.1.8"};

// quit = "QUIT" CRLF                                                   RFC 5321 4.1.1.10
net::Task<Reply> on_quit(Session& session, std::string_view args) {
    if (!ascii::trim(args).empty()) co_return Reply(501, "5.5.4", "Syntax: QUIT");
    session.close_after_reply();
    co_return Reply(221, "2.0.0", "Goodbye");
}
constexpr Command kQuit{.verb = "QUIT", .run = on_quit, .help = "QUIT: ends the session", .rfc = "5321 4.1.1.10"};

constexpr Command kRows[] = {kEhlo, kHelo, kNoop, kRset, kVrfy, kHelp, kQuit};

}  // namespace

std::span<const Command> hello_commands() { return kRows; }

}  // namespace posthouse::server::smtp
