#include "admin/cli/return_paths.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "protocols/smtp/presets.h"

namespace posthouse::admin {
namespace {

std::string filled(std::string_view text, const std::string& domain) {
    constexpr std::string_view kPlace = "{domain}";
    std::string out(text);
    for (std::size_t at = out.find(kPlace); at != std::string::npos; at = out.find(kPlace, at + domain.size())) {
        out.replace(at, kPlace.size(), domain);
    }
    return out;
}

// What only the service knows: an account's number, its region.
bool has_blanks(std::string_view text) { return text.contains('{') || text.contains('('); }

std::string without_final_dot(std::string name) {
    if (name.ends_with('.')) name.pop_back();
    return ascii::to_lower(name);
}

using Found = Result<std::vector<std::string>>;

ReturnPathFinding judge_cname(const DnsRecord& wanted, const std::vector<std::string>& found) {
    ReturnPathFinding out;
    if (found.empty()) {
        out.status = RecordStatus::missing;
        out.sentence = fmt::format("add it: {}", zone_line(wanted));
    } else if (without_final_dot(found.front()) == without_final_dot(wanted.value)) {
        out.status = RecordStatus::good;
    } else {
        out.status = RecordStatus::different;
        out.sentence = fmt::format("it leads to {}; the service wants {}", found.front(), wanted.value);
    }
    return out;
}

ReturnPathFinding judge_other(const DnsRecord& wanted, const std::vector<std::string>& found) {
    ReturnPathFinding out;
    RecordCheck check = judge_record(wanted, found);
    // "10 feedback-smtp.{region}.amazonses.com (...)": that there is one is what can be told.
    if (has_blanks(wanted.value) && !found.empty()) check.status = RecordStatus::good;
    out.status = check.status;
    if (check.status != RecordStatus::good) out.sentence = fmt::format("{}: {}", check.sentence, zone_line(wanted));
    return out;
}

ReturnPathFinding judge(const DnsRecord& wanted, const Found& found) {
    ReturnPathFinding out;
    if (!found)
        out.sentence = found.error().context;
    else
        out = wanted.type == "CNAME" ? judge_cname(wanted, *found) : judge_other(wanted, *found);
    return out;
}

}  // namespace

std::string return_path_domain(const storage::Way& way, const std::string& sender_domain) {
    if (!way.return_path.empty()) return way.return_path;
    const smtp::Preset* const preset = smtp::find_preset(way.preset);
    return preset == nullptr ? std::string() : filled(preset->return_path, sender_domain);
}

std::vector<DnsRecord> return_path_records(const storage::Way& way, const std::string& sender_domain,
                                           const std::string& hostname) {
    std::vector<DnsRecord> out;
    if (!way.return_path.empty()) {
        out.push_back(
            {way.return_path, "MX", fmt::format("10 {}.", hostname), Need::required, "bounces come back here"});
        const std::string term = relay_spf_term(relay_host_of(way.url));
        out.push_back({way.return_path, "TXT",
                       fmt::format("v=spf1 a:{}{}{} ~all", hostname, term.empty() ? "" : " ", term), Need::required,
                       "receivers ask it who may send with this envelope sender"});
        return out;
    }
    const smtp::Preset* const preset = smtp::find_preset(way.preset);
    if (preset == nullptr || preset->return_path.empty()) return out;
    for (const smtp::PresetRecord& record : preset->records) {
        if (record.name != preset->return_path) continue;
        out.push_back({filled(record.name, sender_domain), std::string(record.type), std::string(record.value),
                       Need::required, fmt::format("{} puts this name into the envelope sender", preset->title)});
    }
    return out;
}

std::vector<ReturnPathFinding> check_return_paths(Lookup& lookup, const std::vector<DnsRecord>& wanted,
                                                  std::chrono::milliseconds budget) {
    std::vector<Lookup::Question> questions;
    for (const DnsRecord& one : wanted) {
        if (!has_blanks(one.name)) questions.push_back({one.type, one.name});
    }
    const std::vector<Found> answers = lookup.ask_all(questions, budget);
    std::vector<ReturnPathFinding> out;
    std::size_t next = 0;
    for (const DnsRecord& one : wanted) {
        ReturnPathFinding finding;
        if (has_blanks(one.name))
            finding.sentence = "the service shows the name; compare it there";
        else
            finding = judge(one, answers[next++]);
        finding.name = fmt::format("{} {}", one.name, one.type);
        out.push_back(std::move(finding));
    }
    return out;
}

}  // namespace posthouse::admin
