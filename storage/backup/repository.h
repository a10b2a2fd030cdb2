#pragma once
/// storage/backup/repository (internal): the directory that backups lie in; backup_format.md is its description.
///
/// Invariants  1. An object under its name is whole and synced: it is written and synced under another name first.
///             2. A manifest is written after everything it names is synced, and appears by rename: a backup is there
///                whole or not at all.
///             3. Objects are removed only when every manifest in place was read and none names them.
///             4. One process makes backups at a time (DIR/lock); nothing is removed while others read (DIR/readers).
/// Threads: one at a time; get() and digests from any.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "protocols/base/random.h"
#include "protocols/base/result.h"
#include "storage/backup/manifest.h"
#include "storage/backup/object.h"
#include "storage/file.h"

namespace posthouse::storage::backup {

/// What a verify found, kept beside the manifest.
struct Verdict {
    Time at{};
    bool good = false;
    std::uint64_t faults = 0;
};

class Repository {
 public:
    /// Makes DIR where missing (what it lies in must be there) and an empty repository in it. `key` "": not encrypted.
    /// Errc::already_exists, denied (DIR holds something else), not_found (is the target mounted?).
    static Result<> init(const std::string& path, const std::string& key);
    /// Errc::not_found with a sentence about mounting, unauthenticated (key missing, superfluous or wrong).
    static Result<std::unique_ptr<Repository>> open(const std::string& path, const std::string& key);

    const std::string& path() const { return path_; }
    bool encrypted() const { return !key_.empty(); }

    /// For create. Errc::unavailable while another one runs. Removes what an unfinished one left.
    Result<> lock_for_writing();
    /// For verify and restore: nothing is removed meanwhile.
    Result<> lock_for_reading();

    // ---- objects

    struct Put {
        Chunk chunk;
        bool fresh = false;  ///< was not there before
    };
    /// Keeps the octets (at most kObjectOctetsMax), if they are not there already. Durable after flush().
    Result<Put> put(std::string_view octets, Pack pack);
    Result<> flush();
    bool has(const Chunk& chunk) const;
    /// Errc::not_found, corrupt, io: the sentence names the object.
    Result<std::string> get(const Chunk& chunk) const;
    /// Out of the way, so that the next create keeps it anew where the store still has it.
    void set_aside(const Chunk& chunk) const;
    /// Octets written since open().
    std::uint64_t written_octets() const { return written_octets_; }

    // ---- backups

    Result<std::vector<std::string>> names() const;  ///< of those with a manifest, oldest first
    /// Errc::not_found, corrupt.
    Result<Manifest> manifest(const std::string& name) const;
    Result<> add(const Manifest& manifest);
    Result<> remove(const std::string& name);
    std::optional<Verdict> verdict(const std::string& name) const;
    Result<> set_verdict(const std::string& name, const Verdict& verdict) const;

    struct Collected {
        std::uint64_t objects = 0;
        std::uint64_t octets = 0;
        std::string why_not;  ///< nothing was removed: the sentence that says why
    };
    /// Removes objects that no manifest names and directories without a manifest.
    Result<Collected> collect();
    /// Nobody reads, and nobody begins to until end_removal(); false: removing has to wait for the next time.
    bool begin_removal();
    void end_removal() { readers_.close(); }

 private:
    Repository() = default;
    Result<> load(const std::string& key);
    std::string name_of(const crypto::Sha256Digest& digest) const;
    std::string path_of(const std::string& object) const;
    Result<> write_file(const Descriptor& directory, const std::string& name, std::string_view octets) const;
    Error failed(const Error& error) const;
    void empty_tmp() const;
    Result<std::unordered_set<std::string>> named_objects(Collected& out) const;

    std::string path_;
    std::string key_;       ///< for octets; empty: not encrypted
    std::string name_key_;  ///< for names
    Descriptor root_, objects_, backups_, tmp_;
    Descriptor lock_, readers_;
    std::vector<std::string> pending_;
    std::unordered_set<std::string> pending_names_;
    std::uint64_t written_octets_ = 0;
};

/// A file with a key: made with mode 0600, refused where others could read it. Errc::invalid, denied, already_exists.
Result<> make_key_file(const std::string& path);
Result<std::string> read_key_file(const std::string& path);

}  // namespace posthouse::storage::backup
