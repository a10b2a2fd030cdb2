#include "protocols/mailauth/spf.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "protocols/base/ascii.h"

namespace posthouse::mailauth {
namespace {

using Family = net::IpAddress::Family;

// A name that can be asked for: labels of 1 to 63 octets, two of them at least (RFC 7208 4.3).
bool is_askable(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty() || name.size() > 253 || !name.contains('.')) return false;
    while (true) {
        const std::size_t dot = std::min(name.find('.'), name.size());
        if (dot == 0 || dot > 63) return false;
        if (dot == name.size()) return true;
        name.remove_prefix(dot + 1);
    }
}

// What one question led to: a match, none, or an end of the whole evaluation.
enum class Match { yes, no, temporary, permanent };

class Evaluation {
 public:
    Evaluation(dns::Resolver& resolver, SpfQuestion question) : resolver_(resolver), question_(std::move(question)) {
        const std::size_t at = question_.mail_from.rfind('@');
        answer_.of_helo = question_.mail_from.empty();
        const bool has_local = at != std::string::npos && at > 0;
        if (has_local) values_.sender_local = question_.mail_from.substr(0, at);
        values_.sender_domain = answer_.of_helo           ? question_.helo
                                : at == std::string::npos ? question_.mail_from
                                                          : question_.mail_from.substr(at + 1);
        values_.helo = question_.helo;
        values_.receiver = question_.receiver;
        values_.client = question_.client;
        values_.now_seconds =
            std::chrono::duration_cast<std::chrono::seconds>(question_.now.time_since_epoch()).count();
        answer_.domain = ascii::to_lower(values_.sender_domain);
    }

    net::Task<SpfAnswer> run() {
        // Local parts of remote systems end up in macros; a domain that cannot be asked for has no record.
        if (!is_askable(values_.sender_domain)) {
            answer_.reason = "the sender's domain is no full domain name";
            co_return std::move(answer_);
        }
        answer_.result = co_await check_host(values_.sender_domain, Depth::outer);
        co_return std::move(answer_);
    }

 private:
    enum class Depth { outer, included };

    net::Task<SpfResult> check_host(std::string domain, Depth depth);
    net::Task<Match> match(const SpfTerm& term, std::string domain);
    net::Task<Match> match_include(std::string target);
    net::Task<Match> match_addresses(std::string name, const SpfTerm& term);
    net::Task<Match> match_mx(std::string target, const SpfTerm& term);
    net::Task<Match> match_ptr(std::string target);
    net::Task<Match> match_exists(std::string target);
    net::Task<std::optional<std::string>> target_of(std::string text, std::string domain);
    net::Task<void> find_client_name(std::string domain);
    net::Task<void> explain(std::string text, std::string domain);

    SpfResult end(SpfResult result, std::string reason) {
        answer_.reason = std::move(reason);
        return result;
    }
    Match fail(Match how, std::string reason) {
        answer_.reason = std::move(reason);
        return how;
    }
    // False where the question was one too many without an answer.
    bool count_void() { return ++voids_ <= kSpfVoidMax; }
    bool count_lookup() { return ++answer_.lookups <= kSpfLookupsMax; }
    bool covers(const net::IpAddress& network, const SpfTerm& term) const {
        if (network.family() != question_.client.family()) return false;
        const unsigned bits = network.family() == Family::v4 ? term.bits4 : term.bits6;
        return network.masked(bits) == question_.client.masked(bits);
    }

