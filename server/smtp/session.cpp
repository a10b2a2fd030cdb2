#include "server/smtp/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"
#include "protocols/smtp/limits.h"
#include "server/smtp/replies.h"

namespace posthouse::server::smtp {

namespace {

constexpr std::string_view kModule = "smtp";
constexpr std::size_t kOutputOctetsMax = 64 * 1024;

// Verbs of a browser that was talked into speaking to a mail port (the ALPACA attack): not worth one octet.
bool is_http(std::string_view verb) {
    constexpr std::string_view kVerbs[] = {"GET",     "POST",   "HEAD",  "PUT", "CONNECT",
                                           "OPTIONS", "DELETE", "PATCH", "PRI"};
    return std::ranges::any_of(kVerbs, [&](std::string_view name) { return ascii::equals_ci(name, verb); });
}

std::string_view service_name(Kind kind) { return kind == Kind::submission ? "submission" : "smtp"; }

}  // namespace

Session::Session(std::unique_ptr<net::Stream> stream, const SessionDeps& deps)
    : deps_(deps), stream_(std::move(stream)) {
    if (deps_.clock == nullptr) deps_.clock = &system_clock();
    if (deps_.random == nullptr) deps_.random = &system_random();
    id_ = deps_.random->token(8);
    peer_ = stream_.raw().peer().address.to_literal();
}

Session::~Session() = default;

Metrics::Value& Session::count(std::string_view name, std::string_view help) {
    return deps_.metrics->counter(name, help, fmt::format("service=\"{}\"", service_name(options().kind)));
}

void Session::enter(Phase next) {
    if (next == phase_ && next == Phase::closing) return;
    ASSERT(is_edge(phase_, next));
    phase_ = next;
}

ExtensionContext Session::extension_context() const {
    ExtensionContext context;
    context.options = &options();
    context.esmtp = esmtp_;
    context.tls = is_tls();
    context.tls_possible = deps_.tls != nullptr;
    context.logged_in = login_.has_value();
    context.mails_max = mails_max();
    if (options().kind != Kind::submission || !context.tls || context.logged_in) return context;
    for (const std::string& name : deps_.backend->auth_mechanisms(stream_.raw().tls_binding())) {
        context.mechanisms += (context.mechanisms.empty() ? "" : " ") + name;
    }
    return context;
}

void Session::greet_client(std::string_view name, bool esmtp) {
    // RFC 5321 4.1.4: EHLO in the middle of a session clears the state as RSET does.
    drop_transaction();
    client_name_ = name;
    esmtp_ = esmtp;
    if (options().kind == Kind::reception) neighbour_ = backend().client_at(stream_.raw().peer().address, name);
    if (phase_ == Phase::greeted) enter(Phase::ready);
}

void Session::open_transaction(Envelope envelope, MailParameters parameters) {
    ASSERT(!transaction_);
    transaction_.emplace();
    transaction_->envelope = std::move(envelope);
    transaction_->parameters = std::move(parameters);
    transaction_->id = deps_.random->token(10);
    ++mails_;
    enter(Phase::mail);
}

void Session::drop_transaction() {
    transaction_.reset();
    if (phase_ != Phase::ready && phase_ != Phase::greeted && phase_ != Phase::closing) enter(Phase::ready);
}

net::Task<void> Session::run() {
    co_await greet();
    while (phase_ != Phase::closing) {
        if (phase_ == Phase::handshake) {
            co_await start_tls();
            continue;
        }
        wire::Reply reply = co_await next_reply();
        if (silent_) break;
        if (reply.code == 0) continue;  // the answer comes with the octets that follow
        judge(reply);
        std::string line;
        wire::append_reply(line, reply);
        stream_.put(line);
    }
    if (!silent_) {
        stream_.raw().expires_in(options().limits.goodbye);
        const auto flushed = co_await stream_.flush();
        if (!flushed) ending_ = "the last reply could not be sent";
    }
    transaction_.reset();
    stream_.raw().close();
    report();
}

net::Task<void> Session::greet() {
    stream_.raw().expires_in(options().limits.idle);
    if (options().limits.greet_pause.count() > 0) {
        // RFC 5321 4.3.1: the client waits for the greeting. One that does not is a robot in a hurry.
        stream_.raw().expires_in(options().limits.greet_pause);
        const auto early = co_await stream_.raw().wait_readable();
        if (early) ++errors_;
    }
    stream_.put(fmt::format("220 {} ESMTP Posthouse\r\n", options().hostname));
    enter(Phase::greeted);
}

net::Task<wire::Reply> Session::next_reply() {
    switch (phase_) {
        case Phase::data: co_return co_await receive_data();
        case Phase::chunk: co_return co_await receive_chunk();
        case Phase::auth: co_return co_await answer_auth();
        default: co_return co_await read_command();
    }
}

// Replies to pipelined commands go out together (RFC 2920 3.2), but never wait for input that has not come.
net::Task<Result<>> Session::flush_if_idle() {
    if (stream_.pending_output() == 0) co_return Result<>();
    const bool line_waits = stream_.buffered().contains("\r\n");
    if (line_waits && stream_.pending_output() < kOutputOctetsMax) co_return Result<>();
    co_return co_await stream_.flush();
}

net::Task<Result<std::string_view>> Session::read_line(std::size_t octets_max) {
    // One deadline for the whole command: it is not pushed on by octets that drip in (RFC 5321 4.5.3.2.7).
    stream_.raw().expires_in(options().limits.idle);
    CO_TRY_VOID(co_await flush_if_idle());
    co_return co_await stream_.read_line(octets_max);
}

// The stream can no longer be read: what to say last.
wire::Reply Session::broken(const Error& error) {
    enter(Phase::closing);
    if (error.code == Errc::timeout || error.code == Errc::cancelled) {
        ending_ = error.code == Errc::timeout ? "timeout" : "the server is stopping";
        return reply_for(error);
    }
    silent_ = true;
    if (error.code != Errc::closed) ending_ = error.context;
    return wire::Reply();
}

net::Task<wire::Reply> Session::read_command() {
    const bool long_lines = options().kind == Kind::submission;
    const std::size_t octets_max = long_lines ? wire::kAuthLineOctetsMax : wire::kCommandLineOctetsMax;
    const auto line = co_await read_line(octets_max);
    if (line) co_return co_await dispatch(*line);
    if (line.error().code == Errc::too_large) co_return wire::Reply(500, "5.5.2", "The line is too long");
    co_return broken(line.error());
}

net::Task<wire::Reply> Session::dispatch(std::string_view line) {
    Cursor in(line);
    const std::string_view verb = in.take_while([](char c) { return !ascii::is_space(c); });
    const Command* row = find_command(verb);
    if (row == nullptr) co_return co_await unknown_command(verb);
    first_command_ = false;
    if (line.size() + 2 > wire::kCommandLineOctetsMax && row->offered != Offered::submission_only) {
        co_return wire::Reply(500, "5.5.2", "The line is too long");
    }
    // A bare CR or LF would make one line look like two to someone else; NUL and broken UTF-8 likewise lie.
    if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos || !ascii::is_valid_utf8(line)) {
        if (row->payload == Payload::chunk) enter(Phase::closing);
        co_return wire::Reply(500, "5.5.2", "The line holds octets that no command may hold");
    }
    if (auto refusal = check_row(*row)) co_return *std::move(refusal);
    if (row->pipelining == Pipelining::last && !stream_.buffered().empty() && row->verb != "DATA") {
        if (row->verb == "STARTTLS") {
            // RFC 3207 4: what was sent in clear behind STARTTLS may be an injection. It is dropped with the
            // connection.
            enter(Phase::closing);
            co_return wire::Reply(554, "5.7.0", "Commands were sent behind STARTTLS");
        }
        ++errors_;  // RFC 2920 3.1: these end a group of commands
    }
    if (row->is_idle && ++idle_commands_ > options().limits.idle_commands_max) {
        ending_ = "too many commands without a message";
        enter(Phase::closing);
        co_return wire::Reply(421, "4.7.0", "Too many commands without a message");
    }
    in.skip_blanks();
    co_return co_await row->run(*this, in.rest());
}

