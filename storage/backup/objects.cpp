// Objects: named by what is in them, written once, removed only when no manifest in place names them.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "storage/backup/listing.h"
#include "storage/backup/repository.h"
#include "storage/fail_point.h"

namespace posthouse::storage::backup {
namespace {

// Objects wait for their sync together: the disk works while the next ones are made.
constexpr std::size_t kPendingMax = 64;
constexpr std::size_t kCodedOctetsMax = kObjectOctetsMax + 64UL * 1024;
constexpr std::string_view kAsideEnding = ".damaged";

}  // namespace

Result<std::vector<std::string>> list_directory(const Descriptor& above, const char* name) {
    const int fd = ::openat(above.get(), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return system_error(errno, fmt::format("cannot read the directory {}", name));
    DIR* const opened = ::fdopendir(fd);
    if (opened == nullptr) {
        ::close(fd);
        return system_error(errno, fmt::format("cannot read the directory {}", name));
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(opened, ::closedir);
    std::vector<std::string> out;
    while (const dirent* item = ::readdir(listing.get())) {
        const std::string_view found = item->d_name;
        if (found != "." && found != "..") out.emplace_back(found);
    }
    return out;
}

std::string Repository::name_of(const crypto::Sha256Digest& digest) const {
    if (!encrypted()) return crypto::hex(digest);
    // With a key of its own: whoever has a message and sees the names cannot tell that it is in here.
    const std::string_view octets(reinterpret_cast<const char*>(digest.data()), digest.size());
    return crypto::hex(crypto::hmac_sha256(name_key_, octets));
}

std::string Repository::path_of(const std::string& object) const { return object.substr(0, 2) + "/" + object; }

bool Repository::has(const Chunk& chunk) const {
    const std::string path = path_of(name_of(chunk.digest));
    struct stat facts{};
    // An empty file is what some file systems make of one that was never synced.
    return ::fstatat(objects_.get(), path.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0 && facts.st_size > 0;
}

Result<Repository::Put> Repository::put(std::string_view octets, Pack pack) {
    Put out;
    out.chunk.digest = crypto::sha256(octets);
    out.chunk.octets = static_cast<std::uint32_t>(octets.size());
    const std::string name = name_of(out.chunk.digest);
    if (pending_names_.contains(name) || has(out.chunk)) return out;
    out.fresh = true;
    const std::string coded = encode_object(octets, pack, key_, "object");
    {
        auto file = open_beneath(tmp_, name, O_WRONLY | O_CREAT | O_TRUNC);
        if (!file) return failed(file.error());
        if (const Result<> written = write_at(*file, 0, coded); !written) return failed(written.error());
        // Begins to write at once and waits for nothing; the sync that counts is in flush().
        static_cast<void>(::sync_file_range(file->get(), 0, 0, SYNC_FILE_RANGE_WRITE));
    }
    POSTHOUSE_FAIL_POINT("backup-object-written");
    written_octets_ += coded.size();
    pending_.push_back(name);
    pending_names_.insert(name);
    if (pending_.size() >= kPendingMax) TRY_VOID(flush());
    return out;
}

Result<> Repository::flush() {
    std::set<std::string> directories;
    for (const std::string& name : pending_) {
        const auto move = [&]() -> Result<> {
            TRY(const Descriptor file, open_beneath(tmp_, name, O_RDWR));
            TRY_VOID(sync_data(file));
            POSTHOUSE_FAIL_POINT("backup-object-synced");
            if (::renameat(tmp_.get(), name.c_str(), objects_.get(), path_of(name).c_str()) != 0) {
                return system_error(errno, "cannot put an object into its place");
            }
            POSTHOUSE_FAIL_POINT("backup-object-renamed");
            return {};
        };
        if (const Result<> moved = move(); !moved) return failed(moved.error());
        directories.insert(name.substr(0, 2));
    }
    for (const std::string& directory : directories) {
        TRY(const Descriptor opened, open_beneath(objects_, directory, O_RDONLY | O_DIRECTORY));
        if (const Result<> synced = sync_directory(opened); !synced) return failed(synced.error());
    }
    pending_.clear();
    pending_names_.clear();
    return {};
}

Result<std::string> Repository::get(const Chunk& chunk) const {
    const std::string name = name_of(chunk.digest);
    const auto read = [&]() -> Result<std::string> {
        TRY(const Descriptor file, open_beneath(objects_, path_of(name), O_RDONLY));
        TRY(const std::uint64_t size, size_of(file));
        if (size > kCodedOctetsMax) return Error(Errc::corrupt, "it is too long");
        std::string coded(size, '\0');
        TRY(const std::size_t got, read_at(file, 0, coded));
        coded.resize(got);
        TRY(std::string octets, decode_object(coded, key_, "object", kObjectOctetsMax));
        if (octets.size() != chunk.octets || crypto::sha256(octets) != chunk.digest) {
            return Error(Errc::corrupt, "its octets do not match its name");
        }
        return octets;
    };
    auto out = read();
    if (out) return out;
    const bool missing = out.error().code == Errc::not_found;
    return Error(out.error().code, fmt::format("the object objects/{} is {}", path_of(name),
                                               missing ? "missing" : "damaged: " + out.error().context));
}

void Repository::set_aside(const Chunk& chunk) const {
    const std::string path = path_of(name_of(chunk.digest));
    const std::string aside = path + std::string(kAsideEnding);
    static_cast<void>(::renameat(objects_.get(), path.c_str(), objects_.get(), aside.c_str()));
}

Result<std::unordered_set<std::string>> Repository::named_objects(Collected& out) const {
    std::unordered_set<std::string> named;
    TRY(const std::vector<std::string> all, names());
    for (const std::string& name : all) {
        const auto read = manifest(name);
        if (!read) {
            out.why_not = fmt::format(
                "{}; nothing is removed from {} while it cannot be known what that backup "
                "needs: remove backups/{} by hand if it is lost",
                read.error().context, path_, name);
            return named;
        }
        for (const StoredFile& file : read->files) {
            for (const Chunk& chunk : file.chunks) named.insert(name_of(chunk.digest));
        }
    }
    return named;
}

Result<Repository::Collected> Repository::collect() {
    Collected out;
    TRY(const std::unordered_set<std::string> named, named_objects(out));
    if (!out.why_not.empty()) return out;
    for (unsigned i = 0; i < 256; ++i) {
        const std::string directory = fmt::format("{:02x}", i);
        TRY(const Descriptor opened, open_beneath(objects_, directory, O_RDONLY | O_DIRECTORY));
        TRY(const std::vector<std::string> objects, list_directory(opened, "."));
        for (const std::string& object : objects) {
            // One set aside stays only as long as nothing better is there.
            if (named.contains(object)) continue;
            if (object.ends_with(kAsideEnding)) {
                const std::string whole = object.substr(0, object.size() - kAsideEnding.size());
                if (named.contains(whole) && ::faccessat(opened.get(), whole.c_str(), F_OK, 0) != 0) continue;
            }
            struct stat facts{};
            if (::fstatat(opened.get(), object.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) continue;
            if (::unlinkat(opened.get(), object.c_str(), 0) != 0) continue;
            POSTHOUSE_FAIL_POINT("backup-object-removed");
            ++out.objects;
            out.octets += static_cast<std::uint64_t>(facts.st_size);
        }
    }
    // A backup that was cut before its manifest, or removed halfway.
    TRY(const std::vector<std::string> all, list_directory(backups_, "."));
    for (const std::string& name : all) {
        const std::string manifest = name + "/manifest";
        if (!time_of_backup(name) || ::faccessat(backups_.get(), manifest.c_str(), F_OK, 0) == 0) continue;
        TRY_VOID(remove(name));
    }
    return out;
}

}  // namespace posthouse::storage::backup
