#include "storage/backup/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>

#include "storage/backup/snapshot.h"
#include "storage/directory.h"
#include "storage/schema.h"

namespace posthouse::storage::backup {
namespace {

Result<std::string> find_name(const Repository& repository, const std::string& wanted) {
    TRY(const std::vector<std::string> names, repository.names());
    if (names.empty()) return Error(Errc::not_found, fmt::format("there is no backup in {} yet", repository.path()));
    if (wanted.empty() || wanted == "latest") return names.back();
    const std::string* found = nullptr;
    for (const std::string& name : names) {
        if (!name.starts_with(wanted)) continue;
        if (found != nullptr && name != wanted) {
            return Error(Errc::invalid, fmt::format("several backups begin with {}: write more of the name", wanted));
        }
        found = &name;
    }
    if (found != nullptr) return *found;
    return Error(Errc::not_found, fmt::format("there is no backup {}; posthouse backup list --from {} shows them",
                                              wanted, repository.path()));
}

}  // namespace

Result<OpenBackup> open_backup(const Target& target, const std::string& backup) {
    OpenBackup out;
    TRY(out.repository, Repository::open(target.directory, target.key));
    TRY_VOID(out.repository->lock_for_reading());
    TRY(const std::string name, find_name(*out.repository, backup));
    TRY(out.manifest, out.repository->manifest(name));
    if (out.manifest.schema <= kSchemaVersion) return out;
    return Error(Errc::unsupported,
                 fmt::format("backup {} was made by a newer Posthouse (schema {}, this one knows {}): install that "
                             "version or a later one",
                             name, out.manifest.schema, kSchemaVersion));
}

Result<> each_chunk(const Repository& repository, const StoredFile& file, const ChunkVisitor& visitor) {
    if (file.chunks.empty()) return {};
    const auto fetch = [&repository](const Chunk& chunk) {
        return std::async(std::launch::async, [&repository, &chunk] { return repository.get(chunk); });
    };
    std::uint64_t offset = 0;
    auto coming = fetch(file.chunks.front());
    for (std::size_t i = 0; i < file.chunks.size(); ++i) {
        const Result<std::string> octets = coming.get();
        if (i + 1 < file.chunks.size()) coming = fetch(file.chunks[i + 1]);
        const Result<> done =
            octets ? visitor.visit(offset, *octets) : visitor.lost(offset, file.chunks[i], octets.error());
        if (!done) {
            if (coming.valid()) coming.wait();
            return done;
        }
        offset += file.chunks[i].octets;
    }
    return {};
}

Result<std::unique_ptr<Connection>> open_database(const OpenBackup& backup, const std::string& scratch,
                                                  const Watch& watch, Findings& told) {
    const StoredFile* const file = backup.manifest.file(kDatabaseName);
    if (file == nullptr) return Error(Errc::corrupt, "the backup has no mail.db");
    TRY(ScratchFile copy, make_scratch(scratch));
    bool whole = true;
    ChunkVisitor visitor;
    visitor.visit = [&](std::uint64_t offset, std::string_view octets) -> Result<> {
        TRY_VOID(watch.check());
        watch.show(offset, file->octets, file->name);
        return write_at(copy.file, offset, octets);
    };
    visitor.lost = [&](std::uint64_t, const Chunk&, const Error& error) -> Result<> {
        told.add(fmt::format("mail.db: {}", error.context));
        whole = false;
        return {};
    };
    Result<> copied = each_chunk(*backup.repository, *file, visitor);
    if (copied && !whole) {
        copied = Error(Errc::corrupt,
                       fmt::format("mail.db of backup {} is damaged: take another backup", backup.manifest.name));
    }
    if (!copied) {
        static_cast<void>(std::remove(copy.path.c_str()));
        if (copied.error().code != Errc::no_space) return Error(copied.error());
        return Error(Errc::no_space, fmt::format("{} has no room for a passing copy of mail.db: name a directory with "
                                                 "{} MiB of room with --scratch",
                                                 scratch, (file->octets >> 20U) + 1));
    }
    return open_scratch(std::move(copy));
}

SegmentSource::SegmentSource(const OpenBackup& backup) : repository_(*backup.repository) {
    for (const StoredFile& file : backup.manifest.files) {
        if (file.source.segment != 0) files_.emplace(file.source.segment, &file);
    }
}

Result<const std::string*> SegmentSource::chunk(const Chunk& wanted) {
    const auto found = std::ranges::find(held_, &wanted, &Held::chunk);
    if (found != held_.end()) {
        held_.splice(held_.begin(), held_, found);
    } else {
        TRY(std::string octets, repository_.get(wanted));
        if (held_.size() == kChunksMax) held_.pop_back();
        held_.push_front(Held{&wanted, std::move(octets)});
    }
    return &held_.front().octets;
}

Result<std::string> SegmentSource::read(std::int64_t segment, std::uint64_t offset, std::uint64_t count) {
    const auto file = files_.find(segment);
    if (file == files_.end() || offset + count > file->second->octets) {
        return Error(Errc::corrupt, fmt::format("segment {} of the backup does not reach that far", segment));
    }
    std::string out;
    std::uint64_t at = 0;
    for (const Chunk& one : file->second->chunks) {
        const std::uint64_t end = at + one.octets;
        if (offset < end && out.size() < count) {
            TRY(const std::string* const octets, chunk(one));
            const std::uint64_t from = offset - at;
            const std::uint64_t step = std::min<std::uint64_t>(count - out.size(), end - offset);
            out.append(*octets, from, step);
            offset += step;
        }
        at = end;
    }
    return out;
}

}  // namespace posthouse::storage::backup
