#include "admin/dns/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/policy/mta_sts.h"
#include "protocols/policy/tls_report.h"

namespace posthouse::admin {
namespace {

constexpr std::size_t kTxtStringOctetsMax = 255;  // RFC 1035 3.3.14: <character-string>

struct RelayTerm {
    std::string_view host_suffix;
    std::string_view term;
};
// What the services ask their customers to write. Those with a return-path domain of their own need no term.
constexpr RelayTerm kRelayTerms[] = {
    {"mailgun.org", "include:mailgun.org"},
    {"amazonaws.com", "include:amazonses.com"},
    {"gmail.com", "include:_spf.google.com"},
    {"office365.com", "include:spf.protection.outlook.com"},
    {"outlook.com", "include:spf.protection.outlook.com"},
};

bool is_in_domain(std::string_view host, std::string_view domain) {
    if (ascii::equals_ci(host, domain)) return true;
    return host.size() > domain.size() && ascii::ends_with_ci(host, domain) &&
           host[host.size() - domain.size() - 1] == '.';
}

// The value of a tag in "v=DKIM1; k=rsa; p=...", blanks dropped.
std::string tag_value(std::string_view record, std::string_view tag) {
    while (!record.empty()) {
        const std::size_t end = record.find(';');
        const std::string_view part = ascii::trim(record.substr(0, end));
        record = end == std::string_view::npos ? std::string_view() : record.substr(end + 1);
        const std::size_t equals = part.find('=');
        if (equals == std::string_view::npos || ascii::trim(part.substr(0, equals)) != tag) continue;
        std::string value;
        for (const char c : part.substr(equals + 1)) {
            if (!ascii::is_space(c)) value += c;
        }
        return value;
    }
    return {};
}

bool has_term(std::string_view record, std::string_view term) {
    while (!record.empty()) {
        const std::size_t end = record.find(' ');
        if (ascii::equals_ci(record.substr(0, end), term)) return true;
        record = end == std::string_view::npos ? std::string_view() : record.substr(end + 1);
    }
    return false;
}

std::vector<std::string> starting_with(const std::vector<std::string>& found, std::string_view prefix) {
    std::vector<std::string> out;
    std::ranges::copy_if(found, std::back_inserter(out),
                         [&](const std::string& text) { return ascii::starts_with_ci(text, prefix); });
    return out;
}

std::pair<RecordStatus, std::string> judge_spf(const DnsRecord& wanted, const std::vector<std::string>& found) {
    const auto records = starting_with(found, "v=spf1");
    if (records.empty()) return {RecordStatus::missing, "add it"};
    if (records.size() > 1) {
        return {RecordStatus::different,
                "there are several SPF records, which counts as an error; leave one (RFC 7208 4.5)"};
    }
    // Every mechanism of ours must be there; the operator may have more, and another "all".
    std::string_view rest = wanted.value;
    while (!rest.empty()) {
        const std::size_t end = rest.find(' ');
        const std::string_view term = rest.substr(0, end);
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
        if (term.ends_with("all") || has_term(records.front(), term)) continue;
        return {RecordStatus::different, fmt::format("add {} to the one that is there", term)};
    }
    return {RecordStatus::good, ""};
}

std::pair<RecordStatus, std::string> judge_dkim(const DnsRecord& wanted, const std::vector<std::string>& found) {
    if (found.empty()) return {RecordStatus::missing, "add it"};
    const std::string key = tag_value(wanted.value, "p");
    const bool same = std::ranges::any_of(found, [&](const std::string& text) { return tag_value(text, "p") == key; });
    if (same) return {RecordStatus::good, ""};
    return {RecordStatus::different, "the key there is another one; replace it, or signatures will fail"};
}

std::pair<RecordStatus, std::string> judge_dmarc(const std::vector<std::string>& found) {
    const auto records = starting_with(found, "v=DMARC1");
    if (records.empty()) return {RecordStatus::missing, "add it"};
    if (records.size() > 1) return {RecordStatus::different, "there are several DMARC records; leave one"};
    return {RecordStatus::good, ""};
}

// RFC 8461 3.1: the edition must be the one that is served, or senders keep the policy of before.
std::pair<RecordStatus, std::string> judge_sts(const DnsRecord& wanted, const std::vector<std::string>& found) {
    const auto there = policy::parse_sts_record(found);
    if (!there && there.error().code == Errc::not_found) return {RecordStatus::missing, "add it"};
    if (!there) return {RecordStatus::different, there.error().context};
    const auto ours = policy::parse_sts_record(std::vector{wanted.value});
    if (ours && *ours == *there) return {RecordStatus::good, ""};
    return {RecordStatus::different, "its id is not the one of the policy now; change it, or nobody reads the new one"};
}

std::pair<RecordStatus, std::string> judge_tls_report(const std::vector<std::string>& found) {
    const auto there = policy::parse_tls_report_record(found);
    if (there) return {RecordStatus::good, ""};
    if (there.error().code == Errc::not_found) return {RecordStatus::missing, "add it"};
    return {RecordStatus::different, there.error().context};
}

}  // namespace

std::string relay_spf_term(std::string_view relay_host) {
    for (const RelayTerm& row : kRelayTerms) {
        if (is_in_domain(relay_host, row.host_suffix)) return std::string(row.term);
    }
    return {};
}

std::string relay_host_of(std::string_view way) {
    const std::size_t scheme = way.find("://");
    if (scheme == std::string_view::npos) return {};
    std::string_view rest = way.substr(scheme + 3);
    rest = rest.substr(0, rest.find_first_of("/?"));
    if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) rest = rest.substr(at + 1);
    if (rest.starts_with('[')) return std::string(rest.substr(1, rest.find(']') - 1));
    return std::string(rest.substr(0, rest.find(':')));
}

