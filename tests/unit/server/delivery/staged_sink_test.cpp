#include "server/delivery/staged_sink.h"

#include <doctest/doctest.h>

#include <future>

#include "tests/support/loop_runner.h"
#include "tests/support/temp_store.h"

using namespace posthouse;

namespace {

struct Fixture {
    Fixture() {
        pool.submit([this] { let_go.get_future().wait(); });  // the pool has something else to do
        sink = server::make_staged_sink(*store, pool, loop);
    }
    std::string whole() {
        const auto body = sink->finish();
        REQUIRE(body);
        return std::string((*body)->view());
    }
    net::Task<void> add() {
        const auto added = co_await sink->add_fields("X-Seen: yes\r\n");
        CHECK(added);
        done = true;
    }

    net::Loop loop;
    net::TaskGroup tasks{loop};
    test::TempStore store;
    std::promise<void> let_go;
    net::ThreadPool pool{"read", 1};
    std::unique_ptr<server::StagedSink> sink;
    bool done = false;
};

constexpr const char* kFirst = "Return-Path: <a@b.example>\r\n";

}  // namespace

TEST_CASE("fields come behind the first one; what is small waits for nobody") {
    Fixture f;
    REQUIRE(f.sink->append(kFirst));
    REQUIRE(f.sink->append("Subject: x\r\n\r\nbody\r\n"));
    REQUIRE(f.sink->octets());
    test::run_task(f.loop, f.add());
    CHECK(f.whole() == "Return-Path: <a@b.example>\r\nX-Seen: yes\r\nSubject: x\r\n\r\nbody\r\n");
    f.let_go.set_value();
}

TEST_CASE("a spooled message is copied on the pool, never on the loop") {
    Fixture f;
    REQUIRE(f.sink->append(kFirst));
    const std::string rest = "Subject: x\r\n\r\n" + std::string(storage::kSpoolOctets, 'x');
    REQUIRE(f.sink->append(rest));
    REQUIRE(f.sink->octets());
    f.tasks.spawn("add", f.add());
    f.loop.poll();
    CHECK_FALSE(f.done);
    f.let_go.set_value();
    test::run_task(f.loop, f.tasks.join());
    CHECK(f.done);
    CHECK(f.whole() == std::string(kFirst) + "X-Seen: yes\r\n" + rest);
}
