#include "server/delivery/spread.h"

#include <fmt/format.h>

#include <unordered_set>

#include "protocols/base/ascii.h"
#include "server/delivery/backend.h"

namespace posthouse::server {

namespace {

namespace wire = ::posthouse::smtp;

storage::TlsWish to_storage(smtp::TlsWish wish) {
    switch (wish) {
        case smtp::TlsWish::require: return storage::TlsWish::require;
        case smtp::TlsWish::best_effort: return storage::TlsWish::best_effort;
        case smtp::TlsWish::policy: break;
    }
    return storage::TlsWish::policy;
}

storage::Ret to_storage(smtp::Ret ret) {
    switch (ret) {
        case smtp::Ret::full: return storage::Ret::full;
        case smtp::Ret::headers: return storage::Ret::headers;
        case smtp::Ret::unspecified: break;
    }
    return storage::Ret::unspecified;
}

constexpr std::uint8_t bit(storage::Notify what) { return static_cast<std::uint8_t>(what); }

// RFC 3461 5.2.7.3 (c): what an alias with several targets passes on. Nothing left means that nothing is to be told.
std::uint8_t without_success(std::uint8_t notify) {
    if ((notify & bit(storage::Notify::success)) == 0) return notify;
    const auto rest = static_cast<std::uint8_t>(notify & ~bit(storage::Notify::success));
    return rest == 0 ? bit(storage::Notify::never) : rest;
}

bool may_tell(const smtp::Envelope& envelope) { return envelope.login || envelope.sender_proven; }

// Duplicates merged: an account gets one copy however many of its addresses were named.
class Targets {
 public:
    Targets(storage::Delivery& delivery, storage::NewQueueItem& item) : delivery_(delivery), item_(item) {}

    void add_local(storage::AccountId account, const std::string& recipient, bool junk) {
        if (!accounts_.insert(storage::raw(account)).second) return;
        storage::LocalCopy copy;
        copy.junk = junk;
        copy.account = account;
        copy.recipient = recipient;
        delivery_.local.push_back(std::move(copy));
    }
    void add_remote(const std::string& address, const smtp::Recipient& recipient, bool forwarded, std::uint8_t notify) {
        if (!remote_.insert(ascii::to_lower(address)).second) return;
        storage::NewRecipient row;
        row.address = address;
        row.notify = notify;
        row.orcpt = recipient.orcpt;
        // RFC 3461 5.2.1 (d): the address that the sender wrote stays known when an alias leads elsewhere.
        if (forwarded && row.orcpt.empty()) row.orcpt = "rfc822;" + recipient.path.spec();
        item_.recipients.push_back(std::move(row));
    }

