#pragma once
/// server/smtp/backend: the one door between an SMTP session and the rest of the program: asynchronous calls with plain
/// values. A session opens no file and knows no account beyond what it is told here, so that sessions can one day run
/// in a process of their own.
/// Invariants  1. accept() returns success only when the message would survive a power cut at that instant.
///             2. A session that ends early drops its BodySink, and nothing remains of the message.
/// Threads: the loop's.  A Backend outlives its sessions.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/address.h"
#include "protocols/net/stream.h"
#include "protocols/net/task.h"
#include "protocols/smtp/path.h"
#include "protocols/smtp/reply.h"

namespace posthouse::server::smtp {

namespace wire = ::posthouse::smtp;

/// Who has logged in.
struct Login {
    std::int64_t account = 0;     ///< 0 for a relay client
    std::string address;          ///< of the account, or the name of the relay client
    std::shared_ptr<void> proof;  ///< what it logged in with; the backend's own

    Login() = default;
    Login(std::int64_t id, std::string at) : account(id), address(std::move(at)) {}
    bool is_relay_client() const { return account == 0; }
};

enum class RecipientKind {
    local,
    remote,
    bounce,       ///< a bounce address of ours (SRS): it stands for somebody else's, and takes mail from <> only
    unsubscribe,  ///< of a list: whoever writes to it gets no more of that list
};

struct Recipient {
    wire::Path path;
    std::string orcpt;        ///< "rfc822;bob@example.org"; "" where not given
    std::uint8_t notify = 0;  ///< bits of RFC 3461 4.1: never 1, success 2, failure 4, delay 8
    RecipientKind kind = RecipientKind::local;

    Recipient() = default;
};

enum class Ret : std::uint8_t { unspecified, full, headers };

/// What the sender wants of TLS on the way (RFC 8689).
enum class TlsWish : std::uint8_t { policy, require, best_effort };

struct AcceptedMessage;

/// What a program says of its message beside the envelope.
struct Wishes {
    std::string key;     ///< idempotency key, or "": the same one from the same login is the same message
    std::string digest;  ///< of the request that the key goes with (the backend's, for SMTP)
    std::optional<std::uint8_t> mail_class;       ///< its share of the lanes, 0 to 2; nothing: by its kind
    std::string stream;                           ///< that it is of, or ""
    std::string author;                           ///< address in From, where there is a login
    std::map<std::string, std::string> left_out;  ///< recipients who want none of the stream, and why (the backend's)
    bool by_program = false;                      ///< over HTTP: not a letter (interactive), and these two are kept
    std::string tags;                             ///< JSON
    std::string metadata;                         ///< JSON
    /// Makes what is kept with the key; called before the message is durable. Null: nothing is.
    std::function<std::string(const AcceptedMessage&)> answer;

    Wishes() = default;
};

/// Everything about a message but its octets.
struct Envelope {
    wire::Path sender;  ///< null for <>
    std::vector<Recipient> recipients;
    std::string envid;
    Ret ret = Ret::unspecified;
    bool smtputf8 = false;
    bool eight_bit = false;
    TlsWish tls = TlsWish::policy;
    std::uint64_t declared_octets = 0;  ///< SIZE= of MAIL (RFC 1870 5); 0 where it was not given
    std::optional<Login> login;
    std::string received_detail;  ///< "from mx.b.example [192.0.2.1] over ESMTPS", for the trace
    bool junk = false;            ///< into the Junk mailbox of those who are here
    bool sender_proven = false;   ///< the address of a stranger is his own, as far as SPF shows it
    Wishes wishes;

    Envelope() = default;
};

/// Octets of a message that has come in: whoever holds `owner` may read `view` at any time, on any thread.
struct SharedOctets {
    std::shared_ptr<const void> owner;
    std::string_view view;

