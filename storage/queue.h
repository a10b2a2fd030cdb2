#pragma once
/// storage/queue: messages on their way out: one row per message and envelope, one per recipient.
///
/// States of a recipient:   waiting -> sending -> delivered | failed | waiting (deferred)
///                          waiting <-> held;  waiting | held -> cancelled
/// Invariants  1. `sending` is recorded before the remote is dialled, the outcome as soon as its reply is read; at
///                start every `sending` row becomes `waiting` again (a copy may go twice, none is lost).
///             2. A recipient recorded as delivered is never given out again.
///             3. An item whose recipients are all final leaves the queue; its events stay.
/// Threads: as Tx and Snapshot.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "protocols/mime/facts.h"
#include "storage/body.h"
#include "storage/types.h"

namespace posthouse::storage {

/// DSN NOTIFY (RFC 3461 4.1) as bits; 0 is "not given" (failure and delay are told).
enum class Notify : std::uint8_t { never = 1, success = 2, failure = 4, delay = 8 };
using NotifyBits = std::uint8_t;
enum class Ret : std::uint8_t { unspecified, full, headers };

/// What the sender wants of TLS on the way (RFC 8689).
enum class TlsWish : std::uint8_t {
    policy,       ///< what the destination publishes
    require,      ///< REQUIRETLS: encrypted and checked, hop by hop, or not at all
    best_effort,  ///< TLS-Required: No, and reports about TLS: it must arrive, whatever policies say
};

/// A message's share of a lane (relay/fairness.h). Mailbox users and delivery reports are interactive.
enum class QueueClass : std::uint8_t { interactive, transactional, bulk };
std::string_view to_string(QueueClass priority);

/// Why a recipient waits. New ones go at the end: the numbers are stored.
enum class WaitCause : std::uint8_t {
    none,      ///< not tried yet
    retry,     ///< a refusal for now: the retry timer
    greylist,  ///< the remote wants to see us again
    mailbox_full,
    lane_window,  ///< others go first over the connections that the site bears
    lane_rate,    ///< the site takes only so many a while, or named a time
    network,      ///< no host of the site could be reached
    dns,
    security,  ///< TLS as the domain asks for it cannot be had
    source,    ///< the address to send from is drained or warming up
    cap,       ///< the sender's or client's cap is reached
    held,      ///< by a rule or by hand
    route,     ///< no way that the rules allow
    directory,  ///< it took mail before, and its site does not know its users just now (storage/takers)
};
/// One plain sentence: "the retry timer runs"; "" for none.
std::string_view explain(WaitCause cause);

struct NewRecipient {
    std::string address;  ///< as given, local part's case kept
    std::string orcpt;    ///< "rfc822;bob@example.org", xtext decoded; "" where not given
    NotifyBits notify = 0;
};

struct NewQueueItem {
    std::string reverse_path;  ///< "" is the null sender
    std::string envid;
    Ret ret = Ret::unspecified;
    bool smtputf8 = false;
    bool eight_bit = false;  ///< BODY=8BITMIME was given, or the content has 8-bit octets
    TlsWish tls = TlsWish::policy;
    std::optional<AccountId> account;     ///< who submitted it
    std::optional<RelayClientId> client;  ///< the relay client that handed it in
    std::uint8_t mail_class = 0;          ///< 0 interactive 1 transactional 2 bulk
    /// Domain of ours that passes it on for a stranger; "" where a login, a relay client or this server wrote it.
    std::string forwarded_by;
    std::string stream;                   ///< that it is of (storage/streams.h), or ""
    Time expires{};  ///< of mail to many no later than the setting queue.bulk_hours allows; none: see the relay
    std::vector<NewRecipient> recipients;
};

enum class RecipientState : std::uint8_t { waiting, sending, delivered, failed, held, cancelled };
std::string_view to_string(RecipientState state);

struct QueueItem {
    QueueId id{};
    MessageId message{};
    std::string message_id;  ///< the Message-ID field
    std::string reverse_path;
    std::string envid;
    Ret ret = Ret::unspecified;
    bool smtputf8 = false;
    bool eight_bit = false;
    TlsWish tls = TlsWish::policy;
    std::optional<AccountId> account;
    std::string client;  ///< name of the relay client that handed it in; "" where none did, or it is gone
    std::optional<RelayClientId> client_id;  ///< the same; it may be gone
    std::uint8_t mail_class = 0;             ///< 0 interactive 1 transactional 2 bulk
    std::string forwarded_by;                ///< as in NewQueueItem
    std::string stream;                      ///< likewise
    std::uint64_t size_octets = 0;
    Time created{};
    Time expires{};
};

struct QueueRecipient {
    RecipientId id{};
    QueueId queue{};
    std::string address;
    std::string domain;  ///< lower case, A-label form as given
    std::string orcpt;
    NotifyBits notify = 0;
    RecipientState state = RecipientState::waiting;
    Time next_attempt{};
    std::uint32_t attempts = 0;
    std::string last_reply;   ///< what the remote said, or our own sentence
    std::string last_remote;  ///< host and address of the last attempt; "-" where it reached nobody, "" before one
    std::string last_source;  ///< our address that it was made from; "" where the system chose, or a relay was asked
    std::string last_class;   ///< what it meant: "mailbox-full"; "" before the first attempt
    bool delay_told = false;  ///< a delay notice has gone out
    WaitCause cause = WaitCause::none;
    LaneId lane{};          ///< where it waits its turn; 0: nowhere, or not for long
    bool released = false;  ///< somebody let it go: a hold of its route with ways behind it lets it pass
    IncidentId incident{};  ///< it is held under, or waits for the end of (WaitCause::directory); 0: none
    Time fault_since{};     ///< since when it is refused for a fault of ours; none: it is not
};

/// One waiting recipient in the order of the due index.
struct DueRecipient {
    Time at{};
    RecipientId id{};
    auto operator<=>(const DueRecipient&) const = default;
};

/// A lane as the runner last wrote it down: what it learned, and how it stands.
struct LaneRecord {
    LaneId id{};
    std::string key;    ///< of the source address or relay host and the site
    std::string name;   ///< "google", "relay.example:587": for people
    std::string state;  ///< "open", "slowed", "paused", "closed"
    std::string why;    ///< the remote's words that slowed it, or ""
    std::uint64_t waiting = 0;
    std::uint64_t window = 0;      ///< connections it may hold now
    std::uint64_t rate_milli = 0;  ///< thousandths of a transaction a second; 0: no limit
    std::uint64_t learned_window = 0;
    std::uint64_t learned_rate_milli = 0;
    std::uint64_t spacing = 0;          ///< up to 255
    Time careful_until{};               ///< to the minute: up to then the window is no wider than this
    std::uint64_t careful_window = 0;   ///< up to 255; 0: no such limit
    bool few_messages = false;          ///< and few on each connection
    Milliseconds rest{0};               ///< the last long pause, to the minute
    Time next{};  ///< when it may send again; the past: now
    Time updated{};
};

/// Whose attempt has begun, and how many there were before it.
struct StartedRecipient {
    RecipientId id{};
    std::uint32_t attempts = 0;
};

/// What became of one attempt for one recipient.
struct Outcome {
    RecipientState state = RecipientState::waiting;  ///< delivered, failed, waiting (deferred) or held
    std::string reply;
    std::string enhanced_code;  ///< "5.1.1"; "" where there was none
    std::string reply_class;    ///< "recipient-unknown": the word of protocols/bounce for `reply`
    std::string remote;
    Time next_attempt{};  ///< for waiting
    bool delay_told = false;
    std::string dialogue;               ///< the SMTP dialogue of the attempt, secrets masked
    WaitCause cause = WaitCause::none;  ///< for waiting
    LaneId lane{};                      ///< likewise
    bool uses_attempt = true;           ///< false: it waits on in its lane, the attempt does not count
    bool suppressed = false;            ///< for failed: it was not sent, since the recipient gets no mail for now
    IncidentId incident{};              ///< for held, and for WaitCause::directory: why
    std::string way;                    ///< by which it was tried: "direct"; "" where none was
    std::string source;                 ///< from which local address; "" where the system chose
    std::string provider;               ///< who keeps the recipient's mail: "google", "other"; "" by a relay host
    std::string route;                  ///< that chose the way; "" where none did
    bool under_token = false;           ///< its reverse-path was a token of ours
    Time fault_since{};                 ///< for held: since when; none leaves what is known
};

class QueueView {
 public:
    virtual ~QueueView() = default;
    /// Waiting recipients with next_attempt <= until, oldest first.
    virtual Result<std::vector<QueueRecipient>> due(Time until, std::size_t count_max) const = 0;
    /// When the next waiting recipient becomes due.
    virtual Result<std::optional<Time>> next_due() const = 0;
    /// What is due by `until`, from the index alone, behind `after` in its order.
    virtual Result<std::vector<DueRecipient>> due_after(DueRecipient after, Time until,
                                                        std::size_t count_max) const = 0;
    /// Waiting recipients that were added behind `after` and are due by `until`.
    virtual Result<std::vector<DueRecipient>> added_after(RecipientId after, Time until,
                                                          std::size_t count_max) const = 0;
    /// The highest id ever given.
    virtual Result<RecipientId> last_recipient() const = 0;
    /// Those of `ids` that are there, in order of id.
    virtual Result<std::vector<QueueRecipient>> find(std::span<const RecipientId> ids) const = 0;
    virtual Result<std::vector<LaneRecord>> lanes() const = 0;
    /// Messages that somebody wants tried at once (retry_now), though they may wait in a lane.
    virtual Result<std::vector<QueueId>> kicked() const = 0;
    virtual Result<QueueItem> item(QueueId id) const = 0;
    virtual Result<std::vector<QueueRecipient>> recipients(QueueId id) const = 0;
    /// Items by id, from `after` on.
    virtual Result<std::vector<QueueItem>> list(QueueId after, std::size_t count_max) const = 0;
    virtual Result<std::uint64_t> waiting_count() const = 0;
    virtual Result<BodyReader> body(QueueId id) const = 0;
    /// The same, of one that has been read already.
    virtual Result<BodyReader> body(const QueueItem& item) const = 0;
    virtual Result<mime::MessageFacts> facts(QueueId id) const = 0;
};

class QueueTx : public QueueView {
 public:
    virtual Result<QueueId> add(MessageId message, const NewQueueItem& item, Time first_attempt) = 0;
    /// waiting -> sending, attempts + 1; gives back those that were still waiting.
    virtual Result<std::vector<StartedRecipient>> start(std::span<const RecipientId> recipients) = 0;
    /// Records the outcome and its event; when all recipients of the item are final the item goes.
    virtual Result<> finish(RecipientId recipient, const Outcome& outcome) = 0;
    /// The same, of a recipient of this item, which has been read already: what it says of the sender never changes.
    virtual Result<> finish(const QueueItem& owner, RecipientId recipient, const Outcome& outcome) = 0;
    /// sending -> waiting as before, without an attempt counted (it was not made); due when it was.
    virtual Result<> give_back(std::span<const RecipientId> recipients) = 0;
    /// Waiting recipients wait for this cause, in this lane.
    virtual Result<> mark(std::span<const RecipientId> recipients, WaitCause cause, LaneId lane) = 0;
    /// By key; gives back its id. A lane with nothing in it and nothing learned is forgotten instead: 0.
    virtual Result<LaneId> save_lane(const LaneRecord& lane) = 0;
    virtual Result<> forget_kicks(std::span<const QueueId> queues) = 0;
    /// Lanes not written since.
    virtual Result<> forget_lanes(Time before) = 0;
    /// After a crash: every sending row waits again, and its event says so. Gives back how many.
    virtual Result<std::uint64_t> recover() = 0;
    virtual Result<> retry_now(QueueId id) = 0;
    virtual Result<> hold(QueueId id) = 0;
    /// waiting or sending -> held, without an attempt counted; `why` is shown as the last reply.
    virtual Result<> hold_recipients(std::span<const RecipientId> recipients, std::string_view why) = 0;
    /// held -> waiting, and tried at once: a hold of its route lets it pass where ways stand behind; where none do, and
    /// the ways before refuse it again, it is held again.
    virtual Result<> release(QueueId id) = 0;
    /// Takes the message out of the queue without a notice to the sender.
    virtual Result<> cancel(QueueId id) = 0;
};

}  // namespace posthouse::storage