// The rules that every row states and no handler repeats.
std::optional<wire::Reply> Session::check_row(const Command& row) {
    const bool submission = options().kind == Kind::submission;
    if ((row.offered == Offered::submission_only && !submission) ||
        (row.offered == Offered::with_tls && deps_.tls == nullptr && !is_tls())) {
        return wire::Reply(502, "5.5.1", "This command is not offered here");
    }
    if (!row.phases.has(phase_)) {
        if (phase_ == Phase::greeted) return wire::Reply(503, "5.5.1", "Say EHLO first");
        // RFC 5321 3.3: DATA after RCPTs that were all refused.
        if (phase_ == Phase::mail && row.verb == "DATA") return wire::Reply(554, "5.5.1", "No valid recipients");
        return wire::Reply(503, "5.5.1", "This command is out of order");
    }
    if (submission && row.need != Need::nothing && !is_tls()) {
        return wire::Reply(530, "5.7.0", "Say STARTTLS first");
    }
    if (submission && row.need == Need::login && !login_) {
        return wire::Reply(530, "5.7.0", "Log in first");
    }
    return std::nullopt;
}

net::Task<wire::Reply> Session::unknown_command(std::string_view verb) {
    if (first_command_ || is_http(verb)) {
        // Nothing that speaks SMTP opens so.
        count("smtp_strangers_total", "Connections dropped because they did not speak SMTP").add();
        ending_ = "does not speak SMTP";
        enter(Phase::closing);
        silent_ = is_http(verb);
    }
    co_return wire::Reply(500, "5.5.1", "Unknown command");
}

