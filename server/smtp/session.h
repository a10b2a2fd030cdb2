#pragma once
/// server/smtp/session: one connection. The loop reads what the phase calls for (a command line, message octets, an
/// AUTH response, a handshake), makes one reply of it, and flushes when nothing more is buffered.
/// Handlers see this class; nobody outside the room does.
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/net/buffered_stream.h"
#include "protocols/smtp/parameters.h"
#include "server/smtp/command.h"
#include "server/smtp/content.h"
#include "server/smtp/extension.h"
#include "server/smtp/intake.h"
#include "server/smtp/phase.h"
#include "server/smtp/service.h"

namespace posthouse::server::smtp {

/// One mail transaction (RFC 5321 3.3): from MAIL to the end of the message, or to whatever ends it before.
struct Transaction {
    Envelope envelope;
    MailParameters parameters;
    std::string id;                  ///< for Received and the log
    std::unique_ptr<Intake> intake;  ///< once octets come
    std::string no_relay;            ///< why the relay client may not send this to other hosts
    Transaction() = default;
};

struct Trace;  // server/smtp/header_rules.h

class Session {
 public:
    Session(std::unique_ptr<net::Stream> stream, const SessionDeps& deps);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Everything; ends with a closed stream.
    net::Task<void> run();

    // What handlers use.
    const SmtpServiceOptions& options() const { return *deps_.options; }
    Backend& backend() { return *deps_.backend; }
    Phase phase() const { return phase_; }
    /// Asserts that the state table has the edge.
    void enter(Phase next);
    ExtensionContext extension_context() const;
    bool is_tls() const { return stream_.raw().tls().has_value(); }
    bool is_esmtp() const { return esmtp_; }
    const std::optional<Login>& login() const { return login_; }
    /// Port 25: the relay client that is known by its address.
    const std::optional<Login>& neighbour() const { return neighbour_; }

    /// EHLO and HELO: forgets any transaction, keeps the login.
    void greet_client(std::string_view name, bool esmtp);
    /// Opens the one transaction and enters Phase::mail.
    void open_transaction(Envelope envelope, MailParameters parameters);
    Transaction& transaction() { return *transaction_; }
    bool has_transaction() const { return transaction_.has_value(); }
    /// Forgets the transaction whole and enters Phase::ready, if there is one.
    void drop_transaction();
    bool mails_exhausted() const { return mails_ >= mails_max(); }
    /// A program on this host (a content filter, a list manager) may keep its session.
    std::size_t mails_max() const {
        const SmtpLimits& limits = options().limits;
        return stream_.raw().peer().address.is_loopback() ? limits.mails_of_this_host_max : limits.mails_max;
    }

    /// The content of the transaction begins: makes its Intake.
    void begin_content();
    /// The next input is one chunk (RFC 3030). A chunk without a transaction is swallowed and answered with `refusal`.
    void begin_chunk(wire::ChunkHeader chunk, std::optional<wire::Reply> refusal);
    /// Null for a mechanism that is not offered.
    std::unique_ptr<AuthExchange> make_exchange(std::string_view mechanism);
    /// The dialogue of AUTH, up to its first challenge or its end.
    net::Task<wire::Reply> begin_auth(std::unique_ptr<AuthExchange> exchange, std::optional<std::string> initial);
    /// Nothing where the login is still good or there is none; else the last reply.
    net::Task<std::optional<wire::Reply>> check_login();
    /// The reply that follows refuses a recipient; too many of them end the session.
    void mark_recipient_refused() { recipient_refused_ = true; }
    /// The reply that follows says that a recipient gets no mail for now: no error of whoever asks.
    void mark_recipient_unwanted() { recipient_unwanted_ = true; }
    /// Ends the session after the reply.
    void close_after_reply() { enter(Phase::closing); }

 private:
    net::Task<void> greet();
    net::Task<wire::Reply> next_reply();
    net::Task<wire::Reply> read_command();
    net::Task<wire::Reply> dispatch(std::string_view line);
    std::optional<wire::Reply> check_row(const Command& row);
    net::Task<wire::Reply> unknown_command(std::string_view verb);
    net::Task<wire::Reply> answer_auth();
    wire::Reply continue_auth(Result<AuthStep> step);
    net::Task<wire::Reply> receive_data();
    net::Task<wire::Reply> receive_chunk();
    net::Task<wire::Reply> finish_content();
    net::Task<wire::Reply> accept_content();
    net::Task<std::optional<wire::Reply>> check_outside_sender();
    net::Task<void> start_tls();
    net::Task<Result<std::string_view>> read_line(std::size_t octets_max);
    net::Task<Result<>> fill_content();
    wire::Reply content_broken(const Error& error);
    net::Task<Result<>> flush_if_idle();
    wire::Reply broken(const Error& error);
    void judge(wire::Reply& reply);
    Trace make_trace() const;
    void report();
    Metrics::Value& count(std::string_view name, std::string_view help);

    SessionDeps deps_;
    net::BufferedStream stream_;
    Phase phase_ = Phase::start;
    std::string id_;
    std::string client_name_;
    std::string peer_;
    bool esmtp_ = false;
    bool silent_ = false;  // leaves without a word
    bool first_command_ = true;
    std::optional<Login> login_;
    std::optional<Login> neighbour_;
    std::optional<Transaction> transaction_;
    std::unique_ptr<AuthExchange> exchange_;
    wire::ChunkHeader chunk_;
    std::optional<wire::Reply> chunk_refusal_;
    std::chrono::steady_clock::time_point content_began_;
    std::uint64_t content_octets_ = 0;
    std::size_t mails_ = 0;
    std::size_t accepted_ = 0;
    std::size_t errors_ = 0;
    std::size_t idle_commands_ = 0;  // since the last message
    std::size_t recipient_errors_ = 0;
    std::size_t auth_failures_ = 0;
    bool recipient_refused_ = false;
    bool recipient_unwanted_ = false;
    std::string ending_ = "closed by the client";
};

}  // namespace posthouse::server::smtp
