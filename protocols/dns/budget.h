#pragma once
/// protocols/dns/budget: a Resolver that answers so many questions, until such a time, and then no more: what a
/// stranger makes us ask for him is bounded over everything that is asked for one message.
/// Beyond it every answer is Errc::dns_temporary at once. A question that is under way when the time is over is waited
/// for: whoever must not wait has a timer of his own.
/// Threads: the resolver's loop.
#include <string>

#include "protocols/base/clock.h"
#include "protocols/dns/resolver.h"

namespace posthouse::dns {

class BudgetResolver final : public Resolver {
 public:
    /// Both references outlive this. addresses() counts as two questions: A and AAAA.
    BudgetResolver(Resolver& inner, const Clock& clock, unsigned questions_max, Milliseconds span)
        : inner_(inner), clock_(clock), left_(questions_max), until_(clock.now() + span) {}

    net::Task<Result<Answer<MxRecord>>> mx(std::string name) override;
    net::Task<Result<Answer<net::IpAddress>>> addresses(std::string name) override;
    net::Task<Result<Answer<std::string>>> txt(std::string name) override;
    net::Task<Result<Answer<std::string>>> ptr(net::IpAddress address) override;
    net::Task<Result<Answer<TlsaRecord>>> tlsa(std::string name) override;
    net::Task<Result<Answer<std::string>>> cname(std::string name) override;
    net::Task<DnssecState> test_dnssec() override { co_return co_await inner_.test_dnssec(); }
    DnssecState dnssec() const override { return inner_.dnssec(); }

    /// Whether a question was left unasked.
    bool exhausted() const { return exhausted_; }

 private:
    Result<> take(unsigned questions);

    Resolver& inner_;
    const Clock& clock_;
    unsigned left_;
    Time until_;
    bool exhausted_ = false;
};

}  // namespace posthouse::dns
