#include "protocols/net/tcp.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <vector>

#include "protocols/net/tls_impl.h"
#include "protocols/net/tls_sessions.h"

namespace posthouse::net {

namespace asio = boost::asio;

namespace {

using Instant = std::chrono::steady_clock::time_point;
constexpr Instant kNever = Instant::max();
constexpr unsigned kReadsInARowMax = 16;            // then others on the loop have their turn
constexpr std::size_t kDrainOctetsMax = 64 * 1024;  // taken off before close(), so that it does not become a reset

enum class Want { nothing, readable, writable };

// What one attempt that never blocks came to: octets, an error, or what to wait for.
struct Attempt {
    Want want = Want::nothing;
    std::size_t octets = 0;
    std::optional<Error> error;
};

Attempt failed(Errc code, std::string context) {
    Attempt out;
    out.error = Error(code, std::move(context));
    return out;
}

Attempt must_wait(Want want) {
    Attempt out;
    out.want = want;
    return out;
}

Attempt moved(std::size_t octets) {
    Attempt out;
    out.octets = octets;
    return out;
}

Error socket_error(int number) {
    const bool gone = number == ECONNRESET || number == EPIPE || number == ENOTCONN;
    return Error(gone ? Errc::closed : Errc::io, fmt::format("the connection failed: {}", std::strerror(number)));
}

// Everything the operations need. They hold it, so that the stream may be destroyed while one is pending.
struct Connection : std::enable_shared_from_this<Connection> {
    Connection(Loop& loop, TcpSocket&& open) : socket(std::move(open)), timer(loop.impl().context) {}

    Result<> write_fault() const {
        if (closed || dead) return Error(Errc::closed, "the connection is closed");
        if (timed_out) return Error(Errc::timeout, "the deadline passed");
        return {};
    }
    Result<> read_fault() const {
        TRY_VOID(write_fault());
        if (interrupted) return Error(Errc::cancelled, "the server is stopping");
        return {};
    }

    void cancel_waits() {
        boost::system::error_code ignored;
        socket.cancel(ignored);
    }
    void expires_in(std::chrono::milliseconds span);
    void arm(Instant at);
    void close();
    void acknowledge();
    Attempt try_read(std::span<char> into);
    Attempt try_write(std::string_view octets);
    Attempt judge_tls(int outcome);

    TcpSocket socket;
    Timer timer;
    Instant deadline = kNever;
    Instant armed = kNever;  // when the timer goes off: never later than the deadline
    SslPtr ssl;
    std::optional<TlsFacts> facts;
    unsigned reads_in_a_row = 0;
    bool timed_out = false;
    bool interrupted = false;
    bool closed = false;
    bool dead = false;  // TLS ended or failed: nothing is read or written any more, least of all in clear
};

// One timer a connection. A later deadline leaves it as it is: going off early, it finds that and sets itself anew.
void Connection::expires_in(std::chrono::milliseconds span) {
    timed_out = false;
    deadline = span.count() > 0 ? std::chrono::steady_clock::now() + span : kNever;
    if (deadline < armed) arm(deadline);
}

void Connection::arm(Instant at) {
    armed = at;
    timer.expires_at(at);
    timer.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
        const auto self = weak.lock();
        if (ec || !self || self->closed) return;
        self->armed = kNever;
        if (self->deadline == kNever) return;
        if (std::chrono::steady_clock::now() < self->deadline) return self->arm(self->deadline);
        self->timed_out = true;
        self->cancel_waits();
    });
}

void Connection::close() {
    if (closed) return;
    closed = true;
    timer.cancel();
    const int descriptor = socket.native_handle();
    if (ssl && !dead) {
        ERR_clear_error();
        SSL_shutdown(ssl.get());  // close_notify where the socket takes it at once; the answer is not awaited
        ERR_clear_error();
    }
    ssl.reset();
    // Unread input would turn the close into a reset, and that can cost the peer our last words.
    ::shutdown(descriptor, SHUT_WR);
    std::array<char, 4096> dropped;
    for (std::size_t count = 0; count < kDrainOctetsMax; count += dropped.size()) {
        if (::recv(descriptor, dropped.data(), dropped.size(), MSG_DONTWAIT) <= 0) break;
    }
    boost::system::error_code ignored;
    socket.close(ignored);
}

