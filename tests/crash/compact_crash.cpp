// compact_crash: a process that compacts is killed (SIGKILL) at every step of a compaction; after each death the store
// is opened again, every message must read octet for octet, the counters must agree with the rows, and the next run of
// the job must finish the work and leave nothing behind.
//
// usage: compact_crash      Exit status 0 only if all of it held.
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>

#include "storage/fail_point.h"
#include "storage/sqlite.h"
#include "storage/store.h"
#include "storage/upkeep/upkeep.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

constexpr int kMessages = 600;
constexpr int kKeptEach = 4;  // of so many one is kept
constexpr const char* kPoints[] = {"compact-filled", "compact-reserved", "compact-synced",
                                   "compact-row",    "compact-renamed",  "compact-moving",
                                   "compact-moved",  "compact-unlinked", "compact-row-deleted"};
int g_failures = 0;

void expect(bool good, const std::string& what) {
    if (good) return;
    ++g_failures;
    fmt::print("FAILED: {}\n", what);
}

[[noreturn]] void die(const std::string& what) {
    fmt::print("cannot go on: {}\n", what);
    std::fflush(stdout);
    std::_Exit(2);
}

template <class T>
T need(Result<T> result) {
    if (!result) die(result.error().context);
    return *std::move(result);
}
void need(const Result<>& result) {
    if (!result) die(result.error().context);
}

/// Undelete of no days still covers the present millisecond: the purge sees the next second.
class Later final : public Clock {
 public:
    Time now() const override { return system_clock().now() + std::chrono::seconds(1); }
};

StoreOptions options_in(const std::string& directory) {
    StoreOptions options;
    options.directory = directory;
    options.free_octets_min = 1024 * 1024;
    options.segment_octets_max = 512 * 1024;
    return options;
}

std::string body_of(int number) {
    std::string out = fmt::format("number {}\r\n\r\n", number);
    std::minstd_rand random(static_cast<unsigned>(number + 1));
    while (out.size() < 3000) out += fmt::format("w{} ", random() % 500);
    return out;
}

void deliver(Store& store, AccountId account, int number) {
    auto writer = store.stage();
    need(writer->append(body_of(number)));
    const StagedBodyPtr body = need(writer->finish());
    need(store.write({body}, [&](Tx& tx) -> Result<> {
        Delivery delivery;
        delivery.body = body;
        delivery.facts.size_octets = body->size_octets();
        LocalCopy copy;
        copy.account = account;
        delivery.local.push_back(copy);
        TRY_VOID(tx.deliver(delivery));
        return {};
    }));
}

Result<> run(Job& job) {
    for (;;) {
        TRY(const auto rest, job.step());
        if (rest.count() > 0) return {};
    }
}

/// A store with sealed segments that are three quarters dead.
AccountId prepare(const std::string& directory) {
    auto store = need(Store::create(options_in(directory)));
    const AccountId account = need(store->write_value({}, [](Tx& tx) -> Result<AccountId> {
        TRY_VOID(tx.catalog().add_domain("a.example"));
        TRY_VOID(tx.catalog().set_setting("undelete.days", "0"));
        TRY_VOID(tx.catalog().set_setting("purge.messages_per_second", "100000"));
        TRY_VOID(tx.catalog().set_setting("compact.octets_per_second", "1000000000"));
        return tx.catalog().add_account("alice@a.example", "h", "");
    }));
    for (int i = 1; i <= kMessages; ++i) deliver(*store, account, i);
    need(store->write({}, [&](Tx& tx) -> Result<> {
        TRY(const Mailbox inbox, tx.mail(account).mailbox("INBOX"));
        std::vector<Uid> gone;
        for (Uid uid = 1; uid <= kMessages; ++uid) {
            if (uid % kKeptEach != 0) gone.push_back(uid);
        }
        TRY_VOID(tx.mail(account).expunge(inbox.id, gone));
        return {};
    }));
    Metrics metrics;
    const Later later;
    need(run(*make_purge_job(*store, metrics, later, {})));
    return account;
}

