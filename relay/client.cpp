#include "relay/client.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/random.h"
#include "protocols/crypto/crypto.h"

namespace posthouse::relay {

Verdict Verdict::of(const smtp::Reply& reply) {
    Verdict out;
    out.fate = reply.is_success() ? Fate::delivered : reply.is_permanent() ? Fate::failed : Fate::deferred;
    out.reply = reply.to_string();
    out.enhanced = reply.enhanced;
    out.from_remote = true;
    out.code = static_cast<unsigned>(reply.code);
    return out;
}

Client::Client(std::unique_ptr<net::Stream> stream, ClientOptions options)
    : stream_(std::move(stream)), options_(std::move(options)) {}

Client::~Client() { stream_.raw().close(); }

std::string Client::remote_name() const {
    return options_.server_name.empty() ? stream_.raw().peer().to_string() : options_.server_name;
}

void Client::say(std::string_view lines) {
    stream_.put(lines);
    dialogue_->client(lines);
}

// Sends what is gathered and reads one reply. A remote that refuses us and hangs up makes our write fail although its
// reply has arrived: the reply counts.
net::Task<Result<smtp::Reply>> Client::hear(std::chrono::milliseconds max) {
    stream_.raw().expires_in(max);
    const auto flushed = co_await stream_.flush();
    auto reply = co_await smtp::read_reply(stream_);
    if (reply) {
        heard_nothing_ = false;
        dialogue_->server(*reply);
        if (reply->code == 421) usable_ = false;  // RFC 5321 3.8: it is closing
        co_return reply;
    }
    usable_ = false;
    const Error& error = flushed ? reply.error() : flushed.error();
    dialogue_->note(error.context);
    co_return Error(error);
}

OpenFailure Client::failure(Verdict verdict) {
    usable_ = false;
    OpenFailure out;
    out.verdict = std::move(verdict);
    return out;
}

namespace {

Verdict broken(std::string_view during, const Error& error) {
    // RFC 3463 3.5: 4.4.2 is a bad connection.
    return Verdict(Fate::deferred, "4.4.2", fmt::format("The connection broke {}: {}", during, error.context));
}

// In TLS 1.3 a server judges our certificate after the handshake: what it thinks of it comes as an alert in the place
// of its next word, and where it closes at once often not even that, for our next word has crossed its end.
Error about_certificate(const net::Stream& stream, Error error) {
    const auto& facts = stream.tls();
    const bool has_ended = error.code != Errc::timeout && error.code != Errc::cancelled;
    if (!facts || !facts->asked_for_ours || !has_ended) return error;
    error.context += facts->shown.empty()
                         ? "; it asks for a certificate of ours, and the way has none (--client-cert)"
                         : fmt::format("; it was shown our certificate {}", facts->shown);
    return error;
}

constexpr std::size_t kScramNonceOctets = 18;

// 454, 502 and the like: STARTTLS did not happen, the dialogue goes on. 421 and 221 end it, 2xx and 3xx make no sense.
bool refused_plainly(const smtp::Reply& reply) {
    return (reply.is_transient() || reply.is_permanent()) && reply.code != 421;
}

}  // namespace

net::Task<std::optional<OpenFailure>> Client::open(Dialogue& dialogue) {
    dialogue_ = &dialogue;
    if (options_.tls == TlsUse::implicit) {
        auto failed = co_await handshake();
        if (failed) co_return failed;
    }
    auto failed = co_await greet();
    if (!failed) failed = co_await introduce();
    const bool tries_tls = must_encrypt() || options_.tls == TlsUse::opportunistic;
    if (!failed && tries_tls) failed = co_await encrypt();
    if (!failed && options_.credentials) failed = co_await authenticate();
    if (!failed) usable_ = true;
    co_return failed;
}

// Greeting: 220, or a refusal                                              RFC 5321 3.1
net::Task<std::optional<OpenFailure>> Client::greet() {
    const auto reply = co_await hear(options_.timeouts.greeting);
    if (!reply) {
        Verdict verdict = broken("before the greeting", about_certificate(stream_.raw(), reply.error()));
        verdict.no_greeting = true;
        co_return failure(std::move(verdict));
    }
    if (reply->is_success()) co_return std::nullopt;
    co_return failure(Verdict::of(*reply));
}

// EHLO, and HELO for those who do not know it                              RFC 5321 3.2
net::Task<std::optional<OpenFailure>> Client::introduce() {
    capabilities_ = smtp::Capabilities();
    say(smtp::format_ehlo(options_.hostname));
    auto reply = co_await hear(options_.timeouts.command);
    if (reply && reply->is_success()) {
        capabilities_ = smtp::parse_capabilities(*reply);
        co_return std::nullopt;
    }
    if (reply && reply->is_permanent()) {
        say(smtp::format_helo(options_.hostname));
        reply = co_await hear(options_.timeouts.command);
        if (reply && reply->is_success()) co_return std::nullopt;
    }
    if (!reply) co_return failure(broken("at EHLO", about_certificate(stream_.raw(), reply.error())));
    Verdict verdict = Verdict::of(*reply);
    if (verdict.fate == Fate::delivered) verdict.fate = Fate::deferred;
    co_return failure(std::move(verdict));
}

// STARTTLS                                                                 RFC 3207 4
net::Task<std::optional<OpenFailure>> Client::encrypt() {
    const bool required = must_encrypt();
    if (options_.context == nullptr && !required) co_return std::nullopt;
    tls_tried_ = true;
    if (!capabilities_.starttls) {
        if (!required) co_return std::nullopt;
        co_return refuse_clear("does not offer STARTTLS", Fate::failed);
    }
    say("STARTTLS\r\n");
    const auto reply = co_await hear(options_.timeouts.command);
    if (reply && reply->code == 220) {
        tls_started_ = true;
        if (!stream_.buffered().empty()) dialogue_->note("octets sent ahead of the TLS handshake were dropped");
        auto failed = co_await handshake();
        if (failed) co_return failed;
        co_return co_await introduce();  // RFC 3207 4.2: all that was said before is forgotten
    }
    if (required) {
        const std::string why = reply ? reply->to_string() : reply.error().context;
        const bool is_final = reply && reply->is_permanent();
        co_return refuse_clear(fmt::format("did not start TLS ({})", why), is_final ? Fate::failed : Fate::deferred);
    }
    // A clear refusal leaves the connection as it was. After anything else nobody knows what the remote waits for.
    if (reply && refused_plainly(*reply)) co_return std::nullopt;
    OpenFailure out =
        failure(reply ? Verdict(Fate::deferred, "4.7.4", "STARTTLS was answered with " + reply->to_string())
                      : broken("at STARTTLS", reply.error()));
    out.retry_in_clear = true;
    co_return out;
}

// Our own settings name a relay that somebody can mend; a policy of the other side leaves only waiting.
OpenFailure Client::refuse_clear(std::string_view why, Fate fate) {
    if (options_.demanded_by.empty()) {
        return failure(Verdict(Fate::deferred, "4.7.4",
                               fmt::format("{} {}, so nothing was sent to it. Check the port of the relay, or use "
                                           "smtps:// where it wants TLS from the start",
                                           remote_name(), why)));
    }
    Verdict verdict(
        Fate::deferred, "4.7.4",
        fmt::format("{} {}, but {} demands TLS, so nothing was sent to it", remote_name(), why, options_.demanded_by));
    verdict.no_tls = fate == Fate::failed;
    return failure(std::move(verdict));
}

// "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate verified by DANE"
std::string Client::describe_tls(const net::TlsFacts& facts) const {
    std::string out =
        fmt::format("{} {}{}, certificate ", facts.version, facts.cipher, facts.resumed ? ", session resumed" : "");
    const std::string shown = facts.shown.empty() ? "" : fmt::format(", ours was shown: {}", facts.shown);
    if (facts.dane) return out + "verified by DANE" + shown;
    if (facts.peer_verified) {
        return out + (options_.demanded_by.empty() ? "verified" : "verified for " + options_.demanded_by) + shown;
    }
    out += "not verified";
    if (!facts.verify_error.empty()) out += fmt::format(" ({})", facts.verify_error);
    return out + shown;
}

net::Task<std::optional<OpenFailure>> Client::handshake() {
    const bool verified = options_.tls == TlsUse::required || options_.tls == TlsUse::implicit;
    stream_.drop_buffered();
    if (options_.context == nullptr) {
        co_return failure(Verdict(Fate::deferred, "4.7.4", "TLS is not available on this server"));
    }
    stream_.raw().expires_in(options_.timeouts.handshake);
    net::TlsPeer expected = options_.peer ? *options_.peer : net::TlsPeer(options_.server_name);
    // Never across different demands: what satisfied one may not satisfy another.
    expected.session_scope =
        fmt::format("{} {} {}", stream_.raw().peer().to_string(), static_cast<int>(options_.tls), options_.demanded_by);
    const bool offers_session = options_.context->has_session(expected);
    const auto done = co_await stream_.raw().start_tls_client(*options_.context, std::move(expected));
    const auto& facts = stream_.raw().tls();
    if (done && facts && (facts->peer_verified || !verified)) {
        dialogue_->note(describe_tls(*facts));
        co_return std::nullopt;
    }
    const std::string why = !done ? done.error().context : facts ? facts->verify_error : "no TLS was agreed";
    tls_error_ = why;
    dialogue_->note("TLS failed: " + why);
    stream_.raw().close();
    const bool strict = verified || must_encrypt();
    const std::string whose = options_.demanded_by.empty() ? "" : fmt::format(" ({} demands it)", options_.demanded_by);
    OpenFailure out = failure(Verdict(Fate::deferred, "4.7.5",
                                      fmt::format("TLS with {} failed: {}{}{}", remote_name(), why, whose,
                                                  strict ? "; nothing was sent to it" : "")));
    out.verdict.no_tls = done && facts;  // the handshake came to its end: what it showed is wrong
    out.retry_in_clear = !strict;
    out.retry_whole = !done && offers_session;
    co_return out;
}

net::Task<std::optional<OpenFailure>> Client::authenticate() {
    const auto& facts = stream_.raw().tls();
    if (!facts || !facts->peer_verified) {  // invariant 1
        co_return failure(
            Verdict(Fate::deferred, "4.7.0",
                    fmt::format("The password for {} was not sent: the connection is not secure", remote_name())));
    }
    const std::vector<std::unique_ptr<sasl::ClientMechanism>> offered = offered_mechanisms();
    if (offered.empty()) {
        std::string names;
        for (const auto name : sasl::client_mechanisms(*options_.credentials)) {
            names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
        }
        co_return failure(
            Verdict(Fate::deferred, "4.7.0", fmt::format("{} offers no login with {}", remote_name(), names)));
    }
    for (const std::string& secret : {options_.credentials->password, options_.credentials->token}) {
        if (secret.empty()) continue;
        dialogue_->hide(secret);
        dialogue_->hide(crypto::base64_encode(secret));
    }
    auto reply = co_await log_in(*offered.front());
    const bool was_scram = sasl::is_scram(offered.front()->name());
    const auto plain = std::ranges::find_if(offered, [](const auto& one) { return !sasl::is_scram(one->name()); });
    if (was_scram && reply && reply->is_permanent() && plain != offered.end()) {
        // Many announce SCRAM for accounts of which they have no such keys. Their certificate was checked.
        dialogue_->note("SCRAM was refused: the password is sent");
        reply = co_await log_in(**plain);
    }
    if (!reply && reply.error().code == Errc::unauthenticated) {
        Verdict impostor(Fate::deferred, "4.7.8", fmt::format("{}: {}", remote_name(), reply.error().context));
        impostor.said = reply.error().context;
        co_return failure(std::move(impostor));
    }
    if (!reply) co_return failure(broken("at AUTH", reply.error()));
    if (reply->is_success()) co_return std::nullopt;
    // Even a 535 is put off: the fault lies in our settings, the message is not to blame.
    Verdict verdict(Fate::deferred, "4.7.8",
                    fmt::format("{} did not accept the login of {} ({}). Check the user and the password of the way",
                                remote_name(), options_.credentials->user, reply->to_string()));
    verdict.said = reply->to_string();
    co_return failure(std::move(verdict));
}

// Those that the server offers, the best first.
std::vector<std::unique_ptr<sasl::ClientMechanism>> Client::offered_mechanisms() const {
    sasl::ScramSide side;
    side.binding.exporter = stream_.raw().tls_binding().exporter;
    side.plus_offered = capabilities_.has_auth("SCRAM-SHA-256-PLUS");
    side.nonce = system_random().token(kScramNonceOctets);
    std::vector<std::unique_ptr<sasl::ClientMechanism>> out;
    for (const std::string_view name : sasl::client_mechanisms(*options_.credentials)) {
        if (!capabilities_.has_auth(name)) continue;
        if (auto made = sasl::make_client_mechanism(name, *options_.credentials, side)) out.push_back(std::move(made));
    }
    return out;
}

// AUTH mechanism [initial-response], then challenges and answers            RFC 4954 4
net::Task<Result<smtp::Reply>> Client::log_in(sasl::ClientMechanism& mechanism) {
    CO_TRY(const std::optional<std::string> initial, mechanism.initial());
    std::string encoded;
    if (initial) encoded = initial->empty() ? "=" : crypto::base64_encode(*initial);
    if (initial && !initial->empty()) dialogue_->hide(encoded);
    say(smtp::format_auth(mechanism.name(), encoded));
    auto reply = co_await hear(options_.timeouts.command);
    while (reply && reply->code == 334) {
        const auto challenge = crypto::base64_decode(ascii::trim(reply->lines.front()));
        auto answer = challenge ? mechanism.answer(*challenge) : Result<std::string>(challenge.error());
        // RFC 4954 4: "*" cancels; the server answers 501.
        stream_.put(answer ? crypto::base64_encode(*answer) + "\r\n" : std::string("*\r\n"));
        dialogue_->client(!answer ? "*\r\n" : answer->empty() ? "\r\n" : "****\r\n");
        reply = co_await hear(options_.timeouts.command);
        const bool is_impostor = !answer && answer.error().code == Errc::unauthenticated;
        if (is_impostor || (!answer && reply && reply->code == 334)) co_return Error(answer.error());
    }
    if (reply && reply->is_success()) CO_TRY_VOID(mechanism.finish());
    co_return reply;
}

net::Task<void> Client::quit() {
    Dialogue unheard;
    dialogue_ = &unheard;
    if (usable_) {
        say("QUIT\r\n");
        const auto ignored = co_await hear(options_.timeouts.quit);
        static_cast<void>(ignored);
    }
    usable_ = false;
    stream_.raw().close();
}

}  // namespace posthouse::relay
