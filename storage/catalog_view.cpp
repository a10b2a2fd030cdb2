#include <fmt/format.h>

#include <array>

#include "protocols/base/ascii.h"
#include "storage/catalog_impl.h"

namespace posthouse::storage {
namespace {

#define ACCOUNT_COLUMNS                                                                                       \
    "id, domain, address, display_name, password_hash, disabled, quota_octets, quota_messages, used_octets, " \
    "used_messages, created_ms, file_sent"
#define DOMAIN_COLUMNS "id, name, created_ms, quota_octets, quota_messages, hosted"

Account account_of(const Query& row) {
    Account account;
    account.id = row.id<AccountId>(0);
    account.domain = row.id<DomainId>(1);
    account.address = row.text(2);
    account.display_name = row.text(3);
    account.password_hash = row.text(4);
    account.disabled = row.flag(5);
    account.quota_octets = row.u64(6);
    account.quota_messages = row.u64(7);
    account.used_octets = row.u64(8);
    account.used_messages = row.u64(9);
    account.created = row.time(10);
    account.file_sent = row.flag(11);
    return account;
}

Domain domain_of_row(const Query& row) {
    Domain domain;
    domain.id = row.id<DomainId>(0);
    domain.name = row.text(1);
    domain.created = row.time(2);
    domain.quota_octets = row.u64(3);
    domain.quota_messages = row.u64(4);
    domain.is_hosted = row.i64(5) != 0;
    return domain;
}

/// All rows of a query through `make`.
template <class T, class F>
Result<std::vector<T>> collect(Query&& query, F make) {
    std::vector<T> out;
    for (;;) {
        TRY(const bool more, query.row());
        if (!more) return out;
        out.push_back(make(query));
    }
}

}  // namespace

Result<std::vector<Domain>> CatalogImpl::domains() const {
    return collect<Domain>(db_.query("SELECT " DOMAIN_COLUMNS " FROM domains ORDER BY name"), domain_of_row);
}

Result<std::vector<Domain>> CatalogImpl::hosted_domains() const {
    return collect<Domain>(db_.query("SELECT " DOMAIN_COLUMNS " FROM domains WHERE hosted <> 0 ORDER BY name"),
                           domain_of_row);
}

Result<Domain> CatalogImpl::domain(std::string_view name) const {
    const std::string key = ascii::to_lower(name);
    Query q = db_.query("SELECT " DOMAIN_COLUMNS " FROM domains WHERE name = ?1");
    TRY(const bool found, q.bind(key).row());
    if (!found) return Error(Errc::not_found, fmt::format("there is no domain {}", key));
    return domain_of_row(q);
}

Result<Domain> CatalogImpl::domain(DomainId id) const {
    Query q = db_.query("SELECT " DOMAIN_COLUMNS " FROM domains WHERE id = ?1");
    TRY(const bool found, q.bind(id).row());
    if (!found) return Error(Errc::not_found, fmt::format("there is no domain number {}", raw(id)));
    return domain_of_row(q);
}

Result<Domain> CatalogImpl::home(std::string_view name) const {
    TRY(Domain found, domain(name));
    if (found.is_hosted) return found;
    return Error(Errc::invalid, fmt::format("{} is here for its signatures alone: its mail is kept elsewhere "
                                            "(posthouse domain set {} --hosted brings it here)",
                                            found.name, found.name));
}

Result<CatalogView::Use> CatalogImpl::domain_use(DomainId id) const {
    Query q = db_.query(
        "SELECT coalesce(sum(used_octets), 0), coalesce(sum(used_messages), 0) FROM accounts WHERE domain = ?1");
    TRY_VOID(q.bind(id).row());
    return Use{q.u64(0), q.u64(1)};
}

Result<std::vector<Account>> CatalogImpl::accounts() const {
    return collect<Account>(db_.query("SELECT " ACCOUNT_COLUMNS " FROM accounts ORDER BY address"), account_of);
}

Result<Account> CatalogImpl::account(std::string_view address) const {
    const std::string key = ascii::to_lower(address);
    Query q = db_.query("SELECT " ACCOUNT_COLUMNS " FROM accounts WHERE address = ?1");
    TRY(const bool found, q.bind(key).row());
    if (!found) return Error(Errc::not_found, fmt::format("there is no account {}", key));
    return account_of(q);
}

Result<Account> CatalogImpl::account(AccountId id) const {
    Query q = db_.query("SELECT " ACCOUNT_COLUMNS " FROM accounts WHERE id = ?1");
    TRY(const bool found, q.bind(id).row());
    if (!found) return Error(Errc::not_found, fmt::format("there is no account number {}", raw(id)));
    return account_of(q);
}

Result<std::vector<Alias>> CatalogImpl::aliases() const {
    std::vector<Alias> out;
    Query q = db_.query(
        "SELECT a.id, a.address, t.target FROM aliases a LEFT JOIN alias_targets t ON t.alias = a.id "
        "ORDER BY a.address, t.position");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        if (out.empty() || out.back().id != q.id<AliasId>(0)) {
            out.emplace_back();
            out.back().id = q.id<AliasId>(0);
            out.back().address = q.text(1);
        }
        if (!q.is_null(2)) out.back().targets.push_back(q.text(2));
    }
}

