// A whole store out of a backup, into a data directory that holds nothing. mail.db appears last, by rename: a restore
// that was cut is no store, and can be begun again.
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "storage/backup/listing.h"
#include "storage/backup/source.h"
#include "storage/context.h"
#include "storage/schema.h"

namespace posthouse::storage::backup {
namespace {

constexpr const char* kMarkName = "restore-unfinished";
constexpr const char* kUnfinishedDatabase = "mail.db.restoring";
constexpr std::uint64_t kCacheOctets = 64ULL * 1024 * 1024;
constexpr std::string_view kConfigName = "posthouse.toml";
constexpr std::size_t kLostMessagesMax = 1000;

struct LostRange {
    std::int64_t segment = 0;
    std::uint64_t from = 0;
    std::uint64_t to = 0;
};

class Restorer {
 public:
    Restorer(const OpenBackup& backup, const std::string& data, const RestoreOptions& options, const Watch& watch)
        : backup_(backup), data_(data), options_(options), watch_(watch), total_(backup.manifest.stored_octets()) {}

    Result<Restored> run() {
        out_.name = backup_.manifest.name;
        out_.messages = backup_.manifest.messages;
        TRY_VOID(read_given_key());
        TRY_VOID(prepare());
        for (const StoredFile& file : backup_.manifest.files) TRY_VOID(put_file(file));
        TRY_VOID(put_key());
        TRY_VOID(name_lost_messages());
        TRY_VOID(bring_up_to_date());
        TRY_VOID(finish());
        out_.octets = done_;
        return std::move(out_);
    }

 private:
    Result<> read_given_key() {
        if (options_.sealing_key_file.empty()) return {};
        const Descriptor file(::open(options_.sealing_key_file.c_str(), O_RDONLY | O_CLOEXEC));
        if (!file) return system_error(errno, fmt::format("cannot open {}", options_.sealing_key_file));
        given_key_.resize(kKeyOctets + 1);
        TRY(const std::size_t got, read_at(file, 0, given_key_));
        given_key_.resize(got);
        if (got == kKeyOctets) return {};
        return Error(Errc::invalid, fmt::format("{} is not a sealing key (the file seal.key of a data directory)",
                                                options_.sealing_key_file));
    }

    Result<> make(const Descriptor& above, const char* name) {
        if (::mkdirat(above.get(), name, 0700) == 0 || errno == EEXIST) return {};
        return system_error(errno, fmt::format("cannot make {}/{}", data_, name));
    }

