// What is wrong on our side, and the button that says it is mended. The same as `posthouse incident`.
//
//   GET  /api/v1/incidents?all=1
//   GET  /api/v1/incidents/{id}
//   POST /api/v1/incidents/{id}/fixed        {}
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include "admin/http/json_body.h"
#include "admin/http/router.h"
#include "protocols/base/ascii.h"
#include "storage/incidents.h"

namespace posthouse::admin {
namespace {

using storage::Incident;
using storage::IncidentId;
using storage::IncidentView;
using storage::Snapshot;

constexpr std::size_t kListMax = 1000;

Poco::JSON::Object::Ptr object_of(const Incident& one, std::uint64_t held) {
    Poco::JSON::Object::Ptr out = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
    out->set("id", storage::raw(one.id));
    out->set("state", std::string(one.open ? "open" : "over"));
    out->set("kind", std::string(storage::to_string(one.key.kind)));
    out->set("what", utf8_of(storage::describe(one)));
    out->set("way", one.key.way);
    out->set("address", one.key.source);
    out->set("site", utf8_of(std::string(ascii::trim(one.key.site))));
    out->set("domain", utf8_of(one.key.domain));
    out->set("since", format_rfc3339(one.since));
    out->set("last", format_rfc3339(one.last));
    out->set("refusals", one.refusals);
    out->set("held", held);
    out->set("remote", utf8_of(one.remote));
    out->set("reply", utf8_of(one.reply));
    if (one.open) {
        out->set("do", utf8_of(storage::advice(one)));
    } else {
        out->set("until", format_rfc3339(one.cleared));
        out->set("because", utf8_of(one.cleared_why));
    }
    return out;
}

HttpAnswer list_incidents(Call& call) {
    bool all = false;
    for (const auto& [name, value] : call.query) {
        if (name != "all") return problem(400, "There is all.", name);
        all = value == "1" || value == "true";
    }
    const auto found = call.deps.store->read([&](const Snapshot& s) -> Result<Poco::JSON::Array> {
        const IncidentView view(s);
        TRY(const auto incidents, view.list(all, kListMax));
        Poco::JSON::Array out;
        for (const Incident& one : incidents) {
            TRY(const std::uint64_t held, view.held_count(one.id));
            out.add(object_of(one, held));
        }
        return out;
    });
    if (!found) return problem(found.error());
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("incidents", *found);
    return answer_of(object);
}

// The number in the path; nothing where it is none.
std::optional<IncidentId> id_of(const Call& call) {
    const auto number = ascii::parse_number(call.segments.front());
    constexpr std::uint64_t kMost = ~std::uint64_t{0} >> 1U;
    if (!number || *number == 0 || *number > kMost) return std::nullopt;
    return static_cast<IncidentId>(*number);
}

HttpAnswer show_incident(Call& call) {
    const auto id = id_of(call);
    if (!id) return problem(404, "There is no such incident.");
    const auto found = call.deps.store->read([&](const Snapshot& s) -> Result<Poco::JSON::Object::Ptr> {
        TRY(const Incident one, IncidentView(s).by_id(*id));
        TRY(const std::uint64_t held, IncidentView(s).held_count(*id));
        return object_of(one, held);
    });
    if (!found) return problem(found.error());
    return answer_of(**found);
}

HttpAnswer incident_fixed(Call& call) {
    const auto id = id_of(call);
    if (!id) return problem(404, "There is no such incident.");
    const auto done = call.deps.store->write_value(
        {}, [&](storage::Tx& tx) { return storage::IncidentTx(tx).mended(*id, "it was said to be mended (the API)"); });
    if (!done) return problem(done.error());
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("released", done->released);
    object.set("over", done->is_over);
    if (!done->is_over) object.set("why", utf8_of(done->why));
    return answer_of(object);
}

constexpr Endpoint kRows[] = {
    {"GET", "/api/v1/incidents", Access::server, list_incidents},
    {"GET", "/api/v1/incidents/{}", Access::server, show_incident},
    {"POST", "/api/v1/incidents/{}/fixed", Access::server, incident_fixed},
};

}  // namespace

std::span<const Endpoint> incident_endpoints() { return kRows; }

}  // namespace posthouse::admin
