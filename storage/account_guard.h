#pragma once
/// storage/account_guard: an account that suddenly behaves as if it were stolen: its mail is taken and held for review,
/// not refused and not sent. Judged against the account's own past, never against other accounts.
///
///   burst     recipients of this and the last hour: kBurstMin at least, and three times its own busiest hour of four
///             weeks; and most of them are new to it
///   and then  kBouncesMin of them, and one in seven, do not exist; or it is a flood: ten times its busiest hour in
///             kFloodMessages messages or more that do not call themselves mail to many
///   bulk      what calls itself mail to many, or is sent so over HTTP, is judged by whom it goes to: kBulkMessages
///             messages, of whose recipients four in five were never written to, kBulkFactor times as many strangers as
///             in any hour before. Before is what its stream sent; where it names none, or none that sent anything,
///             what the account sent; of either without the first kFirstHours, in which everybody is new. Of a stream
///             that was made within kNewStream nothing is known: it is not judged so
/// Only mail that leaves counts, that was submitted with a login, and has a sender. Released: not judged for a week.
/// Invariants  1. What is held was accepted: it leaves when somebody releases it, or is cancelled by hand.
///             2. Counting and holding are part of the commit that takes the message, or that records the bounce.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: below.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/queue.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::uint64_t kBurstMin = 25;
inline constexpr std::uint64_t kBurstFactor = 3;
inline constexpr std::uint64_t kFreshPercent = 60;
inline constexpr std::uint64_t kBouncesMin = 4;
inline constexpr std::uint64_t kBouncesPercent = 15;
inline constexpr std::uint64_t kFloodFactor = 10;
inline constexpr std::uint64_t kFloodRecipients = 200;
inline constexpr std::uint64_t kFloodMessages = 100;
inline constexpr std::uint64_t kFloodFreshPercent = 80;
inline constexpr std::uint64_t kBulkMessages = 40;
inline constexpr std::uint64_t kBulkFactor = 4;
inline constexpr std::uint64_t kBulkFreshPercent = 80;
inline constexpr std::chrono::hours kNewStream{7 * 24};
inline constexpr std::int64_t kFirstHours = 72;
inline constexpr std::int64_t kPastHours = 28 * 24;
inline constexpr std::size_t kKnownRecipientsMax = 200'000;  ///< of one account; further ones count as known
inline constexpr std::chrono::hours kTrustAfterRelease{7 * 24};

/// What an account did.
struct SendingFigures {
    std::uint64_t messages = 0;  ///< in this and the last hour
    std::uint64_t letters = 0;   ///< of them not to many
    std::uint64_t recipients = 0;
    std::uint64_t fresh = 0;    ///< of them never written to before
    std::uint64_t bounced = 0;  ///< of them that do not exist
    std::uint64_t busiest = 0;  ///< recipients of its busiest hour before
};
/// One plain sentence, or nothing where it is all as ever. Pure.
std::optional<std::string> judge_sending(const SendingFigures& figures);

/// What an account sent to many, of one stream.
struct BulkFigures {
    std::uint64_t messages = 0;  ///< in this and the last hour
    std::uint64_t recipients = 0;
    std::uint64_t fresh = 0;  ///< of them never written to before
    std::optional<std::uint64_t>
        usual_fresh;  ///< the most strangers of an hour before; nothing where there is no before
};
/// Likewise.
std::optional<std::string> judge_bulk(const BulkFigures& figures);

class AccountGuardView {
 public:
    explicit AccountGuardView(const Snapshot& snapshot);
    explicit AccountGuardView(Tx& tx);
    Result<SendingFigures> figures(AccountId account, Time now) const;
    Result<BulkFigures> bulk_figures(AccountId account, std::string_view stream, Time now) const;
    Result<bool> is_trusted(AccountId account, Time now) const;

 protected:
    Result<std::optional<std::uint64_t>> usual_fresh(AccountId account, std::string_view stream, Time now) const;
    Connection& db_;
};

class AccountGuardTx final : public AccountGuardView {
 public:
    explicit AccountGuardTx(Tx& tx);
    /// After the message was put into the queue: counts it, and holds it where the account is held or must be.
    Result<> submitted(QueueId queue, const NewQueueItem& item);
    /// One of its recipients does not exist.
    Result<> bounced(AccountId account);
    /// These wait again, and may have been tried while the account was held: they are held with the rest. What was let
    /// go by hand is not.
    Result<> put_off(AccountId account, std::span<const RecipientId> recipients);
    /// It was looked at and is all right: what is held is due at once. Errc::not_found where it is not held.
    Result<std::uint64_t> release(AccountId account);
    /// It was stolen: what is held goes nowhere. Gives back how many messages.
    Result<std::uint64_t> discard(AccountId account);
    /// Figures of before four weeks.
    Result<> forget_old();

 private:
    Result<> judge(AccountId account);
    Result<> judge_bulk_of(AccountId account, const std::string& stream);
    Result<> hold_all(AccountId account, const std::string& why);
    Result<std::int64_t> count_fresh(AccountId account, const std::vector<NewRecipient>& recipients);
    Tx& tx_;
};

}  // namespace posthouse::storage
