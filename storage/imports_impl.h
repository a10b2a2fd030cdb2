#pragma once
/// storage/imports_impl (internal): ImportTx over SQL; serves a write and, through ImportView, a snapshot.
#include "storage/context.h"
#include "storage/imports.h"

namespace posthouse::storage {

class ImportsImpl final : public ImportTx {
 public:
    explicit ImportsImpl(Context& context) : db_(context.db) {}

    Result<std::optional<ImportFolder>> folder(AccountId account, std::string_view source,
                                               std::string_view name) const override;
    Result<std::vector<Imported>> imported(ImportFolderId folder, std::string_view after,
                                           std::size_t count_max) const override;
    Result<bool> has(ImportFolderId folder, std::string_view key) const override;
    Result<std::optional<Uid>> find(ImportFolderId folder, std::string_view key) const override;

    Result<ImportFolderId> set_folder(const ImportFolder& folder) override;
    Result<> remember(ImportFolderId folder, std::string_view key, Uid uid) override;
    Result<> forget(ImportFolderId folder, std::string_view key) override;

 private:
    Connection& db_;
};

}  // namespace posthouse::storage