// Quick acknowledgement is a mode that the kernel leaves by itself; what counts is that it sends a pending one now.
void Connection::acknowledge() {
    const int on = 1;
    if (!closed) ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

Attempt Connection::judge_tls(int outcome) {
    const int saved_errno = errno;
    switch (SSL_get_error(ssl.get(), outcome)) {
        case SSL_ERROR_WANT_READ: return must_wait(Want::readable);
        case SSL_ERROR_WANT_WRITE: return must_wait(Want::writable);
        case SSL_ERROR_ZERO_RETURN: dead = true; return failed(Errc::closed, "the peer ended the TLS connection");
        case SSL_ERROR_SYSCALL:
            dead = true;
            ERR_clear_error();
            return saved_errno == 0 ? failed(Errc::closed, "the peer ended the connection")
                                    : failed(socket_error(saved_errno).code, socket_error(saved_errno).context);
        default: break;
    }
    dead = true;
    const bool cut = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    const std::string reason = take_tls_error();
    if (cut) return failed(Errc::closed, "the peer ended the connection without closing TLS");
    return failed(Errc::tls, fmt::format("TLS failed: {}", reason));
}

Attempt Connection::try_read(std::span<char> into) {
    if (ssl) {
        ERR_clear_error();
        errno = 0;
        std::size_t got = 0;
        const int outcome = SSL_read_ex(ssl.get(), into.data(), into.size(), &got);
        return outcome == 1 ? moved(got) : judge_tls(outcome);
    }
    const ssize_t got = ::recv(socket.native_handle(), into.data(), into.size(), MSG_DONTWAIT);
    if (got > 0) return moved(static_cast<std::size_t>(got));
    if (got == 0) return failed(Errc::closed, "the peer ended the connection");
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return must_wait(Want::readable);
    const Error error = socket_error(errno);
    return failed(error.code, error.context);
}

Attempt Connection::try_write(std::string_view octets) {
    if (ssl) {
        ERR_clear_error();
        errno = 0;
        std::size_t sent = 0;
        const int outcome = SSL_write_ex(ssl.get(), octets.data(), octets.size(), &sent);
        return outcome == 1 ? moved(sent) : judge_tls(outcome);
    }
    const ssize_t sent = ::send(socket.native_handle(), octets.data(), octets.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return moved(static_cast<std::size_t>(sent));
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return must_wait(Want::writable);
    const Error error = socket_error(errno);
    return failed(error.code, error.context);
}

// --- Operations. A cancelled wait says nothing by itself: each loop looks at the connection's faults again. ---

using SharedConnection = std::shared_ptr<Connection>;

asio::socket_base::wait_type wait_type_for(Want want) {
    return want == Want::writable ? asio::socket_base::wait_write : asio::socket_base::wait_read;
}

Task<Result<>> wait_readable_on(SharedConnection connection) {
    boost::system::error_code ec;
    for (;;) {
        CO_TRY_VOID(connection->read_fault());
        if (connection->ssl && SSL_pending(connection->ssl.get()) > 0) co_return Result<>();
        connection->reads_in_a_row = 0;
        co_await connection->socket.async_wait(asio::socket_base::wait_read,
                                               asio::redirect_error(asio::use_awaitable, ec));
        CO_TRY_VOID(connection->read_fault());
        if (!ec) co_return Result<>();
        if (ec != asio::error::operation_aborted) co_return Error(Errc::io, "waiting for input: " + ec.message());
    }
}

Task<Result<std::size_t>> read_from(SharedConnection connection, std::span<char> into) {
    ASSERT(!into.empty());
    boost::system::error_code ec;
    for (;;) {
        CO_TRY_VOID(connection->read_fault());
        if (++connection->reads_in_a_row > kReadsInARowMax) {
            connection->reads_in_a_row = 0;
            co_await asio::post(connection->socket.get_executor(), asio::use_awaitable);
            continue;  // what was true before the others ran may be so no more
        }
        Attempt attempt = connection->try_read(into);
        if (attempt.error) co_return std::move(*attempt.error);
        if (attempt.want == Want::nothing) co_return attempt.octets;
        connection->reads_in_a_row = 0;
        co_await connection->socket.async_wait(wait_type_for(attempt.want),
                                               asio::redirect_error(asio::use_awaitable, ec));
        if (ec && ec != asio::error::operation_aborted) co_return Error(Errc::io, "reading: " + ec.message());
    }
}

Task<Result<>> write_to(SharedConnection connection, std::string_view octets) {
    boost::system::error_code ec;
    while (!octets.empty()) {
        CO_TRY_VOID(connection->write_fault());
        Attempt attempt = connection->try_write(octets);
        if (attempt.error) co_return std::move(*attempt.error);
        octets.remove_prefix(attempt.octets);
        if (attempt.want == Want::nothing) continue;
        co_await connection->socket.async_wait(wait_type_for(attempt.want),
                                               asio::redirect_error(asio::use_awaitable, ec));
        if (ec && ec != asio::error::operation_aborted) co_return Error(Errc::io, "writing: " + ec.message());
    }
    co_return Result<>();
}

// Whatever goes wrong from here on, the connection is dead: there is no way back to clear text.
Task<Result<>> run_handshake(SharedConnection connection) {
    boost::system::error_code ec;
    for (;;) {
        if (auto fault = connection->read_fault(); !fault) {
            connection->dead = true;
            co_return fault;
        }
        ERR_clear_error();
        errno = 0;
        const int outcome = SSL_do_handshake(connection->ssl.get());
        if (outcome == 1) co_return Result<>();
        const Attempt attempt = connection->judge_tls(outcome);
        if (attempt.error) {
            const long verdict = SSL_get_verify_result(connection->ssl.get());
            const std::string why = verdict == X509_V_OK ? attempt.error->context
                                                         : "the certificate is not good: " +
                                                               std::string(X509_verify_cert_error_string(verdict));
            co_return Error(Errc::tls, "the TLS handshake failed: " + why);
        }
        co_await connection->socket.async_wait(wait_type_for(attempt.want),
                                               asio::redirect_error(asio::use_awaitable, ec));
    }
}

Task<Result<>> start_server(SharedConnection connection, TlsServerContext& context) {
    CO_TRY_VOID(connection->read_fault());
    if (connection->ssl) co_return Error(Errc::invalid, "TLS is already active");
    connection->ssl = context.impl().make_connection(connection->socket.native_handle());
    if (!connection->ssl) co_return Error(Errc::tls, "no TLS connection: " + take_tls_error());
    CO_TRY_VOID(co_await run_handshake(connection));
    connection->facts = server_facts(connection->ssl.get());
    co_return Result<>();
}

Task<Result<>> start_client(SharedConnection connection, TlsClientContext& context, TlsPeer expected) {
    CO_TRY_VOID(connection->read_fault());
    if (connection->ssl) co_return Error(Errc::invalid, "TLS is already active");
    CO_TRY(connection->ssl, context.impl().make_connection(connection->socket.native_handle(), expected));
    const auto shaken = co_await run_handshake(connection);
    if (!shaken) {
        if (connection->ssl) TlsSessions::failed(connection->ssl.get());
        co_return Error(shaken.error());
    }
    TlsFacts facts = client_facts(connection->ssl.get(), expected);
    TlsSessions::finished(connection->ssl.get(), facts);
    connection->facts = std::move(facts);
    co_return Result<>();
}

}  // namespace

class TcpStream final : public Stream {
 public:
    TcpStream(Loop& loop, TcpSocket socket, std::shared_ptr<StreamRegistry> registry) : registry_(std::move(registry)) {
        boost::system::error_code ignored;
        peer_ = from_asio(socket.remote_endpoint(ignored));
        local_ = from_asio(socket.local_endpoint(ignored));
        socket.native_non_blocking(true, ignored);
        socket.set_option(asio::ip::tcp::no_delay(true), ignored);
        connection_ = std::make_shared<Connection>(loop, std::move(socket));
        if (registry_) registry_->streams.insert(this);
    }
    ~TcpStream() override {
        if (registry_) registry_->streams.erase(this);
        connection_->close();
    }
    TcpStream(const TcpStream&) = delete;
    TcpStream& operator=(const TcpStream&) = delete;

    Task<Result<>> wait_readable() override { return wait_readable_on(connection_); }
    Task<Result<std::size_t>> read_some(std::span<char> into) override { return read_from(connection_, into); }
    Task<Result<>> write_all(std::string_view octets) override { return write_to(connection_, octets); }
    void expires_in(std::chrono::milliseconds span) override { connection_->expires_in(span); }
    Task<Result<>> start_tls_server(TlsServerContext& context) override { return start_server(connection_, context); }
    Task<Result<>> start_tls_client(TlsClientContext& context, TlsPeer expected) override {
        return start_client(connection_, context, std::move(expected));
    }
    const std::optional<TlsFacts>& tls() const override { return connection_->facts; }
    TlsBinding tls_binding() const override {
        SSL* const ssl = connection_->ssl.get();
        if (ssl == nullptr || !connection_->facts) return {};
        return binding_of(ssl, SSL_is_server(ssl) != 0 ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl));
    }
    Endpoint peer() const override { return peer_; }
    Endpoint local() const override { return local_; }
    void interrupt() override {
        if (connection_->interrupted || connection_->closed) return;
        connection_->interrupted = true;
        connection_->cancel_waits();  // a pending write finds no fault and waits again
    }
    void acknowledge() override { connection_->acknowledge(); }
    void close() override { connection_->close(); }

 private:
    std::shared_ptr<StreamRegistry> registry_;
    std::shared_ptr<Connection> connection_;
    Endpoint peer_;
    Endpoint local_;
};

asio::ip::tcp::endpoint to_asio(const Endpoint& endpoint) {
    const auto& octets = endpoint.address.octets();
    if (endpoint.address.family() == IpAddress::Family::v4) {
        return {asio::ip::address_v4({octets[0], octets[1], octets[2], octets[3]}), endpoint.port};
    }
    return {asio::ip::address_v6(octets), endpoint.port};
}

Endpoint from_asio(const asio::ip::tcp::endpoint& endpoint) {
    if (endpoint.address().is_v4()) return {IpAddress::v4(endpoint.address().to_v4().to_uint()), endpoint.port()};
    return {IpAddress::v6(endpoint.address().to_v6().to_bytes()), endpoint.port()};
}

std::unique_ptr<Stream> make_tcp_stream(Loop& loop, TcpSocket socket, std::shared_ptr<StreamRegistry> registry) {
    return std::make_unique<TcpStream>(loop, std::move(socket), std::move(registry));
}

void interrupt_all(StreamRegistry& registry) {
    for (TcpStream* stream : registry.streams) stream->interrupt();
}

void close_all(StreamRegistry& registry) {
    for (TcpStream* stream : registry.streams) stream->close();
}

}  // namespace posthouse::net
