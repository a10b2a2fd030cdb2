// Who hears of an outcome, and in which octets: the reporting part of relay/outcome.h.
#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/mailauth/return_token.h"
#include "protocols/mailauth/srs.h"
#include "protocols/smtp/path.h"
#include "relay/outcome.h"

namespace posthouse::relay {

namespace {
constexpr std::size_t kRewritesMax = 8;  // of an address, by us, one around the other
constexpr std::uint64_t kFullReturnOctetsMax = 10 * 1024 * 1024;  // RET=FULL beyond this gives the header only
constexpr storage::NotifyBits kNever = static_cast<storage::NotifyBits>(storage::Notify::never);
}  // namespace

Result<SenderPlace> find_sender(const storage::AddressView& addresses, std::string_view sender) {
    SenderPlace out;
    const auto path = smtp::parse_mailbox(sender);
    storage::Resolution found;
    if (path) {
        TRY(found, addresses.resolve(*path));
    }
    if (!path || found.kind == storage::Resolution::Kind::not_ours) {
        out.remote.emplace_back(sender);
    } else {
        if (found.kind == storage::Resolution::Kind::too_many) {
            log::warn("relay", "{} is an alias that leads too far or to too many: nobody there is told", sender);
        }
        out.accounts = std::move(found.accounts);
        out.remote = std::move(found.remote);
    }
    return out;
}

namespace {

// Mail that left under an address that we made, and came back: whoever it stands for. Others stay as they are.
Result<std::string> stands_for(storage::Tx& tx, std::string address, const std::string& sealing_key) {
    for (std::size_t depth = 0; depth < kRewritesMax; ++depth) {
        const std::string local = address.substr(0, address.rfind('@'));
        if (mailauth::is_srs(local)) {
            const auto found = mailauth::srs_reverse(mailauth::srs_keys(sealing_key), local, tx.now());
            if (!found) return address;
            address = found->local + "@" + found->domain;
        } else if (mailauth::is_return_token(local)) {
            const auto token = mailauth::read_return_token(mailauth::return_keys(sealing_key), local, tx.now());
            if (!token) return address;
            TRY(const auto events, tx.events().by_queue(static_cast<storage::QueueId>(token->queue)));
            const auto sent = std::ranges::find_if(events, [](const auto& event) { return !event.sender.empty(); });
            if (sent == events.end()) return address;
            address = sent->sender;
        } else {
            return address;
        }
    }
    return address;
}

// The address may be gone by now: then whoever submitted the message is told, if he is still here.
Result<SenderPlace> find_told(storage::Tx& tx, const storage::QueueItem& item, const std::string& sealing_key) {
    TRY(const std::string sender, stands_for(tx, item.reverse_path, sealing_key));
    TRY(SenderPlace place, find_sender(storage::AddressView(tx), sender));
    if (!place.accounts.empty() || !place.remote.empty()) return place;
    if (item.account) {
        const auto account = tx.catalog().account(*item.account);
        if (!account && account.error().code != Errc::not_found) return Error(account.error());
        if (account) place.accounts.push_back(account->id);
    }
    if (place.accounts.empty()) {
        log::warn("relay", "nobody is left to be told about {}: {} is not here any more",
                  storage::format_queue_id(item.id), item.reverse_path);
    }
    return place;
}

}  // namespace

Result<> deliver_report(storage::Tx& tx, const StagedReport& staged, const RelayOptions& options,
                        const std::string& sealing_key) {
    const storage::QueueItem& item = staged.report.item;
    TRY(const SenderPlace place, find_told(tx, item, sealing_key));
    storage::Delivery delivery;
    delivery.body = staged.body;
    delivery.facts = staged.facts;
    delivery.received_detail = "delivery report about " + storage::format_queue_id(item.id);
    delivery.first_attempt = tx.now();
    for (const storage::AccountId account : place.accounts) {
        storage::LocalCopy copy;
        copy.account = account;
        copy.recipient = item.reverse_path;
        delivery.local.push_back(std::move(copy));
    }
    if (!place.remote.empty()) {
        storage::NewQueueItem outgoing;
        outgoing.expires = tx.now() + options.lifetime;
        outgoing.eight_bit = ascii::has_8bit(staged.body->view());
        outgoing.smtputf8 = std::ranges::any_of(place.remote, [](const auto& one) { return ascii::has_8bit(one); });
        if (item.tls == storage::TlsWish::require) outgoing.tls = item.tls;  // RFC 8689 5
        for (const std::string& address : place.remote) {
            storage::NewRecipient recipient;
            recipient.address = address;
            recipient.notify = kNever;
            outgoing.recipients.push_back(std::move(recipient));
        }
        delivery.outgoing = std::move(outgoing);
    }
    if (delivery.local.empty() && !delivery.outgoing) return {};
    TRY_VOID(tx.deliver(delivery));
    return {};
}

Result<std::vector<StagedReport>> stage_reports(storage::Store& store, std::vector<Report> reports,
                                                const OutgoingMessagePtr& message, Random& random) {
    std::vector<StagedReport> out;
    for (Report& report : reports) {
        if (message) report.original_header = message->header;
        // RFC 8689 5: of a message that asked for TLS all the way, a report never brings the text back.
        const bool full = report.kind == ReportKind::failed && report.item.ret == storage::Ret::full &&
                          report.item.tls != storage::TlsWish::require;
        if (full && message && !message->reader && message->size_octets() <= kFullReturnOctetsMax) {
            report.original = message->header + message->body;
        }
        const std::string text = format_report(report, random);
        StagedReport staged;
        staged.facts = mime::compute_facts(text);
        const auto writer = store.stage();
        TRY_VOID(writer->append(text));
        TRY(staged.body, writer->finish());
        staged.report = std::move(report);
        out.push_back(std::move(staged));
    }
    return out;
}

}  // namespace posthouse::relay
