#include "admin/http/router.h"

#include <Poco/JSON/Object.h>
#include <Poco/Net/HTTPResponse.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <set>
#include <sstream>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/policy/page.h"

namespace posthouse::admin {
namespace {

constexpr std::string_view kRetrySeconds = "5";
constexpr std::string_view kChallenge = "Bearer realm=\"posthouse\"";

HttpAnswer answer_health(Call& call) {
    const HealthReport report = call.deps.health();
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("status", std::string(report.serving ? "ok" : "failing"));
    object.set("store", report.store);
    object.set("queue_waiting", report.waiting);
    object.set("uptime_s", report.uptime_s);
    object.set("version", std::string(POSTHOUSE_VERSION));
    std::ostringstream text;
    object.stringify(text);
    HttpAnswer out;
    out.status = report.serving ? 200 : 503;
    out.body = text.str() + "\n";
    return out;
}

HttpAnswer answer_metrics(Call& call) {
    call.deps.before_metrics();
    HttpAnswer out;
    out.type = "text/plain; version=0.0.4; charset=utf-8";
    out.body = call.deps.metrics->to_prometheus();
    return out;
}

constexpr Endpoint kOwn[] = {{"GET", "/healthz", Access::open, answer_health},
                             {"GET", "/metrics", Access::open, answer_metrics}};

std::vector<const Endpoint*> all_endpoints() {
    std::vector<const Endpoint*> out;
    for (const auto rows : {std::span<const Endpoint>(kOwn), deleted_endpoints(), incident_endpoints(),
                            incident_page_endpoints(),
                            message_endpoints(), report_endpoints(), webhook_endpoints(), policy_endpoints(),
                            send_endpoints(), suppression_endpoints(), unsubscribe_endpoints()}) {
        for (const Endpoint& row : rows) out.push_back(&row);
    }
    return out;
}

// The segments that stand for "{}", still encoded; nothing where the path is another one.
std::optional<std::vector<std::string_view>> match(std::string_view pattern, std::string_view path) {
    std::vector<std::string_view> out;
    for (;;) {
        const std::string_view wanted = pattern.substr(0, pattern.find('/'));
        const std::string_view segment = path.substr(0, path.find('/'));
        if (wanted == "{}" && !segment.empty()) {
            out.push_back(segment);
        } else if (wanted != segment) {
            return std::nullopt;
        }
        const bool ends = wanted.size() == pattern.size();
        if (ends != (segment.size() == path.size())) return std::nullopt;
        if (ends) return out;
        pattern.remove_prefix(wanted.size() + 1);
        path.remove_prefix(segment.size() + 1);
    }
}

bool answers(const Endpoint& row, std::string_view method) {
    return row.method == method || (row.method == "GET" && method == "HEAD");
}

// "a=b&c=d"; nothing where an escape is broken, a name comes twice, or it is no UTF-8.
std::optional<std::map<std::string, std::string>> parse_query(std::string_view text) {
    std::map<std::string, std::string> out;
    while (!text.empty()) {
        const std::string_view pair = text.substr(0, text.find('&'));
        text.remove_prefix(std::min(text.size(), pair.size() + 1));
        if (pair.empty()) continue;
        const std::size_t equals = pair.find('=');
        const auto name = percent_decode(pair.substr(0, equals), Plus::is_blank);
        const auto value = percent_decode(
            equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1), Plus::is_blank);
        // Texts end up in JSON, which is UTF-8.
        const bool is_text = name && value && ascii::is_valid_utf8(*name) && ascii::is_valid_utf8(*value);
        if (!is_text || !out.emplace(*name, *value).second) return std::nullopt;
    }
    return out;
}

// "Authorization: Bearer b64token" (RFC 6750 2.1); "" for another scheme. RFC 9110 11.1: its case does not matter.
std::string_view bearer_of(std::string_view authorization) {
    constexpr std::string_view kScheme = "bearer ";
    if (!ascii::starts_with_ci(authorization, kScheme)) return {};
    return ascii::trim(authorization.substr(kScheme.size()));
}

// Without its parameters.
bool is_type(std::string_view content_type, std::string_view wanted) {
    return ascii::equals_ci(ascii::trim(content_type.substr(0, content_type.find(';'))), wanted);
}

std::uint64_t body_octets_max(const HttpDeps& deps, Takes takes) {
    switch (takes) {
        case Takes::json:
        case Takes::form: break;
        case Takes::messages: return deps.message_octets_max / 3 * 4 + kRequestSlackOctets;  // RFC 4648 4
        case Takes::mail: return deps.message_octets_max;
    }
    return kBodyOctetsMax;
}

/// Counts a body while it is in memory.
class BodyShare {
 public:
    BodyShare(std::atomic<std::uint64_t>& total, std::uint64_t octets) : total_(total), octets_(octets) {
        is_room_ = total_.fetch_add(octets_) + octets_ <= kBodiesOctetsMax;
    }
    ~BodyShare() { total_ -= octets_; }
    BodyShare(const BodyShare&) = delete;
    BodyShare& operator=(const BodyShare&) = delete;
    bool is_room() const { return is_room_; }

