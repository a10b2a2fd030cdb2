#include "protocols/net/watch.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>

using namespace posthouse::net;

TEST_CASE("DescriptorWatch calls back for input, and leaves the descriptor open") {
    Loop loop;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    std::string seen;
    auto watch = std::make_unique<DescriptorWatch>(loop, ends[0], [&] {
        char octet = 0;
        if (::read(ends[0], &octet, 1) == 1) seen += octet;
        if (octet == '.') loop.stop();
    });
    REQUIRE(::write(ends[1], "ab.", 3) == 3);
    loop.run();
    CHECK(seen == "ab.");
    watch.reset();
    REQUIRE(::write(ends[1], "c", 1) == 1);
    loop.poll();
    CHECK(seen == "ab.");
    char octet = 0;
    CHECK(::read(ends[0], &octet, 1) == 1);  // still ours
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("DescriptorWatch may be destroyed by its own callback") {
    Loop loop;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    int calls = 0;
    std::unique_ptr<DescriptorWatch> watch;
    watch = std::make_unique<DescriptorWatch>(loop, ends[0], [&] {
        ++calls;
        watch.reset();
        loop.stop();
    });
    REQUIRE(::write(ends[1], "x", 1) == 1);
    loop.run();
    loop.poll();
    CHECK(calls == 1);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("SignalWatch calls back on the loop's thread") {
    Loop loop;
    int seen = 0;
    SignalWatch watch(loop, {SIGUSR1, SIGUSR2}, [&](int number) {
        seen = number;
        loop.stop();
    });
    for (const int number : {SIGUSR1, SIGUSR2, SIGUSR1}) {
        ::raise(number);
        loop.run();
        CHECK(seen == number);
    }
}
