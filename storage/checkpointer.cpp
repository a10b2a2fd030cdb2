#include "storage/checkpointer.h"

#include "storage/fail_point.h"
#include "storage/sqlite.h"

namespace posthouse::storage {
namespace {

constexpr std::uint64_t kCacheOctets = 1024 * 1024;  // a checkpoint copies frames and caches nothing

Result<> checkpoint_once(const std::string& path) {
    // A connection for each: after an error none that is damaged stays behind.
    TRY(const auto db, Connection::open(path, Connection::Mode::write, kCacheOctets));
    POSTHOUSE_FAIL_POINT("checkpoint");
    const Result<> done = db->checkpoint(Connection::Checkpoint::passive);
    POSTHOUSE_FAIL_POINT("after-checkpoint");
    return done;
}

}  // namespace

Checkpointer::Checkpointer(std::string database_path)
    : database_path_(std::move(database_path)), thread_([this] { run(); }) {}

Checkpointer::~Checkpointer() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

bool Checkpointer::ask() {
    {
        const std::lock_guard lock(mutex_);
        if (state_ != State::resting) return false;
        state_ = State::asked;
    }
    wake_.notify_one();
    return true;
}

std::optional<Result<>> Checkpointer::take() {
    const std::lock_guard lock(mutex_);
    if (state_ != State::done) return std::nullopt;
    state_ = State::resting;
    return std::move(outcome_);
}

void Checkpointer::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stopping_ || state_ == State::asked; });
        if (stopping_) return;
        lock.unlock();
        Result<> outcome = checkpoint_once(database_path_);
        lock.lock();
        outcome_ = std::move(outcome);
        state_ = State::done;
    }
}

}  // namespace posthouse::storage
