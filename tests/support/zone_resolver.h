#pragma once
/// tests/support/zone_resolver: a Resolver over records of the conformance suites, where types fail one by one and
/// CNAMEs are followed. Names are compared without regard to case and final dot.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/dns/rdata.h"
#include "protocols/dns/resolver.h"
#include "tests/support/json.h"

namespace posthouse::test {

/// A YAML file (several documents) as one JSON array, all scalars strings: read by the distribution's Python.
/// Null where that or its yaml module is missing (said in the output).
Json load_yaml(const std::string& path);

class ZoneResolver final : public dns::Resolver {
 public:
    void add(std::string_view name, std::string_view type, std::string value) {
        names_[key(name)].records[std::string(type)].push_back(std::move(value));
    }
    void add_mx(std::string_view name, std::uint16_t preference, std::string host) {
        names_[key(name)].mx.push_back({preference, key(host)});
        names_[key(name)].records["MX"];
    }
    /// "" is every type that has no record yet.
    void fail(std::string_view name, std::string_view type) { names_[key(name)].failing.insert(std::string(type)); }
    const std::vector<std::string>& asked_txt() const { return asked_txt_; }

    net::Task<Result<dns::Answer<dns::MxRecord>>> mx(std::string name) override {
        const Name* const found = follow(name, "MX");
        if (fails(name, found, "MX")) co_return temporary();
        dns::Answer<dns::MxRecord> out;
        out.name_exists = found != nullptr;
        if (found != nullptr) out.records = found->mx;
        co_return out;
    }
    net::Task<Result<dns::Answer<net::IpAddress>>> addresses(std::string name) override {
        dns::Answer<net::IpAddress> out;
        const Name* const found = follow(name, "A");
        if (fails(name, found, "A") || fails(name, found, "AAAA")) co_return temporary();
        out.name_exists = exists(name);
        for (const char* type : {"A", "AAAA"}) {
            for (const std::string& text : of(found, type)) out.records.push_back(net::IpAddress::parse(text).value());
        }
        co_return out;
    }
    net::Task<Result<dns::Answer<std::string>>> txt(std::string name) override {
        asked_txt_.push_back(name);
        co_return texts(name, "TXT");
    }
    net::Task<Result<dns::Answer<std::string>>> ptr(net::IpAddress address) override {
        co_return texts(dns::reverse_name(address), "PTR");
    }
    // Nothing here is asked for certificates, and nothing is signed.
    net::Task<Result<dns::Answer<dns::TlsaRecord>>> tlsa(std::string) override {
        co_return dns::Answer<dns::TlsaRecord>();
    }
    net::Task<Result<dns::Answer<std::string>>> cname(std::string name) override { co_return texts(name, "CNAME"); }
    net::Task<dns::DnssecState> test_dnssec() override { co_return dns::DnssecState(); }
    dns::DnssecState dnssec() const override { return {}; }

 private:
    struct Name {
        std::map<std::string, std::vector<std::string>> records;
        std::vector<dns::MxRecord> mx;
        std::set<std::string> failing;
    };

    static std::string key(std::string_view name) {
        if (name.ends_with('.')) name.remove_suffix(1);
        return ascii::to_lower(name);
    }
    static Error temporary() { return Error(Errc::dns_temporary, "the test wants this question to fail"); }
    static std::vector<std::string> of(const Name* name, const std::string& type) {
        if (name == nullptr) return {};
        const auto found = name->records.find(type);
        return found == name->records.end() ? std::vector<std::string>() : found->second;
    }
    const Name* follow(std::string_view name, const std::string& type) const {
        constexpr int kChainMax = 8;
        std::string at = key(name);
        for (int i = 0; i < kChainMax; ++i) {
            const auto found = names_.find(at);
            if (found == names_.end()) return nullptr;
            const auto alias = of(&found->second, "CNAME");
            if (alias.empty() || !of(&found->second, type).empty()) return &found->second;
            at = key(alias.front());
        }
        return nullptr;
    }
    bool fails(std::string_view name, const Name* found, const std::string& type) const {
        if (found == nullptr) return key(name).starts_with("error.");
        return found->failing.contains(type) || (found->failing.contains("") && !found->records.contains(type));
    }
    /// A name with something below it exists (RFC 8020).
    bool exists(std::string_view name) const {
        const std::string below = "." + key(name);
        return std::ranges::any_of(
            names_, [&](const auto& one) { return one.first == below.substr(1) || one.first.ends_with(below); });
    }
    Result<dns::Answer<std::string>> texts(std::string_view name, const std::string& type) const {
        const Name* const found = follow(name, type);
        if (fails(name, found, type)) return temporary();
        dns::Answer<std::string> out;
        out.records = of(found, type);
        out.name_exists = found != nullptr;
        return out;
    }

    std::map<std::string, Name> names_;
    std::vector<std::string> asked_txt_;
};

}  // namespace posthouse::test
