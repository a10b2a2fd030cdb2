// posthouse domain ...: the domains that this server receives mail for, or only signs for, and what the DNS should say
// of them.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "admin/cli/command.h"
#include "admin/cli/dns_facts.h"
#include "admin/cli/keys.h"
#include "admin/cli/quota.h"
#include "admin/dns/lookup.h"
#include "protocols/base/ascii.h"
#include "protocols/policy/mta_sts.h"
#include "storage/transport.h"

namespace posthouse::admin {
namespace {

using storage::Snapshot;

// domain add NAME
Result<> domain_add(Invocation& call) {
    const std::string name = ascii::to_lower(call.get("NAME"));
    const std::string postmaster = call.get("--postmaster");
    const bool sign_only = call.has("--sign-only");
    if (sign_only && !postmaster.empty()) {
        return Error(Errc::invalid,
                     "--postmaster is for a domain that receives mail here, and --sign-only for one "
                     "that does not: leave one of them out");
    }
    TRY(storage::Store* const store, call.store());
    TRY(const std::vector<storage::DkimKey> keys, make_dkim_keys(*store, name, system_clock().now()));
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const storage::DomainId domain, tx.catalog().add_domain(name));
        TRY_VOID(add_dkim_keys(tx, domain, keys));
        if (sign_only) TRY_VOID(tx.catalog().set_hosted(name, false));
        if (!postmaster.empty()) TRY_VOID(tx.catalog().add_alias("postmaster@" + name, {postmaster}));
        return {};
    }));
    Record done;
    done.add("domain", name)
        .add("hosted", !sign_only)
        .add("selectors", std::vector{keys[0].selector, keys[1].selector});
    if (call.out().json()) return call.out().record(done), Result<>();
    call.out().say(fmt::format("{} is added, with keys to sign its mail{}. Now set its DNS records:\n", name,
                               sign_only ? "; mail to it goes out as before" : ""));
    call.out().say(fmt::format("  posthouse domain records {}\n", name));
    if (postmaster.empty() && !sign_only) {
        // RFC 5321 4.5.1: postmaster must be there.
        call.out().say(
            fmt::format("and give it a postmaster:\n\n  posthouse alias add postmaster@{} YOU@{}", name, name));
    }
    return {};
}

// What its accounts hold together, and what they may.
void add_quota(Record& out, const storage::Domain& domain, const std::vector<storage::Account>& accounts,
               Format format) {
    std::uint64_t octets = 0;
    std::uint64_t messages = 0;
    for (const storage::Account& account : accounts) {
        if (account.domain != domain.id) continue;
        octets += account.used_octets;
        messages += account.used_messages;
    }
    out.add("messages", messages);
    if (format == Format::json) {
        out.add("used_octets", octets).add("quota_octets", domain.quota_octets);
        out.add("quota_messages", domain.quota_messages);
        return;
    }
    out.add("used", format_octets(octets)).add("quota", quota_text(domain.quota_octets, domain.quota_messages));
}

Format format_of(Invocation& call) { return call.out().json() ? Format::json : Format::text; }

// domain list
Result<> domain_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const std::vector<Record> records, store->read([](const Snapshot& snapshot) -> Result<std::vector<Record>> {
        TRY(const auto domains, snapshot.catalog().domains());
        TRY(const auto accounts, snapshot.catalog().accounts());
        std::vector<Record> out;
        for (const storage::Domain& domain : domains) {
            const auto count = std::ranges::count(accounts, domain.id, &storage::Account::domain);
            Record record;
            record.add("domain", domain.name).add("hosted", domain.is_hosted);
            record.add("accounts", static_cast<std::int64_t>(count));
            record.add("created", format_rfc3339(domain.created));
            out.push_back(std::move(record));
        }
        return out;
    }));
    call.out().table(records, "There is no domain yet; add one with posthouse domain add NAME.");
    return {};
}

// domain show NAME
Result<> domain_show(Invocation& call) {
    const std::string name = ascii::to_lower(call.get("NAME"));
    TRY(storage::Store* const store, call.store());
    TRY(const Record record, store->read([&](const Snapshot& snapshot) -> Result<Record> {
        TRY(const storage::Domain domain, snapshot.catalog().domain(name));
        TRY(const auto accounts, snapshot.catalog().accounts());
        TRY(const auto aliases, snapshot.catalog().aliases());
        TRY(const auto keys, snapshot.catalog().dkim_keys());
        std::vector<std::string> logins;
        for (const auto& account : accounts) {
            if (account.domain == domain.id) logins.push_back(account.address);
        }
        std::vector<std::string> others;
        for (const auto& alias : aliases) {
            if (alias.address.ends_with("@" + domain.name)) others.push_back(alias.address);
        }
        std::vector<std::string> selectors;
        for (const auto& key : keys) {
            if (key.domain == domain.id && key.active) selectors.push_back(key.selector);
        }
        Record out;
        out.add("domain", domain.name).add("hosted", domain.is_hosted);
        out.add("created", format_rfc3339(domain.created));
        out.add("accounts", logins).add("aliases", others).add("selectors", selectors);
        add_quota(out, domain, accounts, format_of(call));
        return out;
    }));
    call.out().record(record);
    return {};
}

