#pragma once
/// storage/events: the append-only log from which every later question is answered: what became of this message?
/// Threads: as Tx and Snapshot.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

enum class EventKind : std::uint8_t {
    received,  ///< accepted over SMTP, submission or the command line
    stored,    ///< put into a mailbox
    queued,
    attempted,  ///< a try that was put off
    delayed,    ///< the sender was told of the delay
    delivered,
    bounced,
    held,
    released,
    cancelled,
    expired,
    refused,      ///< turned away at the door; nothing was accepted
    system,       ///< about the server itself, not a message
    complained,   ///< the recipient called it spam
    suppressed,   ///< not sent: the recipient is known not to take it
    stopped,      ///< nothing arrives any more at a destination (detail says at which, facts.provider names it)
    resumed,      ///< something does again
    ping,         ///< the webhook that `detail` names is tried
    noted,        ///< something was said of it that changed nothing: a report again, or one that nobody vouches for
    interrupted,  ///< the server ended in the middle of an attempt; the recipient is tried again
    hurried,      ///< to be tried at once, by hand
};
std::string_view to_string(EventKind kind);

inline constexpr char kFirstTry = 'f';    ///< the recipient was not tried by any way before
inline constexpr char kUnderToken = 't';  ///< its reverse-path was a token of ours (protocols/mailauth/return_token)

/// What reports count an event under, and what is asked later of mail that has left. Of a recipient in the queue `who`,
/// `domain`, `stream` and `mail_class` stand in its first event alone.
struct EventFacts {
    std::string who;                     ///< "a7" the account, "c3" the relay client that handed it in; "" nobody here
    std::string domain;                  ///< of the sender, or ours that passes it on; "" of reports
    std::string way;                     ///< "direct"; "" where none was tried
    std::string source;                  ///< local address; "" where the system chose
    std::string provider;                ///< of the recipient: "google", "other"; "" by a relay host
    std::string reply_class;             ///< what the reply meant: "mailbox-full"; "" of deliveries
    std::string route;                   ///< that chose the way; "" where none did
    std::string marks;                   ///< letters of an attempt: kFirstTry, kUnderToken
    std::string stream;                  ///< that it is of; "" none
    std::string mail_class;              ///< QueueClass as a digit; "" a letter
    std::optional<std::uint32_t> tries;  ///< of a recipient in the queue, begun so far; nothing where that is not said
    Time next{};                         ///< when it is tried next, where that is not at once; none: it does not wait
    bool operator==(const EventFacts&) const = default;
    bool has(char mark) const { return marks.find(mark) != std::string::npos; }
};

struct Event {
    std::int64_t id = 0;
    Time at{};
    EventKind kind = EventKind::system;
    MessageId message{};
    QueueId queue{};
    std::string message_id;  ///< the Message-ID field, without angle brackets
    std::string sender;
    std::string recipient;  ///< "" where the event is about the whole message
    std::string detail;     ///< one plain sentence
    std::string dialogue;   ///< SMTP lines of an attempt, secrets masked
    EventFacts facts;
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
    /// Those behind `after` in the order they were written, each with what earlier events of its message said.
    virtual Result<std::vector<Event>> behind(std::int64_t after, std::size_t count_max) const = 0;
    /// The id of the last event; 0: none yet.
    virtual Result<std::int64_t> last_id() const = 0;
};

class EventTx : public EventView {
 public:
    /// Of complaints, suppressions and late bounces `facts` and, where facts.domain is empty, the sender's domain are
    /// counted.
    virtual Result<> append(const Event& event) = 0;
};

}  // namespace posthouse::storage
