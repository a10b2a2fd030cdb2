#include "relay/postmaster.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/build.h"
#include "protocols/mime/date.h"
#include "protocols/mime/facts.h"
#include "storage/settings.h"

namespace posthouse::relay {

namespace {

constexpr Milliseconds kMailLifetime{5 * 24 * 3'600'000LL};

}  // namespace

Result<Postmaster> find_postmaster(const storage::Snapshot& snapshot) {
    const storage::CatalogView& catalog = snapshot.catalog();
    Postmaster out;
    TRY(out.address, storage::setting_text(catalog, "alarm.address"));
    TRY(auto domains, catalog.hosted_domains());
    std::ranges::sort(domains, {}, [](const auto& one) { return storage::raw(one.id); });
    if (out.address.empty() && !domains.empty()) out.address = "postmaster@" + domains.front().name;
    if (out.address.empty()) return out;
    TRY(out.place, find_sender(storage::AddressView(snapshot), out.address));
    if (out.is_somebody()) return out;
    TRY(auto accounts, catalog.accounts());
    std::ranges::sort(accounts, {}, [](const auto& one) { return storage::raw(one.id); });
    if (!accounts.empty()) out.place.accounts.push_back(accounts.front().id);
    return out;
}

std::string postmaster_mail(const Core& core, const Postmaster& to, std::string_view subject, std::string_view text) {
    const auto field = [](std::string_view name, std::string_view value) {
        return mime::format_field(name, mime::HeaderValue::cleaned(value));
    };
    const Time now = core.now();
    std::string out =
        field("Return-Path", "<>") + field("From", fmt::format("Mail server <MAILER-DAEMON@{}>", core.deps.hostname)) +
        field("To", fmt::format("<{}>", to.address)) + field("Subject", subject) +
        field("Date", mime::format_rfc5322(now)) +
        field("Message-ID", mime::make_message_id(*core.deps.random, now, core.deps.hostname)) +
        field("Auto-Submitted", "auto-generated") + field("MIME-Version", "1.0") +
        field("Content-Type", "text/plain; charset=utf-8") + field("Content-Transfer-Encoding", "8bit") + "\r\n";
    return out.append(text);
}

storage::Delivery postmaster_delivery(const Postmaster& to, const storage::StagedBodyPtr& body, std::string_view mail,
                                      std::string detail, Time now) {
    storage::Delivery out;
    out.body = body;
    out.facts = mime::compute_facts(mail);
    out.received_detail = std::move(detail);
    out.first_attempt = now;
    out.quota = storage::QuotaRule::promised;
    for (const storage::AccountId account : to.place.accounts) {
        storage::LocalCopy copy;
        copy.account = account;
        copy.recipient = to.address;
        out.local.push_back(std::move(copy));
    }
    if (to.place.remote.empty()) return out;
    storage::NewQueueItem item;
    item.expires = now + kMailLifetime;
    item.eight_bit = true;
    item.smtputf8 = std::ranges::any_of(to.place.remote, [](const auto& one) { return ascii::has_8bit(one); });
    for (const std::string& address : to.place.remote) {
        storage::NewRecipient recipient;
        recipient.address = address;
        recipient.notify = static_cast<storage::NotifyBits>(storage::Notify::never);
        item.recipients.push_back(std::move(recipient));
    }
    out.outgoing = std::move(item);
    return out;
}

}  // namespace posthouse::relay
