#include "protocols/net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include "protocols/crypto/crypto.h"
#include "tests/unit/protocols/net/pair.h"

using namespace posthouse;
using namespace posthouse::net;
using namespace std::chrono_literals;

namespace {

// A fresh self-signed certificate for mail.test and 127.0.0.1 in a directory of its own.
class Certificate {
 public:
    Certificate() {
        std::string pattern = (std::filesystem::temp_directory_path() / "posthouse-tls-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        directory_ = pattern;
        renew(30);
    }
    ~Certificate() { std::filesystem::remove_all(directory_); }
    /// The first of `names` is its subject.
    void renew(int days, const std::vector<std::string>& names = {"mail.test", "127.0.0.1"}) {
        const auto made = crypto::make_self_signed(names, days);
        REQUIRE(made);
        write("cert.pem", made->certificate_pem);
        write("key.pem", made->key_pem);
    }
    void write(const char* name, const std::string& text) { std::ofstream(directory_ / name, std::ios::trunc) << text; }
    std::string certificate_file() const { return directory_ / "cert.pem"; }
    std::string key_file() const { return directory_ / "key.pem"; }
    std::unique_ptr<TlsServerContext> server(std::string name, std::vector<std::string> alpn = {}) const {
        auto context = TlsServerContext::load(std::move(name), certificate_file(), key_file(), std::move(alpn));
        REQUIRE(context);
        return std::move(*context);
    }
    std::unique_ptr<TlsClientContext> client(Verify verify) const {
        auto context = TlsClientContext::make(verify, certificate_file());
        REQUIRE(context);
        return std::move(*context);
    }

 private:
    std::filesystem::path directory_;
};

Task<void> serve_tls(Stream& stream, TlsServerContext& context, Result<>& outcome) {
    outcome = co_await stream.start_tls_server(context);
    if (!outcome) stream.close();
}

Task<void> connect_tls(Stream& stream, TlsClientContext& context, std::string name, Result<>& outcome) {
    outcome = co_await stream.start_tls_client(context, std::move(name));
    if (!outcome) stream.close();
}

struct Handshake {
    Handshake(TcpPair& pair, TlsServerContext& server_context, TlsClientContext& client_context, const char* name) {
        Loop& loop = pair.ends.loop;
        run_task(loop, run_both(loop, serve_tls(*pair.ends.server, server_context, server),
                                connect_tls(*pair.ends.client, client_context, name, client)));
    }
    Result<> server;
    Result<> client;
};

Task<void> wait_for_end(std::unique_ptr<Stream> stream) {
    std::string piece(1, '\0');
    const std::span<char> into(piece);
    static_cast<void>(co_await stream->read_some(into));
}

Task<void> write_all_of(Stream& stream, const std::string& octets, Result<>& outcome) {
    outcome = co_await stream.write_all(octets);
}

Task<void> read_all_of(Stream& stream, std::size_t count, std::string& into) {
    auto got = co_await read_octets(stream, count);
    if (got) into = std::move(*got);
}

Task<void> echo_octets(std::unique_ptr<Stream> stream) {
    std::string buffer(4096, '\0');
    const std::span<char> into(buffer.data(), buffer.size());
    for (;;) {
        const auto got = co_await stream->read_some(into);
        if (!got) co_return;
        const std::string_view octets(buffer.data(), *got);
        const auto written = co_await stream->write_all(octets);
        if (!written) co_return;
    }
}

// What a client of another make does: blocking OpenSSL on a thread of its own, one octet there and back.
struct ForeignClient {
    std::string alpn_wire;
    int version_max = TLS1_3_VERSION;
    SSL_SESSION* session = nullptr;  // offered for resumption

    bool connected = false;
    bool echoed = false;
    bool resumed = false;
    std::string alpn;
    SSL_SESSION* kept = nullptr;

