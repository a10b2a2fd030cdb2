#pragma once
/// relay/outcome: what follows from an attempt: when to try again, who must be told, and the one commit that says it.
///
/// Schedule: retry_first, then 1.5 times as long each time up to retry_max, +-10 % at random; the last try falls on the
/// expiry. After delay_notice_after the sender is told once, at the expiry that it was given up (RFC 3464).
/// NOTIFY (RFC 3461 4.1): never silences; without NOTIFY failures and delays are told; success only where asked for.
/// Threads: schedule and plan are pure; record on the loop.
#include <string>
#include <vector>

#include "protocols/bounce/reply_class.h"
#include "relay/core.h"
#include "relay/report.h"

namespace posthouse::relay {

/// One recipient of an attempt.
struct Settled {
    storage::QueueRecipient recipient;
    Verdict verdict;
    std::string remote;
    bool dsn_passed_on = false;  ///< the next hop took over NOTIFY
    bool another_way = false;    ///< the route names a way that may do better: due at once, whatever was said
    Settled() = default;
};

/// What the verdict means (protocols/bounce). For plan_outcome, and for who schedules.
bounce::Classification classify(const Settled& settled);

/// The wait before the next attempt; `attempts` have been made (at least one).
Milliseconds retry_delay(const RelayOptions& options, std::uint32_t attempts, Random& random);

/// What is to be written down about an attempt, and the reports that go with it.
struct OutcomePlan {
    struct Row {
        storage::RecipientId id{};
        storage::Outcome outcome;
        std::string address;
        bool expired = false;
        bool delay_told_now = false;
    };
    std::vector<Row> rows;
    std::vector<Report> reports;  ///< one per kind at most; without original_header
};
OutcomePlan plan_outcome(const RelayOptions& options, const std::string& hostname, const storage::QueueItem& item,
                         const std::vector<Settled>& settled, const std::string& dialogue, Time now, Random& random);

/// Writes the outcome of one attempt; goes on trying while the store cannot, until it could or the server stops.
net::Task<void> record_outcome(Core& core, storage::QueueItem item, std::vector<Settled> settled, std::string dialogue,
                               OutgoingMessagePtr message);

/// Where a report about `sender` goes: mailboxes here, or the queue. Follows aliases and "+tag".
struct SenderPlace {
    std::vector<storage::AccountId> accounts;
    std::vector<std::string> remote;
};
Result<SenderPlace> find_sender(const storage::CatalogView& catalog, std::string_view sender);

}  // namespace posthouse::relay
