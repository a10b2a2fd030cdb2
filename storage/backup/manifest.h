#pragma once
/// storage/backup/manifest (internal): what one backup holds, as text; backup_format.md is its description.
/// parse_manifest(): a pure function, linear, strict: a manifest is taken whole or not at all.
/// Threads: values.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "protocols/crypto/crypto.h"

namespace posthouse::storage::backup {

/// Octets of a file, kept as one object.
struct Chunk {
    crypto::Sha256Digest digest{};
    std::uint32_t octets = 0;
};

/// Where the octets of a segment were taken from: the same again, and the file need not be read again.
struct Source {
    std::int64_t segment = 0;  ///< segments.id; 0: the file is no segment
    bool sealed = false;
    std::uint64_t inode = 0;
    std::int64_t changed_ns = 0;  ///< time of the last change of its octets

    bool operator==(const Source&) const = default;
};

struct StoredFile {
    std::string name;  ///< "mail.db", "segments/000001.seg", "seal.key", "posthouse.toml", "tls/key.pem"
    std::uint64_t octets = 0;
    Source source;
    std::vector<Chunk> chunks;
    std::vector<std::string> damage;  ///< what was wrong with it in the store already, a sentence each
};

struct Manifest {
    std::string name;  ///< of the backup; not part of the text
    Time created{};
    std::string hostname;
    int schema = 0;
    std::uint64_t accounts = 0;
    std::uint64_t mailboxes = 0;
    std::uint64_t messages = 0;  ///< entries of mailboxes
    std::uint64_t octets = 0;    ///< sum of their sizes
    std::vector<StoredFile> files;

    const StoredFile* file(std::string_view wanted) const;
    std::uint64_t stored_octets() const;
    std::uint64_t damage_count() const;
};

std::string format_manifest(const Manifest& manifest);
/// Errc::corrupt where anything does not check out, unsupported for a later version.
Result<Manifest> parse_manifest(std::string_view text);

/// "20261123T204500.123Z-k7d2mw"; sorts by time.
std::string backup_name(Time created, std::string_view token);
/// Errc::invalid for what is no such name.
Result<Time> time_of_backup(std::string_view name);
Result<crypto::Sha256Digest> parse_digest(std::string_view hex);

}  // namespace posthouse::storage::backup