    void run(std::uint16_t port) {
        SSL_CTX* context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_security_level(context, 0);  // lets it offer what it should be refused for
        SSL_CTX_set_max_proto_version(context, version_max);
        SSL* ssl = SSL_new(context);
        if (!alpn_wire.empty()) {
            SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(alpn_wire.data()),
                                static_cast<unsigned>(alpn_wire.size()));
        }
        if (session != nullptr) SSL_set_session(ssl, session);
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(0x7f000001);
        if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
            SSL_set_fd(ssl, fd);
            connected = SSL_connect(ssl) == 1;
        }
        if (connected) {
            char octet = 'x';
            echoed = SSL_write(ssl, &octet, 1) == 1 && SSL_read(ssl, &octet, 1) == 1 && octet == 'x';
            resumed = SSL_session_reused(ssl) == 1;
            kept = SSL_get1_session(ssl);
            const unsigned char* chosen = nullptr;
            unsigned length = 0;
            SSL_get0_alpn_selected(ssl, &chosen, &length);
            if (chosen != nullptr) alpn.assign(reinterpret_cast<const char*>(chosen), length);
            SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        SSL_CTX_free(context);
        ::close(fd);
    }
};

// A listener with TLS from the first octet, and foreign clients that call on it.
struct TlsServer {
    explicit TlsServer(TlsServerContext& context) {
        auto opened = Listener::open(loop, "imaps", loopback(0), ListenLimits(), &context, "in clear", echo_octets);
        REQUIRE(opened);
        listener = std::move(*opened);
    }
    ~TlsServer() {
        listener->stop();
        listener->cut();
        run_task(loop, listener->join());
    }
    void call(ForeignClient& client) {
        std::thread thread([&] {
            client.run(listener->local().port);
            loop.stop();
        });
        loop.run();
        thread.join();
    }

    Loop loop;
    std::unique_ptr<Listener> listener;
};

}  // namespace

TEST_CASE("TLS: a certificate that is right passes a client that requires it; octets go both ways") {
    const Certificate certificate;
    const auto server_context = certificate.server("smtp");
    const auto client_context = certificate.client(Verify::required);
    for (const char* name : {"mail.test", "mail.test.", "127.0.0.1"}) {
        CAPTURE(name);
        Loop loop;
        TcpPair pair(loop);
        Stream& client = *pair.ends.client;
        Stream& server = *pair.ends.server;
        const Handshake handshake(pair, *server_context, *client_context, name);
        REQUIRE_MESSAGE(handshake.client, handshake.client.error().context);
        REQUIRE(handshake.server);
        REQUIRE(client.tls());
        CHECK(client.tls()->version == "TLSv1.3");
        CHECK(client.tls()->cipher == server.tls()->cipher);
        CHECK(client.tls()->bits >= 128);
        CHECK(client.tls()->peer_verified);
        CHECK(client.tls()->verify_error.empty());
        CHECK(server.tls()->server_name == (std::string_view(name) == "127.0.0.1" ? "" : "mail.test"));
        CHECK(run_task(loop, client.start_tls_client(*client_context, "mail.test")).error().code == Errc::invalid);

        CHECK(run_task(loop, client.write_all("ping")));
        CHECK(run_task(loop, read_octets(server, 2)).value_or("") == "pi");
        CHECK(run_task(loop, server.wait_readable()));  // what is left lies in OpenSSL, not in the socket
        CHECK(run_task(loop, read_octets(server, 2)).value_or("") == "ng");

        std::string octets(4 * 1024 * 1024, '\0');
        for (std::size_t i = 0; i < octets.size(); ++i) octets[i] = static_cast<char>(i * 7 >> 2);
        std::string received;
        Result<> written;
        run_task(loop,
                 run_both(loop, write_all_of(server, octets, written), read_all_of(client, octets.size(), received)));
        CHECK(written);
        CHECK((received == octets));

        client.close();
        CHECK(run_task(loop, read_octets(server, 1)).error().code == Errc::closed);
        CHECK(run_task(loop, read_octets(server, 1)).error().code == Errc::closed);
        CHECK(run_task(loop, server.write_all("x")).error().code == Errc::closed);
    }
}

