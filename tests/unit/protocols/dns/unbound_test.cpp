// libunbound itself, asked through the loop, against a DNS server of this process.
#include <doctest/doctest.h>

#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "protocols/dns/resolver.h"
#include "tests/support/dns_server.h"
#include "tests/support/loop_runner.h"

using namespace posthouse;
using namespace std::string_literals;
using test::DnsReply;

namespace {

constexpr std::uint16_t kA = 1;
constexpr std::uint16_t kPtr = 12;
constexpr std::uint16_t kMx = 15;
constexpr std::uint16_t kTxt = 16;
constexpr std::uint16_t kAaaa = 28;
constexpr std::uint16_t kCname = 5;
constexpr std::uint16_t kTlsa = 52;

DnsReply records(std::vector<std::string> rdata) {
    DnsReply reply;
    reply.rdata = std::move(rdata);
    return reply;
}

DnsReply with_rcode(std::uint8_t rcode) {
    DnsReply reply;
    reply.rcode = rcode;
    return reply;
}

DnsReply zone(const std::string& name, std::uint16_t type) {
    if (name == "example.test" && type == kMx) {
        return records({test::wire_mx(10, "MX1.example.test"), test::wire_mx(20, "mx2.example.test"),
                        "\0\1\3a b\0"s});  // the third names no host and is skipped
    }
    if (name == "null.test" && type == kMx) return records({test::wire_mx(0, "")});
    if (name == "mx1.example.test" && type == kA) return records({"\x7f\0\0\1"s, "\x7f\0\0\2"s});
    if (name == "mx1.example.test" && type == kAaaa) return records({std::string(15, '\0') + "\1"});
    if (name == "half.test") return type == kA ? records({"\x7f\0\0\3"s}) : with_rcode(2);
    if (name == "nodata.test") return records({});
    if (name == "real.test") return records(type == kA ? std::vector{"\x7f\0\0\4"s} : std::vector<std::string>());
    if (name == "alias.test") {
        DnsReply reply = records({"\x7f\0\0\4"s});
        if (type != kA) reply.rdata.clear();
        reply.cname = "real.test";
        return reply;
    }
    if (name == "txt.test" && type == kTxt) return records({"\3v=a\2bc"s, "\4two."s});
    if (name == "_25._tcp.mx1.example.test" && type == kTlsa) return records({"\3\1\1digest"s, "\3\1\1"s});
    if (name == "www.test" && type == kCname) return records({test::wire_name("Real.test")});
    if (name == "9.0.0.10.in-addr.arpa" && type == kPtr) return records({test::wire_name("host.lan.test")});
    if (name == "broken.test") return with_rcode(2);
    if (name == "refused.test") return with_rcode(5);
    return with_rcode(3);
}

// A loop, a server and a resolver; ask() runs the loop until the question is answered.
struct Bench {
    test::DnsServer server{zone};
    net::Loop loop;
    std::unique_ptr<dns::Resolver> resolver;

    Bench() {
        dns::ResolverOptions options;
        options.servers = {server.address()};
        options.ask_loopback = true;
        auto made = dns::make_unbound_resolver(loop, std::move(options));
        REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().context));
        resolver = *std::move(made);
    }

    template <class T>
    T ask(net::Task<T> task) {
        return test::run_task(loop, std::move(task));
    }
};

}  // namespace

TEST_CASE("MX records come as they are, in lower case, without what is no host") {
    Bench bench;
    const auto answer = bench.ask(bench.resolver->mx("Example.test."));
    REQUIRE(answer.has_value());
    REQUIRE(answer->records.size() == 2);
    auto records = answer->records;
    if (records[0].preference > records[1].preference) std::swap(records[0], records[1]);
    CHECK(records[0].host == "mx1.example.test");
    CHECK(records[1].host == "mx2.example.test");
    CHECK(answer->name_exists);
    CHECK_FALSE(answer->secure);
    CHECK(answer->canonical.empty());

    const auto null_mx = bench.ask(bench.resolver->mx("null.test"));
    REQUIRE(null_mx.has_value());
    REQUIRE(null_mx->records.size() == 1);
    CHECK(null_mx->records[0].host.empty());
}

