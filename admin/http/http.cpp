#include "admin/http/http.h"

#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServer.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/HTTPServerRequestImpl.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/ThreadPool.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"

namespace posthouse::admin {
namespace {

using Poco::Net::HTTPServerRequest;
using Poco::Net::HTTPServerRequestImpl;
using Poco::Net::HTTPServerResponse;
using SteadyTime = std::chrono::steady_clock::time_point;

Poco::Timespan span_of(std::chrono::milliseconds time) { return {0, time.count() * 1000}; }

std::size_t count_of(const HTTPServerRequest& request, std::string_view field) {
    const auto is_it = [field](const auto& one) { return ascii::equals_ci(one.first, field); };
    return static_cast<std::size_t>(std::count_if(request.begin(), request.end(), is_it));
}

// Poco bounds each field (8 KiB, at most 100 of them); the sum is judged by the router.
std::size_t header_octets(const HTTPServerRequest& request) {
    std::size_t total = 0;
    for (const auto& [name, value] : request) total += name.size() + value.size() + 4;
    return total;
}

/// Reads what comes after the header, with one deadline for all of it.
class Body {
 public:
    Body(HTTPServerRequest& request, HTTPServerResponse& response, std::chrono::milliseconds time_max)
        : request_(request), response_(response), time_max_(time_max) {}

    Result<std::string> read(std::uint64_t octets) {
        used_ = true;
        if (request_.getExpectContinue()) response_.sendContinue();  // RFC 9110 10.1.1
        std::string out;
        const SteadyTime end = std::chrono::steady_clock::now() + time_max_;
        while (out.size() < octets) {
            if (!more(end, octets - out.size(), &out)) {
                failed_ = true;
                const bool late = std::chrono::steady_clock::now() >= end;
                return Error(late ? Errc::timeout : Errc::closed, "the body did not come whole");
            }
        }
        return out;
    }

    /// Throws away what was not read. False: the connection is no good for another request.
    bool drop(std::uint64_t octets) {
        if (used_) return !failed_;
        if (request_.getExpectContinue() || octets > kUnreadOctetsMax) return octets == 0;
        const SteadyTime end = std::chrono::steady_clock::now() + std::min(time_max_, kUnreadTimeMax);
        std::uint64_t gone = 0;
        std::string piece;
        while (gone < octets) {
            piece.clear();
            if (!more(end, octets - gone, &piece)) return false;
            gone += piece.size();
        }
        return true;
    }

 private:
    // What one receive brings. The stream itself knows no deadline, so the socket waits for what is left of it.
    bool more(SteadyTime end, std::uint64_t octets_max, std::string* out) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
        if (left.count() <= 0) return false;
        static_cast<HTTPServerRequestImpl&>(request_).socket().setReceiveTimeout(span_of(left));
        std::istream& in = request_.stream();
        const int first = in.get();
        if (first == std::char_traits<char>::eof()) return false;
        out->push_back(static_cast<char>(first));
        std::array<char, 4096> buffer{};
        const auto ready = std::min({static_cast<std::uint64_t>(std::max<std::streamsize>(in.rdbuf()->in_avail(), 0)),
                                     octets_max - 1, static_cast<std::uint64_t>(buffer.size())});
        const std::streamsize got = in.rdbuf()->sgetn(buffer.data(), static_cast<std::streamsize>(ready));
        out->append(buffer.data(), static_cast<std::size_t>(got));
        return true;
    }

    HTTPServerRequest& request_;
    HTTPServerResponse& response_;
    const std::chrono::milliseconds time_max_;
    bool used_ = false;
    bool failed_ = false;
};

class Handler final : public Poco::Net::HTTPRequestHandler {
 public:
    Handler(Router& router, const HttpTimes& times) : router_(router), times_(times) {}

    void handleRequest(HTTPServerRequest& request, HTTPServerResponse& response) override {
        HttpRequest asked;
        asked.method = request.getMethod();
        asked.target = request.getURI();
        asked.client = request.clientAddress().host().toString();
        asked.host = request.get("Host", "");
        asked.header_octets = header_octets(request);
        asked.authorization = request.get("Authorization", "");
        asked.content_type = request.get("Content-Type", "");
        const std::size_t keys = count_of(request, "Idempotency-Key");
        if (keys > 0) asked.idempotency_key = keys == 1 ? request.get("Idempotency-Key") : std::string();
        asked.chunked = request.has("Transfer-Encoding");
        asked.content_octets = length_of(request);
        Body body(request, response, times_.body_max + time_for(asked.content_octets.value_or(0)));
        asked.read_body = [&] { return body.read(asked.content_octets.value_or(0)); };
        // A proxy may read another length than we, and what is left over would be a request (RFC 9112 6.3, 11.2).
        const std::size_t lengths = count_of(request, "Content-Length");
        const bool is_framed = lengths == 0 || (lengths == 1 && asked.content_octets);
        const HttpAnswer made = is_framed ? router_.route(asked)
                                          : problem(400, "Content-Length is given once, in digits.", "Content-Length");
        // A body whose end is not known cannot be passed over.
        const bool clean = is_framed && !asked.chunked && body.drop(asked.content_octets.value_or(0));
        if (!clean) response.setKeepAlive(false);
        send(request, response, made);
        static_cast<HTTPServerRequestImpl&>(request).socket().setReceiveTimeout(span_of(times_.receive_max));
    }

