// What was sent, in figures. The same as `posthouse report --json`.
//
//   GET /api/v1/report?by=provider&from=2026-11-01&to=2026-11-07&days=7&domain=example.org&account=alice@example.org
#include <sstream>

#include "admin/http/router.h"
#include "admin/reports/figures.h"

namespace posthouse::admin {
namespace {

using storage::Snapshot;

HttpAnswer show_report(Call& call) {
    FigureWish wish;
    const std::pair<std::string_view, std::string*> known[] = {{"by", &wish.by},         {"from", &wish.from},
                                                               {"to", &wish.to},         {"days", &wish.days},
                                                               {"domain", &wish.domain}, {"account", &wish.account}};
    for (const auto& [name, value] : call.query) {
        bool found = false;
        for (const auto& [like, slot] : known) {
            if (name != like) continue;
            *slot = value;
            found = true;
        }
        if (!found) return problem(400, "There are by, from, to, days, domain and account.", name);
    }
    const auto question = read_wish(wish, system_clock().now());
    if (!question) return problem(question.error());
    const auto lines = call.deps.store->read(
        [&](const Snapshot& snapshot) { return storage::ReportView(snapshot).lines(question->by, question->filter); });
    if (!lines) return problem(lines.error());
    std::ostringstream text;
    figures_json(*question, wish.by, *lines).stringify(text);
    HttpAnswer out;
    out.body = text.str() + "\n";
    return out;
}

constexpr Endpoint kRows[] = {
    {"GET", "/api/v1/report", Access::server, show_report},
};

}  // namespace

std::span<const Endpoint> report_endpoints() { return kRows; }

}  // namespace posthouse::admin
