// A whole IMAP session over a memory stream and a real store: the first octet says whether somebody is logged in, what
// has been enabled and which mailbox is selected before the fuzzer speaks. One of them holds messages that are hard to
// take apart: some of our own, and the corpora where they are at hand. What the session says is drained; it must end
// when the client goes.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/log.h"
#include "tests/support/imap_host.h"
#include "tests/support/json.h"

namespace {

using namespace posthouse;

std::string deep(std::size_t levels) {
    std::string out = "Subject: deep\r\nMIME-Version: 1.0\r\n";
    for (std::size_t i = 0; i < levels; ++i) {
        const std::string mark = "b" + std::to_string(i);
        out += "Content-Type: multipart/mixed; boundary=" + mark + "\r\n\r\n--" + mark + "\r\n";
    }
    return out + "\r\nthe end\r\n";
}

std::string within(std::size_t levels) {
    std::string out;
    for (std::size_t i = 0; i < levels; ++i) out += "Subject: m\r\nContent-Type: message/rfc822\r\n\r\n";
    return out + "Subject: innermost\r\n\r\nx\r\n";
}

const std::vector<std::string>& torture() {
    static const std::vector<std::string> kMessages = [] {
        std::vector<std::string> out = {
            deep(200),
            within(200),
            "\r\n",
            "\r\n\r\n",
            "no header at all",
            "Subject:\r\n\r\n",
            ": no name\r\nSubject : blank\r\n\tfolded\r\n \r\n\r\nx",
            "Subject: =?utf-8?B?w" + std::string(3000, 'A') + "?= =?x?Q?=ff?=\r\nFrom: \xff\xfe <\xc3>\r\n\r\n\x80\r\n",
            "From: a:b@c,,;d:;<@x,@y:z@w>\"\\\r\nTo: " + std::string(5000, '(') + "\r\nCc: ;;;,,,<<>>@@\r\n\r\nx\r\n",
            "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n----\r\n",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--\r\n--b\r\n\r\nafter the end\r\n",
            "Content-Type: text/plain; charset*1=x; charset*0*=utf-8''%ff; charset=\"\r\nContent-Transfer-Encoding: "
            "base64\r\n"
            "\r\n====\r\nAAA\r\n*\r\n",
            "Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA0KDQp4DQo=\r\n",
            "Content-Type: text/html\r\n\r\n<" + std::string(20000, '<') + "&#xffffffff;&nbsp",
            "Subject: long\r\n\r\n" + std::string(200000, 'x') + "\r\n",
        };
        std::string many = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
        for (int i = 0; i < 2000; ++i) many += "--b\r\n\r\nx\r\n";
        out.push_back(std::move(many));
        constexpr std::size_t kMost = 150;
        const std::string root = posthouse::test::conformance_folder();
        if (root.empty()) return out;
        for (const auto& file : std::filesystem::recursive_directory_iterator(root)) {
            const std::string kind = file.path().extension();
            if (out.size() >= kMost || (kind != ".msg" && kind != ".eml")) continue;
            out.push_back(posthouse::test::read_whole_file(file.path()));
        }
        return out;
    }();
    return kMessages;
}

// One store for all runs; every run selects a mailbox with what the runs before left in it, and starts anew at times.
struct Bed {
    net::Loop loop;
    std::unique_ptr<test::ImapHost> host;
    unsigned runs = 0;

    test::ImapHost& fresh() {
        constexpr unsigned kRunsMax = 2000;
        if (!host || ++runs % kRunsMax == 0) {
            host.reset();
            host = std::make_unique<test::ImapHost>(loop);
            const auto alice = host->add_account("a@a.test", "p");
            test::must(host->deliver(alice, "INBOX",
                                     "Subject: one\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n"
                                     "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ny\r\n--b--\r\n"));
            test::must(host->deliver(alice, "INBOX", "Subject: two\r\n\r\nbody\r\n"));
            // COPY 1:* doubles a mailbox: a few of them, and every run would take long.
            constexpr std::uint64_t kMessagesMax = 600;
            test::must(host->store->write(
                {}, [&](storage::Tx& tx) { return tx.catalog().set_quota(alice, 0, kMessagesMax); }));
            for (const std::string& message : torture()) {
                if (!message.empty()) test::must(host->deliver(alice, "Torture", message));
            }
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
    constexpr const char* kSelect[] = {"", "", "f3 SELECT INBOX\r\n", "f3 SELECT Torture\r\n",
                                       "f3 EXAMINE Torture\r\n"};
    constexpr const char* kEnable[] = {"", "QRESYNC", "UTF8=ACCEPT IMAP4rev2", "UIDONLY", "QRESYNC IMAP4rev2"};
    const unsigned place = data[0] % 5;
    const unsigned dialect = data[0] / 5 % 5;
    if (place >= 1) octets += "f1 LOGIN a@a.test p\r\n";
    if (place >= 1 && dialect > 0) octets += std::string("f2 ENABLE ") + kEnable[dialect] + "\r\n";
    octets += kSelect[place];
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
