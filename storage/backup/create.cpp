// One more backup. The order is the promise: the snapshot first, then what it names, everything synced, the manifest
// last. Segments only grow, so that their octets can be copied after the snapshot is closed; the compactor, which alone
// removes them, waits for the lock.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>

#include "storage/backup/backup.h"
#include "storage/backup/records.h"
#include "storage/backup/repository.h"
#include "storage/backup/snapshot.h"
#include "storage/context.h"
#include "storage/fail_point.h"
#include "storage/segments_lock.h"

namespace posthouse::storage::backup {
namespace {

constexpr std::size_t kNameTokenOctets = 6;
// How finely a file is read whose disk fails: what is lost is at most this much around each bad place.
constexpr std::size_t kSalvageOctets = 4096;
constexpr std::uint64_t kExtraOctetsMax = 4ULL * 1024 * 1024;

class Creator {
 public:
    Creator(Store& store, Repository& repository, const CreateOptions& options, const Watch& watch)
        : directory_(directory_of(store)), repository_(repository), options_(options), watch_(watch) {}

    Result<Created> run(Store& store) {
        TRY(segments_lock_, hold_segments(directory_));
        TRY(const DatabaseSnapshot snapshot, take_snapshot(store, watch_));
        POSTHOUSE_FAIL_POINT("backup-snapshot");
        begin_manifest(snapshot);
        TRY_VOID(load_last());
        plan(snapshot);
        TRY_VOID(copy_database(snapshot));
        for (const SegmentRow& row : snapshot.segments) TRY_VOID(take_segment(row));
        TRY_VOID(copy_extras());
        TRY_VOID(repository_.flush());
        TRY_VOID(watch_.check());
        TRY_VOID(repository_.add(manifest_));
        out_.name = manifest_.name;
        out_.files = manifest_.files.size();
        out_.octets = manifest_.stored_octets();
        out_.octets_written = repository_.written_octets();
        out_.messages = manifest_.messages;
        out_.snapshot_held = snapshot.held;
        return std::move(out_);
    }

 private:
    void begin_manifest(const DatabaseSnapshot& snapshot) {
        manifest_.created = posthouse::system_clock().now();
        manifest_.name = backup_name(manifest_.created, system_random().token(kNameTokenOctets));
        manifest_.hostname = options_.hostname;
        manifest_.schema = snapshot.schema;
        manifest_.accounts = snapshot.accounts;
        manifest_.mailboxes = snapshot.mailboxes;
        manifest_.messages = snapshot.messages;
        manifest_.octets = snapshot.message_octets;
    }

    /// What the newest backup says of sealed segments; without one, or with a damaged one, everything is read.
    Result<> load_last() {
        TRY(const std::vector<std::string> names, repository_.names());
        for (auto name = names.rbegin(); name != names.rend(); ++name) {
            auto last = repository_.manifest(*name);
            if (!last) continue;
            for (StoredFile& file : last->files) {
                if (file.source.sealed) last_.emplace(file.source.segment, std::move(file));
            }
            return {};
        }
        return {};
    }

