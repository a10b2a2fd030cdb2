// Questions of commands: all at once, and no longer than they may wait (admin/dns/lookup.h).
#include "admin/dns/lookup.h"

#include <doctest/doctest.h>

#include <chrono>

#include "admin/cli/return_paths.h"
#include "tests/support/dns_server.h"

using namespace posthouse;
using namespace std::chrono_literals;

namespace {

// Some names are answered, all others never.
test::DnsReply zone(const std::string& name, std::uint16_t type) {
    constexpr std::uint16_t kMx = 15;
    constexpr std::uint16_t kCname = 5;
    test::DnsReply reply;
    if (name == "good.test" && type == kMx)
        reply.rdata = {test::wire_mx(10, "mail.good.test")};
    else if (name == "pm-bounces.good.test" && type == kCname)
        reply.rdata = {test::wire_name("pm.mtasv.net")};
    else if (name == "none.test")
        reply.rcode = 3;
    else
        reply.silent = true;
    return reply;
}

struct Bench {
    test::DnsServer server{zone};
    std::unique_ptr<admin::Lookup> lookup;

    Bench() {
        dns::ResolverOptions options;
        options.servers = {server.address()};
        options.ask_loopback = true;
        auto made = admin::Lookup::make(std::move(options));
        REQUIRE(made.has_value());
        lookup = *std::move(made);
    }
};

}  // namespace

TEST_CASE("lookup: many questions wait together, and what is not answered in time says so") {
    Bench bench;
    const auto began = std::chrono::steady_clock::now();
    const auto found = bench.lookup->ask_all({{"MX", "a.silent.test"},
                                          {"MX", "good.test"},
                                          {"CNAME", "pm-bounces.good.test"},
                                          {"TXT", "b.silent.test"},
                                          {"A", "c.silent.test"},
                                          {"CNAME", "none.test"}},
                                         1500ms);
    const auto took = std::chrono::steady_clock::now() - began;
    REQUIRE(found.size() == 6);
    for (const std::size_t silent : {0U, 3U, 4U}) {
        CAPTURE(silent);
        CHECK(found[silent].error().code == Errc::timeout);
        CHECK(found[silent].error().context == "the DNS does not answer within 1.5 s");
    }
    REQUIRE(found[1].has_value());
    CHECK(found[1]->front() == "10 mail.good.test.");
    REQUIRE(found[2].has_value());
    CHECK(found[2]->size() == 1);
    REQUIRE(found[5].has_value());
    CHECK(found[5]->empty());
    CHECK(took < 4s);  // one after the other it would be three times as long, and more
    CHECK(bench.lookup->ask_all({}, 1ms).empty());
}

TEST_CASE("return paths: one finding a record, however many do not answer") {
    Bench bench;
    const auto record = [](std::string name, std::string type, std::string value) {
        admin::DnsRecord out;
        out.name = std::move(name);
        out.type = std::move(type);
        out.value = std::move(value);
        return out;
    };
    const auto found = admin::check_return_paths(*bench.lookup,
                                                 {record("{account}.good.test", "CNAME", "x"),
                                                  record("pm-bounces.good.test", "CNAME", "pm.mtasv.net."),
                                                  record("silent.test", "MX", "10 mail.good.test."),
                                                  record("good.test", "MX", "10 mail.good.test."),
                                                  record("none.test", "CNAME", "pm.mtasv.net."),
                                                  record("pm-bounces.good.test", "CNAME", "elsewhere.test.")},
                                                 1s);
    REQUIRE(found.size() == 6);
    CHECK(found[0].name == "{account}.good.test CNAME");
    CHECK(found[0].status == admin::RecordStatus::unknown);
    CHECK(found[1].status == admin::RecordStatus::good);
    CHECK(found[2].name == "silent.test MX");
    CHECK(found[2].sentence == "the DNS does not answer within 1 s");
    CHECK(found[3].status == admin::RecordStatus::good);
    CHECK(found[4].status == admin::RecordStatus::missing);
    CHECK(found[5].status == admin::RecordStatus::different);
}