TEST_CASE("TLSA records, and a CNAME that is not followed") {
    Bench bench;
    const auto tlsa = bench.ask(bench.resolver->tlsa("_25._tcp.mx1.example.test"));
    REQUIRE(tlsa.has_value());
    REQUIRE(tlsa->records.size() == 1);  // the second has nothing to match
    CHECK(tlsa->records[0].usage == 3);
    CHECK(tlsa->records[0].selector == 1);
    CHECK(tlsa->records[0].matching == 1);
    CHECK(tlsa->records[0].data == "digest");
    CHECK_FALSE(tlsa->secure);
    const auto alias = bench.ask(bench.resolver->cname("www.test"));
    REQUIRE(alias.has_value());
    REQUIRE(alias->records.size() == 1);
    CHECK(alias->records[0] == "real.test");
    CHECK_FALSE(bench.ask(bench.resolver->tlsa("_25._tcp.nowhere.test"))->name_exists);
}

TEST_CASE("without a trust anchor there is no DNSSEC to be broken") {
    Bench bench;
    CHECK(bench.resolver->dnssec().state == dns::Dnssec::off);
    CHECK(bench.ask(bench.resolver->test_dnssec()).state == dns::Dnssec::off);
}

// The server of these tests signs nothing: with an anchor for its zone every answer would be bogus.
TEST_CASE("where signatures do not arrive, the resolver says so and goes on without them") {
    std::string file = "/tmp/posthouse-anchor-XXXXXX";
    const int descriptor = ::mkstemp(file.data());
    REQUIRE(descriptor >= 0);
    const std::string anchor =
        "; anchor of a test\ntest. IN DS 12345 13 2 "
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    CHECK(dns::anchor_zone(anchor) == "test.");
    CHECK(dns::anchor_zone(". IN DS 20326 8 2 E06D44B8") == ".");
    CHECK(dns::anchor_zone("; nothing\n") == ".");
    REQUIRE(::write(descriptor, anchor.data(), anchor.size()) == static_cast<ssize_t>(anchor.size()));
    ::close(descriptor);
    Bench bench;
    dns::ResolverOptions options;
    options.servers = {bench.server.address()};
    options.ask_loopback = true;
    options.trust_anchor_file = file;
    options.trust_anchor_zone = "test.";
    auto resolver = dns::make_unbound_resolver(bench.loop, std::move(options));
    ::unlink(file.c_str());
    REQUIRE(resolver.has_value());
    CHECK((*resolver)->dnssec().state == dns::Dnssec::unknown);
    CHECK_FALSE(bench.ask((*resolver)->mx("example.test")).has_value());
    const auto found = bench.ask((*resolver)->test_dnssec());
    CAPTURE(found.why);
    CHECK(found.state == dns::Dnssec::broken);
    const auto answer = bench.ask((*resolver)->mx("example.test"));
    REQUIRE(answer.has_value());
    CHECK(answer->records.size() == 2);
    CHECK_FALSE(answer->secure);
}

TEST_CASE("addresses: A before AAAA, and one family's failure does not hide the other") {
    Bench bench;
    const auto both = bench.ask(bench.resolver->addresses("mx1.example.test"));
    REQUIRE(both.has_value());
    REQUIRE(both->records.size() == 3);
    CHECK(both->records[0].family() == net::IpAddress::Family::v4);
    CHECK(both->records[1].family() == net::IpAddress::Family::v4);
    CHECK(both->records[2].to_string() == "::1");

    const auto half = bench.ask(bench.resolver->addresses("half.test"));
    REQUIRE(half.has_value());
    REQUIRE(half->records.size() == 1);
    CHECK(half->records[0].to_string() == "127.0.0.3");

    const auto alias = bench.ask(bench.resolver->addresses("alias.test"));
    REQUIRE(alias.has_value());
    CHECK(alias->records.size() == 1);
    CHECK(alias->canonical == "real.test");
}

TEST_CASE("absence is an answer, failure is temporary, nonsense is refused") {
    Bench bench;
    const auto absent = bench.ask(bench.resolver->mx("nowhere.test"));
    REQUIRE(absent.has_value());
    CHECK_FALSE(absent->name_exists);
    CHECK(absent->records.empty());

    const auto no_data = bench.ask(bench.resolver->addresses("nodata.test"));
    REQUIRE(no_data.has_value());
    CHECK(no_data->name_exists);
    CHECK(no_data->records.empty());

    for (const char* name : {"broken.test", "refused.test"}) {
        CAPTURE(name);
        const auto failed = bench.ask(bench.resolver->addresses(name));
        REQUIRE_FALSE(failed.has_value());
        CHECK(failed.error().code == Errc::dns_temporary);
    }
    const auto nonsense = bench.ask(bench.resolver->mx("a..b"));
    REQUIRE_FALSE(nonsense.has_value());
    CHECK(nonsense.error().code == Errc::invalid);
}

