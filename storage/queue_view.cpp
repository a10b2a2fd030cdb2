#include <fmt/format.h>

#include <array>

#include "protocols/base/ascii.h"
#include "storage/queue_impl.h"

namespace posthouse::storage {
namespace {

#define ITEM_COLUMNS                                                                                             \
    "id, message, message_id, reverse_path, envid, ret, smtputf8, eight_bit, account, size_octets, created_ms, " \
    "expires_ms, coalesce((SELECT c.name FROM relay_clients c WHERE c.id = queue_items.client), ''), class, tls, " \
    "forwarded_by, client, stream"
#define RECIPIENT_COLUMNS                                                                                    \
    "id, queue, address, domain, orcpt, notify, state, next_attempt_ms, attempts, last_reply, last_remote, " \
    "delay_told, last_class, cause, lane, released, incident, fault_ms"

constexpr std::array<std::string_view, 6> kStateNames = {"waiting", "sending", "delivered",
                                                         "failed",  "held",    "cancelled"};

QueueItem item_of(const Query& row) {
    QueueItem item;
    item.id = row.id<QueueId>(0);
    item.message = row.id<MessageId>(1);
    item.message_id = row.text(2);
    item.reverse_path = row.text(3);
    item.envid = row.text(4);
    item.ret = static_cast<Ret>(row.i64(5));
    item.smtputf8 = row.flag(6);
    item.eight_bit = row.flag(7);
    if (!row.is_null(8)) item.account = row.id<AccountId>(8);
    item.size_octets = row.u64(9);
    item.created = row.time(10);
    item.expires = row.time(11);
    item.client = row.text(12);
    item.mail_class = static_cast<std::uint8_t>(row.u32(13));
    item.tls = static_cast<TlsWish>(row.i64(14));
    item.forwarded_by = row.text(15);
    if (!row.is_null(16)) item.client_id = row.id<RelayClientId>(16);
    item.stream = row.text(17);
    return item;
}

QueueRecipient recipient_of(const Query& row) {
    QueueRecipient recipient;
    recipient.id = row.id<RecipientId>(0);
    recipient.queue = row.id<QueueId>(1);
    recipient.address = row.text(2);
    recipient.domain = row.text(3);
    recipient.orcpt = row.text(4);
    recipient.notify = static_cast<NotifyBits>(row.i64(5));
    recipient.state = static_cast<RecipientState>(row.i64(6));
    recipient.next_attempt = row.time(7);
    recipient.attempts = row.u32(8);
    recipient.last_reply = row.text(9);
    // "mx.b.example [192.0.2.1] from 192.0.2.7": what finish() writes.
    const std::string_view remote = row.view(10);
    const std::size_t from = remote.rfind(kFromSource);
    recipient.last_remote = remote.substr(0, from);
    if (from != std::string_view::npos) recipient.last_source = remote.substr(from + kFromSource.size());
    recipient.delay_told = row.flag(11);
    recipient.last_class = row.text(12);
    recipient.cause = static_cast<WaitCause>(row.i64(13));
    recipient.lane = row.id<LaneId>(14);
    recipient.released = row.flag(15);
    recipient.incident = row.id<IncidentId>(16);
    recipient.fault_since = row.time(17);
    return recipient;
}

Result<std::vector<QueueRecipient>> all_recipients(Query&& query) {
    std::vector<QueueRecipient> out;
    for (;;) {
        TRY(const bool more, query.row());
        if (!more) return out;
        out.push_back(recipient_of(query));
    }
}

std::int64_t limit_of(std::size_t count_max) {
    constexpr std::size_t kMost = 1'000'000'000;
    return static_cast<std::int64_t>(count_max < kMost ? count_max : kMost);
}

}  // namespace

std::string_view to_string(RecipientState state) {
    const auto place = static_cast<std::size_t>(state);
    return place < kStateNames.size() ? kStateNames[place] : "unknown";
}

std::string format_queue_id(QueueId id) { return fmt::format("q{}", raw(id)); }

QueueId parse_queue_id(std::string_view text) {
    if (text.empty() || (text.front() != 'q' && text.front() != 'Q')) return QueueId{};
    const std::optional<std::uint64_t> number = ascii::parse_number(text.substr(1));
    constexpr std::uint64_t kMost = ~std::uint64_t{0} >> 1U;
    return number && *number <= kMost ? static_cast<QueueId>(*number) : QueueId{};
}

Result<std::vector<QueueRecipient>> QueueImpl::due(Time until, std::size_t count_max) const {
    return all_recipients(db_.query("SELECT " RECIPIENT_COLUMNS " FROM queue_recipients WHERE state = 0 AND "
                                    "next_attempt_ms <= ?1 ORDER BY next_attempt_ms, id LIMIT ?2")
                              .bind(until, limit_of(count_max)));
}

Result<std::optional<Time>> QueueImpl::next_due() const {
    Query q =
        db_.query("SELECT next_attempt_ms FROM queue_recipients WHERE state = 0 ORDER BY next_attempt_ms LIMIT 1");
    TRY(const bool found, q.row());
    if (!found) return std::optional<Time>();
    return std::optional<Time>(q.time(0));
}

Result<QueueItem> QueueImpl::item(QueueId id) const {
    Query q = db_.query("SELECT " ITEM_COLUMNS " FROM queue_items WHERE id = ?1");
    TRY(const bool found, q.bind(id).row());
    if (!found) return Error(Errc::not_found, fmt::format("{} is not in the queue", format_queue_id(id)));
    return item_of(q);
}

Result<std::vector<QueueRecipient>> QueueImpl::recipients(QueueId id) const {
    return all_recipients(
        db_.query("SELECT " RECIPIENT_COLUMNS " FROM queue_recipients WHERE queue = ?1 ORDER BY id").bind(id));
}

Result<std::vector<QueueRecipient>> QueueImpl::find(std::span<const RecipientId> ids) const {
    std::vector<QueueRecipient> out;
    out.reserve(ids.size());
    Query q = db_.query("SELECT " RECIPIENT_COLUMNS " FROM queue_recipients WHERE id = ?1");
    for (const RecipientId id : ids) {
        q.reset();
        TRY(const bool found, q.bind(id).row());
        if (found) out.push_back(recipient_of(q));
    }
    return out;
}

Result<QueueRecipient> QueueImpl::recipient(RecipientId id) const {
    Query q = db_.query("SELECT " RECIPIENT_COLUMNS " FROM queue_recipients WHERE id = ?1");
    TRY(const bool found, q.bind(id).row());
    if (!found) return Error(Errc::not_found, fmt::format("there is no queued recipient {}", raw(id)));
    return recipient_of(q);
}

Result<std::vector<QueueItem>> QueueImpl::list(QueueId after, std::size_t count_max) const {
    Query q = db_.query("SELECT " ITEM_COLUMNS " FROM queue_items WHERE id > ?1 ORDER BY id LIMIT ?2");
    q.bind(after, limit_of(count_max));
    std::vector<QueueItem> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(item_of(q));
    }
}

Result<std::uint64_t> QueueImpl::waiting_count() const {
    TRY(const std::int64_t count, db_.value("SELECT count(*) FROM queue_recipients WHERE state = 0"));
    return static_cast<std::uint64_t>(count);
}

Result<BodyReader> QueueImpl::body(QueueId id) const {
    TRY(const QueueItem found, item(id));
    return body(found);
}

Result<BodyReader> QueueImpl::body(const QueueItem& item) const {
    return open_body(context_, item.message);
}

Result<mime::MessageFacts> QueueImpl::facts(QueueId id) const {
    TRY(const QueueItem found, item(id));
    return load_facts(context_, found.message);
}

}  // namespace posthouse::storage
