#pragma once
/// relay/client: one SMTP connection as a client: opening it, handing messages over, saying goodbye (RFC 5321 3).
///
///   open():  greeting -> EHLO (HELO) -> STARTTLS -> EHLO -> AUTH          RFC 5321 3.1, RFC 3207, RFC 4954
///   send():  MAIL, RCPT..., DATA, octets, "."; pipelined where offered    RFC 5321 3.3, RFC 2920
/// Invariants  1. Credentials go out over TLS whose certificate was checked, or not at all.
///             2. What the remote sent ahead of the TLS handshake is dropped (RFC 3207 4.2, CVE-2021-38371).
///             3. A recipient counts as delivered only after a 250 that came behind the final dot.
///             4. The first refusal of a recipient stands, whatever the connection does afterwards.
///             5. A message that cannot be read to its end is never ended with a dot.
///             6. With TlsUse::encrypted, required and implicit nothing but EHLO and STARTTLS is said in clear.
/// 8-bit content goes as it is to a hop that does not offer 8BITMIME: recoding would break signatures, and the hops
/// that do not say it but carry it outnumber the others by far.
/// Threads: the loop's.   Limits: protocols/smtp/limits.h for replies; kRecipientsMax a transaction.
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/net/buffered_stream.h"
#include "protocols/net/tls.h"
#include "protocols/sasl/client.h"
#include "protocols/smtp/capabilities.h"
#include "protocols/smtp/client.h"
#include "protocols/smtp/reply.h"
#include "relay/dialogue.h"

