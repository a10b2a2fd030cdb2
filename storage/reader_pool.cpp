#include "storage/reader_pool.h"

#include "storage/tx.h"

namespace posthouse::storage {
namespace {

// Readers keep little: the file system's cache holds the pages anyway.
constexpr std::uint64_t kReaderCacheOctets = 2ULL * 1024 * 1024;

}  // namespace

ReaderPool::ReaderPool(std::string database_path, SegmentReaders& segments, unsigned readers_max)
    : database_path_(std::move(database_path)), segments_(segments), readers_max_(readers_max < 1 ? 1 : readers_max) {}

Result<std::unique_ptr<Connection>> ReaderPool::take() {
    {
        std::unique_lock lock(mutex_);
        freed_.wait(lock, [this] { return !idle_.empty() || open_ < readers_max_; });
        if (!idle_.empty()) {
            std::unique_ptr<Connection> connection = std::move(idle_.back());
            idle_.pop_back();
            return connection;
        }
        ++open_;
    }
    // Opened outside the lock: others that give back a connection do not wait for the file system.
    auto opened = Connection::open(database_path_, Connection::Mode::read, kReaderCacheOctets);
    if (!opened) give(nullptr);
    return opened;
}

void ReaderPool::give(std::unique_ptr<Connection> connection) {
    {
        const std::lock_guard lock(mutex_);
        if (connection && !connection->damaged()) {
            idle_.push_back(std::move(connection));
        } else {
            --open_;
        }
    }
    freed_.notify_one();
}

void ReaderPool::close() {
    const std::lock_guard lock(mutex_);
    open_ -= static_cast<unsigned>(idle_.size());
    idle_.clear();
}

Result<> ReaderPool::run(const std::function<void(const Snapshot&)>& fn) {
    TRY(std::unique_ptr<Connection> connection, take());
    // Given back on every path, a closure that throws included.
    struct Lease {
        ReaderPool& pool;
        std::unique_ptr<Connection>& connection;
        ~Lease() {
            if (connection->in_transaction() && !connection->query("ROLLBACK").run()) connection.reset();
            pool.give(std::move(connection));
        }
    };
    const Lease lease{*this, connection};
    TRY_VOID(connection->query("BEGIN").run());
    // BEGIN alone takes no snapshot: the first read does, and it shall be now.
    TRY_VOID(connection->value("SELECT value FROM counters WHERE name = 'verify'"));
    const SnapshotImpl snapshot(*connection, segments_);
    fn(snapshot);
    return {};
}

}  // namespace posthouse::storage