TEST_CASE("TLS: reads and writes cross on one connection") {
    const Certificate certificate;
    const auto server_context = certificate.server("smtp");
    const auto client_context = certificate.client(Verify::required);
    Loop loop;
    TcpPair pair(loop);
    const Handshake handshake(pair, *server_context, *client_context, "mail.test");
    REQUIRE(handshake.client);
    const std::string up(3 * 1024 * 1024, 'u');
    const std::string down(3 * 1024 * 1024, 'd');
    std::string got_up;
    std::string got_down;
    Result<> wrote_up;
    Result<> wrote_down;
    TaskGroup group(loop);
    group.spawn("up", write_all_of(*pair.ends.client, up, wrote_up));
    group.spawn("down", write_all_of(*pair.ends.server, down, wrote_down));
    group.spawn("read up", read_all_of(*pair.ends.server, up.size(), got_up));
    group.spawn("read down", read_all_of(*pair.ends.client, down.size(), got_down));
    run_task(loop, group.join());
    CHECK(wrote_up);
    CHECK(wrote_down);
    CHECK((got_up == up));
    CHECK((got_down == down));
}

TEST_CASE("TLS: a client that requires a good certificate refuses a wrong one, and the connection is dead") {
    const Certificate certificate;
    const Certificate other;
    const auto server_context = certificate.server("smtp");
    const auto trusting = certificate.client(Verify::required);
    const auto strange = other.client(Verify::required);
    struct Case {
        TlsClientContext* context;
        const char* name;
        const char* why;
    };
    const Case cases[] = {{trusting.get(), "other.test", "hostname"},
                          {trusting.get(), "127.0.0.2", "IP address"},
                          {trusting.get(), "", "no name"},
                          {strange.get(), "mail.test", "self-signed"}};
    for (const Case& c : cases) {
        CAPTURE(c.name);
        Loop loop;
        TcpPair pair(loop);
        const Handshake handshake(pair, *server_context, *c.context, c.name);
        REQUIRE_FALSE(handshake.client);
        CHECK(handshake.client.error().code == Errc::tls);
        CAPTURE(handshake.client.error().context);
        CHECK(handshake.client.error().context.find(c.why) != std::string::npos);
        CHECK_FALSE(pair.ends.client->tls());
        CHECK(run_task(loop, pair.ends.client->write_all("secret")).error().code == Errc::closed);
        CHECK(run_task(loop, read_octets(*pair.ends.client, 1)).error().code == Errc::closed);
    }
}

TEST_CASE("TLS: an opportunistic client goes on and tells (RFC 7435)") {
    const Certificate certificate;
    const Certificate other;
    const auto server_context = certificate.server("smtp");
    struct Case {
        const Certificate* trusted;
        const char* name;
        bool verified;
    };
    const Case cases[] = {{&certificate, "mail.test", true},
                          {&certificate, "other.test", false},
                          {&certificate, "", false},
                          {&other, "mail.test", false}};
    for (const Case& c : cases) {
        CAPTURE(c.name);
        Loop loop;
        TcpPair pair(loop);
        const auto client_context = c.trusted->client(Verify::opportunistic);
        const Handshake handshake(pair, *server_context, *client_context, c.name);
        REQUIRE(handshake.client);
        CHECK(handshake.server);
        CHECK(pair.ends.client->tls()->peer_verified == c.verified);
        CHECK(pair.ends.client->tls()->verify_error.empty() == c.verified);
        CHECK(run_task(loop, pair.ends.client->write_all("x")));
        CHECK(run_task(loop, read_octets(*pair.ends.server, 1)).value_or("") == "x");
    }
}

TEST_CASE("TLS: clear text where a handshake should be is the end; nothing of it is ever read") {
    const Certificate certificate;
    const auto context = certificate.server("smtp");
    Loop loop;
    TcpPair pair(loop);
    // The octets of a STARTTLS injection: they lie in the socket when the handshake begins.
    CHECK(run_task(loop, pair.ends.client->write_all("MAIL FROM:<evil@example>\r\nRCPT TO:<a@b>\r\n")));
    const auto outcome = run_task(loop, pair.ends.server->start_tls_server(*context));
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().code == Errc::tls);
    CHECK(run_task(loop, read_octets(*pair.ends.server, 1)).error().code == Errc::closed);
    CHECK(run_task(loop, pair.ends.server->write_all("220 ok\r\n")).error().code == Errc::closed);
}

