// STARTTLS and AUTH.
#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "server/smtp/session.h"

namespace posthouse::server::smtp {

namespace {

using wire::Reply;

// starttls = "STARTTLS" CRLF                                           RFC 3207 4
net::Task<Reply> on_starttls(Session& session, std::string_view args) {
    if (!ascii::trim(args).empty()) co_return Reply(501, "5.5.4", "Syntax: STARTTLS");
    if (session.is_tls()) co_return Reply(503, "5.5.1", "TLS is active already");
    session.enter(Phase::handshake);
    co_return Reply(220, "2.0.0", "Ready to start TLS");
}
constexpr Command kStarttls{.verb = "STARTTLS",
                            .phases = {Phase::greeted, Phase::ready},
                            .pipelining = Pipelining::last,
                            .offered = Offered::with_tls,
                            .run = on_starttls,
                            .help = "STARTTLS: encrypts the connection",
                            .rfc = "3207 4"};

// auth-command = "AUTH" SP sasl-mech [SP initial-response]             RFC 4954 4
// initial-response = base64 / "=";  "=" stands for an empty one
net::Task<Reply> on_auth(Session& session, std::string_view args) {
    if (session.login()) co_return Reply(503, "5.5.1", "Already logged in");
    Cursor in(ascii::trim(args));
    const std::string_view name = in.take_while([](char c) { return !ascii::is_space(c); });
    in.skip_blanks();
    const std::string_view initial = in.rest();
    if (name.empty()) co_return Reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]");
    auto exchange = session.make_exchange(name);
    if (exchange == nullptr) co_return Reply(504, "5.5.4", "This mechanism is not offered");

    std::optional<std::string> response;
    if (!initial.empty()) {
        auto octets = initial == "=" ? Result<std::string>(std::string()) : crypto::base64_decode(initial);
        if (!octets) co_return Reply(501, "5.5.2", "The response is no base64");
        response = *std::move(octets);
    }
    co_return co_await session.begin_auth(std::move(exchange), std::move(response));
}
constexpr Command kAuth{.verb = "AUTH",
                        .phases = {Phase::ready},
                        .need = Need::tls,
                        .pipelining = Pipelining::last,
                        .offered = Offered::submission_only,
                        .run = on_auth,
                        .help = "AUTH mechanism [response]: logs in",
                        .rfc = "4954 4"};

constexpr Command kRows[] = {kStarttls, kAuth};

}  // namespace

std::span<const Command> tls_commands() { return kRows; }

}  // namespace posthouse::server::smtp
