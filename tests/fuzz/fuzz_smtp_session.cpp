/// A whole session over a memory stream. The first octet chooses the service and how the input is cut into writes.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocols/base/log.h"
#include "protocols/net/memory.h"
#include "server/smtp/service.h"
#include "tests/support/loop_runner.h"
#include "tests/support/smtp_test_backend.h"

using namespace posthouse;

namespace {

net::Task<void> talk(net::Loop& loop, std::unique_ptr<net::Stream> client, std::string_view input, std::size_t piece) {
    client->expires_in(std::chrono::seconds(10));
    constexpr std::chrono::milliseconds kNow{0};
    while (!input.empty()) {
        const std::string_view part = input.substr(0, piece);
        input.remove_prefix(part.size());
        const auto written = co_await client->write_all(part);
        if (!written) break;
        // Lets the session read this piece before the next one comes.
        co_await net::sleep_for(loop, kNow, nullptr);
    }
    for (int turn = 0; turn < 4; ++turn) co_await net::sleep_for(loop, kNow, nullptr);
    client->close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    log::set_level(log::Level::error);
    const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    const bool submission = (data[0] & 1U) != 0;
    const std::size_t piece = (data[0] & 2U) != 0 ? 1 + (data[0] >> 2U) : input.size();

    net::Loop loop;
    net::TaskGroup group(loop);
    Metrics metrics;
    test::SmtpTestBackend backend;
    server::smtp::SmtpServiceOptions options(
        "mx.home.example", submission ? server::smtp::Kind::submission : server::smtp::Kind::reception);
    options.limits.message_octets_max = 64 * 1024;
    server::smtp::SessionDeps deps;
    deps.options = &options;
    deps.backend = &backend;
    deps.metrics = &metrics;
    auto pair = net::make_memory_pair(loop, net::Endpoint(), net::Endpoint());
    group.spawn("session", server::smtp::serve_connection(std::move(pair.first), deps));
    test::run_task(loop, talk(loop, std::move(pair.second), input, piece));
    test::run_task(loop, group.join());
    for (const auto& message : backend.messages) {
        // What was taken holds CRLF only, and has somewhere to go.
        for (std::size_t i = 0; i < message.octets.size(); ++i) {
            const char c = message.octets[i];
            if (c == '\0' || (c == '\n' && (i == 0 || message.octets[i - 1] != '\r'))) std::abort();
        }
        if (message.envelope.recipients.empty()) std::abort();
    }
    return 0;
}
