#pragma once
/// storage/submissions: what programs hand in: a message with its envelope as plain values, and what the store keeps of
/// it beside the message itself: the idempotency key, and notes of the program's own.
///
/// Idempotency (draft-ietf-httpapi-idempotency-key-header): a key belongs to an account or a relay client; whatever
/// comes with a key that is known is the same message and is queued no second time.
/// Invariants  1. Key, answer and message are one commit: a client that heard nothing may ask again after any crash.
///             2. Only what was accepted is remembered: a refused request can be mended and sent with the same key.
/// Threads: as Tx and Snapshot, which the views are made from and must outlive them.   Limits: below; keys live for
/// `submission.key_hours`.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/queue.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::int64_t kSubmissionKeysMax = 1'000'000;  ///< of all owners; beyond it the oldest go early
inline constexpr std::size_t kTagsMax = 20;
inline constexpr std::size_t kMetadataMax = 50;
inline constexpr std::size_t kNoteOctetsMax = 256;  ///< of a tag, of a name and of a value

/// Whose key it is.
std::string submission_owner(AccountId account);
std::string submission_owner(RelayClientId client);

/// What was accepted under a key.
struct KeptSubmission {
    std::string digest;  ///< of the request; for SMTP "rcpt:" and 8 octets for each recipient
    MessageId message{};
    QueueId queue{};  ///< 0: it went to mailboxes here only
    std::string answer;
    Time made{};
};

/// Kept as long as the message's events are (storage/upkeep).
struct SubmissionNotes {
    AccountId account{};
    std::string tags;      ///< JSON array
    std::string metadata;  ///< JSON object
};

class SubmissionView {
 public:
    explicit SubmissionView(const Snapshot& snapshot);
    /// Nothing where the key is not known, or was forgotten by now.
    Result<std::optional<KeptSubmission>> find(std::string_view owner, std::string_view key, Time now) const;
    Result<std::optional<SubmissionNotes>> notes(MessageId message) const;

 protected:
    explicit SubmissionView(Connection& db) : db_(db) {}
    Connection& db_;
};

class SubmissionTx final : public SubmissionView {
 public:
    explicit SubmissionTx(Tx& tx);
    /// In place of what `owner` had under the key; `kept.made` is now. Forgets a few of the oldest on the way.
    Result<> keep(std::string_view owner, std::string_view key, const KeptSubmission& kept);
    Result<> note(MessageId message, const SubmissionNotes& notes);

 private:
    Result<> forget_old();
    Tx& tx_;
};

/// One recipient's answer, in the words of SMTP.
struct RecipientVerdict {
    std::string address;
    int code = 250;  ///< RFC 5321 4.2
    std::string enhanced;
    std::string sentence;
    bool is_accepted() const { return code < 300; }
    bool is_transient() const { return code >= 400 && code < 500; }
};

/// A message that was taken.
struct SubmissionReceipt {
    std::string id;          ///< "q12", or "m12" where it is in mailboxes here only
    std::string message_id;  ///< of the Message-ID field, with its brackets
    std::vector<RecipientVerdict> recipients;
};

/// A message that a program hands in.
struct Submission {
    std::optional<AccountId> account;   ///< in whose name; nothing: whoever owns the author's address
    std::string login;                  ///< how the log calls it
    std::string client;                 ///< address it comes from
    std::optional<std::string> sender;  ///< reverse-path, an address; nothing: the author's
    std::vector<std::string> recipients;
    std::string octets;  ///< the message, lines ended by CRLF
    std::string envid;
    Ret ret = Ret::unspecified;
    NotifyBits notify = 0;
    TlsWish tls = TlsWish::policy;
    std::string stream;                    ///< that it is of, or ""
    std::optional<QueueClass> mail_class;  ///< nothing: the stream's; transactional; bulk where the header says so
    std::string key;                       ///< idempotency key, or ""
    std::string digest;                    ///< SHA-256 of the request that the key goes with
    std::string tags = "[]";
    std::string metadata = "{}";
    /// Makes the answer that is kept with the key. Called on the commit thread.
    std::function<std::string(const SubmissionReceipt&)> answer;
};

/// Why nothing was taken.
struct SubmissionRefusal {
    enum class Kind {
        invalid,  ///< the message or the envelope
        denied,   ///< not in that name, or it would fail DMARC
        too_large,
        recipients,  ///< none of them can be written to
        no_space,
        unavailable,  ///< for now
        reused_key,   ///< the key stands for another request
        in_work,      ///< a request with this key is being worked on
    };
    Kind kind = Kind::invalid;
    std::string field;     ///< "from", "to", "message"; "" where it is none of these
    std::string sentence;  ///< plain, for the client
};

struct SubmissionOutcome {
    std::optional<SubmissionRefusal> refusal;
    std::vector<RecipientVerdict> recipients;  ///< beside a refusal, as far as they were looked at
    std::string answer;                        ///< as Submission::answer made it, now or the first time
    bool repeated = false;                     ///< the key was known: this is the first answer
};

/// How a room asks for a message to be taken. Any thread but a loop's; returns when it is durable, or refused.
using Submit = std::function<SubmissionOutcome(Submission)>;

}  // namespace posthouse::storage
