#include "server/delivery/late_mail.h"

#include <algorithm>

#include "protocols/base/log.h"
#include "storage/await.h"

namespace posthouse::server {

namespace wire = ::posthouse::smtp;

LateDesk::LateDesk(storage::Store& store, net::Loop& loop, net::ThreadPool& pool, Directory& directory,
                   const Clock& clock, Metrics& metrics)
    : store_(store),
      loop_(loop),
      pool_(pool),
      directory_(directory),
      clock_(clock),
      late_(metrics.counter("smtp_late_bounces_total", "Bounces that came with a token of ours")),
      forged_(metrics.counter("smtp_bad_tokens_total", "Bounce addresses refused: forged, too old, or unknown")) {}

Result<smtp::RecipientKind> LateDesk::look_up_bounce(const wire::Path& address) const {
    const auto stands_for = directory_.bounces()->resolve(address, clock_.now());
    if (!stands_for) {
        if (stands_for.error().code == Errc::refused) forged_.add();
        log::info("smtp", "a bounce address is refused: {}", stands_for.error().context);
        return Error(stands_for.error());
    }
    const Resolution found = directory_.picture()->resolve(*stands_for);
    const bool nobody = found.kind == Resolution::Kind::unknown || found.kind == Resolution::Kind::too_many;
    if (nobody) return Error(Errc::not_found, "whom the bounce address stands for is not here any more");
    return smtp::RecipientKind::bounce;
}

net::Task<Result<SentMail>> LateDesk::find_sent_mail(wire::Path address) {
    CO_TRY(const mailauth::ReturnToken token, directory_.bounces()->read_token(address, clock_.now()));
    auto look = [token](const storage::Snapshot& snapshot) { return find_sent(snapshot, token); };
    co_return co_await storage::read(store_, pool_, loop_, std::move(look));
}

net::Task<Result<smtp::RecipientKind>> LateDesk::look_up_token(wire::Path address) {
    const auto sent = co_await find_sent_mail(std::move(address));
    if (!sent) {
        if (sent.error().code == Errc::refused) forged_.add();
        log::info("smtp", "a bounce address is refused: {}", sent.error().context);
        co_return Error(sent.error());
    }
    const auto sender = wire::parse_mailbox(sent->sender);
    const auto kind = sender ? directory_.picture()->resolve(*sender).kind : Resolution::Kind::unknown;
    const bool nobody = kind == Resolution::Kind::unknown || kind == Resolution::Kind::too_many;
    if (nobody) co_return Error(Errc::not_found, "whom the bounce address stands for is not here any more");
    co_return smtp::RecipientKind::bounce;
}

net::Task<Result<LateMail>> LateDesk::find(const smtp::Envelope& envelope) {
    LateMail out;
    for (const smtp::Recipient& recipient : envelope.recipients) {
        if (recipient.kind != smtp::RecipientKind::bounce) continue;
        if (!directory_.bounces()->is_token(recipient.path, *directory_.picture())) continue;
        CO_TRY(SentMail sent, co_await find_sent_mail(recipient.path));
        sent.repeated = std::ranges::any_of(out.sent, [&](const auto& one) {
            return one.second.queue == sent.queue && one.second.recipients == sent.recipients;
        });
        out.sent.emplace(recipient.path.spec(), std::move(sent));
    }
    co_return out;
}

net::Task<void> LateDesk::read(storage::StagedBodyPtr body, LateMail& late) {
    auto parse = [body]() { return report::read_bounce(body->view()); };
    auto bounce = co_await net::offload(pool_, loop_, std::move(parse));
    if (bounce) late.bounce = *std::move(bounce);
    late_.add();
}

}  // namespace posthouse::server