std::int64_t ask(Connection& db, Sql sql) { return need(db.value(sql)); }

void check(const std::string& directory, AccountId account) {
    auto store = need(Store::open(options_in(directory)));
    need(store->read([&](const Snapshot& s) -> Result<> {
        TRY(const Mailbox inbox, s.mail(account).mailbox("INBOX"));
        TRY(const auto entries, s.mail(account).entries(inbox.id, 1, ~Uid{0}));
        expect(entries.size() == kMessages / kKeptEach, "the number of messages");
        for (const Entry& entry : entries) {
            const auto body = s.mail(account).body(inbox.id, entry.uid);
            const auto text = body ? body->read_all() : Result<std::string>(body.error());
            expect(text && *text == body_of(static_cast<int>(entry.uid)), fmt::format("the body of UID {}", entry.uid));
        }
        return {};
    }));
    const auto db = need(Connection::open(directory + "/mail.db", Connection::Mode::read, 1 << 20));
    expect(ask(*db,
               "SELECT count(*) FROM segments s WHERE dead_octets <> octets - 16 - (SELECT "
               "coalesce(sum(stored_octets + 32), 0) FROM messages m WHERE m.segment = s.id)") == 0,
           "dead octets");
    expect(ask(*db, "SELECT count(*) FROM messages WHERE segment NOT IN (SELECT id FROM segments)") == 0, "segments");
}

void check_nothing_left(const std::string& directory) {
    const auto db = need(Connection::open(directory + "/mail.db", Connection::Mode::read, 1 << 20));
    expect(ask(*db, "SELECT count(*) FROM segments WHERE sealed = 1 AND dead_octets * 2 >= octets - 16") == 0,
           "nothing is left to compact");
    std::int64_t files = 0;
    for (const auto& file : std::filesystem::directory_iterator(directory + "/segments")) {
        ++files;
        expect(file.file_size() > 16, "no empty file is left");
    }
    expect(files == ask(*db, "SELECT count(*) FROM segments"), "a file for each row, a row for each file");
    expect(std::filesystem::is_empty(directory + "/tmp"), "DATA/tmp is empty");
}

[[noreturn]] void child(const std::string& directory, const char* point, int count) {
    auto store = need(Store::open(options_in(directory)));
    fail_point::arm_kill(point, count);
    Metrics metrics;
    need(run(*make_compact_job(*store, metrics)));
    std::_Exit(4);  // the point was not reached
}

void trial(const std::string& prepared, const std::string& directory, AccountId account, const char* point, int count) {
    const int before = g_failures;
    std::filesystem::remove_all(directory);
    std::filesystem::copy(prepared, directory, std::filesystem::copy_options::recursive);
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all);
    std::fflush(stdout);
    const pid_t pid = ::fork();
    if (pid == 0) child(directory, point, count);
    int status = 0;
    ::waitpid(pid, &status, 0);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, fmt::format("{} was reached", point));
    check(directory, account);
    {
        auto store = need(Store::open(options_in(directory)));
        Metrics metrics;
        need(run(*make_compact_job(*store, metrics)));
    }
    check(directory, account);
    check_nothing_left(directory);
    fmt::print("{:20} {}  {}\n", point, count, g_failures == before ? "ok" : "FAILED");
}

}  // namespace

int main() {
    std::string pattern = (std::filesystem::temp_directory_path() / "posthouse-compact-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) die("mkdtemp");
    const std::string prepared = pattern + "/prepared";
    const AccountId account = prepare(prepared);
    for (const char* point : kPoints) {
        for (const int count : {1, 2}) trial(prepared, pattern + "/data", account, point, count);
    }
    fmt::print("{} failures\n", g_failures);
    if (g_failures == 0) std::filesystem::remove_all(pattern);
    return g_failures == 0 ? 0 : 1;
}
