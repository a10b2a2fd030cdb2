// The directory itself: how it is made, opened, locked, and what lies in it as backups. Objects are in objects.cpp.
#include "storage/backup/repository.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "storage/backup/listing.h"
#include "storage/fail_point.h"

namespace posthouse::storage::backup {
namespace {

constexpr const char* kMarkName = "posthouse-backup";
constexpr std::string_view kMarkLine = "posthouse-backup-repository 1";
constexpr std::string_view kKeyLine = "posthouse-backup-key-1 ";
constexpr std::uint64_t kManifestOctetsMax = 1ULL << 30U;
constexpr std::uint64_t kSmallFileOctetsMax = 4096;

std::string subkey(std::string_view key, std::string_view purpose) {
    const crypto::Sha256Digest made = crypto::hmac_sha256(key, purpose);
    return {reinterpret_cast<const char*>(made.data()), made.size()};
}

std::string check_of(std::string_view key, std::string_view id) {
    return crypto::hex(crypto::hmac_sha256(subkey(key, "posthouse backup check"), id));
}

Result<Descriptor> open_path(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return system_error(errno, fmt::format("cannot open {}", path));
    return Descriptor(fd);
}

/// Without following links; fails where there is more than `octets_max`.
Result<std::string> read_file(const Descriptor& directory, const std::string& name, std::uint64_t octets_max) {
    TRY(const Descriptor file, open_beneath(directory, name, O_RDONLY));
    TRY(const std::uint64_t size, size_of(file));
    if (size > octets_max) return Error(Errc::corrupt, fmt::format("{} is too long", name));
    std::string out(size, '\0');
    TRY(const std::size_t got, read_at(file, 0, out));
    out.resize(got);
    return out;
}

Result<> make_parts(const Descriptor& root) {
    for (const char* name : {"objects", "backups", "tmp"}) {
        if (::mkdirat(root.get(), name, 0700) != 0) return system_error(errno, fmt::format("cannot make {}", name));
    }
    TRY(const Descriptor objects, open_beneath(root, "objects", O_RDONLY | O_DIRECTORY));
    for (unsigned i = 0; i < 256; ++i) {
        const std::string name = fmt::format("{:02x}", i);
        if (::mkdirat(objects.get(), name.c_str(), 0700) != 0) return system_error(errno, "cannot make objects");
    }
    return sync_directory(objects);
}

}  // namespace

Error Repository::failed(const Error& error) const {
    if (error.code == Errc::no_space) {
        return Error(Errc::no_space,
                     fmt::format("{} is full: make room, or keep fewer backups (--keep-daily and its like)", path_));
    }
    return Error(error.code, fmt::format("cannot write to {}: {}", path_, error.context));
}

Result<> Repository::init(const std::string& path, const std::string& key) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        if (errno == ENOENT) {
            return Error(Errc::not_found, fmt::format("the directory that {} shall lie in does not exist: is the "
                                                      "target mounted?",
                                                      path));
        }
        return system_error(errno, fmt::format("cannot make {}", path));
    }
    TRY(const Descriptor root, open_path(path));
    TRY(const std::vector<std::string> there, list_directory(root, "."));
    if (std::ranges::find(there, kMarkName) != there.end()) {
        return Error(Errc::already_exists, fmt::format("there is a backup repository in {} already", path));
    }
    // A file system of its own has this one from the start. Anything else is somebody else's.
    if (std::ranges::any_of(there, [](const std::string& name) { return name != "lost+found"; })) {
        return Error(Errc::denied, fmt::format("{} is not empty: name an empty or a new directory", path));
    }
    TRY_VOID(make_parts(root));
    const std::string id = crypto::hex(crypto::sha256(crypto::random_octets(32))).substr(0, 32);
    std::string text = fmt::format("{}\nid {}\n", kMarkLine, id);
    text += key.empty() ? "encryption none\n" : fmt::format("encryption secretstream {}\n", check_of(key, id));
    // The mark comes last: without it the directory is no repository yet.
    TRY(const Descriptor mark, open_beneath(root, kMarkName, O_WRONLY | O_CREAT | O_EXCL));
    TRY_VOID(write_at(mark, 0, text));
    TRY_VOID(sync_data(mark));
    return sync_directory(root);
}

