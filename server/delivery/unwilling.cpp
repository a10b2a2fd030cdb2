#include "server/delivery/unwilling.h"

#include "storage/await.h"
#include "storage/settings.h"

namespace posthouse::server {

net::Task<Result<Unwilling>> find_unwilling(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                            UnwillingQuestion question) {
    auto look = [q = std::move(question)](const storage::Snapshot& snapshot) -> Result<Unwilling> {
        std::vector<std::string> scopes;
        if (!q.sender.empty()) scopes = storage::suppression_scopes(q.sender);
        if (!q.stream.empty()) scopes.push_back(q.stream);
        Unwilling out;
        if (scopes.empty() || q.addresses.empty()) return out;
        TRY(const std::string word, storage::setting_text(snapshot.catalog(), "suppression.apply"));
        const storage::SuppressionRule rule = storage::parse_suppression_rule(word);
        TRY(auto found, storage::SuppressionView(snapshot).find(scopes, q.addresses, q.now));
        for (storage::Suppression& one : found) {
            if (!storage::stops(one, rule, q.mail_class)) continue;
            std::string address = one.address;
            out.emplace(std::move(address), std::move(one));
        }
        return out;
    };
    co_return co_await storage::read(store, pool, loop, std::move(look));
}

}  // namespace posthouse::server
