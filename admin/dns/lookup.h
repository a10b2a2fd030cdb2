#pragma once
/// admin/dns/lookup: questions to the DNS that wait for their answer, for commands.
/// Threads: the caller's; runs a loop of its own while it asks.
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admin/dns/records.h"
#include "protocols/dns/resolver.h"
#include "protocols/net/loop.h"

namespace posthouse::admin {

/// How long a command waits for the DNS, however much it asks.
inline constexpr std::chrono::milliseconds kDnsBudget{10'000};

class Lookup {
 public:
    static Result<std::unique_ptr<Lookup>> make(dns::ResolverOptions options);

    /// MX ("10 mail.example.org."), TXT, CNAME (where the name itself is an alias to) or A (with AAAA). Empty where
    /// there is none; an error where the DNS did not say.
    Result<std::vector<std::string>> ask(const std::string& type, const std::string& name);
    struct Question {
        std::string type;
        std::string name;
    };
    /// All of them at once: one answer a question, in their order. Errc::timeout where none came within `budget`.
    std::vector<Result<std::vector<std::string>>> ask_all(const std::vector<Question>& questions,
                                                          std::chrono::milliseconds budget);
    /// Names that an address points back to.
    Result<std::vector<std::string>> ask_ptr(const net::IpAddress& address);
    /// Whether DNSSEC can be had through these servers: without it there is no DANE. `unknown` after `budget`.
    dns::DnssecState test_dnssec(std::chrono::milliseconds budget);
    /// Judges every record that can be asked for, all at once, and tells each as it is answered; one that the DNS does
    /// not answer within `budget` is `unknown` with its reason.
    void check(const std::vector<DnsRecord>& wanted, std::chrono::milliseconds budget,
               const std::function<void(RecordCheck)>& tell);
    /// The same in the order of `wanted`, within kDnsBudget.
    std::vector<RecordCheck> check(const std::vector<DnsRecord>& wanted);

 private:
    Lookup() : loop_(std::make_unique<net::Loop>()) {}
    std::unique_ptr<net::Loop> loop_;
    std::unique_ptr<dns::Resolver> resolver_;
};

}  // namespace posthouse::admin
