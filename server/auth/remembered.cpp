#include "server/auth/remembered.h"

#include "protocols/crypto/crypto.h"

namespace posthouse::server {

namespace {
constexpr std::size_t kKeyOctets = 32;
}  // namespace

Remembered::Remembered() : key_(crypto::random_octets(kKeyOctets)) {}

std::string Remembered::proof_of(const std::string& login, const std::string& password) const {
    const auto digest = crypto::hmac_sha256(key_, login + '\0' + password);
    return std::string(digest.begin(), digest.end());
}

std::optional<Identity> Remembered::recall(const std::string& proof, Time now) const {
    const auto found = entries_.find(proof);
    if (found == entries_.end() || found->second.until < now) return std::nullopt;
    return found->second.identity;
}

void Remembered::keep(std::string proof, const Identity& identity, Time now) {
    const auto [slot, fresh] = entries_.try_emplace(proof);
    slot->second.identity = identity;
    slot->second.until = now + kRememberedFor;
    if (fresh) order_.push_back(std::move(proof));
    while (order_.size() > kRememberedMax) {
        entries_.erase(order_.front());
        order_.pop_front();
    }
}

void Remembered::clear() {
    entries_.clear();
    order_.clear();
}

}  // namespace posthouse::server
