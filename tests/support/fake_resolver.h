#pragma once
/// tests/support/fake_resolver: a Resolver whose answers a test writes down. Nothing suspends; nothing is random.
/// A name exists where anything was added for it. Names are compared without regard to case and final dot.
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/dns/resolver.h"

namespace posthouse::test {

class FakeResolver final : public dns::Resolver {
 public:
    void add_mx(std::string_view name, std::uint16_t preference, std::string_view host);
    /// IPv4 or IPv6 text; anything else is a mistake of the test and aborts.
    void add_a(std::string_view name, std::string_view address);
    /// The name has no address any more.
    void clear_a(std::string_view name);
    void add_txt(std::string_view name, std::string_view text);
    void add_ptr(std::string_view address, std::string_view host);
    void add_tlsa(std::string_view name, dns::TlsaRecord record);
    /// The addresses of `target` are answered for `name` as well; secure where both are. `target` is written first.
    void add_cname(std::string_view name, std::string_view target);
    void set_dnssec(dns::DnssecState state) { dnssec_ = std::move(state); }
    /// Signatures are lost from now on: every test says so, and questions of fail_while_validating() fail until then.
    void break_at_next_test() { breaks_ = true; }
    void fail_while_validating(std::string_view name);
    /// The question for the CNAME record alone.
    void fail_cname(std::string_view name, Errc failure);
    /// Every question about `name` fails so, until told otherwise by nullopt.
    void set_failure(std::string_view name, std::optional<Errc> failure);
    /// Answers about `name`, absence included, count as validated by DNSSEC.
    void set_secure(std::string_view name);
    void clear();

    /// Questions asked so far: of any name, of one name.
    std::size_t queries() const { return queries_; }
    std::size_t queries_for(std::string_view name) const;

    net::Task<Result<dns::Answer<dns::MxRecord>>> mx(std::string name) override;
    net::Task<Result<dns::Answer<net::IpAddress>>> addresses(std::string name) override;
    net::Task<Result<dns::Answer<std::string>>> txt(std::string name) override;
    net::Task<Result<dns::Answer<std::string>>> ptr(net::IpAddress address) override;
    net::Task<Result<dns::Answer<dns::TlsaRecord>>> tlsa(std::string name) override;
    net::Task<Result<dns::Answer<std::string>>> cname(std::string name) override;
    net::Task<dns::DnssecState> test_dnssec() override;
    dns::DnssecState dnssec() const override { return dnssec_; }

 private:
    struct Entry {
        std::vector<dns::MxRecord> mx;
        std::vector<net::IpAddress> addresses;
        std::vector<std::string> txt;
        std::vector<std::string> ptr;
        std::vector<dns::TlsaRecord> tlsa;
        std::vector<std::string> cname;
        std::optional<Errc> failure;
        std::optional<Errc> cname_failure;
        bool fails_validation = false;
        std::size_t queries = 0;
        bool secure = false;
    };

    Entry& entry(std::string_view name);
    template <class Record>
    Result<dns::Answer<Record>> answer(const std::string& name, std::vector<Record> Entry::*records);

    std::map<std::string, Entry, std::less<>> entries_;
    std::size_t queries_ = 0;
    bool breaks_ = false;
    dns::DnssecState dnssec_ = dns::DnssecState(dns::Dnssec::working, "");
};

}  // namespace posthouse::test
