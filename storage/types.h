#pragma once
/// storage/types: the identifiers and small values of the store. No SQLite type appears in any header of this room
/// that others include. Threads: values.
#include <cstdint>
#include <string>
#include <string_view>

namespace posthouse::storage {

enum class DomainId : std::int64_t {};
enum class AccountId : std::int64_t {};
enum class AliasId : std::int64_t {};
enum class RouteId : std::int64_t {};
enum class RelayClientId : std::int64_t {};
enum class DkimKeyId : std::int64_t {};
enum class MailboxId : std::int64_t {};
enum class MessageId : std::int64_t {};  ///< a stored message: body and facts; never the Message-ID field
enum class QueueId : std::int64_t {};
enum class RecipientId : std::int64_t {};  ///< one recipient of one queued message

using Uid = std::uint32_t;     ///< RFC 3501 2.3.1.1; 0 is none
using ModSeq = std::uint64_t;  ///< RFC 7162; one counter per account, only grows

/// System flags as bits (RFC 3501 2.3.2). \Recent is not stored with a message.
enum class Flag : std::uint8_t { seen = 1, answered = 2, flagged = 4, deleted = 8, draft = 16 };
using FlagBits = std::uint8_t;
constexpr FlagBits bit(Flag flag) { return static_cast<FlagBits>(flag); }

/// RFC 6154; one mailbox of an account per use.
enum class SpecialUse : std::uint8_t { none, drafts, sent, junk, trash, archive };

/// Whether a delivery that goes over the quota is refused (`keep`), or was promised at RCPT and is taken all the same.
enum class QuotaRule { keep, promised };

template <class Id>
constexpr std::int64_t raw(Id id) {
    return static_cast<std::int64_t>(id);
}
enum class LaneId : std::int64_t {};      ///< 0: none
enum class IncidentId : std::int64_t {};  ///< storage/incidents.h; 0: none

/// "q" + number: how a queue id is written in replies, logs and on the command line. 0 where `text` is none.
std::string format_queue_id(QueueId id);
QueueId parse_queue_id(std::string_view text);

}  // namespace posthouse::storage