    SharedOctets() = default;
    SharedOctets(std::shared_ptr<const void> who, std::string_view octets) : owner(std::move(who)), view(octets) {}
};

/// Where the octets of one message go while they come in. Dropping it forgets them.
class BodySink {
 public:
    virtual ~BodySink() = default;
    /// Errc::no_space or io where it cannot be taken.
    virtual Result<> append(std::string_view octets) = 0;
    /// Ends the appending, once: the message as it came in.
    virtual Result<SharedOctets> octets() = 0;
    /// After octets(): puts whole header fields behind the first one, which is ours (Return-Path).
    virtual net::Task<Result<>> add_fields(std::string fields) = 0;
};

struct AcceptedMessage {
    std::string id;          ///< how the operator finds it: "q12" in the queue, "m12" where it is only stored
    std::string message_id;  ///< of its Message-ID field
    bool repeated = false;   ///< its key was known: nothing new was taken, all else is of the first
    std::string digest;      ///< repeated: of the first request
    std::string answer;      ///< as Wishes::answer made it
    AcceptedMessage() = default;
    explicit AcceptedMessage(std::string name) : id(std::move(name)) {}
};

/// What a login comes over.
struct AuthPeer {
    net::IpAddress address;
    net::TlsBinding binding;

    AuthPeer(net::IpAddress at, net::TlsBinding tls) : address(at), binding(std::move(tls)) {}
};

/// The next of a SASL dialogue: send `challenge`, or it is over and `login` is who it is.
struct AuthStep {
    std::string challenge;  ///< raw octets
    std::optional<Login> login;
};

/// One dialogue. Errors end it: unauthenticated, limit (too many failures), unavailable; invalid for bad syntax,
/// denied for a foreign authorisation identity.
class AuthExchange {
 public:
    virtual ~AuthExchange() = default;
    /// `initial`: the initial response where there was one.
    virtual net::Task<Result<AuthStep>> start(std::optional<std::string> initial) = 0;
    virtual net::Task<Result<AuthStep>> answer(std::string response) = 0;
};

class Backend {
 public:
    virtual ~Backend() = default;

    /// May mail for `recipient` be taken from this client? Errc::refused (a bounce address that is not good any more,
    /// or never was: with the sentence for the client), not_found (no such user here), denied (not ours, and the client
    /// may not relay), over_quota (full, or `declared_octets` do not fit), too_large (they never will), limit (an alias
    /// that explodes), unavailable. What was taken here is a promise: accept() delivers it though the mailbox filled up
    /// meanwhile.
    virtual net::Task<Result<RecipientKind>> lookup_recipient(wire::Path recipient, std::optional<Login> login,
                                                              std::uint64_t declared_octets) = 0;
    /// Names of mechanisms, the strongest first.
    virtual std::vector<std::string> auth_mechanisms(const net::TlsBinding& binding) = 0;
    /// Null for a mechanism that is not offered.
    virtual std::unique_ptr<AuthExchange> begin_auth(std::string_view mechanism, AuthPeer peer) = 0;
    /// Errc::unauthenticated: what it logged in with was revoked or changed.
    virtual net::Task<Result<>> check_login(Login login) = 0;
    /// The relay client that comes from this address without a login, if any. `hello` is what it calls itself.
    virtual std::optional<Login> client_at(const net::IpAddress& peer, std::string_view hello);
    /// Errc::limit with a sentence for the client: it has had its share for now.
    virtual net::Task<Result<>> check_share(Login login);
    /// What the sender is told where this recipient gets no mail of his for now; nothing where it does.
    virtual net::Task<Result<std::optional<wire::Reply>>> check_wanted(Login login, wire::Path sender,
                                                                       wire::Path recipient);
    /// May `login` write in the name of `address` (its own, its aliases, its +tags)? Errc::denied.
    virtual net::Task<Result<>> check_sender(Login login, wire::Path address) = 0;
    /// Errc::no_space where a message of `octets` more would go below the floor.
    virtual Result<> check_room(std::uint64_t octets) = 0;
    virtual std::unique_ptr<BodySink> begin_body() = 0;
    /// The message with these octets and this envelope is ours from now on. `body` came from begin_body().
    /// Errc::refused, limit and denied come with a sentence for the client.
    virtual net::Task<Result<AcceptedMessage>> accept(std::unique_ptr<BodySink> body, Envelope envelope) = 0;
};

// Where there are no relay clients.
inline std::optional<Login> Backend::client_at(const net::IpAddress&, std::string_view) { return std::nullopt; }
inline net::Task<Result<>> Backend::check_share(Login) { co_return Result<>(); }

inline net::Task<Result<std::optional<wire::Reply>>> Backend::check_wanted(Login, wire::Path, wire::Path) {
    co_return std::optional<wire::Reply>();
}

}  // namespace posthouse::server::smtp
