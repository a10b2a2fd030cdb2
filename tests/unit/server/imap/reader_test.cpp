#include "server/imap/reader.h"

#include <doctest/doctest.h>

#include "protocols/net/memory.h"
#include "tests/support/loop_runner.h"

namespace {

using namespace posthouse;
using server::imap::CommandReader;
using server::imap::Login;
using server::imap::ReadCommand;

/// Tells when its peer was acknowledged.
class Acknowledging final : public net::Stream {
 public:
    Acknowledging(std::unique_ptr<net::Stream> inner, int& count) : inner_(std::move(inner)), count_(count) {}
    net::Task<Result<std::size_t>> read_some(std::span<char> into) override { return inner_->read_some(into); }
    net::Task<Result<>> wait_readable() override { return inner_->wait_readable(); }
    net::Task<Result<>> write_all(std::string_view octets) override { return inner_->write_all(octets); }
    void expires_in(std::chrono::milliseconds span) override { inner_->expires_in(span); }
    net::Task<Result<>> start_tls_server(net::TlsServerContext& context) override {
        return inner_->start_tls_server(context);
    }
    net::Task<Result<>> start_tls_client(net::TlsClientContext& context, net::TlsPeer expected) override {
        return inner_->start_tls_client(context, std::move(expected));
    }
    const std::optional<net::TlsFacts>& tls() const override { return inner_->tls(); }
    net::Endpoint peer() const override { return inner_->peer(); }
    net::Endpoint local() const override { return inner_->local(); }
    void acknowledge() override { ++count_; }
    void interrupt() override { inner_->interrupt(); }
    void close() override { inner_->close(); }

 private:
    std::unique_ptr<net::Stream> inner_;
    int& count_;
};

}  // namespace

TEST_CASE("a literal is acknowledged before the rest of its line has come: clients hold that back until then") {
    net::Loop loop;
    auto pair = net::make_memory_pair(loop, net::Endpoint(), net::Endpoint());
    int acknowledged = 0;
    net::BufferedStream stream(std::make_unique<Acknowledging>(std::move(pair.first), acknowledged));
    const posthouse::imap::Limits limits;
    CommandReader reader(stream, limits);
    const auto read = [&](std::string_view octets) {
        REQUIRE(test::run_task(loop, pair.second->write_all(octets)));
        return test::run_task(loop, reader.read(Login::after));
    };
    const auto whole = read("a SEARCH TEXT {3+}\r\nabc\r\n");
    REQUIRE(whole);
    CHECK(acknowledged == 0);  // all of it was there
    // The rest never comes: the peer goes away, as far as this end can tell.
    REQUIRE(test::run_task(loop, pair.second->write_all("b SEARCH TEXT {3+}\r\nabc")));
    pair.second->close();
    CHECK_FALSE(test::run_task(loop, reader.read(Login::after)));
    CHECK(acknowledged == 1);
}
