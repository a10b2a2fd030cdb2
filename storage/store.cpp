#include "storage/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>

#include "storage/committer.h"
#include "storage/context.h"
#include "storage/directory.h"
#include "storage/reader_pool.h"
#include "storage/schema.h"
#include "storage/staged.h"

namespace posthouse::storage {
namespace {

constexpr const char* kUnfinishedName = "mail.db.new";

class StoreImpl final : public Store {
 public:
    StoreImpl(std::shared_ptr<Directory> directory, const StoreOptions& options)
        : directory_(std::move(directory)),
          options_(options),
          segments_(directory_),
          readers_(directory_->database_path(), segments_, options.readers_max),
          committer_(directory_, options, segments_) {}

    ~StoreImpl() override {
        committer_.stop();
        readers_.close();
    }

    Result<> start() { return committer_.start(); }

    std::unique_ptr<BodyWriter> stage() override { return make_body_writer(directory_, options_.free_octets_min); }

    void submit(std::vector<StagedBodyPtr> bodies, WriteFn write, CompletionQueue& where, Done done) override {
        committer_.submit(std::move(bodies), std::move(write), &where, std::move(done), Durability::synced);
    }
    void submit_ordered(WriteFn write, CompletionQueue& where, Done done) override {
        committer_.submit({}, std::move(write), &where, std::move(done), Durability::ordered);
    }

    Result<> write(std::vector<StagedBodyPtr> bodies, WriteFn write) override {
        std::mutex mutex;
        std::condition_variable released;
        std::optional<Result<>> result;
        Done done = [&](Result<> ended) {
            // Notified under the lock: the waiter's frame must not go before this call is over.
            const std::lock_guard lock(mutex);
            result.emplace(std::move(ended));
            released.notify_one();
        };
        committer_.submit(std::move(bodies), std::move(write), nullptr, std::move(done), Durability::synced);
        std::unique_lock lock(mutex);
        released.wait(lock, [&] { return result.has_value(); });
        return *std::move(result);
    }

    void subscribe(std::function<void(const CommitNotice&)> listener) override {
        committer_.subscribe(std::move(listener));
    }
    Result<> check_room(std::uint64_t octets) override { return committer_.check_room(octets); }
    Health health() const override { return committer_.health(); }
    StoreStatistics statistics() const override { return committer_.statistics(); }
    const std::string& sealing_key() const override { return directory_->sealing_key(); }
    Directory& directory() { return *directory_; }
    SegmentReaders& segments() { return segments_; }

 protected:
    Result<> read_with(const std::function<void(const Snapshot&)>& fn) override { return readers_.run(fn); }

 private:
    std::shared_ptr<Directory> directory_;
    StoreOptions options_;
    SegmentReaders segments_;
    ReaderPool readers_;
    Committer committer_;  ///< last: its thread uses all of the above
};

Result<std::unique_ptr<Store>> start_in(std::shared_ptr<Directory> directory, const StoreOptions& options) {
    TRY_VOID(directory->share());
    auto store = std::make_unique<StoreImpl>(std::move(directory), options);
    TRY_VOID(store->start());
    return std::unique_ptr<Store>(std::move(store));
}

/// Built under another name: mail.db is there whole or not at all, whenever the power fails.
Result<> build_database(const Directory& directory) {
    static_cast<void>(::unlinkat(directory.root().get(), kUnfinishedName, 0));
    static_cast<void>(::unlinkat(directory.root().get(), "mail.db.new-wal", 0));
    static_cast<void>(::unlinkat(directory.root().get(), "mail.db.new-shm", 0));
    const std::string path = directory.path() + "/" + kUnfinishedName;
    {
        TRY(const Descriptor file, open_beneath(directory.root(), kUnfinishedName, O_RDWR | O_CREAT | O_EXCL));
        TRY(const std::unique_ptr<Connection> db, Connection::open(path, Connection::Mode::write, 1024 * 1024));
        TRY_VOID(create_schema(*db));
    }
    {
        TRY(const Descriptor file, open_beneath(directory.root(), kUnfinishedName, O_RDWR));
        TRY_VOID(sync_data(file));
    }
    if (::renameat2(directory.root().get(), kUnfinishedName, directory.root().get(), kDatabaseName, RENAME_NOREPLACE) !=
        0) {
        return system_error(errno, "cannot put mail.db into its place");
    }
    return sync_directory(directory.root());
}

}  // namespace

Directory& directory_of(Store& store) { return static_cast<StoreImpl&>(store).directory(); }
SegmentReaders& segments_of(Store& store) { return static_cast<StoreImpl&>(store).segments(); }

Result<std::unique_ptr<Store>> Store::create(StoreOptions options) {
    TRY(std::shared_ptr<Directory> directory, Directory::create(options.directory));
    TRY_VOID(build_database(*directory));
    return start_in(std::move(directory), options);
}

Result<std::unique_ptr<Store>> Store::open(StoreOptions options) {
    TRY(std::shared_ptr<Directory> directory, Directory::open(options.directory));
    return start_in(std::move(directory), options);
}

}  // namespace posthouse::storage
