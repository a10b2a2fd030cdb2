#include "relay/lost_mail.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/mime/build.h"
#include "protocols/mime/date.h"
#include "relay/postmaster.h"
#include "storage/await.h"
#include "storage/lost_mail.h"
#include "storage/transport.h"

namespace posthouse::relay {

namespace {

constexpr std::string_view kNotice = "daily notice of mail that nobody would hear of";

// "rfc822;postmaster@home.example": mail to a role, as it was addressed here.
bool is_for_role(std::string_view address) {
    address.remove_prefix(std::min(address.find(';') + 1, address.size()));
    const std::string_view local = address.substr(0, address.rfind('@'));
    return ascii::equals_ci(local, "postmaster") || ascii::equals_ci(local, "abuse");
}

struct Lost {
    std::vector<storage::LostMail> shown;
    std::uint64_t count = 0;
    Postmaster to;
};

std::string text_of(const Lost& lost, const std::string& hostname) {
    std::string out = fmt::format(
        "{} mails could not be delivered, of which no sender hears: reports and alarms of this server, and mail to its "
        "roles.\r\n",
        lost.count);
    for (const storage::LostMail& one : lost.shown) {
        out +=
            fmt::format("\r\n{}\r\n  what:   {}\r\n  to:     {}\r\n  answer: {}\r\n", mime::format_rfc5322(one.at),
                        mime::HeaderValue::cleaned(one.what).view(), mime::HeaderValue::cleaned(one.recipient).view(),
                        mime::HeaderValue::cleaned(one.reply).view());
        if (storage::raw(one.queue) != 0) {
            out += fmt::format("  more:   posthouse trace {}\r\n", storage::format_queue_id(one.queue));
        }
    }
    if (lost.count > lost.shown.size()) out += fmt::format("\r\nAnd {} more.\r\n", lost.count - lost.shown.size());
    return out + fmt::format("\r\nThis was told by the mail server {}, once a day.\r\n", hostname);
}

}  // namespace

Result<> note_lost(storage::Tx& tx, const storage::QueueItem& item, std::string_view orcpt, std::string_view recipient,
                   std::string_view reply) {
    const bool is_ours = !item.account && !item.client_id && item.forwarded_by.empty();
    if (!item.reverse_path.empty() || (!is_ours && !is_for_role(orcpt))) return {};
    std::string what = is_ours ? "mail of this server" : "mail to a role of this server";
    TRY(const auto life, tx.events().by_message(item.message));
    const auto received = std::ranges::find(life, storage::EventKind::received, &storage::Event::kind);
    if (received != life.end() && !received->detail.empty()) what = received->detail;
    if (what == kNotice) return {};
    return storage::LostMailTx(tx).add(item.id, recipient, what, reply);
}

net::Task<void> tell_lost(Core& core) {
    const Time today = storage::start_of_day(storage::day_of(core.now()));
    auto read = [today](const storage::Snapshot& snapshot) -> Result<Lost> {
        const storage::LostMailView view(snapshot);
        Lost out;
        TRY(out.shown, view.before(today, kLostShown));
        if (out.shown.empty()) return out;
        TRY(out.count, view.count_before(today));
        TRY(out.to, find_postmaster(snapshot));
        return out;
    };
    storage::Store& store = *core.deps.store;
    const auto lost = co_await storage::read(store, *core.deps.pool, *core.deps.loop, std::move(read));
    if (!lost || lost->shown.empty()) co_return;
    const std::string mail =
        postmaster_mail(core, lost->to, fmt::format("{} mails that nobody would hear of", lost->count),
                        text_of(*lost, core.deps.hostname));
    std::vector<storage::StagedBodyPtr> bodies;
    std::optional<storage::Delivery> delivery;
    if (lost->to.is_somebody()) {
        auto stage = [&store, mail]() -> Result<storage::StagedBodyPtr> {
            const auto writer = store.stage();
            TRY_VOID(writer->append(mail));
            return writer->finish();
        };
        const auto body = co_await net::offload(*core.deps.pool, *core.deps.loop, std::move(stage));
        if (!body) co_return;  // there is no room: at the next look
        bodies.push_back(*body);
        delivery = postmaster_delivery(lost->to, *body, mail, std::string(kNotice), core.now());
    }
    log::warn("relay", "{} mails could not be delivered, of which no sender hears", lost->count);
    // Told and forgotten in one commit: once, whatever happens.
    auto write = [today, delivery = std::move(delivery)](storage::Tx& tx) -> Result<> {
        if (delivery) TRY_VOID(tx.deliver(*delivery));
        return storage::LostMailTx(tx).remove_before(today);
    };
    const auto told = co_await storage::commit(store, *core.deps.loop, std::move(bodies), std::move(write));
    if (!told) log::error("relay", "the daily notice to the postmaster waits: {}", told.error().context);
}

}  // namespace posthouse::relay
