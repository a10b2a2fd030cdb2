#pragma once
/// server/web: what strangers fetch over HTTPS (HTTP/1.1, RFC 9112), and nothing else:
///   the MTA-STS policies of the domains here. RFC 8461 3.2, 3.3: GET /.well-known/mta-sts.txt of the host
///   mta-sts.DOMAIN; text/plain, no redirects
///   the page behind List-Unsubscribe (RFC 8058): GET, POST /unsubscribe/TOKEN (server/web/unsubscribe)
///   the page behind the link in the mail about an incident: GET, POST /incident/TOKEN (server/web/incident)
/// One request a connection: who comes here comes once a day. The API and all else stay on loopback (admin/http).
/// Invariants  1. Nothing that was sent is echoed.   2. A body is passed over, up to body_octets_max: what is said
///                in it counts for nothing, and the connection ends after the answer.
/// Threads: the loop's; the store is read on the pool.   Limits: WebLimits, web_listen_limits().
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "protocols/base/metrics.h"
#include "protocols/net/listener.h"
#include "protocols/net/offload.h"
#include "storage/store.h"

namespace posthouse::server {

struct WebLimits {
    std::size_t line_octets_max = 2048;  ///< of the request line, and of each field
    std::size_t fields_max = 64;
    std::uint64_t body_octets_max = 16UL * 1024;
    std::chrono::milliseconds request_max{10'000};  ///< for the whole of it
    std::chrono::milliseconds answer_max{10'000};
    WebLimits() = default;
};

/// Everything must outlive the sessions.
struct WebDeps {
    WebDeps(storage::Store& s, net::Loop& l, net::ThreadPool& p, Metrics& m, std::string name)
        : store(&s), loop(&l), pool(&p), metrics(&m), hostname(std::move(name)) {}
    storage::Store* store;
    net::Loop* loop;
    net::ThreadPool* pool;
    Metrics* metrics;
    std::string hostname;  ///< the MX of a policy that names none
    WebLimits limits;
};

struct PageAnswer {
    int status = 200;
    std::string reason = "OK";
    std::string html;

    PageAnswer() = default;
    PageAnswer(int code, std::string text, std::string page)
        : status(code), reason(std::move(text)), html(std::move(page)) {}
};

net::ListenLimits web_listen_limits();
/// One request and its answer. Spawned.
net::Task<void> serve_web(std::unique_ptr<net::Stream> stream, WebDeps deps);

}  // namespace posthouse::server
