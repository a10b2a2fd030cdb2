#pragma once
/// storage/address_walk: where mail for an address leads: to the alias or account of that name (the catalog lets no
/// name be both), else of the address without its "+tag" (RFC 5233), else to whoever looks after the roles, else to the
/// domain's catch-all. One walk: for mail that comes in over a picture in memory (server/delivery/directory.h), and for
/// reports about mail that went out over the tables (AddressView).
/// Invariants  1. An address is looked up in its parsed form, in lower case; a quoted local part never names a host.
///             2. Expansion of aliases is bounded in depth and count, and a loop ends by itself.
///             3. postmaster@ and abuse@ of a domain of ours always lead to somebody (RFC 5321 4.5.1, RFC 2142).
/// Threads: as the table; an AddressView as the Tx or Snapshot that it is made from and that must outlive it.
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/smtp/path.h"
#include "storage/types.h"

namespace posthouse::storage {

class CatalogView;
class Connection;
class Snapshot;
class Tx;
struct Account;
struct Domain;

inline constexpr std::size_t kAliasDepthMax = 10;
inline constexpr std::size_t kAliasTargetsMax = 1000;

/// Where an address leads.
struct Resolution {
    enum class Kind {
        deliver,   ///< to the accounts and remote addresses below
        unknown,   ///< our domain, but nobody there
        not_ours,  ///< another host's address
        too_many,  ///< an alias that leads too far or to too many
    };
    Kind kind = Kind::unknown;
    std::vector<AccountId> accounts;  ///< each once
    std::vector<std::string> remote;  ///< targets of aliases on other hosts, each once
};

/// What the walk asks. All keys come in lower case.
class AddressTable {
 public:
    virtual ~AddressTable() = default;
    virtual Result<bool> is_ours(const std::string& domain) const = 0;
    /// What the alias (local@domain, or @domain: the catch-all) leads to; nothing where there is no such alias.
    virtual Result<std::optional<std::vector<std::string>>> alias(const std::string& address) const = 0;
    virtual Result<std::optional<AccountId>> account(const std::string& address) const = 0;
    /// See role_account(); nothing where there is no account at all.
    virtual Result<std::optional<AccountId>> role_account(const std::string& domain) const = 0;
};

Result<Resolution> walk_addresses(const AddressTable& table, const smtp::Path& start);

/// Who gets the mail of a domain's roles where no alias says otherwise: the first of `named` (the settings
/// "postmaster.DOMAIN" and "postmaster") that is an account, else the domain's first account, else the first of all.
/// `accounts` by id. Null: there is none.
const Account* role_account(const Domain& domain, std::span<const std::optional<std::string>> named,
                            std::span<const Account> accounts);

/// Over the tables, for who asks seldom: a query a step; a role costs a look at all accounts. An address without a
/// domain is nobody's here.
class AddressView {
 public:
    explicit AddressView(const Snapshot& snapshot);
    explicit AddressView(Tx& tx);
    Result<Resolution> resolve(const smtp::Path& path) const;

 private:
    class Table;
    Connection& db_;
    const CatalogView& catalog_;
};

}  // namespace posthouse::storage
