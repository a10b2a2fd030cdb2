#include "server/web/incident.h"

#include <fmt/format.h>

#include "protocols/base/log.h"
#include "protocols/policy/page.h"
#include "storage/await.h"
#include "storage/pages/incident.h"

namespace posthouse::server {

namespace {

using storage::Page;

net::Task<Result<Page>> show(const WebDeps& deps, std::string token) {
    auto look = [store = deps.store, token = std::move(token)](const storage::Snapshot& snapshot) {
        return storage::show_incident(snapshot, token, store->sealing_key(), system_clock().now());
    };
    co_return co_await storage::read(*deps.store, *deps.pool, *deps.loop, std::move(look));
}

net::Task<Result<Page>> press(const WebDeps& deps, std::string token, std::string how) {
    // Who comes with a forged token costs no write.
    auto shown = co_await show(deps, token);
    if (!shown || shown->status != 200) co_return shown;
    auto write = [store = deps.store, token = std::move(token), how = std::move(how)](storage::Tx& tx) {
        return storage::press_fixed(tx, token, store->sealing_key(), how);
    };
    std::vector<storage::StagedBodyPtr> no_bodies;
    co_return co_await storage::commit(*deps.store, *deps.loop, std::move(no_bodies), std::move(write));
}

}  // namespace

net::Task<PageAnswer> answer_incident(const WebDeps& deps, std::string method, std::string token, std::string peer) {
    std::optional<Result<Page>> page;
    if (method == "POST") {
        page = co_await press(deps, std::move(token), fmt::format("by the link in the mail about it, from {}", peer));
    } else {
        page = co_await show(deps, std::move(token));
    }
    if (!*page) {
        log::error("web", "an incident cannot be shown: {}", page->error().context);
        co_return PageAnswer(503, "Service Unavailable", policy::html_page("Later", "<p>Try again later.</p>"));
    }
    const bool is_known = (*page)->status == 200;
    co_return PageAnswer(is_known ? 200 : 404, is_known ? "OK" : "Not Found", std::move((*page)->html));
}

}  // namespace posthouse::server
