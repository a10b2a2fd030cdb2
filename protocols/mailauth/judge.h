#pragma once
/// protocols/mailauth/judge: all that can be known of who sent a message that came in from a stranger: SPF of MAIL FROM
/// and of HELO (RFC 7208), its DKIM signatures (RFC 6376), DMARC (RFC 9989) and its ARC chain (RFC 8617), as values and
/// as the results of RFC 8601. What follows from it is decided by others.
/// The resolver should be a dns::BudgetResolver: a stranger chooses what is asked. What could not be asked is
/// "temperror", in favour of the message; a signature with l= that leaves a part of the body open vouches for nothing.
/// Threads: the resolver's loop.
#include <string>
#include <vector>

#include "protocols/mailauth/arc.h"
#include "protocols/mailauth/auth_results.h"
#include "protocols/mailauth/dmarc.h"
#include "protocols/mailauth/spf.h"
#include "protocols/mailauth/verify.h"

namespace posthouse::mailauth {

struct JudgeQuestion {
    net::IpAddress client;
    std::string helo;
    std::string mail_from;  ///< "" for the null sender
    std::string receiver;   ///< our own name
    Time now{};
    JudgeQuestion() = default;
};

struct Judgement {
    std::string mail_from;  ///< as asked
    SpfAnswer spf;          ///< of MAIL FROM; of HELO where that is null
    SpfAnswer helo;         ///< none where HELO is no domain name
    std::vector<DkimResult> dkim;
    ArcChain arc;
    DmarcAnswer dmarc;
    std::string author_domain;
    Judgement() = default;

    /// For Authentication-Results.
    std::vector<AuthResult> results() const;
    /// "SPF pass (b.example), DKIM pass (b.example), DMARC pass": for people.
    std::string summary() const;
};

net::Task<Judgement> judge_message(dns::Resolver& resolver, const ReadMessage& message, JudgeQuestion question);

/// What stands in an Authentication-Results field where there was no time to find out: "temperror" throughout.
std::vector<AuthResult> undecided_results();

}  // namespace posthouse::mailauth