// domain set NAME --hosted | --sign-only
Result<> domain_set(Invocation& call) {
    const std::string name = ascii::to_lower(call.get("NAME"));
    const bool hosted = call.has("--hosted");
    if (hosted == call.has("--sign-only")) {
        return Error(Errc::invalid,
                     "say which: --hosted (it receives mail here) or --sign-only (mail from it is "
                     "signed here, and mail to it goes out)");
    }
    TRY(storage::Store* const store, call.store());
    const auto set = store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_hosted(name, hosted); });
    if (!set && set.error().code == Errc::conflict) {
        return Error(Errc::conflict,
                     fmt::format("{} has accounts or aliases here, which would get no more mail; remove "
                                 "them first (posthouse domain show {})",
                                 name, name));
    }
    TRY_VOID(set);
    if (call.out().json()) return call.out().record(Record().add("domain", name).add("hosted", hosted)), Result<>();
    call.out().say(
        hosted
            ? fmt::format("{} receives mail here. Its MX must lead to this server:\n\n  posthouse domain "
                          "records {}",
                          name, name)
            : fmt::format("Mail from {} is signed here, and mail to it goes out: its MX must lead elsewhere.", name));
    return {};
}

// domain quota NAME
Result<> domain_quota(Invocation& call) {
    const std::string name = ascii::to_lower(call.get("NAME"));
    TRY(storage::Store* const store, call.store());
    TRY(const storage::Domain domain,
        store->read([&](const Snapshot& snapshot) { return snapshot.catalog().domain(name); }));
    if (!call.has("--size") && !call.has("--messages")) {
        TRY(const auto accounts, store->read([](const Snapshot& snapshot) { return snapshot.catalog().accounts(); }));
        Record record;
        record.add("domain", domain.name);
        add_quota(record, domain, accounts, format_of(call));
        call.out().record(record);
        return {};
    }
    if (!domain.is_hosted) return Error(Errc::invalid, fmt::format("{} keeps nothing here: it only signs", name));
    std::uint64_t octets = domain.quota_octets;
    std::uint64_t messages = domain.quota_messages;
    TRY_VOID(read_quota(call, octets, messages));
    TRY_VOID(
        store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_domain_quota(domain.id, octets, messages); }));
    if (call.out().json()) call.out().record(Record().add("given the quota", name));
    call.out().say(fmt::format("{} is given the quota.", name));
    return {};
}

// domain remove NAME
Result<> domain_remove(Invocation& call) {
    const std::string name = ascii::to_lower(call.get("NAME"));
    TRY(storage::Store* const store, call.store());
    const auto removed = store->write({}, [&](storage::Tx& tx) { return tx.catalog().remove_domain(name); });
    if (!removed && removed.error().code == Errc::conflict) {
        return Error(
            Errc::conflict,
            fmt::format("{} still has accounts or aliases; remove them first (posthouse domain show {})", name, name));
    }
    TRY_VOID(removed);
    if (call.out().json()) call.out().record(Record().add("removed", name));
    call.out().say(fmt::format("{} is removed.", name));
    return {};
}

// domain records NAME
Result<> domain_records(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Settings settings, call.settings());
    TRY(const DomainFacts facts, load_domain_facts(*store, settings, ascii::to_lower(call.get("NAME"))));
    const auto records = expected_records(facts);
    if (call.out().json()) {
        std::vector<Record> out;
        for (const DnsRecord& record : records) {
            Record row;
            row.add("name", record.name).add("type", record.type).add("value", record.value);
            row.add("required", record.need == Need::required).add("why", record.why).add("line", zone_line(record));
            out.push_back(std::move(row));
        }
        call.out().table(out, "");
        return {};
    }
    call.out().say(records_text(records));
    return {};
}

// domain check NAME
Result<> domain_check(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Settings settings, call.settings());
    TRY(const DomainFacts facts, load_domain_facts(*store, settings, ascii::to_lower(call.get("NAME"))));
    TRY(const auto lookup, make_lookup(settings));
    const auto checks = lookup->check(expected_records(facts));
    std::vector<Record> rows;
    bool good = true;
    for (const RecordCheck& check : checks) {
        const bool counts = check.wanted.need == Need::required;
        good &= !counts || check.status == RecordStatus::good;
        Record row;
        row.add("status", to_string(check.status)).add("name", check.wanted.name).add("type", check.wanted.type);
        row.add("to_do", check.sentence);
        if (call.out().json()) row.add("wanted", check.wanted.value).add("found", check.found);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "");
    if (good) return {};
    return Error(Errc::refused,
                 fmt::format("some records of {} are not as they should be; posthouse domain records {} prints them",
                             facts.domain, facts.domain));
}

