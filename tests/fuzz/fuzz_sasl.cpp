// Every mechanism from both sides: what a client says to our server, and what a server says to our client. Input: one
// octet that chooses, then the messages, divided by LF.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/crypto/crypto.h"
#include "protocols/sasl/scram.h"

using namespace posthouse;

namespace {

constexpr std::string_view kMechanisms[] = {"PLAIN",       "LOGIN",  "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS",
                                            "OAUTHBEARER", "XOAUTH2"};
constexpr std::size_t kMessagesMax = 6;

std::vector<crypto::ScramKeys> keys() {
    static const std::vector<crypto::ScramKeys> made = {crypto::derive_scram_keys("pencil", "0123456789abcdef", 1)};
    return made;
}

void check(const Result<sasl::Step>& step) {
    if (!step) return;
    if (step->credentials) {
        ASSERT(!step->credentials->login.empty() && step->credentials->login.size() <= sasl::kCredentialOctetsMax);
    }
    if (step->token) ASSERT(!step->token->token.empty() && step->token->token.size() <= sasl::kTokenOctetsMax);
    // Nobody proves a password by chance.
    ASSERT(!step->proven);
}

void serve(std::string_view name, std::string_view rest) {
    sasl::ServerSide side;
    side.nonce = "servernonce";
    side.binding.exporter = "exporter";
    side.plus_offered = true;
    const auto mechanism = sasl::make_server_mechanism(name, std::move(side));
    Result<sasl::Step> step = sasl::Step();
    for (std::size_t i = 0; i < kMessagesMax; ++i) {
        const std::size_t end = rest.find('\n');
        const std::string_view message = rest.substr(0, end);
        step = i == 0 ? mechanism->start(message) : mechanism->answer(message);
        check(step);
        if (step && step->keys_of) step = mechanism->take_keys(keys());
        if (step && step->token) step = mechanism->refuse_token();
        if (!step || step->credentials || end == std::string_view::npos) return;
        rest.remove_prefix(end + 1);
    }
}

void dial(std::string_view rest) {
    sasl::ScramClient client("user", "pencil", sasl::ChannelBinding(), false, "clientnonce");
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    // What it costs to answer grows with the count of iterations: large ones are tried in the unit tests.
    const std::string_view first = rest.substr(0, end);
    const std::size_t count = first.find(",i=");
    if (count != std::string_view::npos && first.size() - count > 6) return;
    const auto answer = client.answer(first);
    ASSERT(!answer || answer->starts_with("c="));
    const auto believed = client.check(rest.substr(std::min(end + 1, rest.size())));
    ASSERT(!believed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const bool ready = crypto::init().has_value();
    ASSERT(ready);
    if (size == 0) return 0;
    const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::size_t which = data[0] % (std::size(kMechanisms) + 1);
    if (which == std::size(kMechanisms)) {
        dial(rest);
    } else {
        serve(kMechanisms[which], rest);
    }
    static_cast<void>(sasl::prepare(rest));
    return 0;
}
