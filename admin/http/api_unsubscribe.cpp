// The page behind List-Unsubscribe (RFC 8058), for the reverse proxy that speaks HTTPS where this server does not.
//
//   GET  /unsubscribe/{token}    a page with a button
//   POST /unsubscribe/{token}    unsubscribes at once, whatever the body says
#include "admin/http/router.h"
#include "protocols/base/log.h"
#include "protocols/policy/one_click.h"
#include "storage/streams.h"

namespace posthouse::admin {
namespace {

using Found = std::optional<storage::Subscription>;

Result<Found> open_token(Call& call) {
    storage::Store& store = *call.deps.store;
    return store.read([&](const storage::Snapshot& snapshot) {
        return storage::StreamView(snapshot).open(call.segments.front(), store.sealing_key());
    });
}

HttpAnswer show_page(Call& call) {
    const auto found = open_token(call);
    if (!found) return problem(found.error());
    if (!*found) return html_answer(404, policy::unsubscribe_unknown_page());
    return html_answer(200, policy::unsubscribe_question_page((*found)->stream));
}

HttpAnswer unsubscribe(Call& call) {
    // Who comes with a forged token costs no write.
    const auto known = open_token(call);
    if (!known) return problem(known.error());
    if (!*known) return html_answer(404, policy::unsubscribe_unknown_page());
    storage::Store& store = *call.deps.store;
    const auto found = store.write_value({}, [&](storage::Tx& tx) {
        return storage::StreamTx(tx).unsubscribe(call.segments.front(), store.sealing_key(), "by POST");
    });
    if (!found) return problem(found.error());
    if (!*found) return html_answer(404, policy::unsubscribe_unknown_page());
    call.deps.metrics->counter("unsubscribed_total", "Recipients who unsubscribed", "by=\"post\"").add();
    log::info("http", "{} unsubscribed from {}", (*found)->address, (*found)->stream);
    return html_answer(200, policy::unsubscribe_done_page((*found)->stream));
}

constexpr Endpoint kRows[] = {
    {"GET", "/unsubscribe/{}", Access::open, show_page},
    {"POST", "/unsubscribe/{}", Access::open, unsubscribe, Takes::form},
};

}  // namespace

std::span<const Endpoint> unsubscribe_endpoints() { return kRows; }

}  // namespace posthouse::admin
