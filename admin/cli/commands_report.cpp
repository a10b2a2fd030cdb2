// posthouse report: what was sent, and what became of it, in figures.
#include <fmt/format.h>

#include <iostream>

#include "admin/cli/command.h"
#include "admin/reports/figures.h"
#include "protocols/base/ascii.h"

namespace posthouse::admin {
namespace {

using storage::Figure;
using storage::ReportLine;
using storage::Snapshot;

constexpr std::uint64_t kLinesUsual = 50;

std::string name_of(const ReportLine& line, storage::ReportBy by) {
    if (line.key == "*") return "(others)";
    if (!line.key.empty()) return line.key;
    switch (by) {
        case storage::ReportBy::domain: return "(reports)";
        case storage::ReportBy::account: return "(nobody here)";
        case storage::ReportBy::provider: return "(not known)";
        case storage::ReportBy::address: return "(the system's choice)";
        default: return "(none)";
    }
}

Record row_of(const ReportLine& line, storage::ReportBy by, std::string_view heading, const std::string& name) {
    Record row;
    row.add(heading, name);
    row.add("sent", sent(line, by));
    if (is_of_tries(by)) row.add("tries", tried(line));
    row.add("delivered", line.of(Figure::delivered)).add("delayed", line.of(Figure::delayed));
    row.add("put_off", line.of(Figure::put_off)).add("bounced", line.of(Figure::bounced));
    row.add("held", line.of(Figure::held)).add("complained", line.of(Figure::complained));
    row.add("suppressed", line.of(Figure::suppressed));
    row.add("median", duration_text(line.times.percentile(0.5)));
    row.add("p90", duration_text(line.times.percentile(0.9))).add("p99", duration_text(line.times.percentile(0.99)));
    row.add("bounces", bounces_text(line));
    return row;
}

Result<> run_rebuild(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const storage::ReportRebuild done, storage::report_rebuild(*store));
    Record out;
    out.add("events", done.events).add("figures", done.figures).add("differed", done.differed);
    out.add("queue_differs", done.queue_differs);
    call.out().record(out);
    call.out().say(done.differed == 0 ? "Every figure was as the events say."
                                      : "Figures that were not as the events say are now.");
    if (done.queue_differs > 0) {
        call.out().say(
            fmt::format("{} recipients in the queue are not as their events say: after a restore or fsck "
                        "--repair that is so.",
                        done.queue_differs));
    }
    return {};
}

Result<std::uint64_t> take_limit(Invocation& call) {
    if (!call.has("--limit")) return kLinesUsual;
    const auto number = ascii::parse_number(call.get("--limit"));
    if (number && *number > 0) return *number;
    return Error(Errc::invalid, "--limit takes a number of lines, from 1 on");
}

// report [--by WHAT] [--from DAY] [--to DAY] [--days N] [--domain D] [--account A] [--limit N] [--rebuild]
Result<> report(Invocation& call) {
    if (call.has("--rebuild")) return run_rebuild(call);
    FigureWish wish;
    wish.by = call.get("--by");
    wish.from = call.get("--from");
    wish.to = call.get("--to");
    wish.days = call.get("--days");
    wish.domain = call.get("--domain");
    wish.account = call.get("--account");
    TRY(const FigureQuestion question, read_wish(wish, system_clock().now()));
    TRY(const std::uint64_t limit, take_limit(call));
    TRY(storage::Store* const store, call.store());
    TRY(const auto lines, store->read([&](const Snapshot& snapshot) {
        return storage::ReportView(snapshot).lines(question.by, question.filter);
    }));
    if (call.out().json()) {
        figures_json(question, wish.by, lines).stringify(std::cout, 2);
        std::cout << '\n';
        return {};
    }
    const std::string heading = wish.by.empty() ? "day" : wish.by;
    std::vector<Record> rows;
    ReportLine sum;
    for (const ReportLine& line : lines) {
        if (is_untried(line, question.by)) continue;
        sum.add(line);
        if (rows.size() < limit) rows.push_back(row_of(line, question.by, heading, name_of(line, question.by)));
    }
    if (lines.size() > 1) rows.push_back(row_of(sum, question.by, heading, "all"));
    call.out().table(rows, "Nothing was sent in these days.");
    if (lines.size() > limit) call.out().say(fmt::format("({} of {}; more with --limit)", limit, lines.size()));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kReport[] = {
    {Kind::option, "--by",
     "a line for each day (the default), domain (of the sender), destination (domain of the recipient), provider, way, "
     "route, address (of ours) or account"},
    {Kind::option, "--from", "first day: 2026-11-01, or 7d ago"},
    {Kind::option, "--to", "last day; today where it is not given"},
    {Kind::option, "--days", "so many days (default 30)"},
    {Kind::option, "--domain", "only what this domain sent"},
    {Kind::option, "--account", "only what this account or relay client sent"},
    {Kind::option, "--limit", "at most so many lines (default 50); --json has all"},
    {Kind::flag, "--rebuild", "make all figures anew from the events, and say how many differed"}};

constexpr Command kRows[] = {
    {"", "report", "what was sent and what became of it, in figures; and what others report about our mail",
     "posthouse report --by provider --days 7", kReport, report},
};

}  // namespace

std::span<const Command> report_commands() { return kRows; }

}  // namespace posthouse::admin
