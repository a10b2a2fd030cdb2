#include "admin/cli/keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/crypto/crypto.h"
#include "protocols/mailauth/dkim.h"

namespace posthouse::admin {
namespace {

struct Kind {
    crypto::SigningAlgorithm algorithm;
    std::string_view name;    // as in a= of a signature
    std::string_view letter;  // first of the selector
};
constexpr Kind kKinds[] = {{crypto::SigningAlgorithm::rsa_sha256, "rsa-sha256", "r"},
                           {crypto::SigningAlgorithm::ed25519_sha256, "ed25519-sha256", "e"}};

// The first of base, base + "b", base + "c", ... that is not taken.
std::string free_selector(const std::vector<storage::DkimKey>& taken, std::string_view domain,
                          const std::string& base) {
    std::string selector = base;
    for (char letter = 'b'; letter <= 'z'; ++letter) {
        const bool used = std::ranges::any_of(
            taken, [&](const storage::DkimKey& key) { return key.domain_name == domain && key.selector == selector; });
        if (!used) break;
        selector = base + letter;
    }
    return selector;
}

}  // namespace

Result<std::vector<storage::DkimKey>> make_dkim_keys(storage::Store& store, const std::string& domain, Time now) {
    TRY(const auto taken, store.read([](const storage::Snapshot& snapshot) { return snapshot.catalog().dkim_keys(); }));
    const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(now));
    std::vector<storage::DkimKey> out;
    for (const Kind& kind : kKinds) {
        TRY(const crypto::SigningKey made, crypto::SigningKey::generate(kind.algorithm));
        const std::string base = fmt::format("{}{:04}{:02}", kind.letter, static_cast<int>(date.year()),
                                             static_cast<unsigned>(date.month()));
        storage::DkimKey key;
        key.domain_name = domain;
        key.selector = free_selector(taken, domain, base);
        key.algorithm = kind.name;
        key.sealed_pem = crypto::seal(store.sealing_key(), kDkimSealPurpose, made.to_pem());
        key.dns_record = mailauth::dkim_dns_record(made);
        key.created = now;
        out.push_back(std::move(key));
    }
    return out;
}

Result<std::vector<storage::DkimKey>> make_next_dkim_keys(storage::Store& store, const std::string& domain, Time now) {
    TRY(auto keys, make_dkim_keys(store, domain, now));
    for (storage::DkimKey& key : keys) key.state = storage::DkimState::pending;
    return keys;
}

Result<> add_dkim_keys(storage::Tx& tx, storage::DomainId domain, const std::vector<storage::DkimKey>& keys) {
    for (storage::DkimKey key : keys) {
        key.domain = domain;
        TRY([[maybe_unused]] const auto id, tx.catalog().add_dkim_key(key));
    }
    return {};
}

}  // namespace posthouse::admin
