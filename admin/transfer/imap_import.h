#pragma once
/// admin/transfer/imap_import: all mail of one account at an IMAP server into an account here; repeated, it is a sync
/// until cut-over. It plans (imap_folders.h), then syncs folder by folder (imap_sync.h).
///   - one login, one connection, pipelined; the source is only read;
///   - stopped (Ctrl-C, kill, power) it goes on where it was; repeated it takes what is new, brings flags up to date
/// and,
///     if asked, removes what is gone there; it never makes duplicates;
///   - flags at the source win over those here, so stop repeating it once people work here.
/// Threads: one a call; several calls may run at once on one store, each with its own loop.
#include <cstdint>
#include <string>
#include <vector>

#include "admin/transfer/imap_client.h"
#include "admin/transfer/imap_folders.h"
#include "admin/transfer/imap_sync.h"
#include "admin/transfer/taker.h"
#include "admin/transfer/watch.h"

namespace posthouse::transfer {

struct ImapImportOptions {
    FolderWishes wishes;  ///< `own` is filled in by import_imap
    Vanished vanished = Vanished::keep;
    std::uint32_t window_messages = kWindowMessages;
};

struct ImapImportOutcome {
    std::uint64_t folders = 0;         ///< that were gone through
    std::uint64_t folders_failed = 0;  ///< each told through ImapOutside::note
    TakerStatistics statistics;
    Result<> verdict;  ///< why the import ended early; cancelled: Ctrl-C
};

ImapImportOutcome import_imap(storage::Store& store, storage::AccountId account, const ImapUrl& url,
                              const std::string& password, const ImapImportOptions& options, const ImapOutside& outside,
                              const Watch& watch, const FailureListener& on_failure);

}  // namespace posthouse::transfer
