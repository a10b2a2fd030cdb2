// The listener itself, over real sockets on loopback: what Poco bounds and what is bounded around it.
#include "admin/http/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocols/crypto/crypto.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::admin;

namespace {

constexpr std::string_view kRestore = "POST /api/v1/accounts/alice@a.example/deleted/restore HTTP/1.1\r\nHost: x\r\n";

class Client {
 public:
    explicit Client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(port);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    }
    ~Client() { ::close(fd_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    void say(std::string_view text) {
        while (!text.empty()) {
            const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
            if (sent <= 0) return;
            text.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
    /// All until the server closes.
    std::string rest() {
        std::string out;
        char buffer[4096];
        for (;;) {
            const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
            if (got <= 0) return out;
            out.append(buffer, static_cast<std::size_t>(got));
        }
    }

 private:
    int fd_;
};

struct Fixture {
    test::TempStore store;
    Metrics metrics;
    std::string token;
    std::unique_ptr<HttpService> service;

    explicit Fixture(std::chrono::milliseconds patience = std::chrono::milliseconds(300)) {
        REQUIRE(crypto::init());
        store.add_account("alice@a.example");
        token =
            store
                ->write_value(
                    {}, [](storage::Tx& tx) { return storage::TokenTx(tx).create("all", std::nullopt, std::nullopt); })
                .value()
                .secret;
        HttpDeps deps;
        deps.metrics = &metrics;
        deps.health = [] { return HealthReport(true, "good", 0, 1); };
        deps.before_metrics = [] {};
        deps.store = &*store;
        deps.clock = &system_clock();
        HttpTimes times;
        times.receive_max = times.body_max = times.idle_max = patience;
        auto made = HttpService::start({net::Endpoint(net::IpAddress::parse("127.0.0.1").value(), 0)}, deps, times);
        REQUIRE(made);
        service = *std::move(made);
    }
    std::string ask(std::string_view text) {
        Client client(service->endpoints().front().port);
        client.say(text);
        return client.rest();
    }
    std::string post(std::size_t octets, const std::string& body) {
        return ask(std::string(kRestore) + "Authorization: Bearer " + token +
                   "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " +
                   std::to_string(octets) + "\r\n\r\n" + body);
    }
};

}  // namespace

TEST_CASE("only loopback addresses are listened on") {
    const auto made = HttpService::start({net::Endpoint(net::IpAddress::parse("192.0.2.1").value(), 0)}, HttpDeps());
    REQUIRE(!made);
    CHECK(made.error().code == Errc::denied);
}

TEST_CASE("a body is read whole, and one that is too large is refused so that the client hears it") {
    Fixture f;
    const std::string whole = f.post(13, "{\"all\": true}");
    CHECK(whole.starts_with("HTTP/1.1 200 "));
    CHECK(whole.ends_with("{\"restored\":0,\"mailboxes\":{}}\n"));
    CHECK(f.post(kBodyOctetsMax + 1, std::string(kBodyOctetsMax + 1, ' ')).starts_with("HTTP/1.1 413 "));
    CHECK(
        f.post(kBodyOctetsMax, std::string(kBodyOctetsMax - 13, ' ') + "{\"all\": true}").starts_with("HTTP/1.1 200 "));
    const std::string chunked =
        f.ask(std::string(kRestore) + "Authorization: Bearer " + f.token +
              "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
    CHECK(chunked.starts_with("HTTP/1.1 411 "));
}

TEST_CASE("a refused body does not become the next request") {
    Fixture f;
    const std::string inner = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    const std::string said =
        f.ask(std::string(kRestore) + "Content-Length: " + std::to_string(inner.size()) + "\r\n\r\n" + inner +
              "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    CHECK(said.starts_with("HTTP/1.1 401 "));
    CHECK(said.find("posthouse_") == std::string::npos);
    CHECK(said.find("\"status\":\"ok\"") != std::string::npos);
}

TEST_CASE("RFC 9112 6.3: a length that can be read in two ways ends the connection") {
    Fixture f;
    const std::string inner = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    const std::string length = std::to_string(inner.size());
    for (const std::string& fields :
         {"Content-Length: +" + length, "Content-Length: " + length + ", " + length,
          "Content-Length: 0\r\nContent-Length: " + length, std::string("Content-Length:")}) {
        CAPTURE(fields);
        const std::string said = f.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n\r\n" + inner);
        CHECK((said.empty() || said.starts_with("HTTP/1.1 400 ")));  // Poco ends some of them without a word
        CHECK(said.find("posthouse_") == std::string::npos);
    }
}

TEST_CASE("nobody waits for a body that nobody reads") {
    Fixture f(std::chrono::milliseconds(60'000));
    // Without kUnreadTimeMax the server would wait for a minute.
    const auto begun = std::chrono::steady_clock::now();
    CHECK(f.ask("POST /unsubscribe/x HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n").starts_with("HTTP/1.1 404 "));
    CHECK(f.ask("POST /unsubscribe/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 404 "));
    CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(30));
}

TEST_CASE("a key that stands in the header twice is none") {
    Fixture f;
    const std::string said =
        f.ask("POST /api/v1/send HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + f.token +
              "\r\nContent-Type: application/json\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n"
              "Content-Length: 2\r\n\r\n{}");
    CHECK(said.starts_with("HTTP/1.1 400 "));
    CHECK(said.find("given once") != std::string::npos);
}

TEST_CASE("who is slow is not waited for: a header, a body, the next request") {
    Fixture f;
    CHECK(f.post(14, "{\"all\": true}").starts_with("HTTP/1.1 408 "));
    f.ask("GET /healthz HTTP/1.1\r\nHo");  // closed by the server: rest() came back
    CHECK(f.ask("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

TEST_CASE("targets and headers have a length") {
    Fixture f;
    // Poco ends what is over its own bounds without a word or with 400; ours come before them.
    const auto status = [](const std::string& said) { return said.substr(0, 12); };
    std::string header = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
    for (int at = 0; at < 6; ++at) header += "X-" + std::to_string(at) + ": " + std::string(7000, 'x') + "\r\n";
    CHECK(status(f.ask(header + "Connection: close\r\n\r\n")) == "HTTP/1.1 431");
    const std::string long_target = "GET /" + std::string(64UL * 1024, 'x') + " HTTP/1.1\r\nHost: x\r\n\r\n";
    const std::string said = status(f.ask(long_target));
    CHECK((said.empty() || said == "HTTP/1.1 400" || said == "HTTP/1.1 414"));
    std::string many = "GET /healthz HTTP/1.1\r\n";
    for (int at = 0; at < 200; ++at) many += "X: y\r\n";
    CHECK(status(f.ask(many + "\r\n")) != "HTTP/1.1 200");
}
