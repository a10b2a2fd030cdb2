#include "storage/lost_mail.h"

#include <algorithm>

#include "storage/context.h"

namespace posthouse::storage {

LostMailView::LostMailView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}

Result<std::vector<LostMail>> LostMailView::before(Time before, std::size_t count_max) const {
    Query q = db_.query(
        "SELECT id, at_ms, queue, recipient, what, reply FROM lost_mail WHERE at_ms < ?1 ORDER BY id LIMIT ?2");
    q.bind(before, count_max);
    return all_rows(q, [](const Query& row) {
        LostMail one;
        one.id = row.i64(0);
        one.at = row.time(1);
        one.queue = row.id<QueueId>(2);
        one.recipient = row.text(3);
        one.what = row.text(4);
        one.reply = row.text(5);
        return one;
    });
}

Result<std::uint64_t> LostMailView::count_before(Time before) const {
    Query q = db_.query("SELECT count(*) FROM lost_mail WHERE at_ms < ?1");
    TRY_VOID(q.bind(before).row());
    return q.u64(0);
}

LostMailTx::LostMailTx(Tx& tx) : LostMailView(context_of(tx).db), tx_(tx) {}

Result<> LostMailTx::add(QueueId queue, std::string_view recipient, std::string_view what, std::string_view reply) {
    TRY_VOID(db_.query("INSERT INTO lost_mail (at_ms, queue, recipient, what, reply) VALUES (?1, ?2, ?3, ?4, ?5)")
                 .bind(tx_.now(), queue, recipient, what.substr(0, kLostTextMax), reply.substr(0, kLostTextMax))
                 .run());
    const std::int64_t oldest = db_.last_id() - kLostMailMax;
    return db_.query("DELETE FROM lost_mail WHERE id <= ?1").bind(oldest).run();
}

Result<> LostMailTx::remove_before(Time before) {
    return db_.query("DELETE FROM lost_mail WHERE at_ms < ?1").bind(before).run();
}

}  // namespace posthouse::storage
