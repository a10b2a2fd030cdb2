#include "server/delivery/suppressed.h"

#include <algorithm>
#include <iterator>
#include <utility>

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

struct SuppressionNotes::State {
    State(storage::Store& s, net::Loop& l) : store(s), loop(l) {}
    storage::Store& store;
    net::Loop& loop;
    std::vector<storage::Event> waiting;
    bool is_writing = false;
    std::size_t lost = 0;
};

SuppressionNotes::SuppressionNotes(storage::Store& store, net::Loop& loop)
    : state_(std::make_shared<State>(store, loop)) {}

void SuppressionNotes::add(std::string sender, std::string recipient, const storage::Suppression& suppression,
                           Time now) {
    if (state_->waiting.size() >= kNotesMax) {
        ++state_->lost;
        return;
    }
    storage::Event event;
    event.at = now;
    event.kind = storage::EventKind::suppressed;
    event.sender = std::move(sender);
    event.recipient = std::move(recipient);
    event.detail = storage::describe(suppression).why;
    state_->waiting.push_back(std::move(event));
    if (!state_->is_writing) write_some(state_);
}

void SuppressionNotes::write_some(const std::shared_ptr<State>& state) {
    if (state->waiting.empty()) return;
    if (const std::size_t lost = std::exchange(state->lost, 0); lost > 0) {
        log::warn("smtp", "too much is to be written: {} events of suppressed recipients are left out", lost);
    }
    const std::size_t count = std::min(state->waiting.size(), kNotesAWrite);
    const auto end = state->waiting.begin() + static_cast<std::ptrdiff_t>(count);
    std::vector<storage::Event> some(std::make_move_iterator(state->waiting.begin()), std::make_move_iterator(end));
    state->waiting.erase(state->waiting.begin(), end);
    state->is_writing = true;
    auto write = [some = std::move(some)](storage::Tx& tx) -> Result<> {
        for (const storage::Event& event : some) TRY_VOID(tx.events().append(event));
        return {};
    };
    state->store.submit_ordered(std::move(write), state->loop, [state](Result<> written) {
        state->is_writing = false;
        if (!written) log::error("smtp", "events of suppressed recipients are lost: {}", written.error().context);
        write_some(state);
    });
}

}  // namespace posthouse::server