namespace {

DnsRecord expected_spf(const DomainFacts& facts) {
    std::vector<std::string> terms;
    std::vector<std::string> known{"this host"};
    std::vector<std::string> unknown;
    for (const DomainFacts::Relay& relay : facts.relays) {
        const std::string term = relay.spf_term.empty() ? relay_spf_term(relay.host) : relay.spf_term;
        std::vector<std::string>& named = term.empty() ? unknown : known;
        if (std::ranges::find(named, relay.host) == named.end()) named.push_back(relay.host);
        if (!term.empty() && std::ranges::find(terms, term) == terms.end()) terms.push_back(term);
    }
    std::string record = facts.is_hosted ? "v=spf1 mx" : "v=spf1 a:" + facts.hostname;
    for (const std::string& term : terms) record += " " + term;
    std::string why = fmt::format("{} may send", fmt::join(known, " and "));
    // Its own provider's record is there: a second one would make both an error (RFC 7208 4.5).
    if (!facts.is_hosted) why += fmt::format("; where a record is there, add only {} to it", record.substr(7));
    if (!unknown.empty()) {
        why += fmt::format("; add the include: that {} asks for, if any", fmt::join(unknown, " or "));
    }
    if (terms.size() > 1) why += "; all of it may cost ten lookups at most (RFC 7208 4.6.4)";
    return {facts.domain, "TXT", record + " ~all", Need::required, why};
}

}  // namespace

