// Which relay client a peer is by its address, and when an address is not believed.
#include "server/delivery/relay_clients.h"

#include <doctest/doctest.h>

#include "protocols/net/network.h"

using namespace posthouse;
using namespace posthouse::server;

namespace {

net::IpAddress ip(std::string_view text) { return net::IpAddress::parse(text).value(); }
const Time kNow = from_unix_ms(1'764'000'000'000);

storage::RelayClient client(std::string name, std::vector<std::string> addresses) {
    storage::RelayClient out;
    out.name = std::move(name);
    out.addresses = std::move(addresses);
    out.sender_domains = {"a.example"};
    return out;
}

}  // namespace

TEST_CASE("networks: an address, or the first bits of one") {
    CHECK(net::network_holds("192.0.2.7", ip("192.0.2.7")));
    CHECK_FALSE(net::network_holds("192.0.2.7", ip("192.0.2.8")));
    CHECK(net::network_holds("192.0.2.0/28", ip("192.0.2.15")));
    CHECK_FALSE(net::network_holds("192.0.2.0/28", ip("192.0.2.16")));
    CHECK(net::network_holds("2001:db8::/64", ip("2001:db8::9")));
    CHECK_FALSE(net::network_holds("2001:db8::/64", ip("192.0.2.7")));
    CHECK_FALSE(net::network_holds("192.0.2.0/33", ip("192.0.2.0")));
    CHECK_FALSE(net::network_holds("", ip("192.0.2.0")));
}

TEST_CASE("the default gateways, from the text of the kernel") {
    constexpr std::string_view kRoute =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "garbage\n";
    constexpr std::string_view kRoute6 =
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 "
        "00000400 00000001 00000000 00000003 eth0\n"
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 "
        "ffffffff 00000001 00000000 00200200 lo\n";
    const auto found = net::parse_gateways(kRoute, kRoute6);
    REQUIRE(found.size() == 2);
    CHECK(found[0] == ip("172.17.0.1"));
    CHECK(found[1] == ip("fe80::1"));
    CHECK(net::parse_gateways("", "").empty());
}

TEST_CASE("only what was listed is believed; never a subnet by itself") {
    RelayClientBook book({});
    book.set({client("nas", {"192.168.1.9"}), client("shop", {"192.0.2.16/28"})});
    CHECK(book.find(ip("192.168.1.9"), "nas.lan", kNow).client->name == "nas");
    CHECK(book.find(ip("192.0.2.20"), "shop", kNow).client->name == "shop");
    CHECK(book.find(ip("192.168.1.10"), "nas.lan", kNow).client == nullptr);
    CHECK(book.find(ip("127.0.0.1"), "localhost", kNow).client == nullptr);
    auto disabled = client("nas", {"192.168.1.9"});
    disabled.disabled = true;
    book.set({disabled});
    CHECK(book.find(ip("192.168.1.9"), "nas.lan", kNow).client == nullptr);
}

TEST_CASE("the default gateway is never believed, though its network is listed") {
    RelayClientBook book({ip("172.17.0.1")});
    book.set({client("containers", {"172.17.0.0/16"})});
    const auto gateway = book.find(ip("172.17.0.1"), "anybody", kNow);
    CHECK(gateway.distrust.contains("default gateway"));
    CHECK_FALSE(gateway.newly);  // nothing to write down: the others of the network are believed as before
    CHECK(book.find(ip("172.17.0.5"), "shop", kNow).distrust.empty());
    book.set({client("proxy", {"172.17.0.1"})});
    CHECK(book.find(ip("172.17.0.1"), "anybody", kNow).newly);
    book.set({client("proxy", {"172.17.0.1/32"})});
    CHECK(book.find(ip("172.17.0.1"), "anybody", kNow).newly);
}

TEST_CASE("a private address that many machines come from is a NAT: not believed until somebody says so") {
    RelayClientBook book({});
    book.set({client("nas", {"192.168.1.9"})});
    for (std::size_t i = 0; i < kHelloNamesMax; ++i) {
        CHECK(book.find(ip("192.168.1.9"), "host" + std::to_string(i), kNow).distrust.empty());
    }
    CHECK(book.find(ip("192.168.1.9"), "HOST0", kNow).distrust.empty());
    const auto found = book.find(ip("192.168.1.9"), "one more", kNow);
    CHECK(found.newly);
    CHECK(found.distrust.contains("NAT"));
    auto marked = client("nas", {"192.168.1.9"});
    marked.distrust = found.distrust;
    book.set({marked});
    CHECK_FALSE(book.find(ip("192.168.1.9"), "nas", kNow).distrust.empty());

    RelayClientBook patient({});
    patient.set({client("nas", {"192.168.1.9"}), client("public", {"203.0.113.5"})});
    for (int i = 0; i < 50; ++i) {
        const Time at = kNow + std::chrono::hours(4) * i;
        CHECK(patient.find(ip("192.168.1.9"), "host" + std::to_string(i), at).distrust.empty());
        CHECK(patient.find(ip("203.0.113.5"), "host" + std::to_string(i), kNow).distrust.empty());
    }
}

TEST_CASE("a client writes as its own domains only") {
    const auto nas = client("nas", {});
    CHECK(may_send_as(nas, "A.example"));
    CHECK_FALSE(may_send_as(nas, "sub.a.example"));
    CHECK_FALSE(may_send_as(nas, "evil-a.example"));
    CHECK_FALSE(may_send_as(nas, ""));
}
