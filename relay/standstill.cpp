#include "relay/standstill.h"

#include "protocols/base/log.h"
#include "storage/await.h"
#include "storage/destinations.h"

namespace posthouse::relay {

net::Task<bool> watch_standstill(Core& core) {
    storage::Store& store = *core.deps.store;
    auto look = [&store, now = core.now()] { return storage::destinations_due(store, now); };
    const auto due = co_await net::offload(*core.deps.pool, *core.deps.loop, std::move(look));
    if (!due) co_return false;
    core.report_rows.set(due->rows);
    if (!due->any()) co_return false;
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [due = *due](storage::Tx& tx) { return storage::watch_destinations(tx, due); };
    const auto seen = co_await storage::commit(store, *core.deps.loop, std::move(no_bodies), std::move(write));
    if (!seen) {
        log::error("relay", "whether mail has stopped somewhere cannot be written down: {}", seen.error().context);
        co_return false;
    }
    co_return seen->stopped + seen->resumed > 0;
}

}  // namespace posthouse::relay
