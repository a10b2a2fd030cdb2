#pragma once
/// storage/report: what was sent, added up: from the rows that are written in the commits of the events themselves.
///
/// Counted is each recipient that was taken for sending; what is delivered here is not.
///   event -> ReportTally (one a batch) -> report_rows, report_counts, in the events' own commit
/// Invariants  1. A figure is what the events say: report_rebuild() makes all of them anew, and finds them equal.
///             2. So many rows a day are told apart; what comes beyond is counted under "*" (report_tally.h).
/// Days are UTC. Times to deliver stand in buckets of half an octave: percentiles are right to about a fifth.
/// Threads: as Snapshot, which the view is made from and must not outlive.
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/queue.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Store;

/// What is counted, of recipients. The numbers are stored: new ones go at the end.
enum class Figure : std::uint8_t {
    sent,        ///< taken for sending
    delivered,   ///< the next hop took it
    delayed,     ///< the first try was put off
    put_off,     ///< tries that were
    bounced,     ///< given up or refused for good
    held,        ///< kept back: by hand, by a route, under an incident
    released,    ///< let go again
    cancelled,   ///< taken out of the queue by hand
    complained,  ///< called it spam
    suppressed,  ///< not sent: known not to take it
    tried,       ///< for the first time, by whatever way: what "sent" is by way, route, address and provider
};
inline constexpr std::size_t kFigures = 11;
std::string_view to_string(Figure figure);  ///< "put_off"

/// How long deliveries took: from 0 to 128 ms, then two buckets each time it doubles.
class TimeHistogram {
 public:
    static constexpr std::size_t kBuckets = 64;
    static std::size_t bucket_of(Milliseconds took);
    static Milliseconds lower_bound(std::size_t bucket);
    void add(std::size_t bucket, std::uint64_t count);
    void add(const TimeHistogram& other);
    std::uint64_t total() const { return total_; }
    /// The time within which `share` (0..1) of them arrived, between the bounds of its bucket; none without any.
    std::optional<Milliseconds> percentile(double share) const;

 private:
    std::array<std::uint64_t, kBuckets> counts_{};
    std::uint64_t total_ = 0;
};

struct ReportLine {
    std::string key;  ///< "2026-11-29", "google", "alice@example.org"; "" where there is none, "*" all others
    std::array<std::uint64_t, kFigures> figures{};
    std::map<std::string, std::uint64_t, std::less<>> bounced_by;  ///< by class: "recipient-unknown"
    TimeHistogram times;

    std::uint64_t of(Figure figure) const { return figures[static_cast<std::size_t>(figure)]; }
    void add(const ReportLine& other);
};

enum class ReportBy : std::uint8_t { day, domain, destination, provider, way, address, account, route };
std::optional<ReportBy> parse_report_by(std::string_view name);
inline constexpr std::string_view kReportByNames = "day, domain, destination, provider, way, address, account, route";

struct ReportFilter {
    std::int64_t from_day = 0;  ///< since 1970, UTC
    std::int64_t to_day = 0;    ///< likewise; that day too
    std::string domain;         ///< of the sender; "" all
    std::string account;        ///< address of an account, or name of a relay client; "" all
    ReportFilter() = default;
};

class ReportView {
 public:
    explicit ReportView(const Snapshot& snapshot);
    /// By day in order of days; else what was sent, tried or met most stands first. Errc::not_found: no such account.
    Result<std::vector<ReportLine>> lines(ReportBy by, const ReportFilter& filter) const;

 private:
    Connection& db_;
};

/// A recipient in the queue, as its events tell it.
struct ReplayedRecipient {
    std::int64_t queue = 0;
    std::string address;
    RecipientState state = RecipientState::waiting;
    std::string reply_class;                ///< of the last reply; "" before one
    std::optional<std::uint32_t> attempts;  ///< begun; nothing where the events are of a version that did not say so
    std::optional<Time> next;               ///< when it is due, where it waits; likewise
    auto operator<=>(const ReplayedRecipient&) const = default;
};
/// The queue as the events alone tell it, in order; with those that are delivered, failed or cancelled, or without.
enum class Replayed : std::uint8_t { open, all };
Result<std::vector<ReplayedRecipient>> replay_queue(const Snapshot& snapshot, Replayed which = Replayed::open);
/// The open ones from the queue's own rows; an attempt under way has not begun.
Result<std::vector<ReplayedRecipient>> stored_queue(const Snapshot& snapshot);

struct ReportRebuild {
    std::uint64_t events = 0;         ///< that were read
    std::uint64_t figures = 0;        ///< that the events say
    std::uint64_t differed = 0;       ///< that were not as the events say
    std::int64_t from_day = 0;        ///< the first day that is known whole from events; earlier ones stay
    std::uint64_t queue_differs = 0;  ///< recipients in the queue that are not as their events say
    ReportRebuild() = default;
};
/// Makes all figures anew from the events; those of days whose events are gone stay. Each day that differs is a write
/// of its own (kReportRowsADay bounds it), so that commits of others fit between. Blocking.
Result<ReportRebuild> report_rebuild(Store& store);

}  // namespace posthouse::storage
