#include "server/imap/service.h"

#include "protocols/base/log.h"
#include "server/imap/store_access.h"

namespace posthouse::server::imap {

std::shared_ptr<const SessionDeps> session_deps(const ImapDeps& deps) {
    const auto out = std::make_shared<SessionDeps>();
    out->loop = deps.loop;
    out->authenticator = deps.authenticator;
    out->hub = deps.hub;
    out->switches = deps.switches;
    out->fetched = deps.fetched;
    out->tls = deps.tls;
    out->hostname = deps.hostname;
    out->limits = deps.limits;
    out->clock = deps.clock;
    out->metrics = deps.metrics;
    out->clear_login = deps.clear_login;
    out->open_access = [deps](storage::AccountId account) {
        return make_store_access(*deps.store, deps.search, *deps.cache, *deps.loop, *deps.read_pool, account);
    };
    return out;
}

net::Task<void> serve_connection(std::unique_ptr<net::Stream> stream, std::shared_ptr<const SessionDeps> deps) {
    Session session(std::move(deps), std::move(stream));
    co_await session.run();
}

void drop_revoked(const ImapDeps& deps) {
    if (deps.switches != nullptr) deps.switches->refresh();
    auto sitters = deps.hub->seated();
    if (sitters.empty()) return;
    auto check = [&store = *deps.store, &loop = *deps.loop, state = deps.hub->state(), sitters = std::move(sitters)] {
        std::vector<Hub::Sitter> revoked;
        const auto read = store.read([&](const storage::Snapshot& snapshot) -> Result<> {
            for (const Hub::Sitter& sitter : sitters) {
                TRY(const bool good, is_good(snapshot, sitter.account, sitter.credential));
                if (!good) revoked.push_back(sitter);
            }
            return {};
        });
        if (!read) return log::error("imap", "sessions could not be checked: {}", read.error().context);
        loop.post([state, revoked] {
            for (const Hub::Sitter& sitter : revoked) Hub::revoke(state, sitter);
        });
    };
    if (!deps.read_pool->submit(std::move(check)))
        log::warn("imap", "sessions could not be checked: too much work waits");
}

std::unique_ptr<Hub> make_hub(storage::Store& store, net::Loop& loop) {
    auto hub = std::make_unique<Hub>(loop);
    // The store keeps its listeners for good; this one holds what stays safe when the hub is gone.
    store.subscribe([state = hub->state()](const storage::CommitNotice& notice) { Hub::publish_to(state, notice); });
    return hub;
}

}  // namespace posthouse::server::imap