TEST_CASE("TLS: deadline, interrupt and disconnect end a handshake") {
    const Certificate certificate;
    const auto context = certificate.server("smtp");
    Loop loop;
    {
        TcpPair pair(loop);
        pair.ends.server->expires_in(1ms);
        CHECK(run_task(loop, pair.ends.server->start_tls_server(*context)).error().code == Errc::timeout);
        pair.ends.server->expires_in(0ms);
        CHECK(run_task(loop, pair.ends.server->write_all("in clear")).error().code == Errc::closed);
    }
    {
        TcpPair pair(loop);
        TaskGroup group(loop);
        Result<> outcome;
        group.spawn("handshake", serve_tls(*pair.ends.server, *context, outcome));
        loop.poll();
        pair.ends.server->interrupt();
        run_task(loop, group.join());
        CHECK(outcome.error().code == Errc::cancelled);
    }
    {
        TcpPair pair(loop);
        pair.ends.client->close();
        CHECK(run_task(loop, pair.ends.server->start_tls_server(*context)).error().code == Errc::tls);
    }
}

TEST_CASE("ALPN: a match is agreed on, no offer is let in, no match is refused (RFC 7301 3.2)") {
    const Certificate certificate;
    struct Case {
        std::vector<std::string> served;
        std::string offered;
        bool connected;
        const char* agreed;
    };
    const Case cases[] = {{{"imap"}, "", true, ""},
                          {{"imap"}, "\x04imap", true, "imap"},
                          {{"imap"}, "\x02h2\x04imap", true, "imap"},
                          {{"imap"}, "\x02h2\x08http/1.1", false, ""},
                          {{"imap", "x"}, "\x01x", true, "x"},
                          {{}, "\x02h2", false, ""},
                          {{}, "", true, ""}};
    for (const Case& c : cases) {
        CAPTURE(c.offered);
        const auto context = certificate.server("imaps", c.served);
        TlsServer server(*context);
        ForeignClient client;
        client.alpn_wire = c.offered;
        server.call(client);
        CHECK(client.connected == c.connected);
        CHECK(client.echoed == c.connected);
        CHECK(client.alpn == c.agreed);
        SSL_SESSION_free(client.kept);
    }
}

TEST_CASE("TLS 1.2 is spoken, 1.1 is not (RFC 8996)") {
    const Certificate certificate;
    const auto context = certificate.server("imaps");
    TlsServer server(*context);
    ForeignClient modern;
    modern.version_max = TLS1_2_VERSION;
    server.call(modern);
    CHECK(modern.echoed);
    SSL_SESSION_free(modern.kept);
    ForeignClient old;
    old.version_max = TLS1_1_VERSION;
    server.call(old);
    CHECK_FALSE(old.connected);
}

TEST_CASE("tickets: good at the listener that gave them, a full handshake at any other") {
    const Certificate certificate;
    const auto imap = certificate.server("imaps", {"imap"});
    const auto submission = certificate.server("submissions");
    TlsServer at_imap(*imap);
    TlsServer at_submission(*submission);
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        ForeignClient first;
        first.version_max = version;
        at_imap.call(first);
        REQUIRE(first.echoed);
        CHECK_FALSE(first.resumed);

        ForeignClient again;
        again.version_max = version;
        again.session = first.kept;
        at_imap.call(again);
        CHECK(again.echoed);
        CHECK(again.resumed);

        ForeignClient elsewhere;
        elsewhere.version_max = version;
        elsewhere.session = first.kept;
        at_submission.call(elsewhere);
        CHECK(elsewhere.echoed);
        CHECK_FALSE(elsewhere.resumed);
        SSL_SESSION_free(first.kept);
        SSL_SESSION_free(again.kept);
        SSL_SESSION_free(elsewhere.kept);
    }
}

TEST_CASE("reload: new handshakes see the new certificate; a broken file leaves the old one") {
    Certificate certificate;
    const auto context = certificate.server("smtp");
    const std::int64_t first_end = context->not_after_unix();
    CHECK(first_end > std::time(nullptr) + 29 * 86400);
    const auto old_client = certificate.client(Verify::required);
    certificate.renew(90);
    const auto new_client = certificate.client(Verify::required);
    const auto handshake_with = [&](TlsClientContext& client) {
        Loop loop;
        TcpPair pair(loop);
        const Handshake handshake(pair, *context, client, "mail.test");
        return handshake.client.has_value();
    };
    CHECK(handshake_with(*old_client));
    CHECK(context->reload());
    CHECK(context->not_after_unix() > first_end);
    CHECK_FALSE(handshake_with(*old_client));
    CHECK(handshake_with(*new_client));

    certificate.write("cert.pem", "-----BEGIN CERTIFICATE-----\nnonsense\n");
    const auto broken = context->reload();
    REQUIRE_FALSE(broken);
    CHECK(broken.error().context.find("cert.pem") != std::string::npos);
    CHECK(handshake_with(*new_client));
}

