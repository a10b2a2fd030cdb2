#include "protocols/dns/budget.h"

namespace posthouse::dns {

Result<> BudgetResolver::take(unsigned questions) {
    if (questions <= left_ && clock_.now() < until_) {
        left_ -= questions;
        return {};
    }
    exhausted_ = true;
    return Error(Errc::dns_temporary, "the message asks for more of the DNS than one message may");
}

net::Task<Result<Answer<MxRecord>>> BudgetResolver::mx(std::string name) {
    CO_TRY_VOID(take(1));
    co_return co_await inner_.mx(std::move(name));
}

net::Task<Result<Answer<net::IpAddress>>> BudgetResolver::addresses(std::string name) {
    CO_TRY_VOID(take(2));
    co_return co_await inner_.addresses(std::move(name));
}

net::Task<Result<Answer<std::string>>> BudgetResolver::txt(std::string name) {
    CO_TRY_VOID(take(1));
    co_return co_await inner_.txt(std::move(name));
}

net::Task<Result<Answer<std::string>>> BudgetResolver::ptr(net::IpAddress address) {
    CO_TRY_VOID(take(1));
    co_return co_await inner_.ptr(address);
}

net::Task<Result<Answer<TlsaRecord>>> BudgetResolver::tlsa(std::string name) {
    CO_TRY_VOID(take(1));
    co_return co_await inner_.tlsa(std::move(name));
}

net::Task<Result<Answer<std::string>>> BudgetResolver::cname(std::string name) {
    CO_TRY_VOID(take(1));
    co_return co_await inner_.cname(std::move(name));
}

}  // namespace posthouse::dns
