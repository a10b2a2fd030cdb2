// Acceptance of a message: the one place where body, entries, queue and events come together.
#include "storage/tx.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/sent_copy.h"

namespace posthouse::storage {

// There is one implementation of each interface; the casts are the seam between the rooms of the store.
Context& context_of(Tx& tx) { return static_cast<TxImpl&>(tx).context(); }
const Context& context_of(const Snapshot& snapshot) { return static_cast<const SnapshotImpl&>(snapshot).context(); }

Result<MessageId> TxImpl::add_message(const StagedBodyPtr& body, const mime::MessageFacts& facts) {
    TRY(const PlacedBody* placed, placed_body(context_, body));
    // The same body again is the same message: its octets lie there once.
    if (state_.is_added(placed->message)) return placed->message;
    // For the one place that nearly always names it in the end: its row need not be written a second time.
    TRY_VOID(insert_message(context_, *placed, facts, 1));
    state_.added.push_back(placed->message);
    change_refs(context_, placed->message, -1);
    return placed->message;
}

Result<Accepted> TxImpl::deliver(const Delivery& delivery) {
    if (delivery.local.empty() && !delivery.outgoing) return Error(Errc::invalid, "a delivery needs a recipient");
    TRY(const PlacedBody* placed, placed_body(context_, delivery.body));
    Accepted accepted;
    accepted.message = placed->message;
    std::int64_t refs = delivery.outgoing ? 1 : 0;
    for (const LocalCopy& copy : delivery.local) refs += copy.own == nullptr ? 1 : 0;
    if (state_.is_added(placed->message)) {
        change_refs(context_, placed->message, refs);
    } else {
        TRY_VOID(insert_message(context_, *placed, delivery.facts, std::max<std::int64_t>(refs, 1)));
        state_.added.push_back(placed->message);
        if (refs == 0) change_refs(context_, placed->message, -1);  // unless it is filed as sent, it goes at the end
    }
    TRY_VOID(write_received(delivery, placed->message));
    const std::uint64_t size = placed->body->size_octets();
    for (const LocalCopy& copy : delivery.local) {
        std::string mailbox = copy.mailbox;
        if (copy.junk) {
            TRY(const Mailbox junk, mailbox_of_use(parts_.mail(copy.account), SpecialUse::junk, "Junk"));
            mailbox = junk.name;
        }
        MessageId message = placed->message;
        if (copy.own != nullptr) {
            TRY(message, add_message(copy.own->body, copy.own->facts));
            change_refs(context_, message, 1);
        }
        const std::uint64_t octets = copy.own == nullptr ? size : copy.own->body->size_octets();
        TRY(const Entry entry, parts_.mail(copy.account).deliver(mailbox, copy.flags, message, octets, delivery.quota));
        const std::string detail = fmt::format("put into {} as UID {}", mailbox, entry.uid);
        NewEvent event;
        event.kind = EventKind::stored;
        event.message = placed->message;
        event.recipient = copy.recipient;
        event.detail = detail;
        TRY_VOID(write_event(context_, event, {}));
    }
    // A null reverse-path is a report, which nobody wrote.
    if (delivery.submitter && !delivery.sender.empty()) {
        TRY(const auto filed, file_sent(*this, *delivery.submitter, placed->message, delivery.facts.message_id, size));
        if (filed) TRY_VOID(write_filed(placed->message, delivery.sender, filed->uid));
    }
    if (delivery.outgoing) {
        TRY(accepted.queue, parts_.queue().insert(placed->message, delivery.facts.message_id, size, *delivery.outgoing,
                                                  delivery.first_attempt));
    }
    return accepted;
}

Result<> TxImpl::write_received(const Delivery& delivery, MessageId message) {
    const std::string_view message_id = bare_message_id(delivery.facts.message_id);
    NewEvent event;
    event.kind = EventKind::received;
    event.message = message;
    event.message_id = message_id;
    event.sender = delivery.sender;
    event.detail = delivery.received_detail;
    // Found under everybody it concerns; the later events hang off the message.
    std::vector<std::string_view> keys = {message_id, delivery.sender};
    for (const LocalCopy& copy : delivery.local) keys.push_back(copy.recipient);
    if (delivery.outgoing) {
        for (const NewRecipient& recipient : delivery.outgoing->recipients) keys.push_back(recipient.address);
    }
    return write_event(context_, event, keys);
}

Result<> TxImpl::write_filed(MessageId message, std::string_view sender, Uid uid) {
    const std::string detail = fmt::format("a copy was filed in the sender's Sent mailbox as UID {}", uid);
    NewEvent event;
    event.kind = EventKind::stored;
    event.message = message;
    event.recipient = sender;
    event.detail = detail;
    return write_event(context_, event, {});
}

Result<> TxImpl::settle() {
    TRY_VOID(parts_.queue().drop_finished());
    return settle_refs(context_);
}

}  // namespace posthouse::storage
