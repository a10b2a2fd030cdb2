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
    bool eight_bit = false;               ///< BODY=8BITMIME was given, or the content has 8-bit octets
    TlsWish tls = TlsWish::policy;
    std::optional<AccountId> account;     ///< who submitted it
    std::optional<RelayClientId> client;  ///< the relay client that handed it in
    std::uint8_t mail_class = 0;          ///< 0 interactive 1 transactional 2 bulk
    Time expires{};
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
    std::string client;           ///< name of the relay client that handed it in; "" where none did, or it is gone
    std::uint8_t mail_class = 0;  ///< 0 interactive 1 transactional 2 bulk
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
    std::string last_remote;  ///< host and address of the last attempt
    std::string last_class;   ///< what it meant: "mailbox-full"; "" before the first attempt
    bool delay_told = false;  ///< a delay notice has gone out
};

/// What became of one attempt for one recipient.
struct Outcome {
    RecipientState state = RecipientState::waiting;  ///< delivered, failed, or waiting (deferred)
    std::string reply;
    std::string enhanced_code;  ///< "5.1.1"; "" where there was none
    std::string reply_class;    ///< "recipient-unknown": the word of protocols/bounce for `reply`
    std::string remote;
    Time next_attempt{};  ///< for waiting
    bool delay_told = false;
    std::string dialogue;  ///< the SMTP dialogue of the attempt, secrets masked
};

class QueueView {
 public:
    virtual ~QueueView() = default;
    /// Waiting recipients with next_attempt <= until, oldest first.
    virtual Result<std::vector<QueueRecipient>> due(Time until, std::size_t count_max) const = 0;
    /// When the next waiting recipient becomes due.
    virtual Result<std::optional<Time>> next_due() const = 0;
    virtual Result<QueueItem> item(QueueId id) const = 0;
    virtual Result<std::vector<QueueRecipient>> recipients(QueueId id) const = 0;
    /// Items by id, from `after` on.
    virtual Result<std::vector<QueueItem>> list(QueueId after, std::size_t count_max) const = 0;
    virtual Result<std::uint64_t> waiting_count() const = 0;
    virtual Result<BodyReader> body(QueueId id) const = 0;
    virtual Result<mime::MessageFacts> facts(QueueId id) const = 0;
};

class QueueTx : public QueueView {
 public:
    virtual Result<QueueId> add(MessageId message, const NewQueueItem& item, Time first_attempt) = 0;
    /// waiting -> sending, attempts + 1; gives back those that were still waiting.
    virtual Result<std::vector<RecipientId>> start(std::span<const RecipientId> recipients) = 0;
    /// Records the outcome and its event; when all recipients of the item are final the item goes.
    virtual Result<> finish(RecipientId recipient, const Outcome& outcome) = 0;
    /// sending -> waiting at once, without an attempt counted (the lane stopped before it dialled).
    virtual Result<> give_back(std::span<const RecipientId> recipients, Time next_attempt) = 0;
    /// After a crash: every sending row waits again. Gives back how many.
    virtual Result<std::uint64_t> recover() = 0;
    virtual Result<> retry_now(QueueId id) = 0;
    virtual Result<> hold(QueueId id) = 0;
    /// waiting or sending -> held, without an attempt counted; `why` is shown as the last reply.
    virtual Result<> hold_recipients(std::span<const RecipientId> recipients, std::string_view why) = 0;
    virtual Result<> release(QueueId id) = 0;
    /// Takes the message out of the queue without a notice to the sender.
    virtual Result<> cancel(QueueId id) = 0;
};

}  // namespace posthouse::storage
