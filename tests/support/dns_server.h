#pragma once
/// tests/support/dns_server: an authoritative DNS server on loopback, for tests that ask through libunbound itself.
/// It answers over UDP on a thread of its own with the octets a test gave it, broken ones included.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace posthouse::test {

/// What the server says to one question.
struct DnsReply {
    std::uint8_t rcode = 0;          ///< RFC 1035 4.1.1: 0 no error, 2 SERVFAIL, 3 NXDOMAIN
    std::vector<std::string> rdata;  ///< one record of the type asked for each
    std::string cname;               ///< text; where set, the records belong to this name
    bool silent = false;             ///< no answer at all
};

class DnsServer {
 public:
    /// `answer` gets the name (lower case, without final dot) and the type; called on the server's thread.
    using Function = std::function<DnsReply(const std::string& name, std::uint16_t type)>;
    explicit DnsServer(Function answer);
    ~DnsServer();
    DnsServer(const DnsServer&) = delete;
    DnsServer& operator=(const DnsServer&) = delete;

    /// "127.0.0.1@12345", as ResolverOptions::servers wants it.
    std::string address() const;
    std::size_t questions() const;

 private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// "\3mx1\4test\0": a name in wire form.
std::string wire_name(std::string_view name);
/// RDATA of an MX record.
std::string wire_mx(std::uint16_t preference, std::string_view host);

}  // namespace posthouse::test