 private:
    std::atomic<std::uint64_t>& total_;
    std::uint64_t octets_;
    bool is_room_ = false;
};

int status_of(Errc code) {
    switch (code) {
        case Errc::invalid: return 422;
        case Errc::not_found: return 404;
        case Errc::unauthenticated: return 401;
        case Errc::denied: return 403;
        case Errc::already_exists:
        case Errc::conflict:
        case Errc::over_quota: return 409;
        case Errc::too_large: return 413;
        case Errc::no_space: return 507;
        case Errc::corrupt:
        case Errc::unsupported:
        case Errc::internal: return 500;
        // The store is in doubt, or stopping: nothing was done that could not be done again.
        default: return 503;
    }
}

void log_answer(const Call& call, std::string_view path, const HttpAnswer& made) {
    const bool is_api = path.starts_with("/api/");
    path = policy::without_token(path);
    const auto line = [&] {
        return fmt::format("{} {} from {}{}: {}", call.request.method, path, call.request.client,
                           call.token ? " by " + call.token->name : std::string(), made.status);
    };
    // Supervisors and scrapers ask every few seconds.
    if (is_api && made.status != 429) {
        log::info("http", "{}", line());
    } else {
        log::debug("http", "{}", line());
    }
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text, Plus plus) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '+' && plus == Plus::is_blank) {
            out += ' ';
        } else if (text[at] != '%') {
            out += text[at];
        } else {
            if (text.size() - at < 3 || !ascii::is_hex(text[at + 1]) || !ascii::is_hex(text[at + 2]))
                return std::nullopt;
            out += static_cast<char>(ascii::hex_value(text[at + 1]) * 16 + ascii::hex_value(text[at + 2]));
            at += 2;
        }
    }
    return out;
}

HttpAnswer html_answer(int status, std::string html) {
    HttpAnswer out;
    out.status = status;
    out.type = "text/html; charset=utf-8";
    out.body = std::move(html);
    out.fields = {{"Content-Security-Policy", std::string(policy::kPagePolicy)}, {"Referrer-Policy", "no-referrer"}};
    return out;
}

HttpAnswer problem(int status, std::string_view detail, std::string_view field) {
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("type", std::string("about:blank"));
    const auto known = static_cast<Poco::Net::HTTPResponse::HTTPStatus>(status);
    object.set("title", Poco::Net::HTTPResponse::getReasonForStatus(known));
    object.set("status", status);
    object.set("detail", std::string(detail));
    if (!field.empty()) object.set("field", std::string(field));
    std::ostringstream text;
    object.stringify(text);
    HttpAnswer out;
    out.status = status;
    out.type = "application/problem+json";
    out.body = text.str() + "\n";
    if (status == 503) out.fields.emplace_back("Retry-After", kRetrySeconds);
    return out;
}