Result<std::unique_ptr<Repository>> Repository::open(const std::string& path, const std::string& key) {
    std::unique_ptr<Repository> out(new Repository());
    out->path_ = path;
    auto root = open_path(path);
    if (!root && root.error().code != Errc::not_found) return Error(root.error());
    if (root) out->root_ = *std::move(root);
    if (!out->root_ || ::faccessat(out->root_.get(), kMarkName, F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
        return Error(Errc::not_found, fmt::format("there is no backup repository in {}: is the target mounted? A new "
                                                  "one is made with posthouse backup init --to {}",
                                                  path, path));
    }
    TRY_VOID(out->load(key));
    TRY(out->objects_, open_beneath(out->root_, "objects", O_RDONLY | O_DIRECTORY));
    TRY(out->backups_, open_beneath(out->root_, "backups", O_RDONLY | O_DIRECTORY));
    TRY(out->tmp_, open_beneath(out->root_, "tmp", O_RDONLY | O_DIRECTORY));
    return out;
}

Result<> Repository::load(const std::string& key) {
    TRY(const std::string text, read_file(root_, kMarkName, kSmallFileOctetsMax));
    const std::string head = fmt::format("{}\nid ", kMarkLine);
    if (!text.starts_with(head)) {
        return Error(Errc::unsupported, fmt::format("{} was made by a later version of Posthouse", path_));
    }
    const std::string id = text.substr(head.size(), 32);
    const std::string rest = text.size() < head.size() + 33 ? "" : text.substr(head.size() + 33);
    if (rest == "encryption none\n") {
        if (key.empty()) return {};
        return Error(Errc::unauthenticated,
                     fmt::format("{} is not encrypted: leave the key file away, or make an encrypted repository with "
                                 "posthouse backup init",
                                 path_));
    }
    if (!rest.starts_with("encryption secretstream ")) {
        return Error(Errc::corrupt, fmt::format("{}/{} is damaged", path_, kMarkName));
    }
    if (key.empty()) {
        return Error(Errc::unauthenticated, fmt::format("{} is encrypted: name its key with --key-file", path_));
    }
    if (rest != fmt::format("encryption secretstream {}\n", check_of(key, id))) {
        return Error(Errc::unauthenticated,
                     fmt::format("the key does not fit {}: it was encrypted with another one", path_));
    }
    key_ = subkey(key, "posthouse backup octets");
    name_key_ = subkey(key, "posthouse backup names");
    return {};
}

Result<> Repository::lock_for_writing() {
    auto lock = open_beneath(root_, "lock", O_RDWR | O_CREAT);
    if (!lock) return failed(lock.error());
    if (::flock(lock->get(), LOCK_EX | LOCK_NB) != 0) {
        return Error(Errc::unavailable, fmt::format("another backup into {} is running: wait until it is done", path_));
    }
    lock_ = *std::move(lock);
    empty_tmp();
    return {};
}

Result<> Repository::lock_for_reading() {
    // On a target that cannot be written nothing can be removed either.
    auto readers = open_beneath(root_, "readers", O_RDWR | O_CREAT);
    if (!readers) return {};
    if (::flock(readers->get(), LOCK_SH | LOCK_NB) != 0) {
        return Error(Errc::unavailable, fmt::format("old backups are being removed from {}: try again soon", path_));
    }
    readers_ = *std::move(readers);
    return {};
}

bool Repository::begin_removal() {
    auto readers = open_beneath(root_, "readers", O_RDWR | O_CREAT);
    if (!readers || ::flock(readers->get(), LOCK_EX | LOCK_NB) != 0) return false;
    readers_ = *std::move(readers);
    return true;
}

void Repository::empty_tmp() const {
    const auto names = list_directory(tmp_, ".");
    if (!names) return;
    for (const std::string& name : *names) static_cast<void>(::unlinkat(tmp_.get(), name.c_str(), 0));
}

Result<> Repository::write_file(const Descriptor& directory, const std::string& name, std::string_view octets) const {
    const auto write = [&]() -> Result<> {
        const std::string fresh = name + ".new";
        static_cast<void>(::unlinkat(directory.get(), fresh.c_str(), 0));
        TRY(const Descriptor file, open_beneath(directory, fresh, O_WRONLY | O_CREAT | O_EXCL));
        TRY_VOID(write_at(file, 0, octets));
        POSTHOUSE_FAIL_POINT("backup-file-written");
        TRY_VOID(sync_data(file));
        POSTHOUSE_FAIL_POINT("backup-file-synced");
        if (::renameat(directory.get(), fresh.c_str(), directory.get(), name.c_str()) != 0) {
            return system_error(errno, fmt::format("cannot rename {}", name));
        }
        POSTHOUSE_FAIL_POINT("backup-file-renamed");
        return sync_directory(directory);
    };
    const Result<> done = write();
    return done ? done : failed(done.error());
}

Result<std::vector<std::string>> Repository::names() const {
    TRY(const std::vector<std::string> all, list_directory(backups_, "."));
    std::vector<std::string> out;
    for (const std::string& name : all) {
        const std::string manifest = name + "/manifest";
        if (!time_of_backup(name) || ::faccessat(backups_.get(), manifest.c_str(), F_OK, 0) != 0) continue;
        out.push_back(name);
    }
    std::ranges::sort(out);
    return out;
}

Result<Manifest> Repository::manifest(const std::string& name) const {
    const auto read = [&]() -> Result<Manifest> {
        TRY(const Descriptor directory, open_beneath(backups_, name, O_RDONLY | O_DIRECTORY));
        TRY(std::string text, read_file(directory, "manifest", kManifestOctetsMax));
        if (encrypted()) {
            TRY(text, decode_object(text, key_, "manifest", kManifestOctetsMax));
        }
        return parse_manifest(text);
    };
    auto out = read();
    if (!out) return Error(out.error().code, fmt::format("backup {}: {}", name, out.error().context));
    out->name = name;
    return out;
}

Result<> Repository::add(const Manifest& manifest) {
    std::string text = format_manifest(manifest);
    if (encrypted()) text = encode_object(text, Pack::zstd, key_, "manifest");
    POSTHOUSE_FAIL_POINT("backup-before-manifest");
    if (::mkdirat(backups_.get(), manifest.name.c_str(), 0700) != 0) {
        return failed(system_error(errno, fmt::format("cannot make the directory {}", manifest.name)));
    }
    TRY(const Descriptor directory, open_beneath(backups_, manifest.name, O_RDONLY | O_DIRECTORY));
    // The directory first: the manifest must not be durable in one that is not.
    if (const Result<> synced = sync_directory(backups_); !synced) return failed(synced.error());
    return write_file(directory, "manifest", text);
}

Result<> Repository::remove(const std::string& name) {
    TRY(const Descriptor directory, open_beneath(backups_, name, O_RDONLY | O_DIRECTORY));
    TRY(const std::vector<std::string> files, list_directory(directory, "."));
    // The manifest first and for good: objects may go only after nothing names them.
    if (::unlinkat(directory.get(), "manifest", 0) != 0 && errno != ENOENT) {
        return failed(system_error(errno, fmt::format("cannot remove the backup {}", name)));
    }
    if (const Result<> synced = sync_directory(directory); !synced) return failed(synced.error());
    POSTHOUSE_FAIL_POINT("backup-manifest-removed");
    for (const std::string& file : files) static_cast<void>(::unlinkat(directory.get(), file.c_str(), 0));
    static_cast<void>(::unlinkat(backups_.get(), name.c_str(), AT_REMOVEDIR));
    return {};
}

std::optional<Verdict> Repository::verdict(const std::string& name) const {
    const auto text = read_file(backups_, name + "/verified", kSmallFileOctetsMax);
    if (!text) return std::nullopt;
    std::int64_t ms = 0;
    Verdict out;
    const char* const end = text->data() + text->size();
    const auto first = std::from_chars(text->data(), end, ms);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != ' ') return std::nullopt;
    const auto second = std::from_chars(first.ptr + 1, end, out.faults);
    if (second.ec != std::errc()) return std::nullopt;
    out.at = from_unix_ms(ms);
    out.good = out.faults == 0;
    return out;
}