TEST_CASE("contexts say which file is wrong") {
    Certificate certificate;
    const Certificate other;
    const auto load = [](const std::string& cert, const std::string& key) {
        const auto context = TlsServerContext::load("smtp", cert, key, {});
        return context ? std::string() : context.error().context;
    };
    CHECK(load("/nonexistent/cert.pem", certificate.key_file()).find("/nonexistent/cert.pem") != std::string::npos);
    CHECK(load(certificate.certificate_file(), "/nonexistent/key.pem").find("/nonexistent/key.pem") !=
          std::string::npos);
    CHECK(load(certificate.certificate_file(), other.key_file()).find(other.key_file()) != std::string::npos);
    CHECK_FALSE(TlsClientContext::make(Verify::required, "/nonexistent/ca.pem"));
    CHECK(TlsClientContext::make(Verify::required, ""));
}

TEST_CASE("trust anchors of a file: instead of the system's, or besides them") {
    const Certificate world;
    Certificate house;
    house.renew(30, {"house.test", "mail.test"});  // like authorities, two of one name would be taken for each other
    REQUIRE(::setenv("SSL_CERT_FILE", world.certificate_file().c_str(), 1) == 0);
    const auto goes = [](const Certificate& server, TlsClientContext& client) {
        Loop loop;
        TcpPair pair(loop);
        auto context = server.server("smtp");
        const Handshake done(pair, *context, client, "mail.test");
        return done.client.has_value();
    };
    auto instead = TlsClientContext::make(Verify::required, house.certificate_file()).value();
    auto besides = TlsClientContext::make(Verify::required, house.certificate_file(), Anchors::besides).value();
    ::unsetenv("SSL_CERT_FILE");
    CHECK(goes(house, *instead));
    CHECK_FALSE(goes(world, *instead));
    CHECK(goes(house, *besides));
    CHECK(goes(world, *besides));
    CHECK_FALSE(goes(Certificate(), *besides));
}

TEST_CASE("listener: over the limit a TLS client is told so after the handshake, a bounded number at a time") {
    const Certificate certificate;
    const auto context = certificate.server("imaps");
    const auto trust = certificate.client(Verify::required);
    Loop loop;
    ListenLimits limits;
    limits.connections_max = 1;
    const auto hold = [](std::unique_ptr<Stream> stream) -> Task<void> { return wait_for_end(std::move(stream)); };
    auto opened = Listener::open(loop, "imaps", loopback(0), limits, context.get(), "* BYE [LIMIT] Too many\r\n", hold);
    REQUIRE(opened);
    const auto dialer = make_tcp_dialer(loop);
    const auto dial = [&] {
        auto stream = run_task(loop, dialer->dial((*opened)->local(), DialOptions()));
        REQUIRE(stream);
        return *std::move(stream);
    };
    const auto first = dial();
    Result<> secured;
    run_task(loop, connect_tls(*first, *trust, "mail.test", secured));
    REQUIRE(secured);
    // Those that begin no handshake hold the places; the next one is closed at once.
    std::vector<std::unique_ptr<Stream>> silent;
    for (std::size_t i = 0; i < Listener::kTurnedAwayTlsMax; ++i) silent.push_back(dial());
    const auto beyond = dial();
    CHECK(run_task(loop, read_octets(*beyond, 1)).error().code == Errc::closed);
    silent.clear();
    for (int i = 0; i < 100; ++i) loop.poll();
    const auto second = dial();
    run_task(loop, connect_tls(*second, *trust, "mail.test", secured));
    REQUIRE(secured);
    CHECK(run_task(loop, read_octets(*second, 24)).value_or("") == "* BYE [LIMIT] Too many\r\n");
    CHECK(run_task(loop, read_octets(*second, 1)).error().code == Errc::closed);
    CHECK((*opened)->connections() == 1);
    (*opened)->stop();
    (*opened)->cut();
    run_task(loop, (*opened)->join());
}