HttpAnswer problem(const Error& error, std::string_view field) {
    const int status = status_of(error.code);
    // What went wrong inside is for the operator's log.
    if (status == 500 || (status == 503 && error.code != Errc::cancelled)) {
        log::error("http", "{}", error.context);
        return problem(status, status == 500 ? "The server could not do this; its log says why."
                                             : "The store cannot do this now; try again.");
    }
    return problem(status, error.context, field);
}

// What a POST needs before its body is read.
std::optional<HttpAnswer> Router::take_body(Call& call, Takes takes) {
    // Nothing in it counts: nobody waits for it.
    if (takes == Takes::form) return std::nullopt;
    const HttpRequest& request = call.request;
    const std::string_view wanted = takes == Takes::mail ? "message/rfc822" : "application/json";
    if (!is_type(request.content_type, wanted)) {
        HttpAnswer out = problem(415, fmt::format("The body must be {}.", wanted), "Content-Type");
        out.fields.emplace_back("Accept", std::string(wanted));  // RFC 9110 15.5.16
        return out;
    }
    // One way to say where a body ends is enough for what a request may hold.
    if (request.chunked || !request.content_octets) {
        return problem(411, "The request must say its length.", "Content-Length");
    }
    const std::uint64_t octets_max = body_octets_max(deps_, takes);
    if (*request.content_octets > octets_max) {
        return problem(413, fmt::format("The body may be {} octets long.", octets_max), "Content-Length");
    }
    Result<std::string> body = request.read_body();
    if (!body && body.error().code == Errc::timeout) return problem(408, "The body did not come in time.");
    if (!body) return problem(400, "The body is shorter than Content-Length says.", "Content-Length");
    call.body = *std::move(body);
    return std::nullopt;
}

std::optional<HttpAnswer> Router::refuse_token(const HttpRequest& request) {
    if (const auto wait = failures_.note(request.client, deps_.clock->now())) {
        HttpAnswer out = problem(429, "Too many wrong tokens came from this address.");
        out.fields.emplace_back("Retry-After", fmt::format("{}", wait->count()));
        return out;
    }
    HttpAnswer out = problem(401, "This token opens nothing: it is wrong, has ended, or was revoked.");
    out.fields.emplace_back("WWW-Authenticate", fmt::format("{}, error=\"invalid_token\"", kChallenge));
    return out;
}

void Router::note_use(const storage::ApiToken& token) {
    const Time now = deps_.clock->now();
    // A store that is not well has better things to write.
    if (!storage::use_is_news(token, now) || deps_.store->health() != storage::Health::good) return;
    const auto noted =
        deps_.store->write({}, [&](storage::Tx& tx) { return storage::TokenTx(tx).note_use(token.id, now); });
    if (!noted) log::warn("http", "the use of token {} was not noted: {}", token.name, noted.error().context);
}

// RFC 6750 3 and 3.1: no token 401, a wrong one 401 invalid_token, one for another account 403 insufficient_scope.
std::optional<HttpAnswer> Router::admit(Call& call, Access access) {
    const std::string_view secret = bearer_of(call.request.authorization);
    if (secret.empty()) {
        HttpAnswer out = problem(401, "This needs a token: Authorization: Bearer TOKEN (posthouse token create).");
        out.fields.emplace_back("WWW-Authenticate", kChallenge);
        return out;
    }
    const Time now = deps_.clock->now();
    auto token =
        deps_.store->read([&](const storage::Snapshot& s) { return storage::TokenView(s).find_secret(secret, now); });
    if (!token) return problem(token.error());
    if (!*token) return refuse_token(call.request);
    call.token = *token;
    note_use(**token);
    if (access == Access::token) return std::nullopt;
    if (access == Access::server) {
        if (!call.token->account) return std::nullopt;
        HttpAnswer out = problem(403, "This token is for one account; this needs one for the whole server.");
        out.fields.emplace_back("WWW-Authenticate", fmt::format("{}, error=\"insufficient_scope\"", kChallenge));
        return out;
    }
    auto account = deps_.store->read(
        [&](const storage::Snapshot& s) { return s.catalog().account(ascii::to_lower(call.segments.front())); });
    const bool unknown = !account && account.error().code == Errc::not_found;
    if (!account && !unknown) return problem(account.error());
    if (call.token->account && (unknown || account->id != *call.token->account)) {
        HttpAnswer out = problem(403, "This token is for another account.");
        out.fields.emplace_back("WWW-Authenticate", fmt::format("{}, error=\"insufficient_scope\"", kChallenge));
        return out;
    }
    if (unknown) return problem(404, "There is no such account.");
    call.account = *std::move(account);
    return std::nullopt;
}

