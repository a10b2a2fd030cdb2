#pragma once
/// storage/lost_mail: mail without a sender whose failure nobody would hear of (RFC 5321 6.1: no report about a
/// report), though somebody should: reports and alarms of our own, and reports that could not be made. Kept until the
/// postmaster was told, once a day (relay/lost_mail).
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: kLostMailMax; the oldest go.
#include <cstdint>
#include <string>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::int64_t kLostMailMax = 10'000;
inline constexpr std::size_t kLostTextMax = 500;  ///< octets of what and why

struct LostMail {
    std::int64_t id = 0;
    Time at{};
    QueueId queue{};
    std::string recipient;  ///< whom it did not reach
    std::string what;       ///< "delivery report about q12"
    std::string reply;      ///< why, word for word
};

class LostMailView {
 public:
    explicit LostMailView(const Snapshot& snapshot);
    /// What was given up before, the oldest first.
    Result<std::vector<LostMail>> before(Time before, std::size_t count_max) const;
    Result<std::uint64_t> count_before(Time before) const;

 protected:
    explicit LostMailView(Connection& db) : db_(db) {}
    Connection& db_;
};

class LostMailTx final : public LostMailView {
 public:
    explicit LostMailTx(Tx& tx);
    /// At the time of the write.
    Result<> add(QueueId queue, std::string_view recipient, std::string_view what, std::string_view reply);
    /// Those that the postmaster was told of.
    Result<> remove_before(Time before);

 private:
    Tx& tx_;
};

}  // namespace posthouse::storage
