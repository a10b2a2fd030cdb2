#pragma once
/// admin/transfer/maildir: a Maildir with all its folders into an account.
///
/// Folders: Maildir++ (".Folder.Sub" in the root), nested directories (the "fs" layout), and any mix of the two;
/// what has a "cur" or "new" is a folder. A message is known by its name without the flags, so a repeated run takes
/// what is new and brings the flags of the known ones up to date. INTERNALDATE is the file's time, as Dovecot keeps
/// it. Damaged input (unreadable, empty or packed files, links, pipes, directories in place of messages) is
/// reported through the Taker and the rest goes on. Names of one folder at a time are kept in memory: about 100
/// octets a message.
#include <string>

#include "admin/transfer/files.h"
#include "admin/transfer/taker.h"
#include "admin/transfer/watch.h"

namespace posthouse::transfer {

struct ImportOptions {
    std::string into;  ///< mailbox that everything goes below; "": to the mailboxes of the same names and uses
};

/// Errors end the import: Errc::not_found where there is no folder at all, cancelled where it was interrupted, else the
/// Taker's. What was gathered is on disk when it returns.
Result<> import_maildir(Taker& taker, const File& root, const ImportOptions& options, const Watch& watch);

}  // namespace posthouse::transfer
