#pragma once
/// admin/http/router: from a request to its answer; no socket. An endpoint is one row: method, path, who may, handler.
///
/// The router alone judges lengths, paths, methods, tokens, accounts and content types, in this order: a handler holds
/// only its own rule. It alone turns an Error into a status (problem()).
///   RFC 9110 (HTTP), RFC 6750 (bearer tokens), RFC 9457 (application/problem+json), RFC 3986 (targets)
/// Invariants  1. Whoever has no right token learns nothing of what the store holds; a token of one account learns
///                nothing of another, not even that it exists.
///             2. A 2xx is given only when what it tells of is durable.
///             3. A secret is never logged.
/// Threads: route() is called on many.  Limits: below; the body is read only when all else is in order.
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admin/http/failures.h"
#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/base/result.h"
#include "storage/store.h"
#include "storage/submissions.h"
#include "storage/tokens.h"

namespace posthouse::admin {

inline constexpr std::size_t kTargetOctetsMax = 8UL * 1024;
inline constexpr std::size_t kHeaderOctetsMax = 32UL * 1024;
inline constexpr std::size_t kBodyOctetsMax = 64UL * 1024;
/// Of messages: beside what the message itself may have, this much for all else.
inline constexpr std::size_t kRequestSlackOctets = 1024UL * 1024;
/// Bodies over kBodyOctetsMax that are in memory at a time, all together.
inline constexpr std::uint64_t kBodiesOctetsMax = 192UL * 1024 * 1024;

/// What /healthz says; asked on a Poco thread.
struct HealthReport {
    bool serving = false;       ///< false: 503
    std::string store;          ///< storage::to_string(Health)
    std::uint64_t waiting = 0;  ///< recipients in the queue
    std::int64_t uptime_s = 0;
};

/// What the endpoints work on. Both functions must be callable from any thread.
struct HttpDeps {
    Metrics* metrics = nullptr;
    std::function<HealthReport()> health;
    std::function<void()> before_metrics;  ///< refreshes gauges
    storage::Store* store = nullptr;
    const Clock* clock = nullptr;
    std::string hostname;                                    ///< of this server
    storage::Submit submit;                                  ///< takes a message; null: there is no such door
    std::uint64_t message_octets_max = 50ULL * 1024 * 1024;  ///< that submit takes
};

struct HttpRequest {
    std::string method;
    std::string target;  ///< path and query as they came
    std::string client;  ///< its address
    std::string host;    ///< the Host field
    std::size_t header_octets = 0;
    std::string authorization;
    std::string content_type;
    std::optional<std::string> idempotency_key;   ///< the Idempotency-Key field as it came; "" where it came twice
    std::optional<std::uint64_t> content_octets;  ///< Content-Length
    bool chunked = false;                         ///< any Transfer-Encoding
    /// Reads the body, content_octets long. Errc::timeout, closed.
    std::function<Result<std::string>()> read_body;
};

struct HttpAnswer {
    int status = 200;
    std::string type = "application/json";
    std::string body;
    std::vector<std::pair<std::string, std::string>> fields;  ///< of the header, besides the usual ones
};

/// One request on its way through its row.
struct Call {
    const HttpRequest& request;
    const HttpDeps& deps;
    const std::atomic<bool>& stopping;
    std::vector<std::string> segments;         ///< of the path, those that stand for "{}"
    std::map<std::string, std::string> query;  ///< decoded; no name twice
    std::string body;
    std::optional<storage::ApiToken> token;
    std::optional<storage::Account> account;  ///< where the row names one
};

enum class Access { open, account, server, token };

/// What a POST takes.
enum class Takes {
    json,      ///< up to kBodyOctetsMax
    messages,  ///< JSON with messages in it: as long as one message may be, in base64
    mail,      ///< message/rfc822
    form,      ///< nothing: whatever comes is not waited for
};

/// A row. `account`: the first "{}" of the path is an address, and the token must be good for it; `server`: the token
/// is good for every account; `token`: any token, and the handler looks at whose it is.
struct Endpoint {
    std::string_view method;  ///< "GET" answers HEAD as well
    std::string_view path;    ///< "{}" stands for one segment
    Access access;
    HttpAnswer (*answer)(Call& call);
    Takes takes = Takes::json;
};
std::span<const Endpoint> deleted_endpoints();
std::span<const Endpoint> incident_endpoints();
std::span<const Endpoint> incident_page_endpoints();
std::span<const Endpoint> message_endpoints();
std::span<const Endpoint> report_endpoints();
std::span<const Endpoint> webhook_endpoints();
std::span<const Endpoint> policy_endpoints();
std::span<const Endpoint> send_endpoints();
std::span<const Endpoint> unsubscribe_endpoints();
std::span<const Endpoint> suppression_endpoints();

class Router {
 public:
    explicit Router(HttpDeps deps) : deps_(std::move(deps)) {}
    /// Answers, counts and logs.
    HttpAnswer route(const HttpRequest& request);
    /// Long work ends at its next step.
    void stop() { stopping_ = true; }

 private:
    HttpAnswer answer(Call& call, std::string_view path);
    std::optional<HttpAnswer> admit(Call& call, Access access);
    std::optional<HttpAnswer> refuse_token(const HttpRequest& request);
    std::optional<HttpAnswer> take_body(Call& call, Takes takes);
    void note_use(const storage::ApiToken& token);

    HttpDeps deps_;
    Failures failures_;
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> bodies_octets_{0};
};

/// A page of protocols/policy/page with its security fields.
HttpAnswer html_answer(int status, std::string html);
/// application/problem+json. `field` names what in the request is wrong, where one thing is.
HttpAnswer problem(int status, std::string_view detail, std::string_view field = {});
/// The one place that knows which status an error of ours is.
HttpAnswer problem(const Error& error, std::string_view field = {});
/// RFC 3986 2.1; nothing where an escape is broken. `plus_is_blank`: as forms write a query.
enum class Plus { is_plus, is_blank };
std::optional<std::string> percent_decode(std::string_view text, Plus plus);

}  // namespace posthouse::admin
