// STARTTLS, AUTHENTICATE, LOGIN (RFC 3501 6.2), SASL-IR (RFC 4959).
#include <array>

#include "protocols/crypto/crypto.h"
#include "protocols/imap/grammar.h"
#include "server/auth/exchange.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// Octets that were sent in clear behind STARTTLS must not survive the handshake (CVE-2011-0411): whoever sends them is
// broken or under attack, and is hung up on.
net::Task<Reply> on_starttls(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    if (session.is_secure()) co_return Reply::bad("TLS is already active");
    if (!session.offers_starttls()) co_return Reply::bad("TLS is not available");
    if (!session.stream().buffered().empty()) co_return Reply::hang_up("Nothing may follow STARTTLS");
    session.put(session.tag());
    session.put(" OK Begin TLS negotiation now\r\n");
    const auto flushed = co_await session.flush();
    if (!flushed) co_return Reply::hang_up("");
    session.forget_clear_text();
    const auto secured = co_await session.stream().raw().start_tls_server(*session.deps().tls);
    if (!secured) co_return Reply::hang_up("");
    co_return Reply::said();
}

constexpr const char* kService = "imap";

Reply welcome(Session& session, const Identity& identity) {
    if (!session.log_in(identity)) return Reply::no("LIMIT", "Too many sessions of this account");
    return Reply::ok("CAPABILITY " + session.capabilities(), "Logged in");
}

Reply refuse(Session& session, const Error& error) {
    auto& failures = session.deps().metrics->counter("imap_login_failures_total", "IMAP logins that were refused");
    failures.add();
    Reply reply = reply_for(error);
    // That we could not look, or that it was tried too often, is no guess of a password.
    if (error.code != Errc::unauthenticated || !session.count_login_failure()) return reply;
    session.put(session.tag() + " NO [" + reply.code + "] " + reply.text + "\r\n");
    return Reply::hang_up("Too many failed logins");
}

// login = "LOGIN" SP userid SP password
net::Task<Reply> on_login(Session& session, Cursor args) {
    auto login = wire::take_astring(args);
    if (!login) co_return syntax(login.error());
    const auto space = wire::take_space(args);
    if (!space) co_return syntax(space.error());
    auto password = wire::take_astring(args);
    if (!password) co_return syntax(password.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    if (!session.may_login()) co_return Reply::no("PRIVACYREQUIRED", "Use TLS first");
    const net::IpAddress peer = session.stream().raw().peer().address;
    const std::string service = kService;
    session.set_login_busy(true);
    const auto identity =
        co_await session.deps().authenticator->authenticate(*std::move(login), *std::move(password), peer, service);
    session.set_login_busy(false);
    if (!identity) co_return refuse(session, identity.error());
    co_return welcome(session, *identity);
}

// One answer of the client, without its base64. Errc::denied where it cancels with "*".
net::Task<Result<std::string>> ask(Session& session, std::string challenge) {
    session.put("+ ");
    session.put(crypto::base64_encode(challenge));
    session.put("\r\n");
    CO_TRY_VOID(co_await session.flush());
    const auto line = co_await session.reader().read_answer();
    if (!line) co_return Error(line.error());
    if (*line == "*") co_return Error(Errc::denied, "the client cancelled");
    co_return crypto::base64_decode(*line);
}

// authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")] *(CRLF base64)
net::Task<Reply> on_authenticate(Session& session, Cursor args) {
    const auto name = wire::take_atom(args);
    if (!name) co_return syntax(name.error());
    std::optional<std::string> initial;
    if (!args.at_end()) {
        if (!wire::take_space(args)) co_return Reply::bad("Invalid mechanism");
        if (!session.offers("SASL-IR")) co_return Reply::bad("Unexpected arguments");
        const std::string_view text = args.take_octets(args.rest().size());
        auto decoded = text == "=" ? Result<std::string>(std::string()) : crypto::base64_decode(text);
        if (!decoded) co_return Reply::bad("Invalid base64");
        initial = *std::move(decoded);
    }
    if (!session.may_login()) co_return Reply::no("PRIVACYREQUIRED", "Use TLS first");
    const net::IpAddress peer = session.stream().raw().peer().address;
    if (!session.offers("AUTH=" + *name)) co_return Reply::no("CANNOT", "Unknown authentication mechanism");
    const auto exchange = LoginExchange::begin(*session.deps().authenticator, *name,
                                               session.stream().raw().tls_binding(), peer, kService);
    if (!exchange) co_return Reply::no("CANNOT", "Unknown authentication mechanism");
    session.set_login_busy(true);
    auto step = co_await exchange->start(std::move(initial));
    session.set_login_busy(false);
    while (step && !step->identity) {
        auto answer = co_await ask(session, std::move(step->challenge));
        if (!answer) {
            if (answer.error().code == Errc::denied) co_return Reply::bad("Authentication was cancelled");
            if (answer.error().code == Errc::invalid) co_return Reply::bad("Invalid base64");
            const bool too_much = answer.error().code == Errc::too_large;
            co_return Reply::hang_up(too_much ? "[TOOBIG] Too much before login" : "");
        }
        session.set_login_busy(true);
        step = co_await exchange->answer(*std::move(answer));
        session.set_login_busy(false);
    }
    if (step) co_return welcome(session, *step->identity);
    if (step.error().code == Errc::invalid) co_return Reply::bad("Invalid authentication data");
    if (step.error().code == Errc::too_large) co_return Reply::bad("Authentication data is too long");
    if (step.error().code == Errc::denied) co_return Reply::no("AUTHORIZATIONFAILED", "Not allowed to log in so");
    co_return refuse(session, step.error());
}

constexpr std::array<Command, 3> kCommands = {{
    {"STARTTLS", kBeforeLogin, Expunges::told, "STARTTLS", on_starttls, "3501 6.2.1"},
    {"AUTHENTICATE", kBeforeLogin, Expunges::told, "", on_authenticate, "3501 6.2.2"},
    {"LOGIN", kBeforeLogin, Expunges::told, "", on_login, "3501 6.2.3"},
}};

}  // namespace

std::span<const Command> login_commands() { return kCommands; }

}  // namespace posthouse::server::imap
