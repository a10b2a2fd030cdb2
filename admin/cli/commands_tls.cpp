// posthouse tls ..., posthouse report ...: the security of transport, as we see others and as they see us.
#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "admin/cli/command.h"
#include "admin/reports/tls_report.h"
#include "protocols/base/ascii.h"
#include "storage/transport.h"

namespace posthouse::admin {
namespace {

constexpr std::size_t kListedMax = 1000;
constexpr std::size_t kFileOctetsMax = 32UL * 1024 * 1024;  // a mail with a report of 10 MiB in base64

// tls policy DOMAIN
Result<> tls_policy(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Settings settings, call.settings());
    TRY(const TlsExplanation found, call.hooks().explain_tls(*store, settings, call.get("DOMAIN")));
    if (call.out().json()) {
        std::vector<Record> rows;
        for (const TlsExplanation::Host& host : found.hosts) {
            Record row;
            row.add("host", host.name).add("policy", host.policy).add("why", host.why).add("tlsa", host.records);
            row.add("mta_sts", found.sts).add("mx_validated", found.mx_secure).add("dnssec", found.dnssec);
            rows.push_back(std::move(row));
        }
        call.out().table(rows, "");
        if (!found.refusal.empty()) return Error(Errc::refused, found.refusal);
        return {};
    }
    call.out().say(fmt::format("DNSSEC:   {}\n", found.dnssec));
    if (!found.refusal.empty()) return Error(Errc::refused, found.refusal);
    call.out().say(
        fmt::format("MX list:  {}\n", found.mx_secure ? "validated" : "not signed, so that DANE does not apply"));
    call.out().say(fmt::format("MTA-STS:  {}\n\n", found.sts));
    std::vector<Record> rows;
    for (const TlsExplanation::Host& host : found.hosts) {
        Record row;
        row.add("host", host.name).add("policy", host.policy).add("why", host.why);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "");
    return {};
}

Result<std::string> read_file(const std::string& name) {
    std::ifstream file;
    if (name != "-") file.open(name, std::ios::binary);
    std::istream& in = name == "-" ? std::cin : file;
    if (!in) return Error(Errc::not_found, fmt::format("{} cannot be read", name));
    std::string out;
    std::vector<char> piece(64UL * 1024);
    while (in) {
        in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
        out.append(piece.data(), static_cast<std::size_t>(in.gcount()));
        if (out.size() > kFileOctetsMax) return Error(Errc::too_large, fmt::format("{} is larger than 32 MiB", name));
    }
    return out;
}

Result<> import_report(Invocation& call, const std::string& name) {
    TRY(const std::string octets, read_file(name));
    const auto read = read_tls_report(octets);
    if (!read) return Error(read.error().code, fmt::format("{}: {}", name, read.error().context));
    TRY(storage::Store* const store, call.store());
    TRY(const bool is_new, keep_tls_report(*store, *read));
    std::uint64_t successes = 0;
    std::uint64_t failures = 0;
    std::vector<std::string> domains;
    for (const policy::TlsReportPolicy& one : read->report.policies) {
        successes += one.successes;
        failures += one.failures;
        domains.push_back(one.domain);
    }
    Record out;
    out.add("organization", read->report.organization).add("report", read->report.id).add("domains", domains);
    out.add("successes", successes).add("failures", failures).add("new", is_new);
    call.out().record(out);
    return {};
}

Result<> list_reports(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto reports, store->read([](const storage::Snapshot& snapshot) {
        return storage::TransportView(snapshot).tls_reports(kListedMax);
    }));
    std::vector<Record> rows;
    for (const storage::TlsReportEntry& entry : reports) {
        std::vector<std::string> kinds;
        // A report too long to be kept whole still has its numbers.
        const auto parsed = parse_tls_report(entry.text);
        if (parsed) {
            for (const policy::TlsReportPolicy& one : parsed->policies) {
                for (const policy::TlsFailure& failure : one.details) {
                    kinds.push_back(fmt::format("{} x {} at {}", failure.sessions, failure.result, failure.mx_host));
                }
            }
        }
        Record row;
        row.add("day", entry.start.substr(0, 10)).add("organization", entry.organization).add("domain", entry.domain);
        row.add("successes", entry.successes).add("failures", entry.failures).add("what", kinds);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "No TLS report was read yet: posthouse report tls import FILE reads one.");
    return {};
}

// report tls import FILE... / report tls list
Result<> report_tls(Invocation& call) {
    const std::string action = call.get("ACTION");
    const auto files = call.all("FILE");
    if (action == "list" && files.empty()) return list_reports(call);
    if (action != "import" || files.empty()) {
        return Error(Errc::invalid, "write posthouse report tls import FILE..., or posthouse report tls list");
    }
    for (const std::string& name : files) TRY_VOID(import_report(call, name));
    return {};
}

constexpr Argument kDomain[] = {{Argument::Kind::positional, "DOMAIN", "where mail would go, such as example.net"}};
constexpr Argument kReport[] = {
    {Argument::Kind::positional, "ACTION", "import or list"},
    {Argument::Kind::positional_any, "FILE", "mails with reports, or the reports; - is standard input"}};

constexpr Command kRows[] = {
    {"tls", "policy", "which TLS policy a destination asks for, and why", "posthouse tls policy example.net", kDomain,
     tls_policy},
    {"report", "tls", "read and list what others report about TLS with us (RFC 8460)",
     "posthouse report tls import report.eml", kReport, report_tls},
};

}  // namespace

std::span<const Command> tls_commands() { return kRows; }

}  // namespace posthouse::admin
