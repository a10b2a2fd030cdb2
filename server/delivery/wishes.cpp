#include "server/delivery/wishes.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "protocols/mime/header.h"
#include "protocols/policy/one_click.h"
#include "server/delivery/unwilling.h"
#include "storage/await.h"
#include "storage/streams.h"

namespace posthouse::server {

namespace {

Result<> tell_left_out(storage::Tx& tx, const storage::Delivery& delivery, const storage::Accepted& taken,
                       const smtp::Wishes& wishes) {
    for (const auto& [address, why] : wishes.left_out) {
        storage::Event event;
        event.at = tx.now();
        event.kind = storage::EventKind::suppressed;
        event.message = taken.message;
        event.queue = taken.queue.value_or(storage::QueueId{});
        event.sender = delivery.sender;
        event.recipient = address;
        event.detail = why;
        TRY_VOID(tx.events().append(event));
    }
    return {};
}

// Each recipient of a list gets a number, which his copy will bear.
Result<> subscribe_all(storage::Tx& tx, const storage::Delivery& delivery) {
    if (!delivery.outgoing || delivery.outgoing->stream.empty()) return {};
    for (const storage::NewRecipient& one : delivery.outgoing->recipients) {
        TRY_VOID(storage::StreamTx(tx).subscribe(delivery.outgoing->stream, one.address));
    }
    return {};
}

// Who unsubscribed from the stream gets none of it, however it was handed in, here and elsewhere.
net::Task<Result<>> leave_out_unwilling(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                        std::string stream, storage::Delivery& delivery, smtp::Envelope& envelope,
                                        Time now) {
    constexpr auto kBulk = static_cast<std::uint8_t>(storage::QueueClass::bulk);
    UnwillingQuestion question;  // of the rest the relay asks
    question.stream = std::move(stream);
    for (const storage::LocalCopy& one : delivery.local) question.addresses.push_back(one.recipient);
    if (delivery.outgoing) {
        for (const storage::NewRecipient& one : delivery.outgoing->recipients)
            question.addresses.push_back(one.address);
    }
    const std::uint8_t usual = delivery.outgoing ? delivery.outgoing->mail_class : kBulk;
    question.mail_class = envelope.wishes.mail_class.value_or(usual);
    question.now = now;
    CO_TRY(const auto unwilling, co_await find_unwilling(store, pool, loop, std::move(question)));
    if (unwilling.empty()) co_return Result<>();
    std::erase_if(delivery.local, [&](const auto& one) { return unwilling.contains(ascii::to_lower(one.recipient)); });
    if (delivery.outgoing) {
        std::vector<storage::NewRecipient>& all = delivery.outgoing->recipients;
        std::erase_if(all, [&](const auto& one) { return unwilling.contains(ascii::to_lower(one.address)); });
        if (all.empty()) delivery.outgoing.reset();
    }
    if (!delivery.outgoing && delivery.local.empty()) {
        co_return Error(Errc::refused, storage::describe(unwilling.begin()->second).why);
    }
    for (const auto& [address, why] : unwilling) {
        envelope.wishes.left_out.emplace(address, storage::describe(why).why);
    }
    co_return Result<>();
}

// The digest of a submission by SMTP: this, and a hash of each recipient.
constexpr std::string_view kByRecipients = "rcpt:";
constexpr std::size_t kHashOctets = 8;
constexpr std::size_t kHashesMax = 4096;  // of one key; beyond it the oldest go

bool is_by_recipients(std::string_view digest) { return digest.starts_with(kByRecipients); }

bool has_hash(std::string_view digest, std::string_view hash) {
    for (std::size_t at = kByRecipients.size(); at + kHashOctets <= digest.size(); at += kHashOctets) {
        if (digest.substr(at, kHashOctets) == hash) return true;
    }
    return false;
}

// The recipients of `later` who are not in `known`.
std::string new_hashes(std::string_view known, std::string_view later) {
    std::string out;
    for (std::size_t at = kByRecipients.size(); at + kHashOctets <= later.size(); at += kHashOctets) {
        const std::string_view hash = later.substr(at, kHashOctets);
        if (!has_hash(known, hash)) out += hash;
    }
    return out;
}

std::string hash_of(const smtp::Recipient& recipient) {
    const crypto::Sha256Digest hash = crypto::sha256(ascii::to_lower(recipient.path.spec()));
    return std::string(reinterpret_cast<const char*>(hash.data()), kHashOctets);
}

enum class Match { none, some, all };

// How many of its recipients the key knows. Another part of a message that came in parts, or another message under the
// same key, must not be lost. What came over HTTP knows all.
Match match(const storage::KeptSubmission& first, const smtp::Wishes& wishes) {
    if (!is_by_recipients(first.digest) || !is_by_recipients(wishes.digest)) return Match::all;
    const std::size_t fresh = new_hashes(first.digest, wishes.digest).size();
    if (fresh == 0) return Match::all;
    return fresh == wishes.digest.size() - kByRecipients.size() ? Match::none : Match::some;
}

// The key keeps what its first message was told, and everybody it went to.
void join_first(storage::KeptSubmission& kept, const storage::KeptSubmission& first) {
    std::string all = first.digest + new_hashes(first.digest, kept.digest);
    const std::size_t most = kByRecipients.size() + kHashesMax * kHashOctets;
    if (all.size() > most) all.erase(kByRecipients.size(), all.size() - most);
    kept = first;
    kept.digest = std::move(all);
}

}  // namespace

void choose_class(storage::NewQueueItem& item, const smtp::Wishes& wishes) {
    constexpr auto kLeast = static_cast<std::uint8_t>(storage::QueueClass::transactional);
    if (wishes.by_program) item.mail_class = std::max(item.mail_class, kLeast);
    if (wishes.mail_class) item.mail_class = *wishes.mail_class;
}

void name_recipients(smtp::Envelope& envelope) {
    if (envelope.wishes.by_program || envelope.wishes.key.empty()) return;
    std::string digest(kByRecipients);
    for (const smtp::Recipient& one : envelope.recipients) digest += hash_of(one);
    envelope.wishes.digest = std::move(digest);
}

std::string public_id(storage::MessageId message, std::optional<storage::QueueId> queue) {
    return queue ? storage::format_queue_id(*queue) : fmt::format("m{}", storage::raw(message));
}

std::string key_owner(const smtp::Envelope& envelope, std::optional<storage::RelayClientId> client) {
    if (client) return storage::submission_owner(*client);
    const bool by_account = envelope.login && !envelope.login->is_relay_client();
    return by_account ? storage::submission_owner(storage::AccountId{envelope.login->account}) : std::string();
}

Result<std::optional<smtp::AcceptedMessage>> find_first(const storage::SubmissionView& view, std::string_view owner,
                                                        const smtp::Wishes& wishes, Time now) {
    if (wishes.key.empty() || owner.empty()) return std::optional<smtp::AcceptedMessage>();
    TRY(auto first, view.find(owner, wishes.key, now));
    if (!first || match(*first, wishes) == Match::none) return std::optional<smtp::AcceptedMessage>();
    if (match(*first, wishes) == Match::some) {
        return Error(Errc::unavailable, "another message with the same key is being taken");
    }
    const bool queued = storage::raw(first->queue) != 0;
    smtp::AcceptedMessage out(public_id(first->message, queued ? std::optional(first->queue) : std::nullopt));
    out.repeated = true;
    out.digest = std::move(first->digest);
    out.answer = std::move(first->answer);
    return std::optional(std::move(out));
}

net::Task<Result<>> leave_out_known(storage::Store& store, net::ThreadPool& pool, net::Loop& loop, std::string owner,
                                    smtp::Envelope& envelope, Time now) {
    const smtp::Wishes& wishes = envelope.wishes;
    if (wishes.key.empty() || owner.empty() || !is_by_recipients(wishes.digest)) co_return Result<>();
    auto look = [owner = std::move(owner), key = wishes.key, now](const storage::Snapshot& snapshot) {
        return storage::SubmissionView(snapshot).find(owner, key, now);
    };
    CO_TRY(const auto first, co_await storage::read(store, pool, loop, std::move(look)));
    if (!first || match(*first, wishes) != Match::some) co_return Result<>();
    std::erase_if(envelope.recipients,
                  [&](const smtp::Recipient& one) { return has_hash(first->digest, hash_of(one)); });
    name_recipients(envelope);
    co_return Result<>();
}

net::Task<Result<bool>> is_known(storage::Store& store, net::ThreadPool& pool, net::Loop& loop, std::string owner,
                                 const smtp::Wishes& wishes, Time now) {
    if (wishes.key.empty() || owner.empty()) co_return false;
    auto look = [owner = std::move(owner), wishes, now](const storage::Snapshot& snapshot) -> Result<bool> {
        TRY(const auto first, find_first(storage::SubmissionView(snapshot), owner, wishes, now));
        return first.has_value();
    };
    co_return co_await storage::read(store, pool, loop, std::move(look));
}

Farewell farewell_of(const smtp::Envelope& envelope, std::string_view octets) {
    Farewell out;
    // RFC 3834 5: what answers by itself wants nothing.
    const auto automatic = mime::find_first(mime::parse_fields(octets), "Auto-Submitted");
    if (automatic && !ascii::starts_with_ci(ascii::trim(*automatic), "no")) return out;
    for (const smtp::Recipient& one : envelope.recipients) {
        if (one.kind != smtp::RecipientKind::unsubscribe) continue;
        out.tokens.push_back(policy::token_of_mailbox(one.path.local_part).value_or(""));
    }
    out.how = "by mail " + envelope.received_detail;
    return out;
}

bool is_farewell(const smtp::Envelope& envelope) {
    const auto leaves = [](const smtp::Recipient& one) { return one.kind == smtp::RecipientKind::unsubscribe; };
    return !envelope.recipients.empty() && std::ranges::all_of(envelope.recipients, leaves);
}

Result<> take_leave(storage::Tx& tx, const std::string& sealing_key, const Farewell& farewell) {
    for (const std::string& token : farewell.tokens) {
        TRY_VOID(storage::StreamTx(tx).unsubscribe(token, sealing_key, farewell.how));
    }
    return {};
}

net::Task<Result<smtp::AcceptedMessage>> take_farewell(storage::Store& store, net::Loop& loop, Metrics::Value& count,
                                                       Farewell farewell) {
    const auto all = static_cast<std::int64_t>(farewell.tokens.size());
    auto write = [&store, farewell = std::move(farewell)](storage::Tx& tx) {
        return take_leave(tx, store.sealing_key(), farewell);
    };
    std::vector<storage::StagedBodyPtr> no_bodies;
    const auto done = co_await storage::commit(store, loop, std::move(no_bodies), std::move(write));
    if (!done) co_return Error(done.error());
    count.add(all);
    co_return smtp::AcceptedMessage("unsubscribed");
}

net::Task<Result<smtp::RecipientKind>> look_up_farewell(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                                        std::string token) {
    auto look = [&store, token = std::move(token)](const storage::Snapshot& snapshot) {
        return storage::StreamView(snapshot).open(token, store.sealing_key());
    };
    CO_TRY(const auto who, co_await storage::read(store, pool, loop, std::move(look)));
    if (!who) co_return Error(Errc::not_found, "nobody here made this unsubscribe address");
    co_return smtp::RecipientKind::unsubscribe;
}

Result<smtp::AcceptedMessage> carry_out(storage::Tx& tx, const storage::Delivery& delivery,
                                        const storage::Accepted& taken, std::string_view owner,
                                        const smtp::Wishes& wishes) {
    TRY_VOID(subscribe_all(tx, delivery));
    TRY_VOID(tell_left_out(tx, delivery, taken, wishes));
    smtp::AcceptedMessage out(public_id(taken.message, taken.queue));
    out.message_id = delivery.facts.message_id;
    if (wishes.answer) out.answer = wishes.answer(out);
    if (!wishes.key.empty() && !owner.empty()) {
        storage::KeptSubmission kept;
        kept.digest = wishes.digest;
        kept.message = taken.message;
        kept.queue = taken.queue.value_or(storage::QueueId{});
        kept.answer = out.answer;
        TRY(const auto first, storage::SubmissionTx(tx).find(owner, wishes.key, tx.now()));
        if (first) join_first(kept, *first);
        TRY_VOID(storage::SubmissionTx(tx).keep(owner, wishes.key, kept));
    }
    if (wishes.by_program && delivery.submitter) {
        const storage::SubmissionNotes notes(*delivery.submitter, wishes.tags, wishes.metadata);
        TRY_VOID(storage::SubmissionTx(tx).note(taken.message, notes));
    }
    return out;
}

net::Task<Result<storage::Stream>> find_stream(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                               std::string name, std::string author, std::string login) {
    auto look = [name = ascii::to_lower(name)](const storage::Snapshot& snapshot) {
        return storage::StreamView(snapshot).find(name);
    };
    CO_TRY(auto stream, co_await storage::read(store, pool, loop, std::move(look)));
    if (stream && storage::may_use(*stream, author, login)) co_return *std::move(stream);
    co_return Error(Errc::denied, fmt::format("There is no stream {} that {} may use", name, author));
}

net::Task<Result<std::optional<storage::Stream>>> apply_stream(storage::Store& store, net::ThreadPool& pool,
                                                               net::Loop& loop, std::string usual,
                                                               storage::Delivery& delivery, smtp::Envelope& envelope,
                                                               Time now) {
    std::optional<storage::Stream> none;
    const bool is_named = !envelope.wishes.stream.empty();
    const std::string name = is_named ? envelope.wishes.stream : std::move(usual);
    if (name.empty() || !envelope.login) co_return none;
    if (envelope.sender.is_null() && is_named) co_return Error(Errc::denied, "Mail of a stream needs a sender");
    if (envelope.sender.is_null()) co_return none;
    CO_TRY(storage::Stream stream,
           co_await find_stream(store, pool, loop, name, envelope.wishes.author, envelope.login->address));
    if (!envelope.wishes.mail_class) envelope.wishes.mail_class = static_cast<std::uint8_t>(stream.mail_class);
    if (delivery.outgoing) delivery.outgoing->stream = stream.name;
    CO_TRY_VOID(co_await leave_out_unwilling(store, pool, loop, stream.name, delivery, envelope, now));
    co_return std::optional(std::move(stream));
}

}  // namespace posthouse::server