std::unique_ptr<AuthExchange> Session::make_exchange(std::string_view mechanism) {
    const AuthPeer peer(stream_.raw().peer().address, stream_.raw().tls_binding());
    return backend().begin_auth(mechanism, peer);
}

net::Task<wire::Reply> Session::begin_auth(std::unique_ptr<AuthExchange> exchange, std::optional<std::string> initial) {
    exchange_ = std::move(exchange);
    enter(Phase::auth);
    auto step = co_await exchange_->start(std::move(initial));
    co_return continue_auth(std::move(step));
}

net::Task<std::optional<wire::Reply>> Session::check_login() {
    if (!login_) co_return std::nullopt;
    const auto good = co_await backend().check_login(*login_);
    if (good) co_return std::nullopt;
    if (good.error().code != Errc::unauthenticated) co_return reply_for(good.error());
    ending_ = "what it logged in with is not good any more";
    transaction_.reset();
    enter(Phase::closing);
    co_return wire::Reply(421, "4.7.0", "This login is not valid any more");
}

net::Task<wire::Reply> Session::answer_auth() {
    const auto line = co_await read_line(wire::kAuthLineOctetsMax);
    if (!line && line.error().code != Errc::too_large) co_return broken(line.error());
    if (!line) {
        exchange_.reset();
        enter(Phase::ready);
        co_return wire::Reply(500, "5.5.6", "The line is too long");  // RFC 4954 4
    }
    if (*line == "*") {
        exchange_.reset();
        enter(Phase::ready);
        co_return wire::Reply(501, "5.7.0", "Authentication cancelled");
    }
    auto octets = crypto::base64_decode(*line);
    if (!octets) {
        exchange_.reset();
        enter(Phase::ready);
        co_return wire::Reply(501, "5.5.2", "The response is no base64");
    }
    auto step = co_await exchange_->answer(*std::move(octets));
    co_return continue_auth(std::move(step));
}

wire::Reply Session::continue_auth(Result<AuthStep> step) {
    if (step && !step->login) return wire::Reply(334, crypto::base64_encode(step->challenge));
    exchange_.reset();
    enter(Phase::ready);
    if (step) {
        login_ = std::move(step->login);
        return wire::Reply(235, "2.7.0", "Authentication succeeded");
    }
    const Errc code = step.error().code;
    if (code == Errc::invalid) return wire::Reply(501, "5.5.2", "A malformed response");
    if (code == Errc::denied || code == Errc::too_large) return wire::Reply(535, "5.7.8", "Authentication failed");
    count("smtp_auth_failures_total", "Logins that failed").add();
    if (code == Errc::limit) return wire::Reply(454, "4.7.0", "Too many failures, try again later");
    if (code != Errc::unauthenticated) return reply_for(step.error());
    if (++auth_failures_ >= options().limits.auth_failures_max) {
        enter(Phase::closing);
        return wire::Reply(421, "4.7.0", "Too many failed logins");
    }
    return reply_for(step.error());
}

net::Task<void> Session::start_tls() {
    stream_.raw().expires_in(options().limits.handshake);
    auto done = co_await stream_.flush();
    // RFC 3207 4: nothing read in clear survives the handshake.
    stream_.drop_buffered();
    if (done) done = co_await stream_.raw().start_tls_server(*deps_.tls);
    if (!done) {
        ending_ = "TLS handshake: " + done.error().context;
        silent_ = true;
        enter(Phase::closing);
        co_return;
    }
    // RFC 3207 4.2: the client is a stranger again.
    transaction_.reset();
    login_.reset();
    client_name_.clear();
    esmtp_ = false;
    enter(Phase::greeted);
}

// Every reply passes here: errors are counted, and too many of them end the session.
void Session::judge(wire::Reply& reply) {
    if (reply.code >= 500) {
        // A refused recipient has its own, wider limit: lists do age.
        if (!recipient_unwanted_) ++(recipient_refused_ ? recipient_errors_ : errors_);
        count("smtp_refused_total", "Commands and messages refused").add();
    }
    recipient_refused_ = false;
    recipient_unwanted_ = false;
    if (phase_ == Phase::closing) return;
    const SmtpLimits& limits = options().limits;
    if (errors_ < limits.errors_max && recipient_errors_ < limits.recipient_errors_max) return;
    ending_ = "too many errors";
    transaction_.reset();
    reply = wire::Reply(421, "4.7.0", "Too many errors, closing the connection");
    enter(Phase::closing);
}

void Session::report() {
    count("smtp_sessions_total", "SMTP sessions that ended").add();
    log::info(kModule, "session {}: {} from {} as {}{}, {} accepted, {} errors; {}", id_, service_name(options().kind),
              peer_, client_name_.empty() ? "nobody" : client_name_, login_ ? ", login " + login_->address : "",
              accepted_, errors_ + recipient_errors_, ending_);
}

net::Task<void> serve_connection(std::unique_ptr<net::Stream> stream, SessionDeps deps) {
    Session session(std::move(stream), deps);
    co_await session.run();
}

}  // namespace posthouse::server::smtp
