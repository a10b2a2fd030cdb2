#include "protocols/mailauth/judge.h"

#include <fmt/format.h>

#include <algorithm>

namespace posthouse::mailauth {

namespace {

AuthResult spf_result(const SpfAnswer& answer, std::string_view property, std::string_view value) {
    AuthResult out;
    out.method = "spf";
    out.result = to_string(answer.result);
    if (answer.result != SpfResult::pass) out.reason = answer.reason;
    out.properties.emplace_back(property, value);
    return out;
}

// A name that SPF can be asked about: what stands in brackets or has no dot is none.
bool is_domain_name(std::string_view helo) { return helo.contains('.') && !helo.contains('['); }

// What DMARC may build on.
std::vector<std::string> domains_that_sign(const std::vector<DkimResult>& results) {
    std::vector<std::string> out;
    for (const DkimResult& result : results) {
        if (result.status == DkimStatus::pass) out.push_back(result.domain);
    }
    return out;
}

net::Task<SpfAnswer> ask_spf(dns::Resolver& resolver, const JudgeQuestion& question, std::string mail_from) {
    SpfQuestion spf;
    spf.client = question.client;
    spf.helo = question.helo;
    spf.mail_from = std::move(mail_from);
    spf.receiver = question.receiver;
    spf.now = question.now;
    co_return co_await check_spf(resolver, std::move(spf));
}

// What may have been a support, had the DNS answered.
std::vector<std::string> unsure_domains(const Judgement& judgement) {
    std::vector<std::string> out;
    for (const DkimResult& result : judgement.dkim) {
        if (result.status == DkimStatus::temperror) out.push_back(result.domain);
    }
    if (judgement.spf.result == SpfResult::temperror) out.push_back(judgement.spf.domain);
    return out;
}

}  // namespace

net::Task<Judgement> judge_message(dns::Resolver& resolver, const ReadMessage& message, JudgeQuestion question) {
    Judgement out;
    out.mail_from = question.mail_from;
    // SPF comes last: the sender chooses what it costs, and must not use up what the author's policy needs.
    out.dkim = co_await verify_dkim(resolver, message, question.now);
    for (DkimResult& result : out.dkim) {
        if (result.status != DkimStatus::pass || !result.body_partly_signed) continue;
        set_status(result, DkimStatus::policy, "the signature leaves the end of the body open");
    }
    out.author_domain = author_domain_of(message.header());
    Result<std::optional<DmarcFound>> policy = std::optional<DmarcFound>();
    if (!out.author_domain.empty()) policy = co_await find_dmarc(resolver, out.author_domain);
    out.spf = co_await ask_spf(resolver, question, question.mail_from);
    DmarcQuestion dmarc;
    dmarc.author_domain = out.author_domain;
    if (out.spf.result == SpfResult::pass) dmarc.spf_domain = out.spf.domain;
    dmarc.dkim_domains = domains_that_sign(out.dkim);
    dmarc.unsure = unsure_domains(out);
    out.dmarc = co_await align_dmarc(resolver, std::move(policy), std::move(dmarc));
    out.arc = co_await verify_arc(resolver, message);
    if (!out.mail_from.empty() && is_domain_name(question.helo)) {
        out.helo = co_await ask_spf(resolver, question, std::string());
    }
    co_return out;
}

std::vector<AuthResult> Judgement::results() const {
    std::vector<AuthResult> out;
    if (spf.of_helo) {
        out.push_back(spf_result(spf, "smtp.helo", spf.domain));
    } else {
        out.push_back(spf_result(spf, "smtp.mailfrom", mail_from));
        if (!helo.domain.empty()) out.push_back(spf_result(helo, "smtp.helo", helo.domain));
    }
    for (const DkimResult& result : dkim) out.push_back(to_auth_result(result));
    if (dkim.empty()) {
        AuthResult& none = out.emplace_back();
        none.method = "dkim";
        none.result = "none";
    }
    AuthResult& by_dmarc = out.emplace_back();
    by_dmarc.method = "dmarc";
    by_dmarc.result = to_string(dmarc.result);
    if (dmarc.result != DmarcResult::pass) by_dmarc.reason = dmarc.reason;
    if (dmarc.found) by_dmarc.properties.emplace_back("policy.dmarc", to_string(dmarc.found->policy));
    if (!author_domain.empty()) by_dmarc.properties.emplace_back("header.from", author_domain);
    AuthResult& by_arc = out.emplace_back();
    by_arc.method = "arc";
    // A DNS that was silent now may answer the next one: whoever passes the message on must not close the chain.
    by_arc.result = arc.undecided ? std::string_view("temperror") : to_string(arc.status);
    by_arc.reason = arc.reason;
    return out;
}

std::string Judgement::summary() const {
    std::string out = fmt::format("SPF {} ({})", to_string(spf.result), spf.domain.empty() ? "no name" : spf.domain);
    for (const DkimResult& result : dkim) {
        out += fmt::format(", DKIM {} ({})", to_string(result.status), result.domain.empty() ? "?" : result.domain);
    }
    if (dkim.empty()) out += ", no DKIM";
    out += fmt::format(", DMARC {}", to_string(dmarc.result));
    if (dmarc.found) out += fmt::format(" (p={} of {})", to_string(dmarc.found->policy), dmarc.found->policy_domain);
    if (arc.status != ArcStatus::none) out += fmt::format(", ARC {}", to_string(arc.status));
    return out;
}

std::vector<AuthResult> undecided_results() {
    std::vector<AuthResult> out;
    for (const char* method : {"spf", "dkim", "dmarc"}) {
        AuthResult& one = out.emplace_back();
        one.method = method;
        one.result = "temperror";
        one.reason = "the DNS did not answer in time";
    }
    return out;
}

}  // namespace posthouse::mailauth
