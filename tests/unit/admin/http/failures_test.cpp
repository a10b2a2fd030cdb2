#include "admin/http/failures.h"

#include <doctest/doctest.h>

#include "protocols/base/clock.h"

using namespace posthouse;
using namespace posthouse::admin;

namespace {

constexpr Time kStart = Time(Milliseconds(1'800'000'000'000));

}  // namespace

TEST_CASE("after too many failures an address waits for the end of its window, others do not") {
    Failures failures;
    for (unsigned count = 0; count < kFailuresMax; ++count) CHECK(!failures.note("127.0.0.1", kStart));
    CHECK(failures.note("127.0.0.1", kStart + Milliseconds(500)) == kFailuresWindow);
    CHECK(failures.note("127.0.0.1", kStart + kFailuresWindow - Milliseconds(1)) == std::chrono::seconds(1));
    CHECK(!failures.note("::1", kStart));
    CHECK(!failures.note("127.0.0.1", kStart + kFailuresWindow));
}

TEST_CASE("a clock that is set back begins anew") {
    Failures failures;
    for (unsigned count = 0; count <= kFailuresMax; ++count) static_cast<void>(failures.note("a", kStart));
    CHECK(failures.note("a", kStart));
    CHECK(!failures.note("a", kStart - std::chrono::hours(1)));
}

TEST_CASE("more addresses than there is room for push out the oldest") {
    Failures failures;
    for (unsigned count = 0; count < kFailuresMax; ++count) static_cast<void>(failures.note("first", kStart));
    for (std::size_t other = 0; other < kFailureClientsMax - 1; ++other) {
        CHECK(!failures.note(std::to_string(other), kStart + Milliseconds(1)));
    }
    CHECK(failures.note("first", kStart + Milliseconds(2)));
    CHECK(!failures.note("one more", kStart + Milliseconds(2)));
    CHECK(!failures.note("first", kStart + Milliseconds(2)));  // it was the oldest
}
