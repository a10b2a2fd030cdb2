#include "storage/imports_impl.h"

namespace posthouse::storage {

Result<std::optional<ImportFolder>> ImportsImpl::folder(AccountId account, std::string_view source,
                                                        std::string_view name) const {
    Query q = db_.query(
        "SELECT id, uid_validity, mailbox FROM import_folders WHERE account = ?1 AND source = ?2 AND name = ?3");
    TRY(const bool found, q.bind(account, source, name).row());
    if (!found) return std::optional<ImportFolder>();
    ImportFolder out;
    out.id = q.id<ImportFolderId>(0);
    out.account = account;
    out.source = source;
    out.name = name;
    out.uid_validity = q.u64(1);
    out.mailbox = q.id<MailboxId>(2);
    return std::optional<ImportFolder>(std::move(out));
}

Result<std::vector<Imported>> ImportsImpl::imported(ImportFolderId folder, std::string_view after,
                                                    std::size_t count_max) const {
    Query q = db_.query("SELECT key, uid FROM imported WHERE folder = ?1 AND key > ?2 ORDER BY key LIMIT ?3");
    q.bind(folder, after, count_max);
    std::vector<Imported> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(Imported{q.text(0), q.u32(1)});
    }
}

Result<bool> ImportsImpl::has(ImportFolderId folder, std::string_view key) const {
    Query q = db_.query("SELECT 1 FROM imported WHERE folder = ?1 AND key = ?2");
    return q.bind(folder, key).row();
}

Result<std::optional<Uid>> ImportsImpl::find(ImportFolderId folder, std::string_view key) const {
    Query q = db_.query("SELECT uid FROM imported WHERE folder = ?1 AND key = ?2");
    TRY(const bool found, q.bind(folder, key).row());
    return found ? std::optional<Uid>(q.u32(0)) : std::nullopt;
}

Result<ImportFolderId> ImportsImpl::set_folder(const ImportFolder& wanted) {
    TRY(const auto known, folder(wanted.account, wanted.source, wanted.name));
    if (!known) {
        TRY_VOID(db_.query("INSERT INTO import_folders (account, source, name, uid_validity, mailbox) "
                           "VALUES (?1, ?2, ?3, ?4, ?5)")
                     .bind(wanted.account, wanted.source, wanted.name, wanted.uid_validity, wanted.mailbox)
                     .run());
        return static_cast<ImportFolderId>(db_.last_id());
    }
    // UIDs under another UIDVALIDITY, or in another mailbox of ours, say nothing about the old ones.
    if (known->uid_validity != wanted.uid_validity || known->mailbox != wanted.mailbox) {
        TRY_VOID(db_.query("DELETE FROM imported WHERE folder = ?1").bind(known->id).run());
    }
    TRY_VOID(db_.query("UPDATE import_folders SET uid_validity = ?2, mailbox = ?3 WHERE id = ?1")
                 .bind(known->id, wanted.uid_validity, wanted.mailbox)
                 .run());
    return known->id;
}

Result<> ImportsImpl::remember(ImportFolderId folder, std::string_view key, Uid uid) {
    return db_.query("INSERT OR REPLACE INTO imported VALUES (?1, ?2, ?3)").bind(folder, key, uid).run();
}

Result<> ImportsImpl::forget(ImportFolderId folder, std::string_view key) {
    return db_.query("DELETE FROM imported WHERE folder = ?1 AND key = ?2").bind(folder, key).run();
}

}  // namespace posthouse::storage
