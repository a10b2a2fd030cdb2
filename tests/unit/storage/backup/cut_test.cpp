// A process killed at every step of a backup, and a disk that says no at every write.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "storage/fail_point.h"
#include "tests/unit/storage/backup/backup_store.h"

#ifdef POSTHOUSE_FAIL_POINTS

using namespace posthouse;
using namespace posthouse::storage;
using namespace posthouse::test;

namespace {

struct Disarm {
    ~Disarm() { fail_point::disarm(); }
};

/// A backup in a process of its own that dies at the `count`-th passing of `place`; false: it came through.
bool create_and_die(BackupStore& house, const char* place, int count) {
    house.store.close();  // one thread: fork() is safe
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        StoreOptions options = house.store.options();
        auto store = Store::open(options);
        if (!store) ::_exit(3);
        fail_point::arm_kill(place, count);
        backup::CreateOptions create;
        create.keep.newest = 2;
        const auto made = backup::create(**store, house.target, create, {});
        ::_exit(made ? 0 : 4);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    house.store.reopen();
    if (WIFSIGNALED(status)) {
        CHECK(WTERMSIG(status) == SIGKILL);
        return true;
    }
    CHECK(WEXITSTATUS(status) == 0);
    return false;
}

}  // namespace

TEST_CASE("kill -9 at every step: the last good backup stays good, the next create collects the leftovers") {
    constexpr const char* kPlaces[] = {"backup-snapshot",       "backup-object-written",  "backup-object-synced",
                                       "backup-object-renamed", "backup-before-manifest", "backup-file-written",
                                       "backup-file-synced",    "backup-file-renamed",    "backup-manifest-removed",
                                       "backup-object-removed"};
    BackupStore house(true);
    int number = 0;
    for (; number < 5; ++number) house.deliver(house.alice, number);
    house.create();
    house.create();
    int killed = 0;
    for (const char* place : kPlaces) {
        for (int count = 1; count <= 8; ++count) {
            CAPTURE(place);
            CAPTURE(count);
            house.deliver(house.alice, number++);
            const auto before = backup::list(house.target);
            REQUIRE(before);
            const bool died = create_and_die(house, place, count);
            killed += died ? 1 : 0;
            // Whatever is there is whole, the newest of before above all.
            const auto after = backup::list(house.target);
            REQUIRE(after);
            REQUIRE_FALSE(after->empty());
            CHECK(after->back().created >= before->back().created);
            for (const backup::Listed& one : *after) CHECK(house.verify(one.name).faults.count == 0);
            if (!died) break;
        }
    }
    CHECK(killed >= 14);
    const backup::Created last = house.create(backup::Keep{.newest = 1});
    CHECK(last.messages == static_cast<std::uint64_t>(number));
    CHECK(house.verify().faults.count == 0);
    // Nothing is left of all the attempts.
    house.create(backup::Keep{.newest = 1});
    CHECK(fs::is_empty(house.target.directory + "/tmp"));
    for (const auto& item : fs::directory_iterator(house.target.directory + "/backups")) {
        CHECK(fs::exists(item.path() / "manifest"));
    }
    CHECK(fs::is_empty(house.store.path() + "/tmp"));
}

TEST_CASE("a target that is full or fails at the Nth write: one sentence, the last good backup stays good") {
    const Disarm disarm;
    BackupStore house;
    int number = 0;
    for (; number < 5; ++number) house.deliver(house.alice, number);
    const std::string first = house.create().name;
    for (const char* place : {"write", "sync"}) {
        for (const int error : {ENOSPC, EIO}) {
            int failures = 0;
            for (int nth = 1; nth <= 30; ++nth) {
                CAPTURE(place);
                CAPTURE(error);
                CAPTURE(nth);
                house.deliver(house.alice, number++);
                fail_point::arm_errno(place, error, nth, 1);
                const auto made = house.try_create();
                fail_point::disarm();
                CHECK(house.verify(first).faults.count == 0);
                if (made) {
                    CHECK(house.verify(made->name).faults.count == 0);
                    break;
                }
                ++failures;
                CHECK(made.error().code == (error == ENOSPC ? Errc::no_space : Errc::io));
                CHECK(made.error().context.find(house.target.directory) != std::string::npos);
            }
            CHECK(failures >= 3);
        }
    }
    CHECK(house.create().messages == static_cast<std::uint64_t>(number));
    CHECK(house.verify().faults.count == 0);
}

#endif
