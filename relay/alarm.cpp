// Mails of what has begun and ended: the telling part of relay/incidents.h.
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/log.h"
#include "protocols/mime/build.h"
#include "protocols/mime/date.h"
#include "protocols/mime/facts.h"
#include "relay/core.h"
#include "relay/incidents.h"
#include "relay/outcome.h"
#include "storage/await.h"
#include "storage/settings.h"

namespace posthouse::relay {

namespace {

using storage::Incident;

constexpr std::size_t kMailsAtOnce = 20;
constexpr Milliseconds kMailLifetime{5 * 24 * 3'600'000LL};

/// Where alarms go, and what is to be told.
struct Telling {
    std::vector<Incident> incidents;
    std::vector<std::uint64_t> held;
    std::string address;
    SenderPlace place;
};

Result<Telling> read_telling(const storage::Snapshot& snapshot) {
    const storage::IncidentView view(snapshot);
    Telling out;
    TRY(out.incidents, view.to_tell(kMailsAtOnce));
    if (out.incidents.empty()) return out;
    for (const Incident& one : out.incidents) {
        TRY(const std::uint64_t held, view.held_count(one.id));
        out.held.push_back(held);
    }
    const storage::CatalogView& catalog = snapshot.catalog();
    TRY(out.address, storage::setting_text(catalog, "alarm.address"));
    TRY(auto domains, catalog.domains());
    std::ranges::sort(domains, {}, [](const auto& one) { return storage::raw(one.id); });
    if (out.address.empty() && !domains.empty()) out.address = "postmaster@" + domains.front().name;
    if (out.address.empty()) return out;
    TRY(out.place, find_sender(catalog, out.address));
    if (!out.place.accounts.empty() || !out.place.remote.empty()) return out;
    // RFC 5321 4.5.1: postmaster always leads to somebody; where no alias says to whom, the oldest account it is.
    TRY(auto accounts, catalog.accounts());
    std::ranges::sort(accounts, {}, [](const auto& one) { return storage::raw(one.id); });
    if (!accounts.empty()) out.place.accounts.push_back(accounts.front().id);
    return out;
}

std::string subject_of(const Incident& one) {
    return one.open ? fmt::format("Incident {}: {}", storage::raw(one.id), storage::describe(one))
                    : fmt::format("Incident {} is over: {}", storage::raw(one.id), storage::describe(one));
}

std::string text_of(const Incident& one, std::uint64_t held, const std::string& hostname) {
    std::string out =
        fmt::format("{}.\r\n\r\nSince:    {}\r\n", storage::describe(one), mime::format_rfc5322(one.since));
    if (!one.open) {
        out += fmt::format("Until:    {}\r\nBecause:  {}\r\n", mime::format_rfc5322(one.cleared), one.cleared_why);
    }
    out += fmt::format("Refusals: {}\r\n", one.refusals);
    if (!one.remote.empty()) out += fmt::format("Said by:  {}\r\n", mime::HeaderValue::cleaned(one.remote).view());
    if (!one.reply.empty()) out += fmt::format("Answer:   {}\r\n", mime::HeaderValue::cleaned(one.reply).view());
    if (!storage::holds_mail(one.key.kind)) {
        out += one.open ? fmt::format("\r\nWhat to do: {}.\r\n", storage::advice(one))
                        : std::string("\r\nNothing needs to be done.\r\n");
    } else if (one.open) {
        out += fmt::format("Held:     {} recipients so far\r\n\r\nWhat to do: {}.\r\n", held, storage::advice(one));
        out +=
            "Nothing of it is lost: it goes out by itself as soon as a try gets through, or another way takes it.\r\n";
    } else {
        out += "\r\nWhat was held is on its way again. Nothing needs to be done.\r\n";
    }
    return out + fmt::format("\r\nThis was told by the mail server {}. posthouse incident show {} tells all of it.\r\n",
                             hostname, storage::raw(one.id));
}

std::string mail_of(const Incident& one, std::uint64_t held, const std::string& to, const Core& core) {
    const auto field = [](std::string_view name, std::string_view value) {
        return mime::format_field(name, mime::HeaderValue::cleaned(value));
    };
    const Time now = core.now();
    return field("Return-Path", "<>") +
           field("From", fmt::format("Mail server <MAILER-DAEMON@{}>", core.deps.hostname)) +
           field("To", fmt::format("<{}>", to)) + field("Subject", subject_of(one)) +
           field("Date", mime::format_rfc5322(now)) +
           field("Message-ID", mime::make_message_id(*core.deps.random, now, core.deps.hostname)) +
           field("Auto-Submitted", "auto-generated") + field("MIME-Version", "1.0") +
           field("Content-Type", "text/plain; charset=utf-8") + field("Content-Transfer-Encoding", "8bit") + "\r\n" +
           text_of(one, held, core.deps.hostname);
}

storage::Delivery delivery_of(const Telling& telling, const storage::StagedBodyPtr& body, std::string_view text,
                              const Incident& one, Time now) {
    storage::Delivery out;
    out.body = body;
    out.facts = mime::compute_facts(text);
    out.received_detail = fmt::format("about incident {}", storage::raw(one.id));
    out.first_attempt = now;
    out.quota = storage::QuotaRule::promised;  // an alarm is not kept from a full mailbox
    for (const storage::AccountId account : telling.place.accounts) {
        storage::LocalCopy copy;
        copy.account = account;
        copy.recipient = telling.address;
        out.local.push_back(std::move(copy));
    }
    if (telling.place.remote.empty()) return out;
    storage::NewQueueItem item;
    item.expires = now + kMailLifetime;
    item.eight_bit = true;
    for (const std::string& address : telling.place.remote) {
        storage::NewRecipient recipient;
        recipient.address = address;
        recipient.notify = static_cast<storage::NotifyBits>(storage::Notify::never);
        item.recipients.push_back(std::move(recipient));
    }
    out.outgoing = std::move(item);
    return out;
}

// The mail and the note that it was sent are one commit: told once, whatever happens.
net::Task<Result<>> tell_one(Core& core, Telling telling, std::size_t at) {
    const Incident one = telling.incidents[at];
    const std::string text = mail_of(one, telling.held[at], telling.address, core);
    storage::Store& store = *core.deps.store;
    std::vector<storage::StagedBodyPtr> bodies;
    std::optional<storage::Delivery> delivery;
    if (!telling.place.accounts.empty() || !telling.place.remote.empty()) {
        auto stage = [&store, text]() -> Result<storage::StagedBodyPtr> {
            const auto writer = store.stage();
            TRY_VOID(writer->append(text));
            return writer->finish();
        };
        CO_TRY(const storage::StagedBodyPtr body,
               co_await net::offload(*core.deps.pool, *core.deps.loop, std::move(stage)));
        bodies.push_back(body);
        delivery = delivery_of(telling, body, text, one, core.now());
    }
    auto write = [one, delivery = std::move(delivery)](storage::Tx& tx) -> Result<> {
        TRY_VOID(storage::IncidentTx(tx).set_told(one.id, one.open ? 1 : 2));
        if (delivery) TRY_VOID(tx.deliver(*delivery));
        return {};
    };
    co_return co_await storage::commit(store, *core.deps.loop, std::move(bodies), std::move(write));
}

}  // namespace

net::Task<void> tell_incidents(Core& core) {
    auto read = [](const storage::Snapshot& snapshot) { return read_telling(snapshot); };
    const auto telling = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
    if (!telling) co_return;  // said by the next look at the queue
    for (std::size_t i = 0; i < telling->incidents.size() && !core.stopping.is_set(); ++i) {
        Telling what = *telling;
        const auto told = co_await tell_one(core, std::move(what), i);
        if (!told) log::error("incident", "the mail about it waits: {}", told.error().context);
    }
}

}  // namespace posthouse::relay
