#include "storage/receipts.h"

#include <algorithm>

#include "storage/context.h"

namespace posthouse::storage {

ReceiptView::ReceiptView(const Snapshot& snapshot) : context_(context_of(snapshot)) {}
ReceiptView::ReceiptView(Tx& tx) : context_(context_of(tx)) {}

Result<std::vector<Receipt>> ReceiptView::owed(std::size_t count_max) const {
    std::vector<Receipt> out;
    Query q = context_.db.query(
        "SELECT id, message, message_id, sender, envid, tls, accepted_ms, recipient, orcpt, expanded FROM receipts "
        "ORDER BY id LIMIT ?1");
    q.bind(std::min<std::size_t>(count_max, 1'000'000));
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        Receipt one;
        one.id = q.i64(0);
        one.message = q.id<MessageId>(1);
        one.message_id = q.text(2);
        one.sender = q.text(3);
        one.envid = q.text(4);
        one.tls = static_cast<TlsWish>(std::min<std::int64_t>(q.i64(5), 2));
        one.accepted = q.time(6);
        one.recipient = q.text(7);
        one.orcpt = q.text(8);
        one.expanded = q.flag(9);
        out.push_back(std::move(one));
    }
}

Result<std::string> ReceiptView::header(MessageId message) const {
    const auto facts = load_facts(context_, message);
    if (!facts && facts.error().code == Errc::not_found) return std::string();
    if (!facts) return Error(facts.error());
    const auto body = open_body(context_, message);
    auto header = body ? body->read(0, facts->header_octets) : Result<std::string>(body.error());
    const bool is_lost = !header && (header.error().code == Errc::corrupt || header.error().code == Errc::not_found);
    return is_lost ? std::string() : std::move(header);
}

ReceiptTx::ReceiptTx(Tx& tx) : ReceiptView(tx), write_(context_of(tx)) {}

Result<> ReceiptTx::add(const Receipt& receipt) {
    write_.write->notice.queue = true;
    return write_.db
        .query("INSERT INTO receipts (message, message_id, sender, envid, tls, accepted_ms, recipient, orcpt, "
               "expanded) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
        .bind(receipt.message, receipt.message_id, receipt.sender, receipt.envid, receipt.tls, write_.write->now,
              receipt.recipient, receipt.orcpt, receipt.expanded)
        .run();
}

Result<> ReceiptTx::remove(std::span<const std::int64_t> ids) {
    Query q = write_.db.query("DELETE FROM receipts WHERE id = ?1");
    for (const std::int64_t id : ids) {
        q.reset();
        TRY_VOID(q.bind(id).run());
    }
    return {};
}

}  // namespace posthouse::storage
