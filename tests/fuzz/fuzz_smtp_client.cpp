// The delivery client against a server that says anything: first octet chooses how the connection is used, the rest is
// what the server sends. The client must end, and call nothing delivered that had no 250 behind the message.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "protocols/net/memory.h"
#include "relay/client.h"

namespace {

using namespace posthouse;

class Text final : public relay::MessageSource {
 public:
    net::Task<Result<std::string_view>> next() override {
        const std::string_view out = given_ ? std::string_view() : "Subject: x\r\n\r\n.\r\nbody\r\n";
        given_ = true;
        co_return out;
    }

 private:
    bool given_ = false;
};

net::Task<void> server(std::unique_ptr<net::Stream> stream, std::string says) {
    if (!says.empty()) {
        const auto written = co_await stream->write_all(says);
        static_cast<void>(written);
    }
    stream->close();
}

net::Task<void> client(std::unique_ptr<net::Stream> stream, unsigned how, bool has_250) {
    relay::ClientOptions options;
    options.hostname = "home.example";
    options.tls = (how & 1U) != 0 ? relay::TlsUse::opportunistic : relay::TlsUse::never;
    options.tls = (how & 2U) != 0 ? relay::TlsUse::required : options.tls;
    relay::Envelope envelope;
    envelope.reverse_path = "a@home.example";
    for (const char* address : {"b@b.example", "c@b.example"}) {
        relay::EnvelopeRecipient recipient;
        recipient.address = address;
        recipient.options.orcpt = "rfc822;x@y.example";
        envelope.recipients.push_back(std::move(recipient));
    }
    relay::Dialogue dialogue;
    relay::Client smtp(std::move(stream), std::move(options));
    const auto failed = co_await smtp.open(dialogue);
    if (!failed) {
        Text text;
        const auto verdicts = co_await smtp.send(envelope, text, dialogue);
        ASSERT(verdicts.size() == 2);
        for (const auto& verdict : verdicts) ASSERT(verdict.fate != relay::Fate::delivered || has_250);
    }
    co_await smtp.quit();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0 || size > 64UL * 1024) return 0;
    const std::string says(reinterpret_cast<const char*>(data) + 1, size - 1);
    net::Loop loop;
    auto pair = net::make_memory_pair(loop, net::Endpoint(), net::Endpoint());
    net::TaskGroup tasks(loop);
    tasks.spawn("server", server(std::move(pair.second), says));
    tasks.spawn("client", client(std::move(pair.first), data[0], says.find('2') != std::string::npos));
    while (tasks.size() > 0) loop.poll();
    return 0;
}
