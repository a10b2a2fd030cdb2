#include "server/web/unsubscribe.h"

#include <fmt/format.h>

#include "protocols/base/log.h"
#include "protocols/policy/one_click.h"
#include "storage/await.h"
#include "storage/streams.h"

namespace posthouse::server {

namespace {

using Found = std::optional<storage::Subscription>;

net::Task<Result<Found>> open_token(const WebDeps& deps, std::string token) {
    auto look = [store = deps.store, token = std::move(token)](const storage::Snapshot& snapshot) {
        return storage::StreamView(snapshot).open(token, store->sealing_key());
    };
    co_return co_await storage::read(*deps.store, *deps.pool, *deps.loop, std::move(look));
}

net::Task<Result<Found>> unsubscribe(const WebDeps& deps, std::string token, std::string how) {
    // Who comes with a forged token costs no write.
    const auto known = co_await open_token(deps, token);
    if (!known || !*known) co_return known;
    auto write = [store = deps.store, token = std::move(token), how = std::move(how)](storage::Tx& tx) {
        return storage::StreamTx(tx).unsubscribe(token, store->sealing_key(), how);
    };
    std::vector<storage::StagedBodyPtr> no_bodies;
    co_return co_await storage::commit(*deps.store, *deps.loop, std::move(no_bodies), std::move(write));
}

}  // namespace

net::Task<PageAnswer> answer_unsubscribe(const WebDeps& deps, std::string method, std::string token, std::string peer) {
    const bool is_post = method == "POST";
    Result<Found> found = Found();
    if (is_post) {
        found = co_await unsubscribe(deps, std::move(token), fmt::format("by POST from {}", peer));
    } else {
        found = co_await open_token(deps, std::move(token));
    }
    if (!found) {
        log::error("web", "somebody cannot unsubscribe: {}", found.error().context);
        co_return PageAnswer(503, "Service Unavailable",
                             "<!DOCTYPE html><title>Later</title><p>Try again later.</p>\n");
    }
    if (!*found) co_return PageAnswer(404, "Not Found", policy::unsubscribe_unknown_page());
    const storage::Subscription& who = **found;
    if (!is_post) co_return PageAnswer(200, "OK", policy::unsubscribe_question_page(who.stream));
    deps.metrics->counter("unsubscribed_total", "Recipients who unsubscribed", "by=\"post\"").add();
    log::info("web", "{} unsubscribed from {}", who.address, who.stream);
    co_return PageAnswer(200, "OK", policy::unsubscribe_done_page(who.stream));
}

}  // namespace posthouse::server
