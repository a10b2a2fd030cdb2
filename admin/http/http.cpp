#include "admin/http/http.h"

#include <Poco/JSON/Object.h>
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServer.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/ThreadPool.h>
#include <fmt/format.h>

#include <sstream>

#include "protocols/base/log.h"

namespace posthouse::admin {
namespace {

using Poco::Net::HTTPServerRequest;
using Poco::Net::HTTPServerResponse;
using Status = Poco::Net::HTTPResponse::HTTPStatus;

struct Deps {
    Metrics* metrics;
    std::function<HealthReport()> health;
    std::function<void()> before_metrics;
};

struct Answer {
    Status status = Status::HTTP_OK;
    std::string type = "text/plain; charset=utf-8";
    std::string body;
};

Answer answer_health(const Deps& deps) {
    const HealthReport report = deps.health();
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("status", std::string(report.serving ? "ok" : "failing"));
    object.set("store", report.store);
    object.set("queue_waiting", report.waiting);
    object.set("uptime_s", report.uptime_s);
    object.set("version", std::string(POSTHOUSE_VERSION));
    std::ostringstream text;
    object.stringify(text);
    return {report.serving ? Status::HTTP_OK : Status::HTTP_SERVICE_UNAVAILABLE, "application/json", text.str() + "\n"};
}

Answer answer_metrics(const Deps& deps) {
    deps.before_metrics();
    return {Status::HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", deps.metrics->to_prometheus()};
}

// One row a path.
struct Path {
    std::string_view path;
    Answer (*answer)(const Deps&);
};
constexpr Path kPaths[] = {{"/healthz", answer_health}, {"/metrics", answer_metrics}};

// Poco bounds each field (8 KiB, at most 100 of them); the sum is judged here.
std::size_t header_octets(const HTTPServerRequest& request) {
    std::size_t total = 0;
    for (const auto& [name, value] : request) total += name.size() + value.size() + 4;
    return total;
}

Answer answer(const HTTPServerRequest& request, const Deps& deps) {
    const std::string& target = request.getURI();
    if (target.size() > kTargetOctetsMax)
        return {Status::HTTP_REQUEST_URI_TOO_LONG, "text/plain", "The target is too long.\n"};
    if (header_octets(request) > kHeaderOctetsMax) {
        return {Status::HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "text/plain", "The header is too large.\n"};
    }
    const std::string_view path = std::string_view(target).substr(0, target.find('?'));
    for (const Path& row : kPaths) {
        if (row.path != path) continue;
        if (request.getMethod() != "GET" && request.getMethod() != "HEAD") {
            return {Status::HTTP_METHOD_NOT_ALLOWED, "text/plain", "Only GET and HEAD.\n"};
        }
        return row.answer(deps);
    }
    return {Status::HTTP_NOT_FOUND, "text/plain", "There is /healthz and /metrics.\n"};
}

class Handler final : public Poco::Net::HTTPRequestHandler {
 public:
    explicit Handler(const Deps& deps) : deps_(deps) {}
    void handleRequest(HTTPServerRequest& request, HTTPServerResponse& response) override {
        const Answer made = answer(request, deps_);
        response.setStatusAndReason(made.status);
        response.setContentType(made.type);
        response.set("Cache-Control", "no-store");
        response.set("X-Content-Type-Options", "nosniff");
        if (made.status == Status::HTTP_METHOD_NOT_ALLOWED) response.set("Allow", "GET, HEAD");
        // A body that came with the request is not read: the connection cannot be used again.
        if (request.getMethod() != "GET" && request.getMethod() != "HEAD") response.setKeepAlive(false);
        response.setContentLength64(static_cast<Poco::Int64>(made.body.size()));
        if (request.getMethod() == "HEAD") {
            response.send();
        } else {
            response.sendBuffer(made.body.data(), made.body.size());
        }
    }

 private:
    const Deps& deps_;
};

class Factory final : public Poco::Net::HTTPRequestHandlerFactory {
 public:
    explicit Factory(const Deps& deps) : deps_(deps) {}
    Poco::Net::HTTPRequestHandler* createRequestHandler(const HTTPServerRequest&) override {
        return new Handler(deps_);
    }

 private:
    const Deps& deps_;
};

class PocoService final : public HttpService {
 public:
    explicit PocoService(Deps deps)
        : deps_(std::move(deps)), threads_("http", 1, kThreadsMax, /*idleTime=*/30, /*stackSize=*/256 * 1024) {}
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
        params->setKeepAliveTimeout(Poco::Timespan(5, 0));
        params->setTimeout(Poco::Timespan(10, 0));
        servers_.push_back(std::make_unique<Poco::Net::HTTPServer>(new Factory(deps_), threads_, socket, params));
        servers_.back()->start();
    }

    std::vector<net::Endpoint> endpoints() const override { return endpoints_; }

    void stop() override {
        for (auto& server : servers_) server->stopAll(/*abortCurrent=*/true);
        servers_.clear();
        threads_.stopAll();
    }

 private:
    Deps deps_;
    Poco::ThreadPool threads_;
    std::vector<std::unique_ptr<Poco::Net::HTTPServer>> servers_;
    std::vector<net::Endpoint> endpoints_;
};

}  // namespace

Result<std::unique_ptr<HttpService>> HttpService::start(const std::vector<net::Endpoint>& endpoints, Metrics& metrics,
                                                        std::function<HealthReport()> health,
                                                        std::function<void()> before_metrics) {
    auto service = std::make_unique<PocoService>(Deps{&metrics, std::move(health), std::move(before_metrics)});
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
