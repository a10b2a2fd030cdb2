#include "protocols/policy/dane.h"

#include <fmt/format.h>

namespace posthouse::policy {

namespace {

constexpr std::size_t kSha256Octets = 32;
constexpr std::size_t kSha512Octets = 64;
constexpr std::size_t kWholeOctetsMax = 16UL * 1024;  // a certificate or key as it is

}  // namespace

std::string tlsa_name(std::string_view base, unsigned port) { return fmt::format("_{}._tcp.{}", port, base); }

bool is_usable(const net::TlsaRecord& record) {
    if (record.usage != 2 && record.usage != 3) return false;
    if (record.selector > 1) return false;
    switch (record.matching) {
        case 0: return !record.data.empty() && record.data.size() <= kWholeOctetsMax;
        case 1: return record.data.size() == kSha256Octets;
        case 2: return record.data.size() == kSha512Octets;
        default: return false;
    }
}

std::vector<net::TlsaRecord> usable(std::span<const net::TlsaRecord> records) {
    std::vector<net::TlsaRecord> out;
    for (const net::TlsaRecord& record : records) {
        if (is_usable(record) && out.size() < kTlsaMax) out.push_back(record);
    }
    return out;
}

std::string format_tlsa(const net::TlsaRecord& record) {
    std::string out = fmt::format("{} {} {} ", record.usage, record.selector, record.matching);
    for (const char c : record.data) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return out;
}

}  // namespace posthouse::policy