HttpAnswer Router::answer(Call& call, std::string_view path) {
    const HttpRequest& request = call.request;
    if (request.target.size() > kTargetOctetsMax) return problem(414, "The target is too long.");
    if (request.header_octets > kHeaderOctetsMax) return problem(431, "The header is too large.");
    const Endpoint* row = nullptr;
    std::set<std::string_view> allowed;
    for (const Endpoint* one : all_endpoints()) {
        const auto found = match(one->path, path);
        if (!found) continue;
        allowed.insert(one->method);
        if (one->method == "GET") allowed.insert("HEAD");
        if (!answers(*one, request.method)) continue;
        row = one;
        for (const std::string_view segment : *found) {
            const auto decoded = percent_decode(segment, Plus::is_plus);
            if (!decoded || !ascii::is_valid_utf8(*decoded)) {
                return problem(400, "The path has a broken escape, or is no UTF-8.");
            }
            call.segments.push_back(*decoded);
        }
    }
    if (allowed.empty()) return problem(404, "There is /healthz, /metrics and /api/v1.");
    if (row == nullptr) {
        HttpAnswer out = problem(405, fmt::format("Allowed are: {}.", fmt::join(allowed, ", ")));
        out.fields.emplace_back("Allow", fmt::format("{}", fmt::join(allowed, ", ")));
        return out;
    }
    if (row->access != Access::open) {
        if (auto refused = admit(call, row->access)) return *std::move(refused);
    }
    const std::size_t mark = request.target.find('?');
    auto query =
        parse_query(mark == std::string::npos ? std::string_view() : std::string_view(request.target).substr(mark + 1));
    if (!query) return problem(400, "The query has a broken escape, a name twice, or is no UTF-8.");
    call.query = *std::move(query);
    if (row->method != "POST") return row->answer(call);
    const std::uint64_t octets = request.content_octets.value_or(0);
    const bool is_small = octets <= kBodyOctetsMax || octets > body_octets_max(deps_, row->takes);
    const BodyShare share(bodies_octets_, is_small ? 0 : octets);
    if (!share.is_room()) return problem(503, "Other large requests are being worked on; try again.");
    if (auto refused = take_body(call, row->takes)) return *std::move(refused);
    return row->answer(call);
}

HttpAnswer Router::route(const HttpRequest& request) {
    Call call{request, deps_, stopping_, {}, {}, {}, std::nullopt, std::nullopt};
    const std::string_view path = std::string_view(request.target).substr(0, request.target.find('?'));
    HttpAnswer made;
    try {
        made = answer(call, path);
    } catch (const std::exception& e) {  // a bug or no memory: this request alone fails
        made = problem(Error(Errc::internal, fmt::format("this is a bug in Posthouse: {}", e.what())));
    }
    deps_.metrics
        ->counter("http_requests_total", "HTTP requests answered, by status", fmt::format("code=\"{}\"", made.status))
        .add();
    log_answer(call, path, made);
    return made;
}

}  // namespace posthouse::admin
