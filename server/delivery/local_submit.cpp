#include "server/delivery/local_submit.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "protocols/base/ascii.h"
#include "protocols/mime/build.h"
#include "protocols/mime/date.h"
#include "protocols/mime/facts.h"
#include "protocols/mime/header.h"
#include "protocols/smtp/path.h"
#include "server/delivery/backend.h"
#include "server/delivery/directory.h"
#include "server/submission/rules.h"

namespace posthouse::server {
namespace {

constexpr std::string_view kDropped[] = {"Bcc", "Resent-Bcc", "Return-Path", submission::kKeyField,
                                          submission::kStreamField};

// Return-Path and Received on top (RFC 5321 4.4), then what a program may leave out (RFC 6409 8.2, 8.3).
Result<std::string> complete(const LocalMessage& in, const std::string& hostname, Time now, Random& random) {
    const std::string kept = mime::remove_fields(in.message, kDropped);
    const auto verdict = submission::check_header(mime::parse_fields(kept), hostname, now, random);
    if (verdict.refusal) {
        return Error(
            Errc::invalid,
            "the header must have exactly one From field with one mailbox, and at most one Date and Message-ID");
    }
    std::string out =
        fmt::format("Return-Path: <{}>\r\nReceived: from localhost ({})\r\n\tby {} with local id {};\r\n\t{}\r\n",
                    in.sender, in.submitter, hostname, random.token(12), mime::format_rfc5322(now));
    out += verdict.added;
    out += kept;
    return out;
}

struct Targets {
    std::vector<storage::LocalCopy> local;
    std::vector<storage::NewRecipient> remote;
    std::optional<storage::AccountId> owner;  // of the sender's address
};

Result<Targets> resolve_all(const DirectoryPicture& picture, const LocalMessage& in) {
    Targets out;
    std::set<std::int64_t> accounts;
    std::set<std::string> remote;
    const auto add_remote = [&](const std::string& address) {
        if (!remote.insert(ascii::to_lower(address)).second) return;
        storage::NewRecipient row;
        row.address = address;
        out.remote.push_back(std::move(row));
    };
    for (const std::string& text : in.recipients) {
        const auto path = ::posthouse::smtp::parse_mailbox(text);
        if (!path) return Error(Errc::invalid, fmt::format("\"{}\" is no address", text));
        const Resolution found = picture.resolve(*path);
        switch (found.kind) {
            case Resolution::Kind::unknown: return Error(Errc::not_found, fmt::format("there is nobody at {}", text));
            case Resolution::Kind::too_many:
                return Error(Errc::limit, fmt::format("the alias {} leads to too many", text));
            case Resolution::Kind::not_ours:
                if (path->is_literal())
                    return Error(Errc::invalid, fmt::format("mail to {} is not sent; name a domain", text));
                add_remote(path->spec());
                continue;
            case Resolution::Kind::deliver: break;
        }
        for (const storage::AccountId account : found.accounts) {
            if (!accounts.insert(storage::raw(account)).second) continue;
            storage::LocalCopy copy;
            copy.account = account;
            copy.recipient = path->spec();
            out.local.push_back(std::move(copy));
        }
        for (const std::string& target : found.remote) add_remote(target);
    }
    if (const auto sender = ::posthouse::smtp::parse_mailbox(in.sender)) {
        const Resolution found = picture.resolve(*sender);
        if (found.accounts.size() == 1) out.owner = found.accounts.front();
    }
    return out;
}

}  // namespace

Result<std::string> submit_locally(storage::Store& store, const std::string& hostname, LocalMessage message,
                                   const Clock& clock, Random& random) {
    if (!message.sender.empty() && !::posthouse::smtp::parse_mailbox(message.sender)) {
        return Error(Errc::invalid, fmt::format("the sender \"{}\" is no address; name one with -f", message.sender));
    }
    TRY(const auto picture,
        store.read([](const storage::Snapshot& snapshot) { return DirectoryPicture::load(snapshot.catalog()); }));
    TRY(Targets targets, resolve_all(*picture, message));
    const Time now = clock.now();
    TRY(const std::string octets, complete(message, hostname, now, random));
    TRY_VOID(store.check_room(octets.size()));
    const auto writer = store.stage();
    TRY_VOID(writer->append(octets));
    TRY(storage::StagedBodyPtr body, writer->finish());

    storage::Delivery delivery;
    delivery.body = body;
    delivery.facts = mime::compute_facts(octets);
    delivery.sender = message.sender;
    delivery.received_detail = fmt::format("handed in on this machine ({})", message.submitter);
    delivery.local = std::move(targets.local);
    delivery.first_attempt = now;
    const std::size_t queued = targets.remote.size();
    if (queued != 0) {
        storage::NewQueueItem item;
        item.reverse_path = message.sender;
        item.eight_bit = ascii::has_8bit(octets);
        item.mail_class =
            static_cast<std::uint8_t>(storage::QueueClass::transactional);  // programs of this machine, not people
        if (submission::is_for_many(mime::parse_fields(octets))) {
            item.mail_class = static_cast<std::uint8_t>(storage::QueueClass::bulk);
        }
        item.account = targets.owner;
        // RFC 8689 4.3: one field, with "No"; a program has no other way to say it.
        const auto wished = mime::find_all(mime::parse_fields(octets), "TLS-Required");
        const bool no_need = wished.size() == 1 && ascii::equals_ci(ascii::trim(wished.front()), "No");
        if (no_need) item.tls = storage::TlsWish::best_effort;
        item.expires = now + kQueueLifetime;
        item.recipients = std::move(targets.remote);
        // RFC 6531 3.4: an address that is not ASCII can only be sent where the other side knows how.
        item.smtputf8 = ascii::has_8bit(message.sender) || std::ranges::any_of(item.recipients, [](const auto& row) {
                            return ascii::has_8bit(row.address);
                        });
        delivery.outgoing = std::move(item);
    }
    TRY(const storage::Accepted accepted,
        store.write_value({std::move(body)}, [&](storage::Tx& tx) { return tx.deliver(delivery); }));
    if (!accepted.queue) return fmt::format("{} local copies", delivery.local.size());
    return fmt::format("{} local copies, {} recipients queued as {}", delivery.local.size(), queued,
                       storage::format_queue_id(*accepted.queue));
}

}  // namespace posthouse::server
