#pragma once
/// storage/backup/snapshot (internal): one moment of mail.db as a file that nobody else can see, and files of mail.db
/// that are read or changed outside a store.
/// Threads: an object belongs to one thread.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "storage/backup/backup.h"
#include "storage/file.h"
#include "storage/sqlite.h"

namespace posthouse::storage::backup {

struct SegmentRow {
    std::int64_t id = 0;
    std::uint64_t octets = 0;
    bool sealed = false;
};

struct DatabaseSnapshot {
    Descriptor file;  ///< without a name: it goes with the descriptor
    std::uint64_t octets = 0;
    std::vector<SegmentRow> segments;  ///< of the same moment, by id
    int schema = 0;
    std::uint64_t accounts = 0;
    std::uint64_t mailboxes = 0;
    std::uint64_t messages = 0;
    std::uint64_t message_octets = 0;
    Milliseconds held{};
};

/// Copies mail.db page by page under a read transaction of a connection of its own; writers go on meanwhile.
Result<DatabaseSnapshot> take_snapshot(Store& store, const Watch& watch);

/// A descriptor and a path of a new file in `directory` (0600).
struct ScratchFile {
    Descriptor file;
    std::string path;
};
Result<ScratchFile> make_scratch(const std::string& directory);
/// Opens the copy of a mail.db for reading and takes its name away: it goes with the connection.
Result<std::unique_ptr<Connection>> open_scratch(ScratchFile scratch);

}  // namespace posthouse::storage::backup
