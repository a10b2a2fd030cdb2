// The page behind the link in the mail about an incident, for the reverse proxy that speaks HTTPS where this server
// does not.
//
//   GET  /incident/{token}    what is held, and why; a button
//   POST /incident/{token}    says that it is mended, whatever the body says
#include "admin/http/router.h"
#include "protocols/base/log.h"
#include "storage/pages/incident.h"

namespace posthouse::admin {
namespace {

HttpAnswer show_page(Call& call) {
    storage::Store& store = *call.deps.store;
    auto page = store.read([&](const storage::Snapshot& snapshot) {
        return storage::show_incident(snapshot, call.segments.front(), store.sealing_key(), system_clock().now());
    });
    if (!page) return problem(page.error());
    return html_answer(page->status, std::move(page->html));
}

HttpAnswer press(Call& call) {
    // Who comes with a forged token costs no write.
    HttpAnswer shown = show_page(call);
    if (shown.status != 200) return shown;
    storage::Store& store = *call.deps.store;
    auto page = store.write_value({}, [&](storage::Tx& tx) {
        return storage::press_fixed(tx, call.segments.front(), store.sealing_key(), "by the link in the mail about it");
    });
    if (!page) return problem(page.error());
    return html_answer(page->status, std::move(page->html));
}

constexpr Endpoint kRows[] = {
    {"GET", "/incident/{}", Access::open, show_page},
    {"POST", "/incident/{}", Access::open, press, Takes::form},
};

}  // namespace

std::span<const Endpoint> incident_page_endpoints() { return kRows; }

}  // namespace posthouse::admin
