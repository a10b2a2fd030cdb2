// A whole IMAP session over a memory stream and a real store: the first octet says whether somebody is logged in and
// has a mailbox selected before the fuzzer speaks. What the session says is drained; it must end when the client goes.
#include <cstdint>
#include <string_view>

#include "protocols/base/log.h"
#include "tests/support/imap_host.h"

namespace {

using namespace posthouse;

// One store for all runs; every run selects INBOX with what the runs before left in it, and starts anew at times.
struct Bed {
    net::Loop loop;
    std::unique_ptr<test::ImapHost> host;
    unsigned runs = 0;

    test::ImapHost& fresh() {
        constexpr unsigned kRunsMax = 500;
        if (!host || ++runs % kRunsMax == 0) {
            host.reset();
            host = std::make_unique<test::ImapHost>(loop);
            const auto alice = host->add_account("a@a.test", "p");
            test::must(host->deliver(alice, "INBOX",
                                     "Subject: one\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n"
                                     "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ny\r\n--b--\r\n"));
            test::must(host->deliver(alice, "INBOX", "Subject: two\r\n\r\nbody\r\n"));
        }
        return *host;
    }
};

net::Task<void> drain(net::Stream& stream, bool& ended) {
    std::string buffer(16UL * 1024, '\0');
    for (;;) {
        const auto got = co_await stream.read_some(buffer);
        if (!got) break;
    }
    ended = true;
}

net::Task<void> speak(net::Stream& stream, std::string octets) { static_cast<void>(co_await stream.write_all(octets)); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Bed bed;
    if (size == 0) return 0;
    log::set_level(log::Level::error);
    test::ImapHost& host = bed.fresh();
    std::string octets;
    if (data[0] % 3 >= 1) octets += "f1 LOGIN a@a.test p\r\n";
    if (data[0] % 3 == 2) octets += "f2 SELECT INBOX\r\n";
    octets.append(reinterpret_cast<const char*>(data) + 1, size - 1);
    octets += "\r\nf9 LOGOUT\r\n";
    const net::Endpoint here(*net::IpAddress::parse("127.0.0.1"), 143);
    auto pair = net::make_memory_pair(bed.loop, here, here);
    net::TaskGroup group(bed.loop);
    bool ended = false;
    server::imap::ImapDeps deps = host.deps;
    deps.limits.before_login_max = std::chrono::milliseconds(200);
    deps.limits.inactivity_max = std::chrono::milliseconds(200);  // a fuzzer that leaves a literal open
    deps.limits.literal_stall_max = std::chrono::milliseconds(200);
    group.spawn("imap", server::imap::serve_connection(std::move(pair.first), deps));
    group.spawn("speak", speak(*pair.second, std::move(octets)));
    group.spawn("drain", drain(*pair.second, ended));
    while (group.size() > 0) {
        bed.loop.poll();
        if (ended) pair.second->close();
    }
    return 0;
}