    dns::Resolver& resolver_;
    SpfQuestion question_;
    SpfMacroValues values_;
    SpfAnswer answer_;
    unsigned voids_ = 0;
    std::string named_for_;  // the domain that client_name was chosen for
};

net::Task<SpfResult> Evaluation::check_host(std::string domain, Depth depth) {
    if (!is_askable(domain)) co_return end(SpfResult::none, fmt::format("\"{}\" is no domain name", domain));
    const auto texts = co_await resolver_.txt(domain);
    if (!texts) co_return end(SpfResult::temperror, texts.error().context);
    std::vector<std::string> records;
    std::ranges::copy_if(texts->records, std::back_inserter(records), is_spf_record);
    if (records.empty()) co_return end(SpfResult::none, fmt::format("{} has no SPF record", domain));
    if (records.size() > 1) co_return end(SpfResult::permerror, fmt::format("{} has several SPF records", domain));
    const auto record = parse_spf_record(records.front());
    if (!record) {
        co_return end(SpfResult::permerror,
                      fmt::format("the SPF record of {} is wrong at {}", domain, record.error().context));
    }
    for (const SpfTerm& term : record->terms) {
        const Match found = co_await match(term, domain);
        if (found == Match::no) continue;
        if (found == Match::temporary) co_return SpfResult::temperror;
        if (found == Match::permanent) co_return SpfResult::permerror;
        answer_.reason = fmt::format("\"{}\" in the SPF record of {}", term.text, domain);
        if (term.result == SpfResult::fail && depth == Depth::outer && record->explanation) {
            co_await explain(*record->explanation, domain);
        }
        co_return term.result;
    }
    if (!record->redirect)
        co_return end(SpfResult::neutral, fmt::format("nothing in the SPF record of {} fits", domain));
    if (!count_lookup()) co_return end(SpfResult::permerror, fmt::format("SPF of {}: too many questions", domain));
    auto next = co_await target_of(*record->redirect, domain);
    if (!next) co_return end(SpfResult::permerror, fmt::format("the redirect of {} leads nowhere", domain));
    const SpfResult there = co_await check_host(*std::move(next), depth);
    co_return there == SpfResult::none ? SpfResult::permerror : there;  // RFC 7208 6.1
}

// The domain that a term asks about; nothing where its macros give no name.
net::Task<std::optional<std::string>> Evaluation::target_of(std::string text, std::string domain) {
    if (text.empty()) co_return domain;
    if (wants_client_name(text)) co_await find_client_name(domain);
    values_.domain = domain;
    std::string name = expand_spf_macros(text, values_, SpfMacroUse::domain);
    if (!is_askable(name)) co_return std::nullopt;
    co_return name;
}

net::Task<Match> Evaluation::match(const SpfTerm& term, std::string domain) {
    using Kind = SpfTerm::Kind;
    if (term.kind == Kind::all) co_return Match::yes;
    if (term.kind == Kind::ip4 || term.kind == Kind::ip6) co_return covers(term.network, term) ? Match::yes : Match::no;
    if (!count_lookup()) {
        co_return fail(Match::permanent,
                       fmt::format("SPF of {}: more than {} questions", answer_.domain, kSpfLookupsMax));
    }
    auto target = co_await target_of(term.domain, domain);
    if (!target && term.kind == Kind::include)
        co_return fail(Match::permanent, fmt::format("\"{}\" leads nowhere", term.text));
    if (!target) co_return Match::no;
    switch (term.kind) {
        case Kind::include: co_return co_await match_include(*std::move(target));
        case Kind::a: co_return co_await match_addresses(*std::move(target), term);
        case Kind::mx: co_return co_await match_mx(*std::move(target), term);
        case Kind::ptr: co_return co_await match_ptr(*std::move(target));
        default: co_return co_await match_exists(*std::move(target));
    }
}

// RFC 7208 5.2
net::Task<Match> Evaluation::match_include(std::string target) {
    const SpfResult there = co_await check_host(target, Depth::included);
    switch (there) {
        case SpfResult::pass: co_return Match::yes;
        case SpfResult::temperror: co_return Match::temporary;
        case SpfResult::permerror: co_return Match::permanent;
        case SpfResult::none:
            co_return fail(Match::permanent, fmt::format("the included {} has no SPF record", target));
        default: co_return Match::no;
    }
}

// RFC 7208 5.3
net::Task<Match> Evaluation::match_addresses(std::string name, const SpfTerm& term) {
    const auto found = co_await resolver_.addresses(name);
    if (!found) co_return fail(Match::temporary, found.error().context);
    const Family wanted = question_.client.family();
    const bool any = std::ranges::any_of(found->records, [&](const auto& one) { return one.family() == wanted; });
    if (!any && !count_void()) co_return fail(Match::permanent, "SPF: too many questions without an answer");
    const bool hit = std::ranges::any_of(found->records, [&](const auto& one) { return covers(one, term); });
    co_return hit ? Match::yes : Match::no;
}

// RFC 7208 5.4
net::Task<Match> Evaluation::match_mx(std::string target, const SpfTerm& term) {
    const auto hosts = co_await resolver_.mx(target);
    if (!hosts) co_return fail(Match::temporary, hosts.error().context);
    if (hosts->records.empty() && !count_void()) {
        co_return fail(Match::permanent, "SPF: too many questions without an answer");
    }
    if (hosts->records.size() > kSpfNamesMax)
        co_return fail(Match::permanent, fmt::format("{} has more than {} MX hosts", target, kSpfNamesMax));
    for (const dns::MxRecord& host : hosts->records) {
        if (host.host.empty()) continue;
        const auto found = co_await resolver_.addresses(host.host);
        if (!found) co_return fail(Match::temporary, found.error().context);
        if (std::ranges::any_of(found->records, [&](const auto& one) { return covers(one, term); }))
            co_return Match::yes;
    }
    co_return Match::no;
}

// RFC 7208 5.5: errors are no match
net::Task<Match> Evaluation::match_ptr(std::string target) {
    const auto names = co_await resolver_.ptr(question_.client);
    if (!names) co_return Match::no;
    if (names->records.empty() && !count_void())
        co_return fail(Match::permanent, "SPF: too many questions without an answer");
    std::size_t count = 0;
    for (const std::string& name : names->records) {
        if (++count > kSpfNamesMax) break;
        const bool below = ascii::equals_ci(name, target) || ascii::ends_with_ci(name, "." + target);
        if (!below) continue;
        const auto found = co_await resolver_.addresses(name);
        if (found && std::ranges::find(found->records, question_.client) != found->records.end()) co_return Match::yes;
    }
    co_return Match::no;
}

// RFC 7208 5.7: IPv4 addresses, whatever the client's family
net::Task<Match> Evaluation::match_exists(std::string target) {
    const auto found = co_await resolver_.addresses(target);
    if (!found) co_return fail(Match::temporary, found.error().context);
    const bool any = std::ranges::any_of(found->records, [](const auto& one) { return one.family() == Family::v4; });
    if (!any && !count_void()) co_return fail(Match::permanent, "SPF: too many questions without an answer");
    co_return any ? Match::yes : Match::no;
}

// %{p}: a validated name of the client, best one that is the domain or below it (RFC 7208 7.3)
net::Task<void> Evaluation::find_client_name(std::string domain) {
    if (named_for_ == domain) co_return;
    named_for_ = domain;
    values_.client_name = "unknown";
    const auto names = co_await resolver_.ptr(question_.client);
    if (!names) co_return;
    int best = 0;
    std::size_t count = 0;
    for (const std::string& name : names->records) {
        if (++count > kSpfNamesMax) co_return;
        const int rank = ascii::equals_ci(name, domain) ? 3 : ascii::ends_with_ci(name, "." + domain) ? 2 : 1;
        if (rank <= best) continue;
        const auto found = co_await resolver_.addresses(name);
        const bool holds = found && std::ranges::find(found->records, question_.client) != found->records.end();
        if (!holds) continue;
        best = rank;
        values_.client_name = name;
    }
}

// RFC 7208 6.2: whatever goes wrong, there is no explanation
net::Task<void> Evaluation::explain(std::string text, std::string domain) {
    auto target = co_await target_of(std::move(text), domain);
    if (!target) co_return;
    const auto texts = co_await resolver_.txt(*std::move(target));
    if (!texts || texts->records.size() != 1) co_return;
    const std::string& said = texts->records.front();
    if (!is_spf_macro_string(said, SpfMacroUse::explanation)) co_return;
    if (wants_client_name(said)) co_await find_client_name(domain);
    values_.domain = domain;
    answer_.explanation = expand_spf_macros(said, values_, SpfMacroUse::explanation);
}

}  // namespace

net::Task<SpfAnswer> check_spf(dns::Resolver& resolver, SpfQuestion question) {
    Evaluation evaluation(resolver, std::move(question));
    co_return co_await evaluation.run();
}

}  // namespace posthouse::mailauth