 private:
    // A large message takes its time; a slow one holds a thread no longer than it must.
    static std::chrono::milliseconds time_for(std::uint64_t octets) {
        constexpr std::uint64_t kOctetsPerMillisecondMin = 1000;
        return std::chrono::milliseconds(std::min<std::uint64_t>(octets / kOctetsPerMillisecondMin, 120'000));
    }

    static std::optional<std::uint64_t> length_of(const HTTPServerRequest& request) {
        if (!request.has("Content-Length")) return std::nullopt;
        return ascii::parse_number(request.get("Content-Length"));
    }

    static void send(const HTTPServerRequest& request, HTTPServerResponse& response, const HttpAnswer& made) {
        response.setStatusAndReason(static_cast<Poco::Net::HTTPResponse::HTTPStatus>(made.status));
        response.setContentType(made.type);
        response.set("Cache-Control", "no-store");
        response.set("X-Content-Type-Options", "nosniff");
        for (const auto& [name, value] : made.fields) response.set(name, value);
        response.setContentLength64(static_cast<Poco::Int64>(made.body.size()));
        if (request.getMethod() == "HEAD") {
            response.send();
        } else {
            response.sendBuffer(made.body.data(), made.body.size());
        }
    }

    Router& router_;
    const HttpTimes& times_;
};

class Factory final : public Poco::Net::HTTPRequestHandlerFactory {
 public:
    Factory(Router& router, const HttpTimes& times) : router_(router), times_(times) {}
    Poco::Net::HTTPRequestHandler* createRequestHandler(const HTTPServerRequest&) override {
        return new Handler(router_, times_);
    }

 private:
    Router& router_;
    const HttpTimes& times_;
};

class PocoService final : public HttpService {
 public:
    PocoService(HttpDeps deps, const HttpTimes& times)
        : times_(times),
          router_(std::move(deps)),
          threads_("http", 1, kThreadsMax, /*idleTime=*/30, /*stackSize=*/256 * 1024) {}
    ~PocoService() override { stop(); }

    void open(const net::Endpoint& endpoint) {
        const Poco::Net::SocketAddress at(endpoint.address.to_string(), endpoint.port);
        Poco::Net::ServerSocket socket;
        socket.bind(at, /*reuseAddress=*/true, /*reusePort=*/false);
        socket.listen(kQueuedMax);
        endpoints_.emplace_back(endpoint.address, socket.address().port());
        Poco::Net::HTTPServerParams::Ptr params = new Poco::Net::HTTPServerParams;
        params->setMaxThreads(kThreadsMax);
        params->setMaxQueued(kQueuedMax);
        params->setKeepAlive(true);
        params->setMaxKeepAliveRequests(100);
        params->setKeepAliveTimeout(span_of(times_.idle_max));
        params->setTimeout(span_of(times_.receive_max));
        servers_.push_back(
            std::make_unique<Poco::Net::HTTPServer>(new Factory(router_, times_), threads_, socket, params));
        servers_.back()->start();
    }

    std::vector<net::Endpoint> endpoints() const override { return endpoints_; }

    void stop() override {
        router_.stop();
        for (auto& server : servers_) server->stopAll(/*abortCurrent=*/true);
        servers_.clear();
        threads_.stopAll();
    }

 private:
    const HttpTimes times_;
    Router router_;
    Poco::ThreadPool threads_;
    std::vector<std::unique_ptr<Poco::Net::HTTPServer>> servers_;
    std::vector<net::Endpoint> endpoints_;
};

}  // namespace

Result<std::unique_ptr<HttpService>> HttpService::start(const std::vector<net::Endpoint>& endpoints, HttpDeps deps,
                                                        const HttpTimes& times) {
    auto service = std::make_unique<PocoService>(std::move(deps), times);
    for (const net::Endpoint& endpoint : endpoints) {
        if (!endpoint.address.is_loopback()) {
            return Error(Errc::denied, fmt::format("http: {} is not a loopback address", endpoint.to_string()));
        }
        try {
            service->open(endpoint);
        } catch (const Poco::Exception& e) {
            return Error(Errc::io, fmt::format("http: cannot listen on {}: {}", endpoint.to_string(), e.displayText()));
        }
    }
    return service;
}

}  // namespace posthouse::admin