    Source source_of(const SegmentRow& row) const {
        Source out;
        out.segment = row.id;
        out.sealed = row.sealed;
        struct stat facts {};
        if (::fstatat(directory_.segments().get(), segment_name(row.id).c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0) {
            out.inode = facts.st_ino;
            out.changed_ns = facts.st_mtim.tv_sec * std::int64_t{1'000'000'000} + facts.st_mtim.tv_nsec;
        }
        return out;
    }

    /// The file of the last backup, where this segment is surely the same and all its objects are still there.
    const StoredFile* same_as_last(const SegmentRow& row) const {
        const auto found = last_.find(row.id);
        if (!row.sealed || found == last_.end()) return nullptr;
        const StoredFile& file = found->second;
        if (file.octets != row.octets || file.source != source_of(row) || file.source.inode == 0) return nullptr;
        const bool whole = std::ranges::all_of(file.chunks, [this](const Chunk& c) { return repository_.has(c); });
        return whole ? &file : nullptr;
    }

    void plan(const DatabaseSnapshot& snapshot) {
        total_ = snapshot.octets;
        for (const SegmentRow& row : snapshot.segments) {
            if (const StoredFile* const same = same_as_last(row)) {
                same_.emplace(row.id, same);
            } else {
                total_ += row.octets;
            }
        }
    }

    Result<> keep_chunk(StoredFile& file, std::string_view octets, Pack pack) {
        TRY_VOID(watch_.check());
        TRY(const Repository::Put put, repository_.put(octets, pack));
        file.chunks.push_back(put.chunk);
        file.octets += octets.size();
        done_ += octets.size();
        out_.octets_read += octets.size();
        watch_.show(done_, total_, file.name);
        return {};
    }

    Result<> copy_database(const DatabaseSnapshot& snapshot) {
        StoredFile file;
        file.name = kDatabaseName;
        std::string buffer(kDatabaseChunkOctets, '\0');
        for (std::uint64_t at = 0; at < snapshot.octets; at += buffer.size()) {
            TRY(const std::size_t got, read_at(snapshot.file, at, buffer));
            TRY_VOID(keep_chunk(file, std::string_view(buffer).substr(0, got), Pack::zstd));
        }
        manifest_.files.push_back(std::move(file));
        return {};
    }

    void note(StoredFile& file, std::string sentence) {
        file.damage.push_back(sentence);
        out_.damage.add(std::move(sentence));
    }

    Result<> take_segment(const SegmentRow& row) {
        if (const auto same = same_.find(row.id); same != same_.end()) {
            for (const std::string& sentence : same->second->damage) out_.damage.add(sentence);
            manifest_.files.push_back(*same->second);
            return {};
        }
        StoredFile file;
        file.name = "segments/" + segment_name(row.id);
        file.source = source_of(row);
        auto opened = open_beneath(directory_.segments(), segment_name(row.id), O_RDONLY);
        if (opened) {
            TRY_VOID(copy_segment(*opened, row, file));
        } else {
            note(file, fmt::format("{} is missing in the store: {}", file.name, opened.error().context));
        }
        manifest_.files.push_back(std::move(file));
        return {};
    }

    Result<> copy_segment(const Descriptor& opened, const SegmentRow& row, StoredFile& file) {
        RecordWalk walk(file.name, row.id, [&](std::string sentence) { note(file, std::move(sentence)); });
        std::string buffer;
        for (std::uint64_t at = 0; at < row.octets; at += buffer.size()) {
            buffer.resize(std::min<std::uint64_t>(kSegmentChunkOctets, row.octets - at));
            const std::size_t got = read_salvaging(opened, at, buffer, file);
            if (got < buffer.size()) {
                note(file, fmt::format("{} is shorter than its committed octets", file.name));
                buffer.resize(got);
                if (got == 0) break;
            }
            walk.feed(buffer);
            TRY_VOID(keep_chunk(file, buffer, Pack::plain));
        }
        walk.end();
        return {};
    }

    /// Reads around what the disk cannot give: zeros stand in its place.
    std::size_t read_salvaging(const Descriptor& opened, std::uint64_t at, std::string& into, StoredFile& file) {
        if (const auto got = read_at(opened, at, into)) return *got;
        std::uint64_t lost = 0;
        std::size_t end = 0;
        for (std::size_t from = 0; from < into.size(); from += kSalvageOctets) {
            const std::span<char> piece =
                std::span<char>(into).subspan(from, std::min(kSalvageOctets, into.size() - from));
            const auto got = read_at(opened, at + from, piece);
            if (!got) {
                std::ranges::fill(piece, '\0');
                lost += piece.size();
            }
            end = from + (got ? *got : piece.size());
            if (got && *got < piece.size()) break;
        }
        note(file, fmt::format("{}: {} octets from {} on cannot be read from the disk", file.name, lost, at));
        return end;
    }

    /// Small files as they are. One that cannot be read is told: it must not cost the mail.
    Result<> copy_extra(const ExtraFile& extra) {
        StoredFile file;
        file.name = extra.name;
        const Descriptor opened(::open(extra.path.c_str(), O_RDONLY | O_CLOEXEC));
        std::string octets(kExtraOctetsMax, '\0');
        const auto got = opened ? read_at(opened, 0, octets) : system_error(errno, "it cannot be opened");
        if (!got) {
            note(file, fmt::format("{} is not in the backup: {}", extra.path, got.error().context));
        } else {
            octets.resize(*got);
            if (!octets.empty()) TRY_VOID(keep_chunk(file, octets, Pack::zstd));
        }
        manifest_.files.push_back(std::move(file));
        return {};
    }

    Result<> copy_extras() {
        if (!options_.config_file.empty()) TRY_VOID(copy_extra({"posthouse.toml", options_.config_file}));
        if (!repository_.encrypted() && !options_.keys_in_clear) return {};
        out_.has_keys = true;
        TRY_VOID(copy_extra({kKeyName, directory_.path() + "/" + kKeyName}));
        std::error_code none;
        for (const auto& item : std::filesystem::directory_iterator(directory_.path() + "/tls", none)) {
            if (!item.is_regular_file(none)) continue;
            TRY_VOID(copy_extra({"tls/" + item.path().filename().string(), item.path().string()}));
        }
        return {};
    }

    Directory& directory_;
    Repository& repository_;
    const CreateOptions& options_;
    const Watch& watch_;
    Descriptor segments_lock_;
    Manifest manifest_;
    std::map<std::int64_t, StoredFile> last_;
    std::map<std::int64_t, const StoredFile*> same_;
    std::uint64_t done_ = 0;
    std::uint64_t total_ = 0;
    Created out_;
};

/// Removes what `keep` lets go and what nothing names any more.
Result<> clean(Repository& repository, const Keep& keep, Created& out) {
    if (!repository.begin_removal()) {
        out.not_removed = "nothing old was removed because a verify or restore is reading; the next backup does it";
        return {};
    }
    const auto remove = [&]() -> Result<> {
        TRY(const std::vector<std::string> names, repository.names());
        std::vector<Kept> there;
        bool met_undamaged = false;
        for (auto name = names.rbegin(); name != names.rend(); ++name) {
            Kept one{*name, {}, false, true};
            TRY(one.created, time_of_backup(*name));
            const auto verdict = repository.verdict(*name);
            one.verified_good = verdict && verdict->good;
            // Of those behind the newest undamaged one nobody asks: their manifests need not be read.
            if (one.verified_good && !met_undamaged) {
                const auto manifest = repository.manifest(*name);
                one.undamaged = manifest && manifest->damage_count() == 0;
                met_undamaged = one.undamaged;
            }
            there.push_back(std::move(one));
        }
        for (const std::string& name : to_remove(there, keep)) {
            TRY_VOID(repository.remove(name));
            out.removed.push_back(name);
        }
        TRY(const Repository::Collected collected, repository.collect());
        out.octets_freed = collected.octets;
        out.not_removed = collected.why_not;
        return {};
    };
    const Result<> done = remove();
    repository.end_removal();
    return done;
}

}  // namespace

Result<> init(const Target& target) { return Repository::init(target.directory, target.key); }
Result<> make_key(const std::string& path) { return make_key_file(path); }
Result<std::string> read_key(const std::string& path) { return read_key_file(path); }

Result<Created> create(Store& store, const Target& target, const CreateOptions& options, const Watch& watch) {
    TRY(const auto repository, Repository::open(target.directory, target.key));
    TRY_VOID(repository->lock_for_writing());
    TRY(Created out, Creator(store, *repository, options, watch).run(store));
    // The backup is made: what fails now is told, but takes nothing back.
    if (const Result<> cleaned = clean(*repository, options.keep, out); !cleaned) {
        out.not_removed = cleaned.error().context;
    }
    return out;
}

Result<std::vector<Listed>> list(const Target& target) {
    TRY(const auto repository, Repository::open(target.directory, target.key));
    TRY(const std::vector<std::string> names, repository->names());
    std::vector<Listed> out;
    for (const std::string& name : names) {
        Listed one;
        one.name = name;
        TRY(one.created, time_of_backup(name));
        if (const auto verdict = repository->verdict(name)) {
            one.verified = verdict->at;
            one.faults = verdict->faults;
        }
        const auto manifest = repository->manifest(name);
        if (manifest) {
            one.created = manifest->created;
            one.hostname = manifest->hostname;
            one.messages = manifest->messages;
            one.octets = manifest->stored_octets();
            one.damage = manifest->damage_count();
            one.has_keys = manifest->file(kKeyName) != nullptr;
        } else {
            one.unreadable = manifest.error().context;
        }
        out.push_back(std::move(one));
    }
    return out;
}

Result<Ages> ages(const Target& target) {
    TRY(const auto repository, Repository::open(target.directory, target.key));
    TRY(const std::vector<std::string> names, repository->names());
    Ages out;
    for (const std::string& name : names) {
        TRY(const Time created, time_of_backup(name));
        out.newest = created;
        const auto verdict = repository->verdict(name);
        if (verdict && verdict->good) out.verified_good = created;
    }
    return out;
}

}  // namespace posthouse::storage::backup
