#include "tests/support/fake_resolver.h"

#include "protocols/dns/rdata.h"

namespace posthouse::test {

namespace {

std::string key_of(std::string_view name) {
    auto key = dns::normalise_name(name);
    return key ? *std::move(key) : std::string(name);
}

}  // namespace

FakeResolver::Entry& FakeResolver::entry(std::string_view name) { return entries_[key_of(name)]; }

void FakeResolver::add_mx(std::string_view name, std::uint16_t preference, std::string_view host) {
    dns::MxRecord record;
    record.preference = preference;
    record.host = host == "." ? "" : std::string(host);
    entry(name).mx.push_back(std::move(record));
}

void FakeResolver::add_a(std::string_view name, std::string_view address) {
    const auto parsed = net::IpAddress::parse(address);
    ASSERT(parsed.has_value());
    auto& addresses = entry(name).addresses;
    // A before AAAA, as the interface promises.
    const auto same_or_later = [&](const net::IpAddress& other) { return other.family() > parsed->family(); };
    auto at = addresses.begin();
    while (at != addresses.end() && !same_or_later(*at)) ++at;
    addresses.insert(at, *parsed);
}

void FakeResolver::clear_a(std::string_view name) { entry(name).addresses.clear(); }

void FakeResolver::add_txt(std::string_view name, std::string_view text) { entry(name).txt.emplace_back(text); }

void FakeResolver::add_ptr(std::string_view address, std::string_view host) {
    const auto parsed = net::IpAddress::parse(address);
    ASSERT(parsed.has_value());
    entry(dns::reverse_name(*parsed)).ptr.emplace_back(host);
}

void FakeResolver::add_tlsa(std::string_view name, dns::TlsaRecord record) {
    entry(name).tlsa.push_back(std::move(record));
}

void FakeResolver::add_cname(std::string_view name, std::string_view target) {
    const std::vector<net::IpAddress> addresses = entry(target).addresses;
    Entry& alias = entry(name);
    alias.addresses = addresses;
    alias.cname.push_back(key_of(target));
}

void FakeResolver::set_failure(std::string_view name, std::optional<Errc> failure) { entry(name).failure = failure; }
void FakeResolver::fail_while_validating(std::string_view name) { entry(name).fails_validation = true; }
void FakeResolver::fail_cname(std::string_view name, Errc failure) { entry(name).cname_failure = failure; }
void FakeResolver::set_secure(std::string_view name) { entry(name).secure = true; }

void FakeResolver::clear() {
    entries_.clear();
    queries_ = 0;
}

std::size_t FakeResolver::queries_for(std::string_view name) const {
    const auto found = entries_.find(key_of(name));
    return found == entries_.end() ? 0 : found->second.queries;
}

template <class Record>
Result<dns::Answer<Record>> FakeResolver::answer(const std::string& name, std::vector<Record> Entry::*records) {
    TRY(const std::string key, dns::normalise_name(name));
    ++queries_;
    Entry& found = entries_[key];
    ++found.queries;
    if (found.fails_validation && dnssec_.state == dns::Dnssec::working) {
        return Error(Errc::dns_bogus, "the signatures are lost");
    }
    if (found.failure) return Error(*found.failure, "the test wants this question to fail");
    dns::Answer<Record> answer;
    answer.records = found.*records;
    answer.name_exists = !found.mx.empty() || !found.addresses.empty() || !found.txt.empty() || !found.ptr.empty() ||
                         !found.tlsa.empty() || !found.cname.empty();
    answer.secure = found.secure;
    return answer;
}

net::Task<Result<dns::Answer<dns::MxRecord>>> FakeResolver::mx(std::string name) { co_return answer(name, &Entry::mx); }
net::Task<Result<dns::Answer<net::IpAddress>>> FakeResolver::addresses(std::string name) {
    auto found = answer(name, &Entry::addresses);
    const Entry& asked = entry(name);
    if (found && !asked.cname.empty()) {
        found->canonical = asked.cname.front();
        found->secure = asked.secure && entry(found->canonical).secure;
    }
    co_return found;
}
net::Task<Result<dns::Answer<std::string>>> FakeResolver::txt(std::string name) { co_return answer(name, &Entry::txt); }
net::Task<Result<dns::Answer<std::string>>> FakeResolver::ptr(net::IpAddress address) {
    co_return answer(dns::reverse_name(address), &Entry::ptr);
}
net::Task<Result<dns::Answer<dns::TlsaRecord>>> FakeResolver::tlsa(std::string name) {
    co_return answer(name, &Entry::tlsa);
}
net::Task<Result<dns::Answer<std::string>>> FakeResolver::cname(std::string name) {
    if (entry(name).cname_failure) co_return Error(*entry(name).cname_failure, "the test wants this question to fail");
    co_return answer(name, &Entry::cname);
}
net::Task<dns::DnssecState> FakeResolver::test_dnssec() {
    if (breaks_) dnssec_ = dns::DnssecState(dns::Dnssec::broken, "signatures are lost");
    co_return dnssec_;
}

}  // namespace posthouse::test
