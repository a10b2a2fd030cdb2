// posthouse report dmarc ...: what others report about mail in the name of our domains (RFC 7489 7.2).
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "protocols/base/clock.h"
#include "protocols/smtp/presets.h"
#include "storage/dmarc_origins.h"

namespace posthouse::admin {
namespace {

using storage::RoleMailView;
using storage::Snapshot;

constexpr std::size_t kListedMax = 1000;
constexpr std::int64_t kDaysDefault = 30;
constexpr std::uint64_t kDaysMax = 3650;

std::string second_text(std::int64_t seconds) { return format_rfc3339(from_unix_ms(seconds * 1000)); }

Record record_of(const storage::DmarcEntry& one) {
    Record row;
    row.add("id", one.id).add("domain", one.domain).add("organization", one.organization);
    row.add("from", second_text(one.begin_s)).add("to", second_text(one.end_s)).add("policy", one.policy);
    row.add("messages", one.messages).add("failed", one.messages - one.passed);
    return row;
}

Result<> list_reports(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto reports, store->read([&](const Snapshot& s) {
        return RoleMailView(s).dmarc_reports(call.get("--domain"), kListedMax);
    }));
    std::vector<Record> rows;
    for (const storage::DmarcEntry& one : reports) rows.push_back(record_of(one));
    call.out().table(rows,
                     "No DMARC report was read yet: the setting reports.mailboxes names accounts that collect them.");
    return {};
}

Result<> show_report(Invocation& call, std::string_view text) {
    const auto id = ascii::parse_number(text);
    if (!id || *id > ~std::uint64_t{0} >> 1U) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is no number of a report; posthouse report dmarc list shows them", text));
    }
    TRY(storage::Store* const store, call.store());
    TRY(const auto report,
        store->read([&](const Snapshot& s) { return RoleMailView(s).dmarc_report(static_cast<std::int64_t>(*id)); }));
    std::vector<Record> rows;
    for (const storage::DmarcRow& one : report.rows) {
        Record row;
        row.add("source", one.source_ip).add("messages", one.messages).add("disposition", one.disposition);
        row.add("dkim", one.dkim ? "pass" : "fail").add("spf", one.spf ? "pass" : "fail");
        row.add("from", one.header_from).add("signed_by", one.dkim_domain).add("spf_of", one.spf_domain);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "The report is empty.");
    return {};
}

std::string include_of(const std::string& preset) {
    const smtp::Preset* const known = smtp::find_preset(preset);
    return known == nullptr ? std::string() : smtp::spf_include_of(*known);
}

Result<> list_sources(Invocation& call) {
    std::int64_t days = kDaysDefault;
    if (call.has("--days")) {
        const auto wanted = ascii::parse_number(call.get("--days"));
        if (!wanted || *wanted == 0 || *wanted > kDaysMax) {
            return Error(Errc::invalid,
                         fmt::format("\"{}\" is no number of days from 1 to {}", call.get("--days"), kDaysMax));
        }
        days = static_cast<std::int64_t>(*wanted);
    }
    const std::int64_t since = to_unix_ms(system_clock().now()) / 1000 - days * 86'400;
    TRY(storage::Store* const store, call.store());
    TRY(const auto sources, store->read([&](const Snapshot& s) {
        return storage::dmarc_known_sources(s, include_of, call.get("--domain"), since, kListedMax);
    }));
    std::vector<Record> rows;
    for (const storage::DmarcKnownSource& known : sources) {
        const storage::DmarcSource& one = known.source;
        Record row;
        row.add("domain", one.domain).add("source", one.source_ip).add("messages", one.messages);
        row.add("failed", one.messages - one.passed).add("dkim", one.dkim).add("spf", one.spf);
        row.add("refused", one.refused).add("signed_by", one.example);
        row.add("ours", known.origin.is_ours()).add("known_by", storage::to_string(known.origin.kind));
        row.add("way", known.origin.way).add("selector", known.origin.selector);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "Nobody reported mail in that time.");
    return {};
}

// report dmarc sources | list | show ID
Result<> report_dmarc(Invocation& call) {
    const std::string action = call.get("ACTION");
    const auto ids = call.all("ID");
    if (action == "sources" && ids.empty()) return list_sources(call);
    if (action == "list" && ids.empty()) return list_reports(call);
    if (action == "show" && ids.size() == 1) return show_report(call, ids.front());
    return Error(Errc::invalid,
                 "write posthouse report dmarc sources, posthouse report dmarc list, or posthouse report "
                 "dmarc show ID");
}

constexpr Argument kArguments[] = {{Argument::Kind::positional, "ACTION", "sources, list or show"},
                                   {Argument::Kind::positional_any, "ID", "with show: the number of a report"},
                                   {Argument::Kind::option, "--domain", "only what is about this domain of ours"},
                                   {Argument::Kind::option, "--days", "with sources: how far back (30)"}};

constexpr Command kRows[] = {
    {"report", "dmarc", "who sends in the name of our domains, as others report it (RFC 7489)",
     "posthouse report dmarc sources --domain example.org", kArguments, report_dmarc},
};

}  // namespace

std::span<const Command> dmarc_commands() { return kRows; }

}  // namespace posthouse::admin
