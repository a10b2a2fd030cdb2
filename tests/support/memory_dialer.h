#pragma once
/// tests/support/memory_dialer: a Dialer without sockets. Each endpoint a test knows has a session that answers there;
/// all others refuse. What was dialled is kept for the test to look at.
///
///     MemoryDialer dialer(loop);
///     dialer.serve(Endpoint::parse("192.0.2.1:25").value(), [&](auto stream) { return fake_mx(std::move(stream)); });
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "protocols/net/dialer.h"
#include "protocols/net/memory.h"

namespace posthouse::test {

class MemoryDialer final : public net::Dialer {
 public:
    using Handler = std::function<net::Task<void>(std::unique_ptr<net::Stream>)>;

    explicit MemoryDialer(net::Loop& loop) : loop_(loop), sessions_(loop) {}

    /// Sessions at `at` are made by `handler`, which must live as long as they do.
    void serve(net::Endpoint at, Handler handler) { handlers_[at] = std::move(handler); }
    /// Nobody listens there any more.
    void forget(net::Endpoint at) { handlers_.erase(at); }
    /// Dialling `at` fails with `error`.
    void fail(net::Endpoint at, Error error) { errors_.insert_or_assign(at, std::move(error)); }
    const std::vector<net::Endpoint>& dialled() const { return dialled_; }
    /// Completes when every session has ended; call before the dialer goes.
    net::Task<void> join() { return sessions_.join(); }

    net::Task<Result<std::unique_ptr<net::Stream>>> dial(net::Endpoint to, net::DialOptions options) override {
        dialled_.push_back(to);
        if (const auto error = errors_.find(to); error != errors_.end()) co_return error->second;
        const auto handler = handlers_.find(to);
        if (handler == handlers_.end()) co_return Error(Errc::refused, "nobody listens at " + to.to_string());
        const net::IpAddress source = options.source.value_or(net::IpAddress::v4(0x7f000001));
        net::MemoryPair pair = net::make_memory_pair(loop_, to, net::Endpoint(source, kSourcePort));
        sessions_.spawn("memory session", handler->second(std::move(pair.first)));
        co_return std::move(pair.second);
    }

 private:
    static constexpr std::uint16_t kSourcePort = 40'000;

    net::Loop& loop_;
    net::TaskGroup sessions_;
    std::map<net::Endpoint, Handler> handlers_;
    std::map<net::Endpoint, Error> errors_;
    std::vector<net::Endpoint> dialled_;
};

}  // namespace posthouse::test
