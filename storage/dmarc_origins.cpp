#include "storage/dmarc_origins.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "storage/context.h"
#include "storage/incidents.h"
#include "storage/routes.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kDayS = 86'400;
constexpr std::int64_t kListedDays = 30;  // so long what SPF said of an address is believed

std::string_view host_of(std::string_view url) {
    const std::size_t scheme = url.find("://");
    if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
    url = url.substr(0, url.find_first_of("/?"));
    url.remove_prefix(std::min(url.size(), url.rfind('@') + 1));
    if (url.starts_with('[')) return url.substr(1, url.find(']') - 1);
    return url.substr(0, url.find(':'));
}

// "smtp.service.example" sends as service.example; a name of two labels as itself.
std::string_view sends_as(std::string_view host) {
    const std::size_t first = host.find('.');
    const bool has_more = first != std::string_view::npos && host.find('.', first + 1) != std::string_view::npos;
    return has_more ? host.substr(first + 1) : host;
}

bool is_within(std::string_view name, std::string_view domain) {
    if (domain.find('.') == std::string_view::npos || !name.ends_with(domain)) return false;
    return name.size() == domain.size() || name[name.size() - domain.size() - 1] == '.';
}

bool is_address(std::string_view host) {
    return host.find(':') != std::string_view::npos ||
           std::ranges::all_of(host, [](char c) { return ascii::is_digit(c) || c == '.'; });
}

std::string day_text(std::int64_t day) { return format_rfc3339(from_unix_ms(day * kDayS * 1000)).substr(0, 10); }

}  // namespace

std::string_view to_string(DmarcOrigin::Kind kind) {
    constexpr std::array<std::string_view, 5> kNames = {"not known", "own address", "listed by SPF", "service of a way",
                                                        "signed by us"};
    return kNames[static_cast<std::size_t>(kind)];
}

Result<DmarcOrigins> DmarcOrigins::load(Connection& db, const IncludeOf& include_of, std::string_view domain,
                                        std::int64_t since_s) {
    DmarcOrigins out;
    const std::string folded = ascii::to_lower(domain);
    {
        Query q = db.query(
            "SELECT a.address, coalesce((SELECT w.name FROM ways w WHERE w.kind = 'direct' AND w.pool = a.pool ORDER "
            "BY w.id LIMIT 1), '') FROM source_addresses a");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            out.addresses_.emplace(q.text(0), q.text(1));
        }
    }
    {
        Query q = db.query("SELECT name, url, preset, return_path FROM ways WHERE kind = 'smarthost' ORDER BY id");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            const std::string host = ascii::to_lower(host_of(q.view(1)));
            if (is_address(host)) out.addresses_.emplace(host, q.text(0));
            Relay relay;
            relay.way = q.text(0);
            relay.domains = {std::string(sends_as(host)), include_of(q.text(2)), q.text(3)};
            std::erase_if(relay.domains, [](const std::string& name) { return name.empty() || is_address(name); });
            out.relays_.push_back(std::move(relay));
        }
    }
    {
        Query q = db.query("SELECT d.name, k.selector FROM dkim_keys k JOIN domains d ON d.id = k.domain");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            out.selectors_.insert(ascii::to_lower(q.text(0) + "/" + q.text(1)));
        }
    }
    Query q = db.query(
        "SELECT DISTINCT d.domain, r.source_ip FROM dmarc_reports d JOIN dmarc_rows r ON r.report = d.id WHERE r.spf = "
        "1 AND (?1 = '' OR d.domain = ?1) AND d.end_s > ?2 LIMIT ?3");
    q.bind(folded, since_s - kListedDays * kDayS, kDmarcGroupsMax);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.listed_.emplace(q.text(0), q.text(1));
    }
}

