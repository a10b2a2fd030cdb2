// The queue: items, their messages, their recipients.
#include <fmt/format.h>

#include "storage/check/rows.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kStateMax = 5;  // RecipientState::cancelled
// The last attempt may be put off until just after its message has expired.
constexpr std::int64_t kWaitSlackMs = 24LL * 3600 * 1000;

std::string name_of(std::int64_t item) { return format_queue_id(static_cast<QueueId>(item)); }

Result<> check_items(Picture& picture) {
    // One pass: how many recipients an item has, and how many of them are still open.
    Query q = picture.db.query(
        "SELECT i.id, i.message, i.reverse_path, "
        "(SELECT count(*) FROM queue_recipients r WHERE r.queue = i.id), "
        "(SELECT count(*) FROM queue_recipients r WHERE r.queue = i.id AND r.state NOT IN (2, 3, 5)) "
        "FROM queue_items i ORDER BY i.id");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        ++picture.report.queue_items;
        const std::int64_t id = q.i64(0);
        Place place;
        place.message = q.id<MessageId>(1);
        if (MessageRow* const message = picture.messages.find(q.i64(1)); message != nullptr) {
            ++message->seen;
        } else {
            picture.findings().add(
                FaultKind::queue_without_message, id, q.i64(1),
                fmt::format("{} from <{}>: its message {} is not known to mail.db", name_of(id), q.view(2), q.i64(1)),
                place);
        }
        if (q.i64(3) == 0) {
            picture.findings().add(FaultKind::item_without_recipients, id, 0,
                                   fmt::format("{} from <{}> has no recipients", name_of(id), q.view(2)), place);
        } else if (q.i64(4) == 0) {
            picture.findings().add(FaultKind::item_finished, id, 0,
                                   fmt::format("{} from <{}>: every recipient is done with", name_of(id), q.view(2)),
                                   place);
        }
    }
}

Result<> check_recipients(Picture& picture) {
    Query q = picture.db.query(
        "SELECT r.id, r.queue, r.address, r.state, i.id IS NULL, "
        "r.state = 0 AND r.next_attempt_ms > max(i.expires_ms, ?3) + ?2 "
        "FROM queue_recipients r LEFT JOIN queue_items i ON i.id = r.queue "
        "WHERE i.id IS NULL OR r.state NOT BETWEEN 0 AND ?1 "
        "OR (r.state = 0 AND r.next_attempt_ms > max(i.expires_ms, ?3) + ?2) "
        "OR ((r.address = '' OR r.domain = '') AND r.state IN (0, 1))");
    // What is over may be tried once more: after a start nothing is given up at once.
    q.bind(kStateMax, kWaitSlackMs, to_unix_ms(system_clock().now()));
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        if (q.flag(4)) {
            picture.findings().add(
                FaultKind::recipient_without_item, q.i64(0), 0,
                fmt::format("<{}> is a recipient of {}, which is not there", q.view(2), name_of(q.i64(1))));
        } else if (q.flag(5)) {
            picture.findings().add(
                FaultKind::recipient_waits, q.i64(0), 0,
                fmt::format("{}: <{}> waits longer than its message is kept", name_of(q.i64(1)), q.view(2)));
        } else if (q.i64(3) >= 0 && q.i64(3) <= kStateMax) {
            picture.findings().add(FaultKind::recipient_address, q.i64(0), 0,
                                   fmt::format("{}: <{}> has no address to go to", name_of(q.i64(1)), q.view(2)));
        } else {
            picture.findings().add(FaultKind::recipient_state, q.i64(0), 0,
                                   fmt::format("{}: <{}> has the state {}", name_of(q.i64(1)), q.view(2), q.i64(3)));
        }
    }
}

// Nothing would ever let it go.
Result<> check_held(Picture& picture) {
    Query q = picture.db.query(
        "SELECT r.id, r.queue, r.address, r.incident FROM queue_recipients r WHERE r.incident <> 0 AND r.state = 4 "
        "AND NOT EXISTS (SELECT 1 FROM incidents i WHERE i.id = r.incident AND i.state = 0)");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        picture.findings().add(FaultKind::recipient_held, q.i64(0), 0,
                               fmt::format("{}: <{}> is held under incident {}, which is not open", name_of(q.i64(1)),
                                           q.view(2), q.i64(3)));
    }
}

}  // namespace

Result<> check_queue(Picture& picture) {
    TRY_VOID(check_items(picture));
    TRY_VOID(check_recipients(picture));
    return check_held(picture);
}

}  // namespace posthouse::storage