TEST_CASE("TXT strings are joined; PTR of a private network is asked of the given server") {
    Bench bench;
    const auto txt = bench.ask(bench.resolver->txt("txt.test"));
    REQUIRE(txt.has_value());
    REQUIRE(txt->records.size() == 2);
    CHECK((txt->records[0] == "v=abc" || txt->records[1] == "v=abc"));
    const auto ptr = bench.ask(bench.resolver->ptr(*net::IpAddress::parse("10.0.0.9")));
    REQUIRE(ptr.has_value());
    REQUIRE(ptr->records.size() == 1);
    CHECK(ptr->records[0] == "host.lan.test");
}

TEST_CASE("a second question for the same name is answered from the cache") {
    Bench bench;
    REQUIRE(bench.ask(bench.resolver->mx("example.test")).has_value());
    const std::size_t before = bench.server.questions();
    REQUIRE(bench.ask(bench.resolver->mx("EXAMPLE.test")).has_value());
    CHECK(bench.server.questions() == before);
}

namespace {

net::Task<void> ask_many(net::Loop& loop, dns::Resolver& resolver, int index, int& left, int& good) {
    std::string name = "n" + std::to_string(index) + ".nodata.test";
    const auto answer = co_await resolver.addresses(std::move(name));
    if (answer) ++good;
    if (--left == 0) loop.stop();
}

net::Task<void> expect_cancelled(dns::Resolver& resolver, bool& cancelled) {
    const auto answer = co_await resolver.mx("silent.hang.test");
    cancelled = !answer && answer.error().code == Errc::cancelled;
}

}  // namespace

TEST_CASE("more questions than kQueriesInFlightMax wait their turn and are all answered") {
    Bench bench;
    constexpr int kQuestions = 400;
    int left = kQuestions;
    int good = 0;
    net::TaskGroup group(bench.loop);
    for (int i = 0; i < kQuestions; ++i) {
        group.spawn("ask", ask_many(bench.loop, *bench.resolver, i, left, good));
    }
    bench.loop.run();
    bench.loop.poll();
    CHECK(good == kQuestions);
}

TEST_CASE("destroying or interrupting the resolver cancels what waits for it") {
    bool destroyed = false;
    SUBCASE("destroyed") { destroyed = true; }
    SUBCASE("interrupted") {}
    test::DnsServer server([](const std::string& name, std::uint16_t) {
        DnsReply reply;
        reply.silent = name.starts_with("silent.");
        return reply;
    });
    net::Loop loop;
    dns::ResolverOptions options;
    options.servers = {server.address()};
    options.ask_loopback = true;
    auto resolver = dns::make_unbound_resolver(loop, std::move(options));
    REQUIRE(resolver.has_value());
    bool cancelled = false;
    net::TaskGroup group(loop);
    group.spawn("ask", expect_cancelled(**resolver, cancelled));
    loop.poll();
    if (destroyed) {
        resolver->reset();
    } else {
        (*resolver)->interrupt();
    }
    loop.poll();
    CHECK(cancelled);
    CHECK(group.size() == 0);
    if (destroyed) return;
    int left = 1;
    int good = 0;
    group.spawn("ask", ask_many(loop, **resolver, 1, left, good));  // it goes on answering
    loop.run();
    loop.poll();
    CHECK(good == 1);
}

TEST_CASE("bad options are errors at start, with a sentence") {
    net::Loop loop;
    dns::ResolverOptions bad_server;
    bad_server.servers = {"no address"};
    const auto one = dns::make_unbound_resolver(loop, std::move(bad_server));
    REQUIRE_FALSE(one.has_value());
    CHECK(one.error().code == Errc::invalid);
    dns::ResolverOptions bad_anchor;
    bad_anchor.trust_anchor_file = "/nonexistent/root.key";
    const auto two = dns::make_unbound_resolver(loop, std::move(bad_anchor));
    REQUIRE_FALSE(two.has_value());
    CHECK(two.error().code == Errc::invalid);
}
