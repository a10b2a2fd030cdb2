#include "protocols/mailauth/dmarc.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/mime/address.h"
#include "protocols/mime/header.h"
#include "protocols/mime/idna.h"

namespace posthouse::mailauth {

std::string_view to_string(DmarcPolicy policy) {
    constexpr std::array<std::string_view, 3> kNames = {"none", "quarantine", "reject"};
    return kNames[static_cast<std::size_t>(policy)];
}

std::string_view to_string(DmarcResult result) {
    constexpr std::array<std::string_view, 4> kNames = {"none", "pass", "fail", "temperror"};
    return kNames[static_cast<std::size_t>(result)];
}

namespace {

std::optional<DmarcPolicy> policy_of(std::string_view text) {
    for (const DmarcPolicy policy : {DmarcPolicy::none, DmarcPolicy::quarantine, DmarcPolicy::reject}) {
        if (ascii::equals_ci(text, to_string(policy))) return policy;
    }
    return std::nullopt;
}

// A reporting address that could be used: any URI with a scheme (RFC 3986 3.1).
bool has_uri(std::string_view list) {
    for (Cursor in(list); !in.at_end(); in.take(',')) {
        const std::string_view one = ascii::trim(in.take_until(','));
        const std::size_t colon = one.find(':');
        if (colon == std::string_view::npos || colon == 0 || colon + 1 == one.size()) continue;
        if (ascii::is_alpha(one.front()) && std::ranges::all_of(one.substr(0, colon), ascii::is_alnum)) return true;
    }
    return false;
}

struct NamedValue {
    std::string_view name;
    std::string_view value;
};

NamedValue take_tag(Cursor& in) {
    const std::string_view whole = in.take_until(';');
    in.take(';');
    const std::size_t equals = whole.find('=');
    if (equals == std::string_view::npos) return {ascii::trim(whole), {}};
    return {ascii::trim(whole.substr(0, equals)), ascii::trim(whole.substr(equals + 1))};
}

std::size_t count_labels(std::string_view name) {
    return static_cast<std::size_t>(std::ranges::count(name, '.')) + (name.empty() ? 0 : 1);
}

std::string_view parent_of(std::string_view name) {
    const std::size_t dot = name.find('.');
    return dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
}

bool is_at_or_below(std::string_view name, std::string_view domain) {
    if (ascii::equals_ci(name, domain)) return true;
    return name.size() > domain.size() && ascii::ends_with_ci(name, domain) &&
           name[name.size() - domain.size() - 1] == '.';
}

// The one record at _dmarc.`name`; nothing where there is none, or several (4.10 step 2).
net::Task<Result<std::optional<DmarcRecord>>> record_at(dns::Resolver& resolver, std::string name) {
    std::string asked = "_dmarc." + name;
    const auto texts = co_await resolver.txt(std::move(asked));
    if (!texts) co_return Error(texts.error());
    std::optional<DmarcRecord> found;
    for (const std::string& text : texts->records) {
        auto record = parse_dmarc_record(text);
        if (!record) continue;
        if (found) co_return std::optional<DmarcRecord>();
        found = std::move(record);
    }
    co_return found;
}

// 4.10.2: psd=n is it; below a psd=y that is not the start; else the shortest name.
std::string choose_org_domain(const DmarcWalk& walk, std::string_view start) {
    for (const auto& [name, record] : walk.records) {
        if (record.psd == 'n') return name;
        if (record.psd == 'y' && name != start) {
            std::string_view below = start;
            while (parent_of(below) != name && !parent_of(below).empty()) below = parent_of(below);
            return std::string(below);
        }
    }
    return walk.records.empty() ? std::string(start) : walk.records.back().first;
}

}  // namespace

std::optional<DmarcRecord> parse_dmarc_record(std::string_view text) {
    Cursor in(text);
    const NamedValue version = take_tag(in);
    if (version.name != "v" || version.value != "DMARC1") return std::nullopt;
    DmarcRecord out;
    bool usable = true;
    bool has_policy = false;
    while (!in.at_end()) {
        const NamedValue tag = take_tag(in);
        const auto policy = policy_of(tag.value);
        if (tag.name == "p") {
            has_policy = policy.has_value();
            out.policy = policy.value_or(DmarcPolicy::none);
        } else if (tag.name == "sp" || tag.name == "np") {
            if (!policy) usable = false;
            (tag.name == "sp" ? out.subdomain : out.nonexistent) = policy;
        } else if (tag.name == "adkim") {
            out.strict_dkim = ascii::equals_ci(tag.value, "s");
        } else if (tag.name == "aspf") {
            out.strict_spf = ascii::equals_ci(tag.value, "s");
        } else if (tag.name == "t") {
            out.testing = ascii::equals_ci(tag.value, "y");
        } else if (tag.name == "psd" && tag.value.size() == 1) {
            const char psd = ascii::lower(tag.value.front());
            out.psd = psd == 'y' || psd == 'n' ? psd : 'u';
        } else if (tag.name == "rua") {
            out.rua = tag.value;
        }
    }
    if (usable && has_policy) return out;
    out.valid_policy = has_uri(out.rua);
    out.policy = DmarcPolicy::none;
    out.subdomain.reset();
    out.nonexistent.reset();
    return out;
}

const DmarcRecord* DmarcWalk::at(std::string_view name) const {
    const auto found = std::ranges::find_if(records, [&](const auto& one) { return one.first == name; });
    return found == records.end() ? nullptr : &found->second;
}

net::Task<Result<DmarcWalk>> walk_dmarc(dns::Resolver& resolver, std::string domain) {
    DmarcWalk walk;
    domain = ascii::to_lower(domain);
    std::string_view target = domain;
    for (std::size_t asked = 0; asked < kDmarcQueriesMax && !target.empty(); ++asked) {
        auto record = co_await record_at(resolver, std::string(target));
        if (!record) co_return Error(record.error());
        if (*record) {
            walk.records.emplace_back(std::string(target), **record);
            if ((*record)->psd != 'u') break;
        }
        if (asked == 0 && count_labels(target) >= kDmarcQueriesMax) {
            while (count_labels(target) > kDmarcQueriesMax - 1) target = parent_of(target);
        } else {
            target = parent_of(target);
        }
    }
    walk.org_domain = choose_org_domain(walk, domain);
    co_return walk;
}

namespace {

// The record of the author's domain, of its organizational domain, of the public suffix above it (4.10.1).
std::optional<DmarcFound> choose_record(const DmarcWalk& walk, const std::string& domain) {
    DmarcFound found;
    found.domain = domain;
    found.org_domain = walk.org_domain;
    const DmarcRecord* record = walk.at(domain);
    found.policy_domain = domain;
    if (record == nullptr) {
        found.policy_domain = walk.org_domain;
        record = walk.at(walk.org_domain);
    }
    if (record == nullptr && !walk.records.empty() && walk.records.back().second.psd == 'y') {
        found.policy_domain = walk.records.back().first;
        record = &walk.records.back().second;
    }
    if (record == nullptr || !record->valid_policy) return std::nullopt;
    found.record = *record;
    found.policy = record->policy;
    return found;
}

// 3.2.13: the DNS says NXDOMAIN for it
net::Task<Result<bool>> exists(dns::Resolver& resolver, std::string domain) {
    const auto answer = co_await resolver.addresses(std::move(domain));
    if (!answer) co_return Error(answer.error());
    co_return answer->name_exists;
}

}  // namespace

net::Task<Result<std::optional<DmarcFound>>> find_dmarc(dns::Resolver& resolver, std::string domain) {
    domain = ascii::to_lower(domain);
    const auto walk = co_await walk_dmarc(resolver, domain);
    if (!walk) co_return Error(walk.error());
    std::optional<DmarcFound> found = choose_record(*walk, domain);
    if (!found) co_return found;
    if (found->policy_domain != domain) {
        if (found->record.subdomain) found->policy = *found->record.subdomain;
        if (found->record.nonexistent) {
            const auto there = co_await exists(resolver, domain);
            if (!there) co_return Error(there.error());
            if (!*there) found->policy = *found->record.nonexistent;
        }
    }
    found->disposition = found->policy;
    if (found->record.testing && found->policy == DmarcPolicy::reject) found->disposition = DmarcPolicy::quarantine;
    if (found->record.testing && found->policy == DmarcPolicy::quarantine) found->disposition = DmarcPolicy::none;
    co_return found;
}

namespace {

// Errors of the DNS while aligning: the identifier counts as not aligned, and `shaky` says so.
net::Task<bool> is_aligned(dns::Resolver& resolver, const DmarcFound& found, std::string domain, bool strict,
                           bool& shaky) {
    domain = ascii::to_lower(domain);
    if (domain.empty()) co_return false;
    if (domain == found.domain) co_return true;
    // Only names of one tree can have one organizational domain: no questions for others.
    if (strict || !is_at_or_below(domain, found.org_domain)) co_return false;
    const auto walk = co_await walk_dmarc(resolver, domain);
    if (!walk) shaky = true;
    co_return walk && walk->org_domain == found.org_domain;
}

// RFC 5321 2.3.5, and the underscore that some names bear.
bool is_domain_octet(char c) { return ascii::is_alnum(c) || c == '-' || c == '.' || c == '_'; }

}  // namespace

net::Task<DmarcAnswer> check_dmarc(dns::Resolver& resolver, DmarcQuestion question) {
    Result<std::optional<DmarcFound>> found = std::optional<DmarcFound>();
    if (!question.author_domain.empty()) found = co_await find_dmarc(resolver, question.author_domain);
    co_return co_await align_dmarc(resolver, std::move(found), std::move(question));
}

net::Task<DmarcAnswer> align_dmarc(dns::Resolver& resolver, Result<std::optional<DmarcFound>> found,
                                   DmarcQuestion question) {
    DmarcAnswer answer;
    if (question.author_domain.empty()) {
        answer.reason = "the From field does not name one domain";
        co_return answer;
    }
    if (!found) {
        answer.result = DmarcResult::temperror;
        answer.reason = found.error().context;
        co_return answer;
    }
    if (!*found) {
        answer.reason = fmt::format("{} has no DMARC record", question.author_domain);
        co_return answer;
    }
    answer.found = **found;
    const DmarcFound& policy = *answer.found;
    bool shaky = false;
    answer.spf_aligned = co_await is_aligned(resolver, policy, question.spf_domain, policy.record.strict_spf, shaky);
    for (const std::string& domain : question.dkim_domains) {
        if (answer.dkim_aligned) break;
        answer.dkim_aligned = co_await is_aligned(resolver, policy, domain, policy.record.strict_dkim, shaky);
    }
    if (answer.spf_aligned || answer.dkim_aligned) {
        answer.result = DmarcResult::pass;
        co_return answer;
    }
    // Only what would be aligned can be the support that is missing.
    for (const std::string& domain : question.unsure) {
        const bool would_be = co_await is_aligned(resolver, policy, domain, false, shaky);
        shaky = shaky || would_be;
    }
    answer.result = shaky ? DmarcResult::temperror : DmarcResult::fail;
    answer.reason = shaky ? std::string("SPF or DKIM could not be looked at")
                          : fmt::format("neither SPF nor DKIM vouches for {}", question.author_domain);
    co_return answer;
}

std::string author_domain(std::string_view from_value) {
    std::string found;
    for (const mime::Address& address : mime::parse_address_list(from_value)) {
        if (address.kind != mime::Address::Kind::mailbox || address.domain.empty()) continue;
        const auto domain = mime::domain_to_ascii(address.domain);
        // Nothing that the DNS could be asked for, nor that may stand in a header: it names no domain.
        if (!domain || !std::ranges::all_of(*domain, is_domain_octet)) return "";
        if (!found.empty() && *domain != found) return "";
        found = *domain;
    }
    return found;
}

std::string author_domain_of(std::string_view header_block) {
    const mime::Fields fields = mime::parse_fields(header_block);
    const auto all = mime::find_all(fields, "From");
    return all.size() == 1 ? author_domain(all.front()) : "";
}

}  // namespace posthouse::mailauth
