#include "server/delivery/unwilling.h"

#include "storage/await.h"

namespace posthouse::server {

net::Task<Result<Unwilling>> find_unwilling(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                            std::vector<std::string> scopes, std::vector<std::string> addresses,
                                            Time now) {
    auto look = [scopes = std::move(scopes), addresses = std::move(addresses),
                 now](const storage::Snapshot& snapshot) -> Result<Unwilling> {
        TRY(auto found, storage::SuppressionView(snapshot).find(scopes, addresses, now));
        Unwilling out;
        for (storage::Suppression& one : found) {
            std::string address = one.address;
            out.emplace(std::move(address), std::move(one));
        }
        return out;
    };
    co_return co_await storage::read(store, pool, loop, std::move(look));
}

}  // namespace posthouse::server
