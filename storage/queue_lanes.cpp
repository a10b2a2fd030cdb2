// What the runner reads in bulk, and what it writes down about its lanes.
#include <array>

#include "storage/queue_impl.h"

namespace posthouse::storage {
namespace {

constexpr std::array<std::string_view, 3> kClassNames = {"interactive", "transactional", "bulk"};

std::int64_t limit_of(std::size_t count_max) {
    constexpr std::size_t kMost = 1'000'000'000;
    return static_cast<std::int64_t>(count_max < kMost ? count_max : kMost);
}

Result<std::vector<DueRecipient>> all_due(Query&& query) {
    std::vector<DueRecipient> out;
    for (;;) {
        TRY(const bool more, query.row());
        if (!more) return out;
        out.push_back(DueRecipient{query.time(0), query.id<RecipientId>(1)});
    }
}

}  // namespace

std::string_view to_string(QueueClass priority) {
    const auto place = static_cast<std::size_t>(priority);
    return place < kClassNames.size() ? kClassNames[place] : "unknown";
}

std::string_view explain(WaitCause cause) {
    switch (cause) {
        case WaitCause::none: return "";
        case WaitCause::retry: return "it was put off: the retry timer runs";
        case WaitCause::greylist: return "greylisted: the other side wants to see it again";
        case WaitCause::mailbox_full: return "the mailbox is full";
        case WaitCause::lane_window: return "others go first over the connections that the other side bears";
        case WaitCause::lane_rate: return "the other side takes only so much mail a while";
        case WaitCause::network: return "the mail server could not be reached; it is probed from time to time";
        case WaitCause::dns: return "the DNS gave no answer";
        case WaitCause::security: return "no connection as secure as the domain asks for";
        case WaitCause::source: return "the address to send from is resting";
        case WaitCause::cap: return "the sender's cap is reached";
        case WaitCause::held: return "held until it is released";
        case WaitCause::route: return "no way that the routes allow";
        case WaitCause::directory:
            return "it took mail before and is said to be unknown: the other side's directory is probably out of order";
    }
    return "unknown";
}

// The pair comparison walks the index of waiting rows alone: no row of the table is read.
Result<std::vector<DueRecipient>> QueueImpl::due_after(DueRecipient after, Time until, std::size_t count_max) const {
    return all_due(db_.query("SELECT next_attempt_ms, id FROM queue_recipients WHERE state = 0 AND next_attempt_ms >= "
                             "?1 AND next_attempt_ms <= ?3 AND (next_attempt_ms > ?1 OR id > ?2) "
                             "ORDER BY next_attempt_ms, id LIMIT ?4")
                       .bind(after.at, after.id, until, limit_of(count_max)));
}

Result<std::vector<DueRecipient>> QueueImpl::added_after(RecipientId after, Time until, std::size_t count_max) const {
    return all_due(db_.query("SELECT next_attempt_ms, id FROM queue_recipients NOT INDEXED WHERE id > ?1 AND state = 0 "
                             "AND next_attempt_ms <= ?2 ORDER BY id LIMIT ?3")
                       .bind(after, until, limit_of(count_max)));
}

Result<RecipientId> QueueImpl::last_recipient() const {
    TRY(const std::int64_t last, db_.value("SELECT coalesce(max(id), 0) FROM queue_recipients"));
    return static_cast<RecipientId>(last);
}

namespace {

// The column `spacing`, from the lowest bit: spacing 8, careful_window 8, few_messages 1, rest in minutes 9,
// careful_until in minutes since 1970 32. A store of an older version has the first alone.
constexpr std::int64_t kMinuteMs = 60'000;
constexpr unsigned kWindowShift = 8;
constexpr unsigned kFewShift = 16;
constexpr unsigned kRestShift = 17;
constexpr unsigned kUntilShift = 26;

std::uint64_t minutes_of(std::int64_t ms, std::uint64_t most) {
    return std::min(static_cast<std::uint64_t>(std::max<std::int64_t>(ms + kMinuteMs - 1, 0) / kMinuteMs), most);
}

std::uint64_t pack_pace(const LaneRecord& lane) {
    std::uint64_t out = std::min<std::uint64_t>(lane.spacing, 0xff);
    if (lane.careful_window == 0) return out;
    out |= std::min<std::uint64_t>(lane.careful_window, 0xff) << kWindowShift;
    out |= static_cast<std::uint64_t>(lane.few_messages) << kFewShift;
    out |= minutes_of(lane.rest.count(), 0x1ff) << kRestShift;
    return out | minutes_of(to_unix_ms(lane.careful_until), 0xffff'ffff) << kUntilShift;
}

void unpack_pace(std::uint64_t pace, LaneRecord& lane) {
    lane.spacing = pace & 0xffU;
    lane.careful_window = (pace >> kWindowShift) & 0xffU;
    if (lane.careful_window == 0) return;
    lane.few_messages = ((pace >> kFewShift) & 1U) != 0;
    lane.rest = Milliseconds(static_cast<std::int64_t>((pace >> kRestShift) & 0x1ffU) * kMinuteMs);
    lane.careful_until = from_unix_ms(static_cast<std::int64_t>((pace >> kUntilShift) & 0xffff'ffffU) * kMinuteMs);
}

}  // namespace

Result<std::vector<LaneRecord>> QueueImpl::lanes() const {
    Query q = db_.query(
        "SELECT id, key, name, state, why, waiting, window, rate_milli, learned_window, "
        "learned_rate_milli, spacing, next_ms, updated_ms FROM lanes ORDER BY name, id");
    std::vector<LaneRecord> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        LaneRecord lane;
        lane.id = q.id<LaneId>(0);
        lane.key = q.text(1);
        lane.name = q.text(2);
        lane.state = q.text(3);
        lane.why = q.text(4);
        lane.waiting = q.u64(5);
        lane.window = q.u64(6);
        lane.rate_milli = q.u64(7);
        lane.learned_window = q.u64(8);
        lane.learned_rate_milli = q.u64(9);
        unpack_pace(q.u64(10), lane);
        lane.next = q.time(11);
        lane.updated = q.time(12);
        out.push_back(std::move(lane));
    }
}

Result<> QueueImpl::mark(std::span<const RecipientId> recipients, WaitCause cause, LaneId lane) {
    Query q = db_.query("UPDATE queue_recipients SET cause = ?2, lane = ?3 WHERE id = ?1 AND state = 0");
    for (const RecipientId id : recipients) {
        q.reset();
        TRY_VOID(q.bind(id, cause, lane).run());
    }
    return {};
}

Result<LaneId> QueueImpl::save_lane(const LaneRecord& lane) {
    const bool learned = lane.learned_window != 0 || lane.learned_rate_milli != 0;
    if (!learned && lane.waiting == 0 && lane.next <= context_.write->now) {
        TRY_VOID(db_.query("DELETE FROM lanes WHERE key = ?1").bind(lane.key).run());
        return LaneId{};
    }
    TRY_VOID(db_.query("INSERT INTO lanes (key, name, state, why, waiting, window, rate_milli, learned_window, "
                       "learned_rate_milli, spacing, next_ms, updated_ms) "
                       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (key) DO UPDATE SET "
                       "name = ?2, state = ?3, why = ?4, waiting = ?5, window = ?6, rate_milli = ?7, "
                       "learned_window = ?8, learned_rate_milli = ?9, spacing = ?10, next_ms = ?11, updated_ms = ?12")
                 .bind(lane.key, lane.name, lane.state, lane.why, lane.waiting, lane.window, lane.rate_milli,
                       lane.learned_window, lane.learned_rate_milli, pack_pace(lane), lane.next, context_.write->now)
                 .run());
    Query q = db_.query("SELECT id FROM lanes WHERE key = ?1");
    TRY([[maybe_unused]] const bool found, q.bind(lane.key).row());
    return q.id<LaneId>(0);
}

Result<std::vector<QueueId>> QueueImpl::kicked() const {
    Query q = db_.query("SELECT queue FROM queue_kicks LIMIT 1000");
    std::vector<QueueId> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(q.id<QueueId>(0));
    }
}

Result<> QueueImpl::forget_kicks(std::span<const QueueId> queues) {
    for (const QueueId id : queues) TRY_VOID(db_.query("DELETE FROM queue_kicks WHERE queue = ?1").bind(id).run());
    return {};
}

Result<> QueueImpl::forget_lanes(Time before) {
    return db_.query("DELETE FROM lanes WHERE updated_ms < ?1").bind(before).run();
}

}  // namespace posthouse::storage
