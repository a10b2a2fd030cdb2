#include "server/web/web.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/base/log.h"
#include "protocols/net/buffered_stream.h"
#include "protocols/policy/incident_page.h"
#include "protocols/policy/mta_sts.h"
#include "protocols/policy/one_click.h"
#include "server/web/incident.h"
#include "server/web/unsubscribe.h"
#include "storage/await.h"
#include "storage/transport.h"

namespace posthouse::server {

namespace {

constexpr std::string_view kPolicyHost = "mta-sts.";

struct WebRequest {
    std::string method;
    std::string target;
    std::string host;  ///< lower case, without its port
    std::uint64_t body_octets = 0;
    WebRequest() = default;
};

struct WebAnswer {
    WebAnswer(int code, std::string_view text, std::string_view sentence)
        : status(code), reason(text), body(std::string(sentence) + "\r\n") {}
    int status;
    std::string reason;
    std::string body;
    std::string_view type = "text/plain";
    std::string_view field;  ///< more of them, each with its CRLF
};

WebAnswer bad_request() { return {400, "Bad Request", "This is no HTTP request."}; }

// request-line = method SP request-target SP HTTP-version                   RFC 9112 3
Result<WebRequest> parse_request_line(std::string_view line) {
    Cursor in(line);
    WebRequest out;
    out.method = in.take_until(' ');
    if (!in.take(' ')) return Error(Errc::invalid, "no target");
    out.target = in.take_until(' ');
    if (!in.take(' ') || !in.rest().starts_with("HTTP/1.")) return Error(Errc::invalid, "no version");
    if (out.method.empty() || !out.target.starts_with('/')) return Error(Errc::invalid, "no target");
    return out;
}

// field-line = field-name ":" OWS field-value OWS                           RFC 9112 5
Result<> take_field(WebRequest& request, std::string_view line) {
    const std::size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos || ascii::is_space(line[colon - 1])) {
        return Error(Errc::invalid, "no field");
    }
    const std::string_view value = ascii::trim(line.substr(colon + 1));
    if (ascii::equals_ci(line.substr(0, colon), "Content-Length")) {
        const auto octets = ascii::parse_number(value);
        if (!octets) return Error(Errc::invalid, "no length");
        request.body_octets = *octets;
    }
    if (!ascii::equals_ci(line.substr(0, colon), "Host")) return {};
    if (!request.host.empty() || value.empty()) return Error(Errc::invalid, "no host, or two");  // RFC 9112 3.2
    request.host = ascii::to_lower(value.substr(0, value.find(':')));
    if (request.host.ends_with('.')) request.host.pop_back();
    return {};
}

// Who sends a body waits for it to be taken before he reads.
net::Task<Result<>> skip_body(net::BufferedStream& stream, std::uint64_t octets, WebLimits limits) {
    if (octets > limits.body_octets_max) co_return Error(Errc::too_large, "a body that nobody wants");
    while (octets > 0) {
        const auto some = co_await stream.read_some(static_cast<std::size_t>(octets));
        if (!some) co_return Error(some.error());
        octets -= some->size();
    }
    co_return Result<>();
}

net::Task<Result<WebRequest>> read_request(net::BufferedStream& stream, WebLimits limits) {
    stream.raw().expires_in(limits.request_max);
    const auto first = co_await stream.read_line(limits.line_octets_max);
    if (!first) co_return Error(first.error());
    CO_TRY(WebRequest request, parse_request_line(*first));
    for (std::size_t i = 0; i <= limits.fields_max; ++i) {
        const auto line = co_await stream.read_line(limits.line_octets_max);
        if (!line) co_return Error(line.error());
        if (line->empty()) {
            CO_TRY_VOID(co_await skip_body(stream, request.body_octets, limits));
            co_return request;
        }
        CO_TRY_VOID(take_field(request, *line));
    }
    co_return Error(Errc::too_large, "too many fields");
}

net::Task<WebAnswer> answer(const WebDeps& deps, const WebRequest& request, std::string peer) {
    const auto token = policy::token_of_target(request.target);
    const auto incident = policy::token_behind(policy::kIncidentTarget, request.target);
    if ((token || incident) && (request.method == "GET" || request.method == "HEAD" || request.method == "POST")) {
        PageAnswer page;
        if (token) {
            page = co_await answer_unsubscribe(deps, request.method, *token, std::move(peer));
        } else {
            page = co_await answer_incident(deps, request.method, *incident, std::move(peer));
        }
        WebAnswer out(page.status, "", "");
        out.reason = page.reason;
        out.body = std::move(page.html);
        out.type = "text/html";
        out.field = policy::kPageFields;
        co_return out;
    }
    if (request.method != "GET" && request.method != "HEAD") {
        WebAnswer refused(405, "Method Not Allowed", "Only GET is answered here.");
        refused.field = "Allow: GET, HEAD\r\n";
        co_return refused;
    }
    const bool is_policy = request.target == policy::kStsTarget && request.host.starts_with(kPolicyHost);
    if (!is_policy) co_return WebAnswer(404, "Not Found", "Nothing is published here.");
    auto read = [domain = request.host.substr(kPolicyHost.size())](const storage::Snapshot& snapshot) {
        return storage::TransportView(snapshot).sts_served(domain);
    };
    const auto served = co_await storage::read(*deps.store, *deps.pool, *deps.loop, std::move(read));
    if (!served) {
        log::error("web", "the policy of {} cannot be read: {}", request.host, served.error().context);
        co_return WebAnswer(503, "Service Unavailable", "Try again later.");
    }
    if (!*served) co_return WebAnswer(404, "Not Found", "This domain publishes no MTA-STS policy.");
    WebAnswer out(200, "OK", "");
    const auto mode = static_cast<policy::StsMode>((*served)->mode);
    out.body = policy::format_sts_policy(policy::hosted_sts_policy(mode, (*served)->mx, deps.hostname));
    co_return out;
}

}  // namespace

net::ListenLimits web_listen_limits() {
    net::ListenLimits out;
    out.connections_max = 500;
    out.connections_per_network_max = 10;
    out.new_per_minute_max = 300;  // a provider hands over what its users press
    return out;
}

net::Task<void> serve_web(std::unique_ptr<net::Stream> stream, WebDeps deps) {
    net::BufferedStream io(std::move(stream));
    const auto request = co_await read_request(io, deps.limits);
    if (!request && request.error().code != Errc::invalid && request.error().code != Errc::too_large) {
        io.raw().close();
        co_return;
    }
    WebAnswer said = bad_request();
    if (request) said = co_await answer(deps, *request, io.raw().peer().address.to_string());
    deps.metrics
        ->counter("web_requests_total", "Requests to the https service", fmt::format("status=\"{}\"", said.status))
        .add();
    if (request) {
        const std::string_view target = policy::without_token(request->target);
        log::info("web", "{} {} of {}: {}", request->method, target, request->host, said.status);
    }
    std::string octets = fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: {}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n"
        "X-Content-Type-Options: nosniff\r\n{}\r\n",
        said.status, said.reason, said.type, said.body.size(), said.field);
    if (!request || request->method != "HEAD") octets += said.body;
    io.raw().expires_in(deps.limits.answer_max);
    static_cast<void>(co_await io.write(octets));
    io.raw().close();
}

}  // namespace posthouse::server
