#pragma once
/// storage/report_tally (internal): from events to figures. What an event adds is decided here alone, for the commit of
/// the event and for the rebuild; a batch adds up in memory, and costs an upsert for each figure that differs.
/// Threads: a value.   Limits: kReportRowsADay.
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/distinct.h"
#include "storage/events.h"

namespace posthouse::storage {

class Connection;

/// From here on a day's new destinations are "*"; from half as much again on its new senders are, too.
inline constexpr std::int64_t kReportRowsADay = 4'000;
/// report_counts.what of deliveries that took as long as bucket 0 says, 1 ...
inline constexpr int kTimesFrom = 100;
inline constexpr std::string_view kOthers = "*";
/// In report_rows.way, between the way and the route that chose it, where one did: "direct", "relay<TAB>newsletters".
inline constexpr char kRouteMark = '\t';

struct ReportKey {
    std::int64_t day = 0;
    std::string who;
    std::string domain;
    std::string destination;
    std::string provider;
    std::string way;
    std::string source;
    auto operator<=>(const ReportKey&) const = default;
};

/// The first of a recipient's life: it says who and whose domain.
bool begins_life(EventKind kind);

struct CountedEvent {
    EventKind kind = EventKind::system;
    Time at{};
    std::string_view recipient;
    std::optional<Time> accepted;  ///< of a delivery: since when it was on its way
    bool is_first_delay = false;   ///< of an attempt: the recipient was not refused before
};

/// How it went with a place: what came through, and the tries since then that did not.
struct Passage {
    Time ok{};
    Time failing{};
    std::uint64_t tries = 0;
    Distinct recipients;

    void passed(Time at);
    void refused(Time at, std::string_view recipient);
    /// What happened behind it.
    void follow(const Passage& later);
};

class ReportTally {
 public:
    using Cell = std::pair<int, std::string>;  ///< report_counts.what and class
    using Cells = std::map<Cell, std::int64_t>;

    /// Nothing for kinds that no figure is about.
    void count(const CountedEvent& event, const EventFacts& facts);
    void merge(ReportTally&& other);
    /// A row as it is.
    void put(const ReportKey& key, const Cells& cells) { rows_[key] = cells; }
    const std::map<ReportKey, Cells>& rows() const { return rows_; }
    const std::map<std::string, Passage>& places() const { return places_; }

 private:
    void note_place(const CountedEvent& event, const EventFacts& facts, const std::string& destination);
    std::map<ReportKey, Cells> rows_;
    std::map<std::string, Passage> places_;
};

/// How many rows the day has that was written last, so that they need not be counted for each new one.
struct ReportRowCount {
    std::int64_t day = -1;
    std::int64_t rows = 0;
    std::int64_t told_day = -1;  ///< that the log says is full
};

/// Adds it to the tables, within the transaction of `db`. What a full day counts among the others is counted for the
/// alarm of its place (place_days), where `others` says so: not when figures are made anew.
enum class Others : std::uint8_t { counted, known };
Result<> write_tally(Connection& db, const ReportTally& tally, ReportRowCount& known, Others others);

}  // namespace posthouse::storage
