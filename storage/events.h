#pragma once
/// storage/events: the append-only log from which every later question is answered: what became of this message?
/// Threads: as Tx and Snapshot.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

enum class EventKind : std::uint8_t {
    received,   ///< accepted over SMTP, submission or the command line
    stored,     ///< put into a mailbox
    queued,
    attempted,  ///< a try that was put off
    delayed,    ///< the sender was told of the delay
    delivered,
    bounced,
    held,
    released,
    cancelled,
    expired,
    refused,    ///< turned away at the door; nothing was accepted
    system,     ///< about the server itself, not a message
    complained,  ///< the recipient called it spam
    suppressed,  ///< not sent: the recipient is known not to take it (storage/suppression.h)
};
std::string_view to_string(EventKind kind);

struct Event {
    std::int64_t id = 0;
    Time at{};
    EventKind kind = EventKind::system;
    MessageId message{};
    QueueId queue{};
    std::string message_id;  ///< the Message-ID field, without angle brackets
    std::string sender;
    std::string recipient;   ///< "" where the event is about the whole message
    std::string detail;      ///< one plain sentence
    std::string dialogue;    ///< SMTP lines of an attempt, secrets masked
};

class EventView {
 public:
    virtual ~EventView() = default;
    virtual Result<std::vector<Event>> by_message_id(std::string_view message_id) const = 0;
    virtual Result<std::vector<Event>> by_message(MessageId message) const = 0;
    virtual Result<std::vector<Event>> by_queue(QueueId queue) const = 0;
    /// Sender or recipient; newest messages first, at most `count_max` events.
    virtual Result<std::vector<Event>> by_address(std::string_view address, std::size_t count_max) const = 0;
    /// Those about the server itself, newest first.
    virtual Result<std::vector<Event>> about_server(std::size_t count_max) const = 0;
};

class EventTx : public EventView {
 public:
    virtual Result<> append(const Event& event) = 0;
};

}  // namespace posthouse::storage
