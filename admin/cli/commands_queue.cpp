// posthouse queue ...: mail that waits to go out.
#include <fmt/format.h>

#include <cstdint>
#include <map>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "storage/queue_text.h"

namespace posthouse::admin {
namespace {

using storage::Lanes;
using storage::QueueId;
using storage::QueueItem;
using storage::QueueRecipient;
using storage::Snapshot;

constexpr std::size_t kListMax = 1000;  // where --limit says nothing
constexpr std::size_t kLimitMax = 100'000;
constexpr std::size_t kRecipientsShown = 10;  // of a message, by queue list; queue show lists all

Result<QueueId> take_id(Invocation& call) {
    const std::string text = call.get("ID");
    const QueueId id = storage::parse_queue_id(text);
    if (storage::raw(id) != 0) return id;
    return Error(Errc::invalid,
                 fmt::format("\"{}\" is no queue id; posthouse queue list shows them, such as q12", text));
}

Error unknown_item(QueueId id) {
    return Error(Errc::not_found,
                 fmt::format("{} is not in the queue any more; posthouse trace {} tells what became of it",
                             storage::format_queue_id(id), storage::format_queue_id(id)));
}

// "1 waiting, 2 delivered"
std::string states(const std::vector<QueueRecipient>& recipients) {
    std::map<std::string_view, int> counts;
    for (const auto& recipient : recipients) ++counts[storage::to_string(recipient.state)];
    std::string out;
    for (const auto& [state, count] : counts) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count, state);
    return out;
}

// `shown_max`: of the recipients; a job of a hundred thousand would fill the screen alone.
Record item_record(const QueueItem& item, const std::vector<QueueRecipient>& recipients, const Lanes& lanes,
                   std::size_t shown_max) {
    Record out;
    out.add("id", storage::format_queue_id(item.id)).add("from", item.reverse_path.empty() ? "<>" : item.reverse_path);
    std::vector<std::string> to;
    const QueueRecipient* next = nullptr;
    const QueueRecipient* held = nullptr;
    for (const auto& recipient : recipients) {
        if (to.size() < shown_max) to.push_back(recipient.address);
        const bool waits = recipient.state == storage::RecipientState::waiting;
        const bool is_first = waits && (next == nullptr || storage::earliest_next(recipient, lanes) <
                                                               storage::earliest_next(*next, lanes));
        if (is_first) next = &recipient;
        if (recipient.state == storage::RecipientState::held) held = &recipient;
    }
    if (recipients.size() > to.size()) to.push_back(fmt::format("and {} more", recipients.size() - to.size()));
    out.add("to", std::move(to)).add("client", item.client).add("state", states(recipients));
    // Of the one that goes first; where all are held, why that is.
    out.add("earliest_next", next == nullptr ? std::string() : format_rfc3339(storage::earliest_next(*next, lanes)));
    const QueueRecipient* const told = next == nullptr ? held : next;
    out.add("waiting_because", told == nullptr ? std::string() : storage::waiting_because(*told, lanes));
    std::string reply;
    for (const auto& recipient : recipients) {
        if (!recipient.last_reply.empty()) reply = recipient.last_reply;
    }
    out.add("last_reply", reply);
    return out;
}

Result<std::size_t> take_limit(Invocation& call) {
    if (!call.has("--limit")) return kListMax;
    const auto number = ascii::parse_number(call.get("--limit"));
    if (!number || *number == 0 || *number > kLimitMax) {
        return Error(Errc::invalid, fmt::format("--limit takes a number from 1 to {}", kLimitMax));
    }
    return static_cast<std::size_t>(*number);
}

Result<QueueId> take_after(Invocation& call) {
    if (!call.has("--after")) return QueueId{};
    const QueueId id = storage::parse_queue_id(call.get("--after"));
    if (storage::raw(id) != 0) return id;
    return Error(Errc::invalid, fmt::format("--after takes a queue id such as q12, not \"{}\"", call.get("--after")));
}

// queue list [--limit N] [--after ID]
Result<> queue_list(Invocation& call) {
    TRY(const std::size_t limit, take_limit(call));
    TRY(const QueueId after, take_after(call));
    TRY(storage::Store* const store, call.store());
    const std::size_t shown_max = call.out().json() ? SIZE_MAX : kRecipientsShown;
    TRY(const auto rows, store->read([&](const Snapshot& snapshot) -> Result<std::vector<Record>> {
        TRY(const auto items, snapshot.queue().list(after, limit));
        TRY(const Lanes lanes, storage::read_lanes(snapshot));
        std::vector<Record> out;
        for (const QueueItem& item : items) {
            TRY(const auto recipients, snapshot.queue().recipients(item.id));
            out.push_back(item_record(item, recipients, lanes, shown_max));
        }
        return out;
    }));
    const bool first = storage::raw(after) == 0;
    call.out().table(rows, first ? "The queue is empty." : "There is nothing behind it.");
    if (rows.size() == limit) call.out().say(fmt::format("(only {}; the next with --after)", limit));
    return {};
}

// queue show ID
Result<> queue_show(Invocation& call) {
    TRY(const QueueId id, take_id(call));
    TRY(storage::Store* const store, call.store());
    struct Found {
        QueueItem item;
        std::vector<QueueRecipient> recipients;
        std::string subject;
        Lanes lanes;
    };
    auto found = store->read([&](const Snapshot& snapshot) -> Result<Found> {
        Found out;
        TRY(out.item, snapshot.queue().item(id));
        TRY(out.recipients, snapshot.queue().recipients(id));
        TRY(const auto facts, snapshot.queue().facts(id));
        out.subject = facts.subject;
        TRY(out.lanes, storage::read_lanes(snapshot));
        return out;
    });
    if (!found && found.error().code == Errc::not_found) return unknown_item(id);
    TRY_VOID(found);
    Record item;
    item.add("id", storage::format_queue_id(id))
        .add("from", found->item.reverse_path.empty() ? "<>" : found->item.reverse_path);
    item.add("subject", found->subject).add("message_id", found->item.message_id);
    item.add("size_octets", found->item.size_octets).add("created", format_rfc3339(found->item.created));
    item.add("expires", format_rfc3339(found->item.expires)).add("state", states(found->recipients));
    item.add("share", storage::to_string(static_cast<storage::QueueClass>(found->item.mail_class)));
    std::vector<Record> rows;
    for (const auto& recipient : found->recipients) {
        Record row;
        row.add("to", recipient.address).add("state", storage::to_string(recipient.state));
        row.add("attempts", static_cast<std::int64_t>(recipient.attempts));
        row.add("next_attempt", format_rfc3339(recipient.next_attempt)).add("remote", recipient.last_remote);
        row.add("earliest_next", format_rfc3339(storage::earliest_next(recipient, found->lanes)));
        row.add("waiting_because", storage::waiting_because(recipient, found->lanes));
        row.add("reply", recipient.last_reply).add("class", recipient.last_class);
        rows.push_back(std::move(row));
    }
    if (call.out().json()) {
        // One value: the recipients' lines repeat the item's id, which jq groups by.
        for (Record& row : rows) row.fields.insert(row.fields.begin(), item.fields.begin(), item.fields.end());
        call.out().table(rows, "");
        return {};
    }
    call.out().record(item);
    call.out().say("");
    call.out().table(rows, "");
    return {};
}

using Change = Result<> (storage::QueueTx::*)(QueueId);

Result<> change(Invocation& call, Change what, std::string_view past) {
    TRY(const QueueId id, take_id(call));
    TRY(storage::Store* const store, call.store());
    const auto changed = store->write({}, [&](storage::Tx& tx) { return (tx.queue().*what)(id); });
    if (!changed && changed.error().code == Errc::not_found) return unknown_item(id);
    TRY_VOID(changed);
    if (call.out().json()) call.out().record(Record().add(past, storage::format_queue_id(id)));
    call.out().say(fmt::format("{} is {}.", storage::format_queue_id(id), past));
    return {};
}

// queue retry ID: what waits is tried at once
Result<> queue_retry(Invocation& call) { return change(call, &storage::QueueTx::retry_now, "due now"); }
// queue hold ID
Result<> queue_hold(Invocation& call) { return change(call, &storage::QueueTx::hold, "held"); }
// queue release ID
Result<> queue_release(Invocation& call) { return change(call, &storage::QueueTx::release, "released"); }
// queue cancel ID
Result<> queue_cancel(Invocation& call) { return change(call, &storage::QueueTx::cancel, "cancelled"); }

constexpr Argument kId[] = {{Argument::Kind::positional, "ID", "the queue id, such as q12"}};

constexpr Argument kPages[] = {{Argument::Kind::option, "--limit", "at most so many (default 1000)"},
                               {Argument::Kind::option, "--after", "only what comes behind this queue id"}};

constexpr Command kRows[] = {
    {"queue", "list", "list what waits to go out", "posthouse queue list --limit 50 --after q1200", kPages, queue_list},
    {"queue", "show", "show one message and its recipients", "posthouse queue show q12", kId, queue_show},
    {"queue", "retry", "try again at once", "posthouse queue retry q12", kId, queue_retry},
    {"queue", "hold", "keep a message back", "posthouse queue hold q12", kId, queue_hold},
    {"queue", "release", "let a held message go", "posthouse queue release q12", kId, queue_release},
    {"queue", "cancel", "take a message out of the queue; its sender is not told", "posthouse queue cancel q12", kId,
     queue_cancel},
};

}  // namespace

std::span<const Command> queue_commands() { return kRows; }

}  // namespace posthouse::admin