Result<> Repository::set_verdict(const std::string& name, const Verdict& verdict) const {
    TRY(const Descriptor directory, open_beneath(backups_, name, O_RDONLY | O_DIRECTORY));
    return write_file(directory, "verified", fmt::format("{} {}\n", to_unix_ms(verdict.at), verdict.faults));
}

Result<> make_key_file(const std::string& path) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return system_error(errno, fmt::format("cannot make the key file {}", path));
    const Descriptor file(fd);
    const std::string key = crypto::random_octets(32);
    const auto* octets = reinterpret_cast<const std::uint8_t*>(key.data());
    TRY_VOID(write_at(file, 0, fmt::format("{}{}\n", kKeyLine, crypto::hex({octets, key.size()}))));
    return sync_data(file);
}

Result<std::string> read_key_file(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return system_error(errno, fmt::format("cannot open the key file {}", path));
    const Descriptor file(fd);
    struct stat facts{};
    if (::fstat(fd, &facts) != 0) return system_error(errno, fmt::format("cannot look at {}", path));
    if ((facts.st_mode & 077U) != 0) {
        return Error(Errc::denied, fmt::format("{} is open to other users: run chmod go-rwx {}", path, path));
    }
    std::string text(kSmallFileOctetsMax, '\0');
    TRY(const std::size_t got, read_at(file, 0, text));
    text.resize(got);
    while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
    const auto key = text.starts_with(kKeyLine) ? parse_digest(std::string_view(text).substr(kKeyLine.size()))
                                                : Result<crypto::Sha256Digest>(Errc::invalid, "");
    if (!key) {
        return Error(Errc::invalid, fmt::format("{} is no key file; posthouse backup key FILE makes one", path));
    }
    return std::string(reinterpret_cast<const char*>(key->data()), key->size());
}

}  // namespace posthouse::storage::backup