std::vector<DnsRecord> expected_records(const DomainFacts& facts) {
    std::vector<DnsRecord> out;
    const std::string& domain = facts.domain;
    out.push_back({facts.hostname, "A", "<the public address of this machine>", Need::elsewhere,
                   "and AAAA where it has one; its reverse (PTR) must name the host too"});
    if (facts.is_hosted) {
        out.push_back(
            {domain, "MX", fmt::format("10 {}.", facts.hostname), Need::required, "mail for the domain comes here"});
    }
    out.push_back(expected_spf(facts));
    for (const DomainFacts::Key& key : facts.keys) {
        const bool next = key.state == "pending";
        const bool last = key.state == "retiring";
        out.push_back({fmt::format("{}._domainkey.{}", key.selector, domain), "TXT", key.record,
                       next || last ? Need::advised : Need::required,
                       next   ? "the next key: it takes over the signing once the DNS shows it"
                       : last ? "the last key: leave it until mail signed with it has aged"
                              : "the public half of a key that signs your mail"});
    }
    out.push_back({fmt::format("_dmarc.{}", domain), "TXT",
                   fmt::format("v=DMARC1; p=none; rua=mailto:postmaster@{}", domain), Need::required,
                   "read the reports for some weeks, then change p=none to p=quarantine"});
    if (facts.is_hosted) {
        out.push_back({fmt::format("_smtp._tls.{}", domain), "TXT",
                       policy::format_tls_report_record("postmaster@" + domain), Need::advised,
                       "other servers then tell you when TLS with you fails"});
    }
    if (!facts.sts_id.empty()) {
        out.push_back({fmt::format("_mta-sts.{}", domain), "TXT", policy::format_sts_record(facts.sts_id),
                       Need::required, "says that there is an MTA-STS policy, and in which edition"});
        out.push_back({fmt::format("mta-sts.{}", domain), "CNAME", facts.hostname + ".", Need::required,
                       "where the policy is read over HTTPS: point it at your web server or reverse proxy"});
    }
    if (facts.hostname != domain) {
        out.push_back({facts.hostname, "TXT", "v=spf1 a -all", Need::advised,
                       "for bounces, which this host sends by its own name"});
    }
    if (!facts.is_hosted) return out;
    out.push_back({fmt::format("_imaps._tcp.{}", domain), "SRV", fmt::format("0 1 993 {}.", facts.hostname),
                   Need::advised, "mail clients find the server by it"});
    out.push_back({fmt::format("_submissions._tcp.{}", domain), "SRV", fmt::format("0 1 465 {}.", facts.hostname),
                   Need::advised, "mail clients find the server by it"});
    return out;
}

std::string zone_line(const DnsRecord& record) {
    std::string value = record.value;
    if (record.type == "TXT") {
        value.clear();
        std::string_view rest = record.value;
        do {
            value += value.empty() ? "\"" : " \"";
            for (const char c : rest.substr(0, kTxtStringOctetsMax)) {
                if (c == '"' || c == '\\') value += '\\';
                value += c;
            }
            value += '"';
            rest.remove_prefix(std::min(rest.size(), kTxtStringOctetsMax));
        } while (!rest.empty());
    }
    return fmt::format("{}. {} {}", record.name, record.type, value);
}

std::string_view to_string(RecordStatus status) {
    switch (status) {
        case RecordStatus::good: return "good";
        case RecordStatus::missing: return "missing";
        case RecordStatus::different: return "different";
        case RecordStatus::unknown: return "unknown";
    }
    return "unknown";
}

RecordCheck judge_record(const DnsRecord& wanted, const std::vector<std::string>& found) {
    RecordCheck out;
    out.wanted = wanted;
    out.found = found;
    std::pair<RecordStatus, std::string> verdict{RecordStatus::unknown, ""};
    if (wanted.type == "MX") {
        const std::string host = wanted.value.substr(wanted.value.find(' ') + 1);
        const bool there = std::ranges::any_of(
            found, [&](const std::string& text) { return ascii::equals_ci(text.substr(text.find(' ') + 1), host); });
        verdict = there           ? std::pair(RecordStatus::good, std::string())
                  : found.empty() ? std::pair(RecordStatus::missing, std::string("add it"))
                                  : std::pair(RecordStatus::different, std::string("mail goes elsewhere; change it"));
    } else if (wanted.type == "A" || wanted.type == "CNAME") {
        verdict = found.empty() ? std::pair(RecordStatus::missing, std::string("give the host an address"))
                                : std::pair(RecordStatus::good, std::string());
    } else if (wanted.value.starts_with("v=spf1")) {
        verdict = judge_spf(wanted, found);
    } else if (wanted.value.starts_with("v=STSv1")) {
        verdict = judge_sts(wanted, found);
    } else if (wanted.value.starts_with("v=TLSRPTv1")) {
        verdict = judge_tls_report(found);
    } else if (wanted.value.starts_with("v=DKIM1")) {
        verdict = judge_dkim(wanted, found);
    } else if (wanted.value.starts_with("v=DMARC1")) {
        verdict = judge_dmarc(found);
    }
    out.status = verdict.first;
    out.sentence = verdict.second;
    return out;
}

}  // namespace posthouse::admin
