#pragma once
/// storage/events_impl (internal): the log over SQL, and the short road by which the store's own parts write to it.
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/context.h"
#include "storage/events.h"
#include "storage/queue.h"

namespace posthouse::storage {

/// An event about to be written. Null sender and message_id: as in an earlier event of the same message.
struct NewEvent {
    EventKind kind = EventKind::system;
    MessageId message{};
    std::optional<QueueId> queue;
    std::optional<std::string_view> message_id;
    std::optional<std::string_view> sender;
    std::string_view recipient;
    std::string_view detail;
    std::string_view dialogue;
    std::optional<Time> at;
    const EventFacts* facts = nullptr;  ///< null: no figure counts it
    std::optional<Time> accepted;       ///< of a delivery: since when it was on its way
    bool is_first_delay = false;        ///< of an attempt: the recipient was not refused before
};

/// Writes it; `keys` are the texts under which it shall be found (empty ones are passed over).
Result<> write_event(Context& context, const NewEvent& event, std::span<const std::string_view> keys);
/// Of a queued message: whose it is, and what it is of.
EventFacts facts_of(const QueueItem& item);
/// The column: tabs between, none at the end.
std::string format_facts(const EventFacts& facts);
EventFacts parse_facts(std::string_view text);
/// Without the angle brackets of the field.
std::string_view bare_message_id(std::string_view message_id);

class EventsImpl final : public EventTx {
 public:
    explicit EventsImpl(Context& context) : context_(context), db_(context.db) {}

    Result<std::vector<Event>> by_message_id(std::string_view message_id) const override;
    Result<std::vector<Event>> by_message(MessageId message) const override;
    Result<std::vector<Event>> by_queue(QueueId queue) const override;
    Result<std::vector<Event>> by_address(std::string_view address, std::size_t count_max) const override;
    Result<std::vector<Event>> about_server(std::size_t count_max) const override;
    Result<std::vector<Event>> behind(std::int64_t after, std::size_t count_max) const override;
    Result<std::int64_t> last_id() const override;
    Result<> append(const Event& event) override;

 private:
    struct Hit {
        MessageId message{};
        std::int64_t event = 0;
    };
    Result<std::int64_t> last_bucket() const;
    /// What one bucket holds under a key, newest first.
    Result<std::vector<Hit>> hits(std::int64_t bucket, std::string_view key) const;
    Result<std::vector<Event>> load(const Hit& hit) const;

    Context& context_;
    Connection& db_;
};

}  // namespace posthouse::storage
