#pragma once
/// storage/reader_pool (internal): read-only connections, opened when first needed, at most `readers_max`.
/// Threads: any. A reader waits for a free connection; one that was damaged by an I/O error is not used again.
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/segment.h"
#include "storage/sqlite.h"
#include "storage/store.h"

namespace posthouse::storage {

class ReaderPool {
 public:
    ReaderPool(std::string database_path, SegmentReaders& segments, unsigned readers_max);
    /// Closes what is idle: the writer, closed last, can then fold the WAL into the database.
    void close();
    /// Runs `fn` inside one read transaction.
    Result<> run(const std::function<void(const Snapshot&)>& fn);

 private:
    Result<std::unique_ptr<Connection>> take();
    void give(std::unique_ptr<Connection> connection);

    std::string database_path_;
    SegmentReaders& segments_;
    unsigned readers_max_;
    std::mutex mutex_;
    std::condition_variable freed_;
    std::vector<std::unique_ptr<Connection>> idle_;
    unsigned open_ = 0;
};

}  // namespace posthouse::storage