DmarcOrigin DmarcOrigins::of(std::string_view domain, const std::string& source_ip, std::string_view dkim_domain,
                             std::string_view spf_domain) const {
    DmarcOrigin out;
    const std::string signer = ascii::to_lower(dkim_domain);
    if (selectors_.contains(signer)) {
        out.kind = DmarcOrigin::Kind::signed_by_us;
        out.selector = signer.substr(signer.rfind('/') + 1);
    }
    const std::string signed_for = signer.substr(0, signer.find('/'));
    const std::string mail_from = ascii::to_lower(spf_domain);
    for (const Relay& relay : relays_) {
        const bool is_its = std::ranges::any_of(relay.domains, [&](const std::string& name) {
            // Our own domain says nothing of who sent.
            const bool is_ours = is_within(name, domain) || is_within(domain, name);
            const bool by_path = is_within(mail_from, name) && (!is_ours || mail_from == name);
            return by_path || (!is_ours && is_within(signed_for, name));
        });
        if (!is_its || !out.way.empty()) continue;
        out.way = relay.way;
        if (out.kind == DmarcOrigin::Kind::unknown) out.kind = DmarcOrigin::Kind::way;
    }
    if (listed_.contains(std::pair(std::string(domain), source_ip))) out.kind = DmarcOrigin::Kind::listed;
    if (const auto own = addresses_.find(source_ip); own != addresses_.end()) {
        out.kind = DmarcOrigin::Kind::own_address;
        if (!own->second.empty()) out.way = own->second;
    }
    return out;
}

namespace {

/// Rows of one source that say the same of who sent.
struct Group {
    DmarcSource source;
    std::string spf_domain;
};

Result<std::vector<Group>> groups(Connection& db, std::string_view domain, std::int64_t from_s, std::int64_t to_s) {
    const std::string folded = ascii::to_lower(domain);
    std::vector<Group> out;
    Query q = db.query(
        "SELECT d.domain, r.source_ip, sum(r.messages) AS n, sum(r.messages * r.dkim), sum(r.messages * r.spf), "
        "sum(r.messages * (r.dkim OR r.spf)), sum(r.messages * (r.disposition IN ('quarantine', 'reject'))), "
        "r.dkim_domain, r.spf_domain FROM dmarc_reports d JOIN dmarc_rows r ON r.report = d.id WHERE (?1 = '' OR "
        "d.domain = ?1) AND d.end_s > ?2 AND d.begin_s < ?3 GROUP BY d.domain, r.source_ip, r.dkim_domain, "
        "r.spf_domain ORDER BY n DESC LIMIT ?4");
    q.bind(folded, from_s, to_s, kDmarcGroupsMax);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        Group one;
        one.source.domain = q.text(0);
        one.source.source_ip = q.text(1);
        one.source.messages = q.u64(2);
        one.source.dkim = q.u64(3);
        one.source.spf = q.u64(4);
        one.source.passed = q.u64(5);
        one.source.refused = q.u64(6);
        one.source.example = q.text(7);
        one.spf_domain = q.text(8);
        out.push_back(std::move(one));
    }
}

void add(DmarcKnownSource& to, const Group& group, const DmarcOrigin& origin) {
    to.source.messages += group.source.messages;
    to.source.dkim += group.source.dkim;
    to.source.spf += group.source.spf;
    to.source.passed += group.source.passed;
    to.source.refused += group.source.refused;
    if (to.source.example.empty()) to.source.example = group.source.example;
    if (to.source.example.empty()) to.source.example = group.spf_domain;
    // What is known by its address is not made less by what one of its mails bore.
    if (!to.origin.is_ours() || origin.kind == DmarcOrigin::Kind::own_address) to.origin.kind = origin.kind;
    if (to.origin.way.empty()) to.origin.way = origin.way;
    if (to.origin.selector.empty()) to.origin.selector = origin.selector;
}

/// What was reported of our own mail.
struct OurDay {
    std::uint64_t messages = 0;
    std::uint64_t failed = 0;
    std::string worst;  ///< where most of those came from
    std::uint64_t worst_failed = 0;
};