namespace posthouse::relay {

/// RFC 5321 4.5.3.1.8: at least 100 must be taken; more at once is not promised.
inline constexpr std::size_t kRecipientsMax = 100;

/// RFC 5321 4.5.3.2.
struct ClientTimeouts {
    std::chrono::milliseconds greeting{300'000};
    std::chrono::milliseconds command{300'000};  ///< EHLO, MAIL, RCPT, STARTTLS, AUTH
    std::chrono::milliseconds data_start{120'000};
    std::chrono::milliseconds data_block{180'000};
    std::chrono::milliseconds data_end{600'000};
    std::chrono::milliseconds handshake{30'000};
    std::chrono::milliseconds quit{5'000};
    /// MAIL on a connection that was used before: nothing is lost where a new one is tried instead.
    std::chrono::milliseconds reuse{60'000};
    ClientTimeouts() = default;
};

enum class TlsUse {
    never,
    opportunistic,  ///< encrypted where it works, else in clear (RFC 7435)
    encrypted,      ///< STARTTLS or nothing; the certificate says nothing (RFC 7672 2.2)
    required,       ///< STARTTLS with a certificate that was checked
    implicit,       ///< the same from the first octet
};

struct ClientOptions {
    std::string hostname;  ///< what we call ourselves in EHLO
    TlsUse tls = TlsUse::opportunistic;
    net::TlsClientContext* context = nullptr;  ///< null: there is no TLS on our side
    std::string server_name;                   ///< for sentences, SNI and the certificate check
    std::optional<net::TlsPeer> peer;          ///< for SNI and the check in place of `server_name`: TLSA records
    std::string demanded_by;                   ///< who demands TLS: "DANE", "MTA-STS", "REQUIRETLS"; "": our settings
    std::optional<sasl::ClientLogin> credentials;
    ClientTimeouts timeouts;
    ClientOptions() = default;
};

enum class Fate {
    delivered,
    deferred,
    failed,
    again,  ///< the server wants this recipient in the next transaction (452 or 552 while others were taken)
};

/// How a connection ended under a transaction.
enum class Cut : std::uint8_t {
    no,
    dropped,
    stalled,  ///< silence until we gave up
};

/// What became of a recipient or of a whole connection.
struct Verdict {
    Fate fate = Fate::deferred;
    std::string reply;           ///< what the remote said, or our own sentence
    std::string enhanced;        ///< "5.1.1"; "" where there was none
    bool from_remote = false;    ///< `reply` are the remote's words
    unsigned code = 0;           ///< of the reply; 0: no reply was had
    bool after_message = false;  ///< said of the whole message, not of the recipient alone
    bool no_greeting = false;    ///< it let us connect and said nothing
    Cut cut = Cut::no;           ///< no reply was had for this
    bool in_doubt = false;       ///< cut behind the final dot: it may have been taken all the same (RFC 1047)
    bool no_tls = false;         ///< it will not do TLS, or shows a wrong certificate: today and tomorrow
    bool bogus_dns = false;      ///< the DNS answered, and DNSSEC does not believe it
    bool wrong_family = false;   ///< no host has an address of the family that we send from
    std::string said;            ///< the remote's words where `reply` is our sentence about them: a refused login

    Verdict() = default;
    Verdict(Fate what, std::string_view code, std::string sentence)
        : fate(what), reply(std::move(sentence)), enhanced(code) {}
    static Verdict of(const smtp::Reply& reply);
};

struct OpenFailure {
    Verdict verdict;
    bool retry_in_clear = false;  ///< TLS broke this connection; a new one without TLS may work (opportunistic only)
    bool retry_whole = false;     ///< it broke with a session of before: a new one with a whole handshake may work

    OpenFailure() = default;
};

struct EnvelopeRecipient {
    std::string address;
    smtp::RcptOptions options;
};

struct Envelope {
    std::string reverse_path;
    smtp::MailOptions mail;
    bool needs_smtputf8 = false;                ///< addresses or header fields hold UTF-8
    std::vector<EnvelopeRecipient> recipients;  ///< at most kRecipientsMax
    Envelope() = default;
};

/// The octets of a message, CRLF line ends only.
class MessageSource {
 public:
    virtual ~MessageSource() = default;
    /// The next octets, "" at the end; they live until the next call.
    virtual net::Task<Result<std::string_view>> next() = 0;
};

class Client {
 public:
    Client(std::unique_ptr<net::Stream> stream, ClientOptions options);
    ~Client();

    /// Nothing where the connection is ready for send().
    net::Task<std::optional<OpenFailure>> open(Dialogue& dialogue);
    /// One verdict per recipient, in order.
    net::Task<std::vector<Verdict>> send(const Envelope& envelope, MessageSource& message, Dialogue& dialogue);
    /// QUIT, without insisting on an answer; the connection is closed afterwards.
    net::Task<void> quit();

    /// Whether another message can be sent.
    bool usable() const { return usable_; }
    /// The last send() got not a single reply: an idle connection that had died; nothing was handed over.
    bool was_stale() const { return heard_nothing_; }
    std::size_t messages_sent() const { return messages_; }
    /// How far TLS came, for reports: asked about at all; STARTTLS answered with 220; why the handshake failed.
    bool tls_tried() const { return tls_tried_; }
    bool tls_started() const { return tls_started_; }
    const std::string& tls_error() const { return tls_error_; }
    const smtp::Capabilities& capabilities() const { return capabilities_; }
    net::Stream& stream() { return stream_.raw(); }
    void interrupt() { stream_.raw().interrupt(); }

 private:
    struct Transaction;

    void say(std::string_view lines);
    net::Task<Result<smtp::Reply>> hear(std::chrono::milliseconds max);
    net::Task<std::optional<OpenFailure>> greet();
    net::Task<std::optional<OpenFailure>> introduce();
    net::Task<std::optional<OpenFailure>> encrypt();
    net::Task<std::optional<OpenFailure>> handshake();
    net::Task<std::optional<OpenFailure>> authenticate();
    net::Task<Result<smtp::Reply>> log_in(sasl::ClientMechanism& mechanism);
    std::vector<std::unique_ptr<sasl::ClientMechanism>> offered_mechanisms() const;
    net::Task<void> envelope_in_step(Transaction& t);
    net::Task<void> envelope_pipelined(Transaction& t);
    net::Task<void> hear_mail(Transaction& t);
    net::Task<void> hear_recipient(Transaction& t, std::size_t index);
    void judge_too_many(Transaction& t);
    net::Task<void> reset();
    net::Task<void> send_data(Transaction& t, MessageSource& message);
    net::Task<bool> send_octets(Transaction& t, MessageSource& message);
    net::Task<void> finish_data(Transaction& t);
    void broke(Transaction& t, const Error& error);
    bool refuse_unsendable(Transaction& t) const;
    OpenFailure failure(Verdict verdict);
    std::string remote_name() const;
    bool must_encrypt() const { return options_.tls == TlsUse::required || options_.tls == TlsUse::encrypted; }
    OpenFailure refuse_clear(std::string_view why, Fate fate);
    std::string describe_tls(const net::TlsFacts& facts) const;

    net::BufferedStream stream_;
    ClientOptions options_;
    smtp::Capabilities capabilities_;
    Dialogue* dialogue_ = nullptr;
    std::size_t messages_ = 0;
    bool tls_tried_ = false;
    bool tls_started_ = false;
    std::string tls_error_;
    bool usable_ = false;
    bool heard_nothing_ = false;
    bool mail_open_ = false;  // the remote took MAIL and has not ended that transaction
};

}  // namespace posthouse::relay
