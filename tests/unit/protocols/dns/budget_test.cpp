// A stranger's message makes us ask so much and no more.
#include "protocols/dns/budget.h"

#include <doctest/doctest.h>

#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"

using namespace posthouse;

namespace {

class TestClock final : public Clock {
 public:
    Time at{Milliseconds(1'000'000)};
    Time now() const override { return at; }
};

}  // namespace

TEST_CASE("so many questions, and addresses are two of them") {
    test::FakeResolver inner;
    inner.add_txt("a.example", "text");
    inner.add_a("a.example", "192.0.2.1");
    TestClock clock;
    net::Loop loop;
    dns::BudgetResolver budget(inner, clock, 4, Milliseconds(1000));
    CHECK(test::run_task(loop, budget.txt("a.example")));
    CHECK(test::run_task(loop, budget.addresses("a.example")));
    CHECK_FALSE(budget.exhausted());
    const auto too_many = test::run_task(loop, budget.addresses("a.example"));
    REQUIRE_FALSE(too_many);
    CHECK(too_many.error().code == Errc::dns_temporary);
    CHECK(budget.exhausted());
    CHECK(test::run_task(loop, budget.txt("a.example")));  // one is left
    CHECK_FALSE(test::run_task(loop, budget.mx("a.example")));
    CHECK(inner.queries() == 3);
}

TEST_CASE("and for so long") {
    test::FakeResolver inner;
    TestClock clock;
    net::Loop loop;
    dns::BudgetResolver budget(inner, clock, 40, Milliseconds(1000));
    CHECK(test::run_task(loop, budget.txt("a.example")));
    clock.at += Milliseconds(1000);
    CHECK_FALSE(test::run_task(loop, budget.txt("a.example")));
    CHECK(budget.exhausted());
}
