#include "server/delivery/suppressed.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "storage/await.h"
#include "storage/settings.h"

namespace posthouse::server {

net::Task<Result<std::optional<storage::Suppression>>> find_suppressed(storage::Store& store, net::ThreadPool& pool,
                                                                       net::Loop& loop, std::string sender,
                                                                       std::vector<std::string> recipients,
                                                                       std::uint8_t mail_class, Time now) {
    using Found = std::optional<storage::Suppression>;
    if (sender.empty() || recipients.empty()) co_return Found();
    auto look = [sender = std::move(sender), recipients = std::move(recipients), mail_class,
                 now](const storage::Snapshot& snapshot) -> Result<Found> {
        TRY(const std::string word, storage::setting_text(snapshot.catalog(), "suppression.apply"));
        const storage::SuppressionRule rule = storage::parse_suppression_rule(word);
        if (!storage::may_stop(rule, mail_class)) return Found();
        TRY(auto rows, storage::SuppressionView(snapshot).find(storage::suppression_scopes(sender), recipients, now));
        std::erase_if(rows, [&](const auto& one) { return !storage::stops(one, rule, mail_class); });
        const bool all = std::ranges::all_of(recipients, [&](const std::string& address) {
            return std::ranges::any_of(rows, [&](const auto& one) { return ascii::equals_ci(one.address, address); });
        });
        return all ? Found(rows.front()) : Found();
    };
    co_return co_await storage::read(store, pool, loop, std::move(look));
}

void note_suppressed(storage::Store& store, net::ThreadPool& pool, std::string sender, std::string recipient,
                     const storage::Suppression& suppression) {
    storage::Event event;
    event.kind = storage::EventKind::suppressed;
    event.sender = std::move(sender);
    event.recipient = std::move(recipient);
    event.detail = storage::describe(suppression).why;
    const bool taken = pool.submit([&store, event = std::move(event)]() mutable {
        const auto written = store.write({}, [&](storage::Tx& tx) -> Result<> {
            event.at = tx.now();
            return tx.events().append(event);
        });
        if (!written) log::error("smtp", "the event of a suppressed recipient is lost: {}", written.error().context);
    });
    if (!taken) log::warn("smtp", "too much work is queued: an event of a suppressed recipient is not written down");
}

}  // namespace posthouse::server