OurDay our_day(const DmarcOrigins& origins, const std::vector<Group>& all) {
    OurDay by_place;
    OurDay by_signature;
    for (const Group& group : all) {
        const DmarcSource& one = group.source;
        const DmarcOrigin origin = origins.of(one.domain, one.source_ip, one.example, group.spf_domain);
        if (!origin.is_ours()) continue;
        OurDay& to = origin.kind == DmarcOrigin::Kind::signed_by_us ? by_signature : by_place;
        const std::uint64_t failed = one.messages - one.passed;
        to.messages += one.messages;
        to.failed += failed;
        if (failed <= to.worst_failed) continue;
        to.worst_failed = failed;
        to.worst = fmt::format("{} ({}{})", one.source_ip, to_string(origin.kind),
                               origin.way.empty() ? "" : ", way " + origin.way);
    }
    return by_place.messages > 0 ? by_place : by_signature;
}

}  // namespace

Result<std::vector<DmarcKnownSource>> dmarc_known_sources(const Snapshot& snapshot, const IncludeOf& include_of,
                                                          std::string_view domain, std::int64_t since_s,
                                                          std::size_t count_max) {
    Connection& db = context_of(snapshot).db;
    TRY(const DmarcOrigins origins, DmarcOrigins::load(db, include_of, domain, since_s));
    constexpr std::int64_t kForEver = INT64_MAX;
    TRY(const auto all, groups(db, domain, since_s, kForEver));
    std::map<std::pair<std::string, std::string>, DmarcKnownSource> by_source;
    for (const Group& group : all) {
        auto& one = by_source[std::pair(group.source.domain, group.source.source_ip)];
        one.source.domain = group.source.domain;
        one.source.source_ip = group.source.source_ip;
        add(one, group,
            origins.of(group.source.domain, group.source.source_ip, group.source.example, group.spf_domain));
    }
    std::vector<DmarcKnownSource> out;
    for (auto& [key, one] : by_source) out.push_back(std::move(one));
    std::ranges::sort(out, [](const DmarcKnownSource& a, const DmarcKnownSource& b) {
        const bool is_even = a.source.messages == b.source.messages;
        return is_even ? a.source.source_ip < b.source.source_ip : a.source.messages > b.source.messages;
    });
    if (out.size() > count_max) out.resize(count_max);
    return out;
}

Result<> judge_dmarc_day(Tx& tx, const IncludeOf& include_of, const DmarcEntry& report) {
    Connection& db = context_of(tx).db;
    const std::int64_t day = report.begin_s / kDayS;
    TRY(const DmarcOrigins origins, DmarcOrigins::load(db, include_of, report.domain, report.begin_s));
    TRY(const auto all, groups(db, report.domain, day * kDayS, (day + 1) * kDayS));
    const OurDay ours = our_day(origins, all);
    if (ours.messages < kDmarcAlarmMessages) return {};
    IncidentKey key;
    key.kind = IncidentKind::dmarc;
    key.domain = report.domain;
    IncidentTx incidents(tx);
    if (ours.failed * 100 > ours.messages * kDmarcAlarmPercent) {
        Refusal refusal;
        refusal.count = ours.failed;
        refusal.reply = fmt::format("{}: {} of {} messages of ours did not pass, most of them from {}", day_text(day),
                                    ours.failed, ours.messages, ours.worst);
        refusal.remote = report.organization;
        TRY_VOID(incidents.note(key, refusal));
        return {};
    }
    TRY(const auto open, incidents.open());
    const auto known = std::ranges::find(open, key, &Incident::key);
    if (known == open.end() || day_text(day) <= known->reply.substr(0, 10)) return {};
    TRY_VOID(incidents.clear(known->id, fmt::format("on {} {} of {} messages passed", day_text(day),
                                                    ours.messages - ours.failed, ours.messages)));
    return {};
}

}  // namespace posthouse::storage
