#pragma once
/// What the crash tests share: a count of failures, stores to kill processes over, and the questions asked afterwards.
/// A test goes on after a promise that was not kept, and ends at once where it cannot even ask.
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "storage/background.h"
#include "storage/sqlite.h"
#include "storage/store.h"

namespace posthouse::crash {

/// Counts and prints a promise that was not kept.
void expect(bool good, const std::string& what);
int failures();
/// "ok" or "FAILED", by whether failures() grew beyond `before`.
const char* verdict_since(int before);
/// Prints the count; what main() gives back.
int finish();
[[noreturn]] void die(const std::string& what);

template <class T>
T need(Result<T> result) {
    if (!result) die(result.error().context);
    return *std::move(result);
}
inline void need(const Result<>& result) {
    if (!result) die(result.error().context);
}

/// A directory of its own, removed at the end unless something failed.
class Scratch {
 public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    const std::string& path() const { return path_; }

 private:
    std::string path_;
};

storage::StoreOptions options_in(const std::string& directory, std::uint64_t segment_octets_max);
/// A store with alice@a.example, as `prepare` leaves it (settings); closed again.
storage::AccountId make_store(const storage::StoreOptions& options,
                              const std::function<Result<>(storage::Tx&)>& prepare = {});

/// One message for alice, and with `queued` for somebody elsewhere, too.
enum class Queued { no, yes };
Result<> deliver(storage::Store& store, storage::AccountId account, const std::string& text,
                 const std::string& message_id, Queued queued);

/// Runs `work` in a process of its own. It must not return.
pid_t spawn(const std::function<void()>& work);
/// Waits for it, which must have died of SIGKILL: `what` says where.
void expect_killed(pid_t pid, const std::string& what);

/// mail.db as another program sees it.
std::unique_ptr<storage::Connection> look_into(const std::string& directory);
std::int64_t ask(storage::Connection& db, storage::Sql sql);
/// Steps of a job until it wants to rest.
Result<> run(storage::Job& job);

/// Reads every message of alice's INBOX.
void each_message(storage::Store& store, storage::AccountId account,
                  const std::function<void(const storage::Entry&, const Result<std::string>&)>& visit);

}  // namespace posthouse::crash
