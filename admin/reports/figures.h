#pragma once
/// admin/reports/figures: the figures of what was sent (storage/report), as the command line and the HTTP API show
/// them.
/// Pure.
#include <Poco/JSON/Object.h>

#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/report.h"

namespace posthouse::admin {

/// What somebody wrote; "" where nothing.
struct FigureWish {
    std::string by;    ///< "" is day
    std::string from;  ///< as parse_moment() reads it; its whole day counts
    std::string to;    ///< likewise
    std::string days;  ///< so many up to `to`, in place of `from`; "" is 30
    std::string domain;
    std::string account;
    FigureWish() = default;
};

struct FigureQuestion {
    storage::ReportBy by = storage::ReportBy::day;
    storage::ReportFilter filter;
};

/// Errc::invalid with the sentence to show.
Result<FigureQuestion> read_wish(const FigureWish& wish, Time now);
/// Whether the lines are of ways, routes, providers or addresses: mail that was not tried yet has none.
bool is_of_tries(storage::ReportBy by);
/// Recipients: taken for sending, or (of tries) first tried by it.
std::uint64_t sent(const storage::ReportLine& line, storage::ReportBy by);
/// A line that is of tries, and has none: what waits for its first.
bool is_untried(const storage::ReportLine& line, storage::ReportBy by);
/// Recipients that were tried, each try once.
std::uint64_t tried(const storage::ReportLine& line);
/// "2.5 s", "4 min", "3 h"; "" for none.
std::string duration_text(std::optional<Milliseconds> took);
/// "3 recipient-unknown, 1 mailbox-full", the most first.
std::string bounces_text(const storage::ReportLine& line);
/// The whole answer: the question, the lines, and their sum.
Poco::JSON::Object figures_json(const FigureQuestion& question, std::string_view by,
                                const std::vector<storage::ReportLine>& lines);

}  // namespace posthouse::admin
