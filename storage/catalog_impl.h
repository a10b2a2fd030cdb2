#pragma once
/// storage/catalog_impl (internal): the catalog over SQL; serves a write and, through CatalogView, a snapshot.
#include <string>
#include <string_view>
#include <vector>

#include "storage/catalog.h"
#include "storage/context.h"

namespace posthouse::storage {

class CatalogImpl final : public CatalogTx {
 public:
    explicit CatalogImpl(Context& context) : context_(context), db_(context.db) {}

    Result<std::vector<Domain>> domains() const override;
    Result<std::vector<Domain>> hosted_domains() const override;
    Result<Domain> domain(std::string_view name) const override;
    Result<Domain> domain(DomainId id) const override;
    Result<Domain> home(std::string_view name) const override;
    Result<Use> domain_use(DomainId id) const override;
    Result<std::vector<Account>> accounts() const override;
    Result<Account> account(std::string_view address) const override;
    Result<Account> account(AccountId id) const override;
    Result<std::vector<Alias>> aliases() const override;
    Result<std::vector<DkimKey>> dkim_keys() const override;
    Result<std::optional<std::string>> setting(std::string_view key) const override;
    Result<std::vector<RetentionRule>> retention_rules() const override;

    Result<DomainId> add_domain(std::string_view name) override;
    Result<> set_hosted(std::string_view name, bool hosted) override;
    Result<> remove_domain(std::string_view name) override;
    Result<AccountId> add_account(std::string_view address, std::string_view password_hash,
                                  std::string_view display_name) override;
    Result<> set_password_hash(AccountId id, std::string_view password_hash) override;
    Result<> set_disabled(AccountId id, bool disabled) override;
    Result<> set_file_sent(AccountId id, bool file_sent) override;
    Result<> set_quota(AccountId id, std::uint64_t octets, std::uint64_t messages) override;
    Result<> set_domain_quota(DomainId id, std::uint64_t octets, std::uint64_t messages) override;
    Result<> remove_account(AccountId id) override;
    Result<AliasId> add_alias(std::string_view address, const std::vector<std::string>& targets) override;
    Result<> remove_alias(std::string_view address) override;
    Result<DkimKeyId> add_dkim_key(const DkimKey& key) override;
    Result<> set_dkim_state(DkimKeyId id, DkimState state) override;
    Result<> set_dkim_seen(DkimKeyId id, Time seen) override;
    Result<> set_dkim_active(DkimKeyId id, bool active) override;
    Result<> set_setting(std::string_view key, std::string_view value) override;
    Result<> reset_setting(std::string_view key) override;
    Result<> set_retention(const RetentionRule& rule) override;
    Result<> remove_retention(std::string_view scope, std::string_view mailbox) override;

 private:
    Result<> address_is_free(std::string_view address) const;
    Result<> check_bare(const Domain& found) const;
    Result<> drop_keeping(const Domain& found);
    /// Runs one changing statement that must touch a row.
    Result<> change(Query&& query, std::string_view otherwise);
    Result<bool> any(Query&& query) const;

    Context& context_;
    Connection& db_;
};

/// Lower case, a domain part, no blanks or controls; `catch_all` allows an empty local part. Errc::invalid.
enum class AddressKind { mailbox, alias, target };
Result<std::string> check_address(std::string_view address, AddressKind kind);
Result<std::string> check_domain(std::string_view name);
std::string_view domain_of(std::string_view address);

}  // namespace posthouse::storage
