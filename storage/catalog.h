#pragma once
/// storage/catalog: domains, accounts, aliases, DKIM keys and settings: what the administrator sets
/// (routes: routes.h, relay clients: relay_clients.h).
///
/// Addresses and domains are kept in lower case (the local part too: two accounts never differ in case alone).
/// Secrets (private keys) are kept sealed (crypto::seal, purpose "dkim").
/// Errors: already_exists, not_found, invalid (with the sentence to show).  Threads: as Tx and Snapshot.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

struct Domain {
    DomainId id{};
    std::string name;
    Time created{};
    std::uint64_t quota_octets = 0;    ///< of all its accounts together; 0: no limit
    std::uint64_t quota_messages = 0;  ///< likewise
    bool is_hosted = true;             ///< its mail is kept here; else mail from it is signed here, and no more
};

struct Account {
    AccountId id{};
    DomainId domain{};
    std::string address;  ///< the login: local@domain
    std::string display_name;
    std::string password_hash;  ///< argon2id
    bool disabled = false;
    std::uint64_t quota_octets = 0;    ///< 0: no limit
    std::uint64_t quota_messages = 0;  ///< 0: no limit
    std::uint64_t used_octets = 0;
    std::uint64_t used_messages = 0;
    Time created{};
    bool file_sent = false;  ///< what it submits is filed in its Sent mailbox
};

/// An address that stands for others. "@example.org" is the catch-all of a domain.
struct Alias {
    AliasId id{};
    std::string address;
    std::vector<std::string> targets;  ///< local or remote addresses
};

/// pending -> active -> retiring -> retired: made ahead and to be published; signs; signs no more but stays in the DNS
/// until what it signed has aged; gone, its private half with it.
enum class DkimState : std::uint8_t { pending, active, retiring, retired };
std::string_view to_string(DkimState state);

struct DkimKey {
    DkimKeyId id{};
    DomainId domain{};
    std::string domain_name;
    std::string selector;
    std::string algorithm;  ///< "rsa-sha256" or "ed25519-sha256"
    std::string sealed_pem;
    std::string dns_record;  ///< TXT value at selector._domainkey.domain
    bool active = true;      ///< signs
    Time created{};
    DkimState state = DkimState::active;
    Time changed{};  ///< since when it is in this state
    Time seen{};     ///< pending: since when the DNS shows it; 0: not yet
};

/// How long mail stays in a mailbox. Of the rules that fit, the account's counts before the domain's before the one for
/// everywhere, and within a scope a name before a special use.
struct RetentionRule {
    std::string scope;      ///< "" everywhere, "example.org", "alice@example.org"
    std::string mailbox;    ///< a name, or "\\Junk", "\\Trash", ...: the mailbox with that special use
    std::int64_t days = 0;  ///< since the message came into the mailbox; 0: for ever
    bool operator==(const RetentionRule&) const = default;
};

class CatalogView {
 public:
    virtual ~CatalogView() = default;
    virtual Result<std::vector<Domain>> domains() const = 0;         ///< by name
    virtual Result<std::vector<Domain>> hosted_domains() const = 0;  ///< those that receive mail here, by name
    virtual Result<Domain> domain(std::string_view name) const = 0;
    virtual Result<Domain> domain(DomainId id) const = 0;
    /// One that receives mail here. Errc::invalid where it is known for its signatures alone.
    virtual Result<Domain> home(std::string_view name) const = 0;
    /// What all accounts of a domain hold together.
    struct Use {
        std::uint64_t octets = 0;
        std::uint64_t messages = 0;
    };
    virtual Result<Use> domain_use(DomainId id) const = 0;
    virtual Result<std::vector<Account>> accounts() const = 0;
    virtual Result<Account> account(std::string_view address) const = 0;
    virtual Result<Account> account(AccountId id) const = 0;
    virtual Result<std::vector<Alias>> aliases() const = 0;
    virtual Result<std::vector<DkimKey>> dkim_keys() const = 0;
    virtual Result<std::optional<std::string>> setting(std::string_view key) const = 0;
    virtual Result<std::vector<RetentionRule>> retention_rules() const = 0;  ///< by scope and mailbox
};

class CatalogTx : public CatalogView {
 public:
    virtual Result<DomainId> add_domain(std::string_view name) = 0;
    /// False: it keeps no mail here. Its MTA-STS policy and its rules of retention go; Errc::conflict while accounts or
    /// aliases of it exist.
    virtual Result<> set_hosted(std::string_view name, bool hosted) = 0;
    /// Errc::conflict while accounts or aliases of it exist.
    virtual Result<> remove_domain(std::string_view name) = 0;
    /// Creates the account and its mailboxes: INBOX, Drafts, Sent, Junk, Trash, Archive (all subscribed).
    virtual Result<AccountId> add_account(std::string_view address, std::string_view password_hash,
                                          std::string_view display_name) = 0;
    virtual Result<> set_password_hash(AccountId id, std::string_view password_hash) = 0;
    virtual Result<> set_disabled(AccountId id, bool disabled) = 0;
    virtual Result<> set_file_sent(AccountId id, bool file_sent) = 0;
    virtual Result<> set_quota(AccountId id, std::uint64_t octets, std::uint64_t messages) = 0;
    /// Of all accounts of the domain together.
    virtual Result<> set_domain_quota(DomainId id, std::uint64_t octets, std::uint64_t messages) = 0;
    /// Removes the account, its mailboxes, their entries and what could have been restored: for good, at once.
    virtual Result<> remove_account(AccountId id) = 0;
    virtual Result<AliasId> add_alias(std::string_view address, const std::vector<std::string>& targets) = 0;
    virtual Result<> remove_alias(std::string_view address) = 0;
    virtual Result<DkimKeyId> add_dkim_key(const DkimKey& key) = 0;
    virtual Result<> set_dkim_active(DkimKeyId id, bool active) = 0;
    virtual Result<> set_setting(std::string_view key, std::string_view value) = 0;
    /// Back to the default.
    virtual Result<> reset_setting(std::string_view key) = 0;
    /// Sets or replaces. Errc::invalid for a bad mailbox name or number of days, not_found for an unknown scope.
    virtual Result<> set_retention(const RetentionRule& rule) = 0;
    virtual Result<> remove_retention(std::string_view scope, std::string_view mailbox) = 0;
    /// `active` follows; a retired key loses its private half.
    virtual Result<> set_dkim_state(DkimKeyId id, DkimState state) = 0;
    virtual Result<> set_dkim_seen(DkimKeyId id, Time seen) = 0;
};

/// Whether each of these accounts, and its domain, has room for a message of `octets` (0: not known, so that it must
/// only be below its limits). Errc::over_quota names who is full;
/// too_large: it would not fit into an empty mailbox either.
Result<> check_quota(const CatalogView& catalog, std::span<const AccountId> accounts, std::uint64_t octets);

}  // namespace posthouse::storage