// domain mta-sts NAME MODE
Result<> domain_mta_sts(Invocation& call) {
    const std::string name = ascii::to_lower(call.get("NAME"));
    const auto mode = policy::parse_sts_mode(ascii::to_lower(call.get("MODE")));
    if (!mode) return Error(Errc::invalid, "the mode is none, testing or enforce");
    std::vector<std::string> mx;
    for (const std::string& host : call.all("--mx")) mx.push_back(ascii::to_lower(host));
    // What we would not read from others, we do not publish.
    policy::StsPolicy policy;
    policy.mode = *mode;
    policy.mx = mx.empty() ? std::vector<std::string>{"mail.example"} : mx;
    if (const auto readable = policy::parse_sts_policy(policy::format_sts_policy(policy)); !readable) {
        return Error(Errc::invalid, "--mx takes a host name, or *. and a domain");
    }
    TRY(storage::Store* const store, call.store());
    TRY(const storage::StsServed served, store->write_value({}, [&](storage::Tx& tx) {
        return storage::TransportTx(tx).serve_sts(name, static_cast<int>(*mode), mx);
    }));
    const std::string record = policy::format_sts_record(served.id);
    if (call.out().json()) {
        Record out;
        out.add("domain", served.domain).add("mode", policy::to_string(*mode)).add("id", served.id);
        out.add("record", record);
        return call.out().record(out), Result<>();
    }
    call.out().say(fmt::format("{} now has an MTA-STS policy in mode {}. Set this record:\n", served.domain,
                               policy::to_string(*mode)));
    call.out().say(fmt::format("  _mta-sts.{}. TXT \"{}\"\n", served.domain, record));
    call.out().say(
        fmt::format("and let https://mta-sts.{}{} lead here: to the https service of [listen], with a certificate that "
                    "names mta-sts.{}, or through a web server of yours to the http service.",
                    served.domain, policy::kStsTarget, served.domain));
    return {};
}

constexpr Argument kName{Argument::Kind::positional, "NAME", "the domain, such as example.org"};
constexpr Argument kAddArguments[] = {
    kName,
    {Argument::Kind::option, "--postmaster", "who gets mail to postmaster of the domain"},
    {Argument::Kind::flag, "--sign-only", "its mail is kept elsewhere: sign what is sent from it, receive nothing"}};
constexpr Argument kSetArguments[] = {
    kName,
    {Argument::Kind::flag, "--hosted", "it receives mail here"},
    {Argument::Kind::flag, "--sign-only", "its mail is kept elsewhere, and what is sent from it is signed here"}};
constexpr Argument kNameOnly[] = {kName};
constexpr Argument kQuotaArguments[] = {
    kName,
    {Argument::Kind::option, "--size", "how much its accounts may hold together, such as 10G, or none"},
    {Argument::Kind::option, "--messages", "how many messages they may hold together, or none"}};

constexpr Argument kStsArguments[] = {
    kName,
    {Argument::Kind::positional, "MODE", "none, testing or enforce"},
    {Argument::Kind::option_many, "--mx", "a host that receives mail for it (default: this server)"}};

constexpr Command kRows[] = {
    {"domain", "add", "receive mail for a domain, or only sign what it sends, and make keys for it",
     "posthouse domain add example.net --postmaster alice@example.org", kAddArguments, domain_add},
    {"domain", "list", "list the domains", "posthouse domain list", {}, domain_list},
    {"domain", "show", "show one domain", "posthouse domain show example.org", kNameOnly, domain_show},
    {"domain", "set", "let a domain receive mail here, or only sign what it sends",
     "posthouse domain set shop.example --sign-only", kSetArguments, domain_set},
    {"domain", "quota", "show or set how much the accounts of a domain may hold together",
     "posthouse domain quota example.org --size 50G", kQuotaArguments, domain_quota},
    {"domain", "remove", "stop receiving mail for a domain, and signing for it", "posthouse domain remove example.net",
     kNameOnly, domain_remove},
    {"domain", "mta-sts", "tell other servers to use TLS with this domain, or nothing (RFC 8461)",
     "posthouse domain mta-sts example.org testing", kStsArguments, domain_mta_sts},
    {"domain", "records", "print the DNS records that a domain needs", "posthouse domain records example.org",
     kNameOnly, domain_records},
    {"domain", "check", "compare the DNS with what it should say", "posthouse domain check example.org", kNameOnly,
     domain_check},
};

}  // namespace

std::span<const Command> domain_commands() { return kRows; }

}  // namespace posthouse::admin
