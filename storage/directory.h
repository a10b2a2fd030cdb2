#pragma once
/// storage/directory (internal): the data directory: its rights, its parts, its locks, the sealing key, free space.
///
/// Invariants  1. The directory is ours, mode 0700, no symbolic link; so are the files in it that we open.
///             2. DATA/tmp is emptied only by a process that found itself alone (DATA/lock).
/// Threads: opened once; free_octets() and note_written() from any.
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "storage/file.h"

namespace posthouse::storage {

inline constexpr const char* kDatabaseName = "mail.db";
inline constexpr const char* kKeyName = "seal.key";
inline constexpr std::size_t kKeyOctets = 32;

class Directory {
 public:
    /// Errc::not_found, denied (foreign owner, wide mode, link), io.
    static Result<std::unique_ptr<Directory>> open(const std::string& path);
    /// Makes it where missing, its subdirectories and the key. Errc::already_exists where a store is there.
    static Result<std::unique_ptr<Directory>> create(const std::string& path);

    const std::string& path() const { return path_; }
    std::string database_path() const { return path_ + "/" + kDatabaseName; }
    const Descriptor& root() const { return root_; }
    const Descriptor& segments() const { return segments_; }
    const Descriptor& tmp() const { return tmp_; }
    const std::string& sealing_key() const { return key_; }

    /// Shares the directory with other processes of ours; the first one empties DATA/tmp and looks at the WAL.
    Result<> share();
    /// Free octets of the file system for us, asked anew at most every 250 ms.
    Result<std::uint64_t> free_octets();
    /// Lowers the cached figure at once, so that a burst between two looks cannot pass the floor.
    void note_written(std::uint64_t octets);
    /// The next free_octets() asks the system (after ENOSPC).
    void forget_free_octets();

 private:
    Result<> open_parts();
    Result<> load_key();
    Result<> make_key();
    Result<> empty_tmp();

    std::string path_;
    std::string key_;
    Descriptor root_;
    Descriptor segments_;
    Descriptor tmp_;
    Descriptor lock_;
    std::mutex space_mutex_;
    std::uint64_t free_octets_ = 0;
    std::int64_t asked_ms_ = -1;
};

}  // namespace posthouse::storage
