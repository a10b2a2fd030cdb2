#include "tests/support/dns_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "protocols/base/ascii.h"
#include "protocols/base/result.h"

namespace posthouse::test {

namespace {

constexpr std::size_t kHeaderOctets = 12;  // RFC 1035 4.1.1
constexpr std::uint16_t kTypeCname = 5;
constexpr unsigned kTtlSeconds = 60;

std::string be16(unsigned value) { return {static_cast<char>(value >> 8U & 0xffU), static_cast<char>(value & 0xffU)}; }

std::string record(std::string_view name, std::uint16_t type, std::string_view rdata) {
    return wire_name(name) + be16(type) + be16(1) + be16(0) + be16(kTtlSeconds) +
           be16(static_cast<unsigned>(rdata.size())) + std::string(rdata);
}

}  // namespace

std::string wire_name(std::string_view name) {
    std::string wire;
    while (!name.empty()) {
        const std::string_view label = name.substr(0, name.find('.'));
        wire += static_cast<char>(label.size());
        wire += label;
        name.remove_prefix(std::min(name.size(), label.size() + 1));
    }
    return wire + '\0';
}

std::string wire_mx(std::uint16_t preference, std::string_view host) { return be16(preference) + wire_name(host); }

struct DnsServer::Impl {
    Function answer;
    int descriptor = -1;
    std::uint16_t port = 0;
    std::atomic<std::size_t> questions = 0;
    std::atomic<bool> stopping = false;
    std::thread thread;

    void run() {
        std::array<char, 1500> buffer{};
        while (!stopping) {
            sockaddr_in from{};
            socklen_t length = sizeof from;
            const ssize_t got =
                recvfrom(descriptor, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
            if (got < static_cast<ssize_t>(kHeaderOctets) || stopping) continue;
            const std::string out = reply_to(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
            if (out.empty()) continue;
            [[maybe_unused]] const ssize_t sent =
                sendto(descriptor, out.data(), out.size(), 0, reinterpret_cast<const sockaddr*>(&from), length);
        }
    }

    // Header, the question as it came, the records; no authority and no additional section.
    std::string reply_to(std::string_view request) {
        std::string name;
        std::size_t at = kHeaderOctets;
        while (at < request.size() && request[at] != '\0') {
            const auto size = static_cast<unsigned char>(request[at]);
            if (!name.empty()) name += '.';
            name += ascii::to_lower(request.substr(at + 1, size));
            at += size + 1U;
        }
        if (at + 5 > request.size()) return "";
        const auto type = static_cast<std::uint16_t>(static_cast<unsigned char>(request[at + 1]) << 8U |
                                                     static_cast<unsigned char>(request[at + 2]));
        const std::string_view question = request.substr(kHeaderOctets, at + 5 - kHeaderOctets);
        ++questions;
        const DnsReply reply = answer(name, type);
        if (reply.silent) return "";
        std::string records;
        if (!reply.cname.empty()) records += record(name, kTypeCname, wire_name(reply.cname));
        for (const std::string& rdata : reply.rdata) {
            records += record(reply.cname.empty() ? name : reply.cname, type, rdata);
        }
        const auto count = static_cast<unsigned>(reply.rdata.size() + (reply.cname.empty() ? 0 : 1));
        // QR, RD and RA; authoritative data has no AA here since the server plays a forwarder.
        return std::string(request.substr(0, 2)) + be16(0x8180U | reply.rcode) + be16(1) + be16(count) + be16(0) +
               be16(0) + std::string(question) + records;
    }
};

DnsServer::DnsServer(Function answer) : impl_(std::make_unique<Impl>()) {
    impl_->answer = std::move(answer);
    impl_->descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ASSERT(impl_->descriptor >= 0);
    sockaddr_in local{};
    local.sin_family = AF_INET;
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT(bind(impl_->descriptor, reinterpret_cast<const sockaddr*>(&local), sizeof local) == 0);
    socklen_t length = sizeof local;
    ASSERT(getsockname(impl_->descriptor, reinterpret_cast<sockaddr*>(&local), &length) == 0);
    impl_->port = ntohs(local.sin_port);
    impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

DnsServer::~DnsServer() {
    impl_->stopping = true;
    // An empty datagram to itself ends the wait.
    sockaddr_in self{};
    self.sin_family = AF_INET;
    self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self.sin_port = htons(impl_->port);
    [[maybe_unused]] const ssize_t sent =
        sendto(impl_->descriptor, "", 0, 0, reinterpret_cast<const sockaddr*>(&self), sizeof self);
    impl_->thread.join();
    close(impl_->descriptor);
}

std::string DnsServer::address() const { return fmt::format("127.0.0.1@{}", impl_->port); }
std::size_t DnsServer::questions() const { return impl_->questions; }

}  // namespace posthouse::test