    Result<> prepare() {
        if (::mkdir(data_.c_str(), 0700) != 0 && errno != EEXIST) {
            return system_error(errno, fmt::format("cannot make the data directory {}", data_));
        }
        root_ = Descriptor(::open(data_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!root_) return system_error(errno, fmt::format("cannot open the data directory {}", data_));
        TRY(const std::vector<std::string> there, list_directory(root_, "."));
        const bool again = std::ranges::find(there, kMarkName) != there.end();
        if (!again && !there.empty()) {
            const bool store = std::ranges::find(there, kDatabaseName) != there.end();
            return Error(Errc::already_exists, fmt::format("{} {}: name a new directory to restore to", data_,
                                                           store ? "holds a store already" : "is not empty"));
        }
        if (::fchmod(root_.get(), 0700) != 0)
            return system_error(errno, fmt::format("cannot close {} to others", data_));
        if (!again) {
            TRY(const Descriptor mark, open_beneath(root_, kMarkName, O_WRONLY | O_CREAT));
            TRY_VOID(sync_directory(root_));
        }
        for (const char* ending : {"", "-wal", "-shm"}) {
            static_cast<void>(::unlinkat(root_.get(), (std::string(kUnfinishedDatabase) + ending).c_str(), 0));
        }
        for (const char* name : {"segments", "tmp", "tls"}) TRY_VOID(make(root_, name));
        TRY(segments_, open_beneath(root_, "segments", O_RDONLY | O_DIRECTORY));
        TRY(tls_, open_beneath(root_, "tls", O_RDONLY | O_DIRECTORY));
        return {};
    }

    Result<> put_file(const StoredFile& file) {
        const std::string leaf = file.name.substr(file.name.rfind('/') + 1);
        if (file.source.segment != 0) return write_chunks(file, segments_, segment_name(file.source.segment));
        if (file.name == kDatabaseName) return write_chunks(file, root_, kUnfinishedDatabase);
        if (file.name.starts_with("tls/")) return write_chunks(file, tls_, leaf);
        if (file.name == kKeyName) {
            if (!given_key_.empty() || file.octets != kKeyOctets) return {};
            key_put_ = true;
            return write_chunks(file, root_, kKeyName);
        }
        if (file.name != kConfigName || file.octets == 0) return {};
        // Never under the name that a configuration in use might have: paths in it may be those of another machine.
        const std::string name = std::string(kConfigName) + ".restored";
        out_.config_file = data_ + "/" + name;
        return write_chunks(file, root_, name);
    }

    Result<> write_chunks(const StoredFile& file, const Descriptor& directory, const std::string& name) {
        TRY(const Descriptor target, open_beneath(directory, name, O_RDWR | O_CREAT | O_TRUNC));
        bool whole = true;
        ChunkVisitor visitor;
        visitor.visit = [&](std::uint64_t offset, std::string_view octets) -> Result<> {
            TRY_VOID(watch_.check());
            watch_.show(done_ + offset, total_, file.name);
            return write_at(target, offset, octets);
        };
        visitor.lost = [&](std::uint64_t offset, const Chunk& chunk, const Error& error) -> Result<> {
            out_.lost.add(fmt::format("{}: {}", file.name, error.context));
            whole = false;
            if (file.source.segment != 0) lost_.push_back({file.source.segment, offset, offset + chunk.octets});
            return {};
        };
        TRY_VOID(each_chunk(*backup_.repository, file, visitor));
        done_ += file.octets;
        if (!whole && file.name == kDatabaseName) {
            return Error(Errc::corrupt, fmt::format("mail.db of backup {} is damaged ({}): take another backup",
                                                    backup_.manifest.name, out_.lost.sentences.front()));
        }
        if (!whole && file.name == kKeyName) key_put_ = false;
        // Zeros stand where octets are lost: everything behind them keeps its place.
        if (::ftruncate(target.get(), static_cast<off_t>(file.octets)) != 0) {
            return system_error(errno, fmt::format("cannot write {}", file.name));
        }
        return sync_data(target);
    }

    Result<> put_key() {
        if (key_put_) return {};
        std::string key = given_key_;
        if (key.empty()) {
            key = crypto::random_octets(kKeyOctets);
            out_.key_made = true;
        }
        TRY(const Descriptor file, open_beneath(root_, kKeyName, O_WRONLY | O_CREAT | O_TRUNC));
        TRY_VOID(write_at(file, 0, key));
        return sync_data(file);
    }

    Result<std::unique_ptr<Connection>> open_unfinished() {
        return Connection::open(data_ + "/" + kUnfinishedDatabase, Connection::Mode::write, kCacheOctets);
    }

    Result<> name_lost_messages() {
        if (lost_.empty()) return {};
        TRY(const auto db, open_unfinished());
        for (const LostRange& range : lost_) {
            Query q = db->query(
                "SELECT m.id, a.address, b.name, e.uid, m.subject FROM messages m "
                "LEFT JOIN entries e ON e.message = m.id LEFT JOIN mailboxes b ON b.id = e.mailbox "
                "LEFT JOIN accounts a ON a.id = b.account "
                "WHERE m.segment = ?1 AND m.position < ?3 AND m.position + 32 + m.stored_octets > ?2 LIMIT ?4");
            q.bind(range.segment, range.from, range.to, kLostMessagesMax);
            for (;;) {
                TRY(const bool more, q.row());
                if (!more) break;
                out_.lost.add(q.is_null(3) ? fmt::format("message {} is lost, at least in part", q.i64(0))
                                           : fmt::format("message {} is lost, at least in part: {}, {}, UID {}, \"{}\"",
                                                         q.i64(0), q.view(1), q.view(2), q.i64(3), q.view(4)));
            }
        }
        return {};
    }

    /// A store that goes back in time would give UIDs a second time, and send again what went out meanwhile.
    Result<> bring_up_to_date() {
        TRY(const auto db, open_unfinished());
        TRY_VOID(migrate_schema(*db));
        if (options_.as_it_was) return {};
        TRY_VOID(db->exec("BEGIN IMMEDIATE"));
        // Clients drop what they know of a mailbox whose UIDVALIDITY is another (RFC 3501 2.3.1.1).
        const std::int64_t now_s = to_unix_ms(posthouse::system_clock().now()) / 1000;
        TRY_VOID(db->query("UPDATE accounts SET uid_validity_next = max(uid_validity_next, ?1)").bind(now_s).run());
        TRY_VOID(
            db->exec("UPDATE mailboxes SET uid_validity = (SELECT a.uid_validity_next FROM accounts a WHERE a.id = "
                     "mailboxes.account) + (SELECT count(*) FROM mailboxes o WHERE o.account = mailboxes.account "
                     "AND o.id < mailboxes.id)"));
        TRY_VOID(
            db->exec("UPDATE accounts SET uid_validity_next = uid_validity_next + (SELECT count(*) FROM mailboxes b "
                     "WHERE b.account = accounts.id)"));
        const auto sending = static_cast<int>(RecipientState::sending);
        const auto waiting = static_cast<int>(RecipientState::waiting);
        const auto held = static_cast<int>(RecipientState::held);
        TRY_VOID(db->query("UPDATE queue_recipients SET state = ?3 WHERE state IN (?1, ?2)")
                     .bind(sending, waiting, held)
                     .run());
        out_.held = static_cast<std::uint64_t>(db->changes());
        // What was given out after the backup is known elsewhere: to webhooks, in bounce addresses. Receipts were sent.
        TRY_VOID(db->exec("UPDATE counters SET value = value + 1000000 WHERE name = 'event'"));
        TRY_VOID(db->exec("UPDATE sqlite_sequence SET seq = seq + 1000000 WHERE name = 'queue_items'"));
        TRY_VOID(db->exec("DELETE FROM receipts"));
        return db->exec("COMMIT");
    }

    Result<> finish() {
        {
            TRY(const Descriptor file, open_beneath(root_, kUnfinishedDatabase, O_RDWR));
            TRY_VOID(sync_data(file));
        }
        TRY_VOID(sync_directory(segments_));
        TRY_VOID(sync_directory(tls_));
        TRY_VOID(sync_directory(root_));
        if (::renameat(root_.get(), kUnfinishedDatabase, root_.get(), kDatabaseName) != 0) {
            return system_error(errno, "cannot put mail.db into its place");
        }
        static_cast<void>(::unlinkat(root_.get(), kMarkName, 0));
        return sync_directory(root_);
    }

    const OpenBackup& backup_;
    const std::string& data_;
    const RestoreOptions& options_;
    const Watch& watch_;
    const std::uint64_t total_;
    std::uint64_t done_ = 0;
    std::string given_key_;
    bool key_put_ = false;
    Descriptor root_, segments_, tls_;
    std::vector<LostRange> lost_;
    Restored out_;
};

}  // namespace

Result<Restored> restore(const Target& target, const std::string& backup, const std::string& data,
                         const RestoreOptions& options, const Watch& watch) {
    TRY(const OpenBackup opened, open_backup(target, backup));
    return Restorer(opened, data, options, watch).run();
}

}  // namespace posthouse::storage::backup