 private:
    storage::Delivery& delivery_;
    storage::NewQueueItem& item_;
    std::unordered_set<std::int64_t> accounts_;
    std::unordered_set<std::string> remote_;
};

}  // namespace

const storage::RelayClient* Spreader::relay_client(const smtp::Envelope& envelope) const {
    if (!envelope.login || !envelope.login->is_relay_client()) return nullptr;
    return directory_.clients().by_name(envelope.login->address);
}

std::optional<storage::RelayClientId> Spreader::client_of(const smtp::Envelope& envelope) const {
    const storage::RelayClient* const client = relay_client(envelope);
    return client == nullptr ? std::nullopt : std::optional(client->id);
}

std::string Spreader::stream_of_client(const smtp::Envelope& envelope) const {
    const storage::RelayClient* const client = relay_client(envelope);
    return client == nullptr ? std::string() : client->stream;
}

wire::Path Spreader::at_home(wire::Path path, const DirectoryPicture& picture) const {
    if (path.domain.empty() && picture.is_ours(hostname_)) path.domain = hostname_;
    return path;
}

std::vector<storage::Receipt> Spreader::owed_receipts(const smtp::Envelope& envelope) const {
    std::vector<storage::Receipt> out;
    if (envelope.sender.is_null() || envelope.junk || !may_tell(envelope)) return out;
    for (const smtp::Recipient& recipient : envelope.recipients) {
        const bool wants = (recipient.notify & bit(storage::Notify::success)) != 0;
        if (!wants || recipient.kind == smtp::RecipientKind::bounce) continue;
        const auto picture = directory_.picture();
        const Resolution found = picture->resolve(at_home(recipient.path, *picture));
        const std::size_t targets = found.accounts.size() + found.remote.size();
        if (targets == 0 || (targets == 1 && found.accounts.empty())) continue;
        storage::Receipt receipt;
        receipt.sender = envelope.sender.spec();
        receipt.envid = envelope.envid;
        receipt.tls = to_storage(envelope.tls);
        receipt.recipient = recipient.path.spec();
        receipt.orcpt = recipient.orcpt;
        receipt.expanded = targets > 1;
        out.push_back(std::move(receipt));
    }
    return out;
}

Result<> Spreader::add(storage::Delivery& delivery, storage::NewQueueItem& item, const smtp::Envelope& envelope,
                       const LateMail& late) const {
    const auto picture = directory_.picture();
    Targets targets(delivery, item);
    for (const smtp::Recipient& recipient : envelope.recipients) {
        if (recipient.kind == smtp::RecipientKind::unsubscribe) continue;  // takes no copy
        wire::Path path = recipient.path;
        const bool bounce = recipient.kind == smtp::RecipientKind::bounce;
        if (const auto sent = late.sent.find(path.spec()); bounce && sent != late.sent.end()) {
            TRY(path, wire::parse_mailbox(sent->second.sender));
        } else if (bounce) {
            TRY(path, directory_.bounces()->resolve(path, clock_.now()));
        }
        const Resolution found = picture->resolve(at_home(path, *picture));
        const std::string address = path.spec();
        if (found.kind == Resolution::Kind::not_ours && (envelope.login || bounce)) {
            targets.add_remote(address, recipient, /*forwarded=*/false, recipient.notify);
            // A report of a stranger, which goes back to whom he wrote for: he may have written anything into it.
            if (!envelope.login) item.forwarded_by = directory_.bounces()->forwarding_domain(recipient.path.domain);
            continue;
        }
        if (found.kind != Resolution::Kind::deliver) {
            return Error(Errc::unavailable, address + " is no recipient any more");
        }
        for (const storage::AccountId account : found.accounts) targets.add_local(account, address, envelope.junk);
        const bool is_last = found.accounts.size() + found.remote.size() > 1 || !may_tell(envelope);
        const std::uint8_t notify = is_last ? without_success(recipient.notify) : recipient.notify;
        for (const std::string& target : found.remote) {
            targets.add_remote(target, recipient, /*forwarded=*/true, notify);
        }
        // Mail of our own people keeps their address: it is ours already.
        if (!envelope.login && !found.remote.empty() && item.forwarded_by.empty()) {
            item.forwarded_by = directory_.bounces()->forwarding_domain(path.domain);
        }
    }
    return {};
}

Result<> Spreader::spread(storage::Delivery& delivery, const smtp::Envelope& envelope, const LateMail& late) const {
    storage::NewQueueItem item;
    TRY_VOID(add(delivery, item, envelope, late));
    const Time now = clock_.now();
    const storage::RelayClient* const client = relay_client(envelope);
    const bool by_account = envelope.login && !envelope.login->is_relay_client();
    if (by_account) delivery.submitter = storage::AccountId{envelope.login->account};
    delivery.sender = envelope.sender.spec();
    delivery.received_detail = envelope.received_detail;
    if (client != nullptr) delivery.received_detail += fmt::format(", relay client {}", envelope.login->address);
    delivery.first_attempt = now;
    // Each recipient had room at RCPT. One that has none now refuses a message of its own at the end of DATA, but
    // never holds up what goes to others too: then it takes the message all the same.
    const bool alone = delivery.local.size() == 1 && item.recipients.empty();
    delivery.quota = alone ? storage::QuotaRule::keep : storage::QuotaRule::promised;
    if (item.recipients.empty()) return {};
    item.reverse_path = delivery.sender;
    item.envid = envelope.envid;
    item.ret = to_storage(envelope.ret);
    item.smtputf8 = envelope.smtputf8;
    item.eight_bit = envelope.eight_bit;
    item.account = delivery.submitter;
    if (client != nullptr) {
        item.client = client->id;
        item.mail_class = client->mail_class;
    }
    item.tls = to_storage(envelope.tls);
    item.expires = now + kQueueLifetime;
    delivery.outgoing = std::move(item);
    return {};
}

}  // namespace posthouse::server
