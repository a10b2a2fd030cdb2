#include "protocols/mailauth/foresee.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mailauth/dmarc.h"
#include "protocols/mailauth/signature.h"
#include "protocols/mailauth/spf.h"

namespace posthouse::mailauth {

net::Task<std::optional<bool>> is_key_published(dns::Resolver& resolver, ForeseeQuestion::Key key) {
    const auto ours = parse_key_record(key.dns_record);
    std::string name = key.selector + "._domainkey." + key.domain;
    const auto texts = co_await resolver.txt(std::move(name));
    if (!texts) co_return std::nullopt;
    for (const std::string& text : texts->records) {
        const auto record = parse_key_record(text);
        if (record && ours && record->algorithm == ours->algorithm && record->public_key == ours->public_key) {
            co_return true;
        }
    }
    co_return false;
}

namespace {

enum class Support { yes, no, unknown };

constexpr std::size_t kIncludesFollowed = 10;  // RFC 7208 4.6.4

// Whether the SPF record of `domain` includes `wanted`, by itself or by what it includes and redirects to.
net::Task<Support> includes(dns::Resolver& resolver, std::string domain, std::string wanted) {
    std::vector<std::string> names{std::move(domain)};
    bool sure = true;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (i >= kIncludesFollowed) co_return Support::unknown;
        const auto texts = co_await resolver.txt(names[i]);
        if (!texts) co_return Support::unknown;
        for (const std::string& text : texts->records) {
            if (!is_spf_record(text)) continue;
            const auto record = parse_spf_record(text);
            if (!record) continue;
            const auto follow = [&](const std::string& name) {
                if (name.contains('%')) sure = false;  // a macro: who knows where it leads
                if (std::ranges::find(names, name) == names.end()) names.push_back(name);
                return ascii::equals_ci(name, wanted);
            };
            for (const SpfTerm& term : record->terms) {
                if (term.kind == SpfTerm::Kind::include && follow(term.domain)) co_return Support::yes;
            }
            if (record->redirect && follow(*record->redirect)) co_return Support::yes;
        }
    }
    co_return sure ? Support::no : Support::unknown;
}

// Will SPF pass for this envelope domain wherever the message may leave from?
net::Task<Support> spf_support(dns::Resolver& resolver, const ForeseeQuestion& question) {
    if (!question.from_addresses && !question.spf_include.empty() && !question.envelope_domain.empty()) {
        co_return co_await includes(resolver, question.envelope_domain, question.spf_include);
    }
    if (!question.from_addresses || question.from_addresses->empty()) co_return Support::unknown;
    for (const net::IpAddress& address : *question.from_addresses) {
        SpfQuestion spf;
        spf.client = address;
        spf.helo = question.helo;
        if (!question.envelope_domain.empty()) spf.mail_from = "postmaster@" + question.envelope_domain;
        const SpfAnswer answer = co_await check_spf(resolver, std::move(spf));
        if (answer.result == SpfResult::temperror) co_return Support::unknown;
        if (answer.result != SpfResult::pass) co_return Support::no;
    }
    co_return Support::yes;
}

net::Task<Support> dkim_support(dns::Resolver& resolver, const ForeseeQuestion& question,
                                std::vector<std::string>& domains, std::string& missing) {
    Support found = Support::no;
    for (const ForeseeQuestion::Key& key : question.keys) {
        const auto published = co_await is_key_published(resolver, key);
        if (!published) co_return Support::unknown;
        if (*published) {
            found = Support::yes;
            domains.push_back(key.domain);
        } else {
            missing = key.selector + "._domainkey." + key.domain;
        }
    }
    co_return found;
}

// Both supports are missing: why, and what follows.
ForeseeAnswer explain(const ForeseeQuestion& question, const DmarcFound& found, Support dkim, Support spf,
                      const std::string& missing) {
    const std::string envelope = question.envelope_domain.empty() ? question.helo : question.envelope_domain;
    const std::string dkim_why = question.keys.empty() ? fmt::format("no DKIM key signs for {}", question.author_domain)
                                 : dkim == Support::no ? fmt::format("the DKIM record {} is not in the DNS", missing)
                                                       : fmt::format("the DKIM signature is not of {}", found.domain);
    const std::string spf_why = spf == Support::no
                                    ? fmt::format("the SPF record of {} does not name {}", envelope, question.sends)
                                    : fmt::format("the sender's domain {} is another one", envelope);
    // Without a key here the domain is mostly another server's: there is nothing of ours to publish.
    const std::string advice =
        question.keys.empty()
            ? fmt::format("Have its own server sign it (DKIM), or let this one do it (posthouse domain add {0} "
                          "--sign-only; posthouse dkim rotate {0} where the domain is here); or write as {0} in the "
                          "envelope, too, with an SPF record that names {1}",
                          question.author_domain, question.sends)
            : fmt::format("Publish what \"posthouse domain records {}\" shows", found.domain);
    const bool consequence = found.disposition != DmarcPolicy::none;
    ForeseeAnswer answer;
    answer.what = consequence ? Foresight::refused : Foresight::weak;
    answer.sentence = fmt::format(
        "DMARC of {} asks receivers to {} this: {}, and {}. {}", found.policy_domain,
        consequence ? to_string(found.disposition) : std::string_view("report"), dkim_why, spf_why, advice);
    return answer;
}

}  // namespace

net::Task<ForeseeAnswer> foresee_dmarc(dns::Resolver& resolver, ForeseeQuestion question) {
    ForeseeAnswer answer;
    // The first doubt ends it: a DNS that does not answer holds up a client once, not for every question.
    DmarcQuestion dmarc;
    dmarc.author_domain = question.author_domain;
    std::string missing;
    const Support dkim = co_await dkim_support(resolver, question, dmarc.dkim_domains, missing);
    if (dkim == Support::unknown) co_return answer;
    const Support spf = co_await spf_support(resolver, question);
    const std::string spf_domain = question.envelope_domain.empty() ? question.helo : question.envelope_domain;
    // What is not known counts as if it held.
    if (spf != Support::no) dmarc.spf_domain = spf_domain;
    const DmarcAnswer judged = co_await check_dmarc(resolver, std::move(dmarc));
    if (judged.result != DmarcResult::fail) {
        if (dkim != Support::no || question.keys.empty()) co_return answer;
        answer.what = Foresight::weak;
        answer.sentence = fmt::format(
            "The DKIM record {} is not in the DNS, or is another key's: publish what "
            "\"posthouse domain records {}\" shows",
            missing, question.author_domain);
        co_return answer;
    }
    co_return explain(question, *judged.found, dkim, spf, missing);
}

}  // namespace posthouse::mailauth