std::string_view to_string(DkimState state) {
    constexpr std::array<std::string_view, 4> kNames = {"pending", "active", "retiring", "retired"};
    return kNames[static_cast<std::size_t>(state)];
}

Result<std::vector<DkimKey>> CatalogImpl::dkim_keys() const {
    const auto make = [](const Query& row) {
        DkimKey key;
        key.id = row.id<DkimKeyId>(0);
        key.domain = row.id<DomainId>(1);
        key.domain_name = row.text(2);
        key.selector = row.text(3);
        key.algorithm = row.text(4);
        key.sealed_pem = row.text(5);
        key.dns_record = row.text(6);
        key.active = row.flag(7);
        key.created = row.time(8);
        key.state = static_cast<DkimState>(row.i64(9));
        key.changed = row.time(10);
        key.seen = row.time(11);
        return key;
    };
    return collect<DkimKey>(
        db_.query("SELECT k.id, k.domain, d.name, k.selector, k.algorithm, k.sealed_pem, k.dns_record, k.active, "
                  "k.created_ms, k.state, k.changed_ms, k.seen_ms FROM dkim_keys k JOIN domains d ON d.id = k.domain "
                  "ORDER BY d.name, k.id"),
        make);
}

Result<std::optional<std::string>> CatalogImpl::setting(std::string_view key) const {
    Query q = db_.query("SELECT value FROM settings WHERE key = ?1");
    TRY(const bool found, q.bind(key).row());
    if (!found) return std::optional<std::string>();
    return std::optional<std::string>(q.text(0));
}

Result<std::vector<RetentionRule>> CatalogImpl::retention_rules() const {
    const auto make = [](const Query& row) { return RetentionRule{row.text(0), row.text(1), row.i64(2)}; };
    return collect<RetentionRule>(db_.query("SELECT scope, mailbox, days FROM retention_rules ORDER BY scope, mailbox"),
                                  make);
}

Result<> check_quota(const CatalogView& catalog, std::span<const AccountId> accounts, std::uint64_t octets) {
    const auto full = [](std::uint64_t limit, std::uint64_t used, std::uint64_t more) {
        return limit > 0 && (used >= limit || more > limit - used);
    };
    for (const AccountId id : accounts) {
        TRY(const Account account, catalog.account(id));
        if (account.quota_octets > 0 && octets > account.quota_octets) {
            return Error(Errc::too_large, fmt::format("the message is larger than {} may hold", account.address));
        }
        if (full(account.quota_octets, account.used_octets, octets) ||
            full(account.quota_messages, account.used_messages, 1)) {
            return Error(Errc::over_quota, fmt::format("the mailbox of {} is full", account.address));
        }
        TRY(const Domain domain, catalog.domain(account.domain));
        if (domain.quota_octets == 0 && domain.quota_messages == 0) continue;
        if (domain.quota_octets > 0 && octets > domain.quota_octets) {
            return Error(Errc::too_large,
                         fmt::format("the message is larger than the mailboxes of {} together may hold", domain.name));
        }
        TRY(const CatalogView::Use use, catalog.domain_use(domain.id));
        if (full(domain.quota_octets, use.octets, octets) || full(domain.quota_messages, use.messages, 1)) {
            return Error(Errc::over_quota, fmt::format("the mailboxes of {} together are full", domain.name));
        }
    }
    return {};
}

}  // namespace posthouse::storage
