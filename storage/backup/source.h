#pragma once
/// storage/backup/source (internal): the octets of one backup for reading: a named backup found, files in pieces (the
/// next one is fetched while the present one is looked at), and single stretches of segments.
/// Threads: an object belongs to one thread; it uses one more for fetching.
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "storage/backup/backup.h"
#include "storage/backup/repository.h"
#include "storage/sqlite.h"

namespace posthouse::storage::backup {

struct OpenBackup {
    std::unique_ptr<Repository> repository;
    Manifest manifest;
};
/// `backup`: a name, the beginning of exactly one, or "" for the newest. Holds the readers' lock.
Result<OpenBackup> open_backup(const Target& target, const std::string& backup);

/// Every chunk of a file in order. `visit(offset, octets)`, or `lost(offset, chunk, error)` where it cannot be had.
struct ChunkVisitor {
    std::function<Result<>(std::uint64_t offset, std::string_view octets)> visit;
    std::function<Result<>(std::uint64_t offset, const Chunk& chunk, const Error& error)> lost;
};
Result<> each_chunk(const Repository& repository, const StoredFile& file, const ChunkVisitor& visitor);

/// mail.db of a backup, opened for reading as a file without a name in `scratch`. Errc::corrupt where a piece of it is
/// not there: `told` gets a sentence for each.
Result<std::unique_ptr<Connection>> open_database(const OpenBackup& backup, const std::string& scratch,
                                                  const Watch& watch, Findings& told);

/// Reads where it is asked; keeps the last few chunks.
class SegmentSource {
 public:
    explicit SegmentSource(const OpenBackup& backup);
    /// Exactly `count` octets. Errc::corrupt where the backup does not have them.
    Result<std::string> read(std::int64_t segment, std::uint64_t offset, std::uint64_t count);

 private:
    static constexpr std::size_t kChunksMax = 4;
    struct Held {
        const Chunk* chunk;
        std::string octets;
    };
    Result<const std::string*> chunk(const Chunk& wanted);
    const Repository& repository_;
    std::map<std::int64_t, const StoredFile*> files_;
    std::list<Held> held_;  ///< the last one used first
};

}  // namespace posthouse::storage::backup
