// Addresses that get no mail for a while. The same as `posthouse suppression`.
//
//   GET  /api/v1/suppressions?scope=example.org&domain=b.example&all=1
//   GET  /api/v1/suppressions/{address}
//   POST /api/v1/suppressions                    {"address": "...", "scope": "", "days": 30, "why": "..."}
//   POST /api/v1/suppressions/{address}/remove   {"scope": "..."}; without scope all of them
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include "admin/http/json_body.h"
#include "admin/http/router.h"
#include "protocols/base/ascii.h"
#include "storage/suppression.h"

namespace posthouse::admin {
namespace {

using storage::Snapshot;
using storage::Suppression;
using storage::SuppressionTx;
using storage::SuppressionView;

constexpr std::size_t kListMax = 1000;
constexpr std::int64_t kDaysMax = 36'500;

Poco::JSON::Object::Ptr object_of(const Suppression& one, Time now) {
    const auto time_or_null = [](Time at) {
        return at == Time{} ? Poco::Dynamic::Var() : Poco::Dynamic::Var(format_rfc3339(at));
    };
    Poco::JSON::Object::Ptr out = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
    out->set("address", utf8_of(one.address));
    out->set("scope", utf8_of(one.scope));
    out->set("reason", std::string(storage::to_string(one.reason)));
    out->set("in_force", one.in_force(now));
    out->set("since", format_rfc3339(one.since));
    out->set("last", format_rfc3339(one.last));
    out->set("until", time_or_null(one.until));
    out->set("undone", time_or_null(one.undone));
    out->set("times", one.times);
    out->set("remote", utf8_of(one.remote));
    out->set("reply", utf8_of(one.reply));
    return out;
}

HttpAnswer list_of(const std::vector<Suppression>& rows, Time now) {
    Poco::JSON::Array list;
    for (const Suppression& one : rows) list.add(object_of(one, now));
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("suppressions", list);
    return answer_of(object);
}

HttpAnswer list_suppressions(Call& call) {
    SuppressionView::Wanted wanted;
    wanted.now = call.deps.clock->now();
    wanted.count_max = kListMax;
    for (const auto& [name, value] : call.query) {
        if (name == "scope") {
            wanted.scope = ascii::to_lower(value);
        } else if (name == "domain") {
            wanted.domain = value;
        } else if (name == "all") {
            wanted.with_past = value == "1" || value == "true";
        } else {
            return problem(400, "There are scope, domain and all.", name);
        }
    }
    const auto found = call.deps.store->read([&](const Snapshot& s) { return SuppressionView(s).list(wanted); });
    if (!found) return problem(found.error());
    return list_of(*found, wanted.now);
}

HttpAnswer show_suppression(Call& call) {
    const std::string& address = call.segments.front();
    const auto found = call.deps.store->read([&](const Snapshot& s) { return SuppressionView(s).of_address(address); });
    if (!found) return problem(found.error());
    if (found->empty()) return problem(404, "The address is not suppressed and never was.");
    return list_of(*found, call.deps.clock->now());
}

struct Wish {
    std::string address;
    std::optional<std::string> scope;
    std::string why;
    std::optional<std::int64_t> days;
};

// Null where the body is no such object; `fault` is the answer then.
std::optional<Wish> read_wish(const std::string& body, HttpAnswer& fault) {
    Wish out;
    const Poco::JSON::Object::Ptr object = parse_json_object(body);
    fault = problem(400, "The body is no JSON object.");
    if (!object) return std::nullopt;
    for (const auto& [name, value] : *object) {
        const bool is_text = name == "address" || name == "scope" || name == "why";
        fault = problem(422, name + (is_text ? " is a text." : " is a number of days, 1 to 36500."), name);
        if (is_text && !value.isString()) return std::nullopt;
        if (name == "address") {
            out.address = value.extract<std::string>();
        } else if (name == "scope") {
            out.scope = value.extract<std::string>();
        } else if (name == "why") {
            out.why = value.extract<std::string>();
        } else if (name == "days") {
            if (!value.isInteger() || value.isBoolean()) return std::nullopt;
            const auto days = value.convert<std::int64_t>();
            if (days < 1 || days > kDaysMax) return std::nullopt;
            out.days = days;
        } else {
            fault = problem(422, "There are address, scope, days and why.", utf8_of(name));
            return std::nullopt;
        }
    }
    return out;
}

HttpAnswer add_suppression(Call& call) {
    HttpAnswer fault;
    const auto wish = read_wish(call.body, fault);
    if (!wish) return fault;
    storage::SuppressionProof proof(storage::SuppressionReason::by_hand, wish->why, "");
    const Time now = call.deps.clock->now();
    if (wish->days) proof.until = now + std::chrono::hours(24) * *wish->days;
    const auto added = call.deps.store->write_value(
        {}, [&](storage::Tx& tx) { return SuppressionTx(tx).add(wish->scope.value_or(""), wish->address, proof); });
    if (!added) return problem(added.error(), "address");
    HttpAnswer out = answer_of(*object_of(*added, now));
    out.status = 201;
    return out;
}

HttpAnswer remove_suppression(Call& call) {
    HttpAnswer fault;
    const auto wish = read_wish(call.body, fault);
    if (!wish) return fault;
    if (!wish->address.empty() || wish->days || !wish->why.empty()) return problem(422, "There is scope.", "scope");
    const std::string& address = call.segments.front();
    const auto undone = call.deps.store->write_value(
        {}, [&](storage::Tx& tx) { return SuppressionTx(tx).remove(wish->scope, address); });
    if (!undone) return problem(undone.error());
    return list_of(*undone, call.deps.clock->now());
}

constexpr Endpoint kRows[] = {
    {"GET", "/api/v1/suppressions", Access::server, list_suppressions},
    {"GET", "/api/v1/suppressions/{}", Access::server, show_suppression},
    {"POST", "/api/v1/suppressions", Access::server, add_suppression},
    {"POST", "/api/v1/suppressions/{}/remove", Access::server, remove_suppression},
};

}  // namespace

std::span<const Endpoint> suppression_endpoints() { return kRows; }

}  // namespace posthouse::admin
