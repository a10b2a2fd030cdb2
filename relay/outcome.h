#pragma once
/// relay/outcome: what follows from an attempt: when to try again, who must be told, and the one commit that says it.
///
/// The schedule is relay/retry's; the last try falls on the expiry. What stays in its lane is due at once and held by
/// the lane. After delay_notice_after the sender is told once, at the expiry that it was given up (RFC 3464).
/// What is refused for a fault of ours, and has no other way, is held under its incident for hold_max; then it fails.
/// Whoever took mail before and is unknown to a site that knows nobody now (storage/takers) waits for its directory.
/// NOTIFY (RFC 3461 4.1): never silences; without NOTIFY failures and delays are told; success only where asked for.
/// Threads: plan is pure; record on the loop.
#include <string>
#include <vector>

#include "protocols/bounce/reply_class.h"
#include "relay/core.h"
#include "relay/report.h"
#include "relay/retry.h"
#include "storage/address_walk.h"
#include "storage/incidents.h"
#include "storage/suppression.h"

namespace posthouse::relay {

/// What a receiver says against us, whatever becomes of the message.
struct Warning {
    storage::IncidentKey key;
    storage::Refusal refusal;
    Warning() = default;
};

/// One recipient of an attempt.
struct Settled {
    storage::QueueRecipient recipient;
    Verdict verdict;
    Stage stage = Stage::transaction;
    Aftermath after;
    std::string remote;
    std::string dialogue;        ///< as this recipient is told it
    bool dsn_passed_on = false;  ///< the next hop took over NOTIFY
    bool another_way = false;    ///< the route names a way that may do better: due at once, whatever was said
    std::optional<storage::IncidentKey> fault;  ///< it was refused for a fault of ours: held, not bounced
    storage::IncidentId held_on{};              ///< it was not tried: it stays under this incident
    storage::IncidentId only_under{};  ///< likewise: nothing is written unless it is held under this one still
    bool suppressed = false;                    ///< it was not tried: the recipient gets no mail for now
    std::optional<storage::IncidentId> outage;  ///< it is called unknown, but took mail before: it waits for the end of
                                                ///< this incident
    std::optional<storage::Refusal> turned_away;  ///< another host of the site had refused us in its greeting
    std::vector<Warning> warnings;                ///< told at once; nothing is held for them
    bool by_mx = false;                         ///< the recipient's own server answered, not a relay
    bool keeps_class = false;                   ///< it was not tried: what the last reply meant stays
    storage::IncidentId heals{};                ///< its delivery shows that this incident is over
    std::string way;                            ///< by which it was tried; "": by none
    std::string source;                         ///< from which local address; "" where the system chose
    std::string provider;                       ///< as in Target
    std::string route;                          ///< likewise
    bool under_token = false;                   ///< its reverse-path was a token of ours
    Settled() = default;
};

/// When it is given up.
Time expiry(const RelayOptions& options, const storage::QueueItem& item);

/// What the verdict means (protocols/bounce). For plan_outcome, and for who schedules.
bounce::Classification classify(const Settled& settled);

/// What is to be written down about an attempt, and the reports that go with it.
struct OutcomePlan {
    struct Row {
        storage::RecipientId id{};
        storage::Outcome outcome;
        std::string address;
        std::string orcpt;
        bool expired = false;
        bool delay_told_now = false;
        bool stays_in_lane = false;
        bool is_nobody = false;                              ///< the recipient does not exist
        bool is_unknown = false;                             ///< so says its site, and it is to be weighed
        std::optional<storage::SuppressionReason> evidence;  ///< against writing to the recipient again
        bool clears = false;                                 ///< it took the message: evidence against it is void
        bool took = false;                                   ///< likewise, or a relay did for it
        std::optional<storage::IncidentKey> fault;
        std::vector<Warning> warnings;
        storage::IncidentId heals{};
        storage::IncidentId only_under{};
    };
    std::vector<Row> rows;
    std::vector<Report> reports;  ///< one per kind at most; without original_header
    bool is_noted = false;        ///< who took it stands in the store already
};
OutcomePlan plan_outcome(const RelayOptions& options, const std::string& hostname, const storage::QueueItem& item,
                         const std::vector<Settled>& settled, storage::LaneId lane, Time now);

/// Writes the outcome of one attempt, that of many recipients in several commits; goes on trying while the store
/// cannot, until it could or the server stops. Gives back the recipients that stay in their lane.
struct Staying {
    storage::RecipientId id{};
    bool delay_told = false;
};
net::Task<std::vector<Staying>> record_outcome(Core& core, storage::QueueItem item, std::vector<Settled> settled,
                                               OutgoingMessagePtr message, storage::LaneId lane);

/// A report whose octets wait for their commit.
struct StagedReport {
    Report report;
    storage::StagedBodyPtr body;
    mime::MessageFacts facts;
};
/// Fills in the message (null: as it is) and makes the octets; blocking.
Result<std::vector<StagedReport>> stage_reports(storage::Store& store, std::vector<Report> reports,
                                                const OutgoingMessagePtr& message, Random& random);
/// To the sender's mailbox, or into the queue; to whom it stands for where the reverse-path is one that we made
/// (`sealing_key`: of the store). Where nobody is left it goes nowhere, and the log says so.
Result<> deliver_report(storage::Tx& tx, const StagedReport& staged, const RelayOptions& options,
                        const std::string& sealing_key);

/// Where a report about `sender` goes: where mail to that address would go, into mailboxes here or the queue.
struct SenderPlace {
    std::vector<storage::AccountId> accounts;
    std::vector<std::string> remote;
};
Result<SenderPlace> find_sender(const storage::AddressView& addresses, std::string_view sender);

}  // namespace posthouse::relay
