#pragma once
/// storage/imports: what was taken over from elsewhere, so that an import can stop, go on and be repeated without
/// duplicates: a folder of a source, and in it the key of each message and the UID it got here.
///
/// Invariants  1. A key is remembered in the same transaction that appends its message.
///             2. A folder whose UIDVALIDITY changed forgets its keys (RFC 3501 2.3.1.1); set_folder() does it.
/// Threads: as Tx and Snapshot.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

enum class ImportFolderId : std::int64_t {};

struct ImportFolder {
    ImportFolderId id{};
    AccountId account{};
    std::string source;              ///< "imap://user@host", "maildir:/path", "mbox:/path"
    std::string name;                ///< the folder there, in its own spelling
    std::uint64_t uid_validity = 0;  ///< 0 for files
    MailboxId mailbox{};
};

struct Imported {
    std::string key;
    Uid uid = 0;
};

class ImportView {
 public:
    virtual ~ImportView() = default;
    virtual Result<std::optional<ImportFolder>> folder(AccountId account, std::string_view source,
                                                       std::string_view name) const = 0;
    /// Keys above `after` in the order of their octets, at most `count_max`.
    virtual Result<std::vector<Imported>> imported(ImportFolderId folder, std::string_view after,
                                                   std::size_t count_max) const = 0;
    virtual Result<bool> has(ImportFolderId folder, std::string_view key) const = 0;
    /// The UID that the message of this key got here.
    virtual Result<std::optional<Uid>> find(ImportFolderId folder, std::string_view key) const = 0;
};

class ImportTx : public ImportView {
 public:
    /// Makes the folder or brings it up to date; the id in `folder` is not looked at.
    virtual Result<ImportFolderId> set_folder(const ImportFolder& folder) = 0;
    virtual Result<> remember(ImportFolderId folder, std::string_view key, Uid uid) = 0;
    virtual Result<> forget(ImportFolderId folder, std::string_view key) = 0;
};

}  // namespace posthouse::storage
