// Microseconds a reply: classification of what servers say. One JSON line a case.
#include <fmt/format.h>

#include <chrono>

#include "protocols/bounce/reply_class.h"

using namespace posthouse;

int main() {
    struct Case {
        const char* name;
        unsigned code;
        const char* enhanced;
        const char* text;
        const char* host;
    };
    constexpr Case kCases[] = {
        {"unknown user", 550, "5.1.1", "550 5.1.1 <bob@b.example>: Recipient address rejected: User unknown",
         "mx.b.example"},
        {"google, four lines", 550, "5.7.26",
         "550 5.7.26 This mail has been blocked because the sender is unauthenticated. Gmail requires all senders to "
         "authenticate with either SPF or DKIM. Authentication results: DKIM = did not pass SPF [b.example] with ip: "
         "[192.0.2.1] = did not pass. For instructions on setting up authentication, go to "
         "https://support.google.com/mail/answer/81126#authentication - gsmtp",
         "gmail-smtp-in.l.google.com"},
        {"nothing fits", 450, "4.9.9", "450 4.9.9 a sentence of which no rule knows a single word, whatever it may be",
         "mx.b.example"},
    };
    constexpr int kRounds = 100'000;
    for (const Case& c : kCases) {
        bounce::ReplyFacts facts;
        facts.code = c.code;
        facts.enhanced = c.enhanced;
        facts.text = c.text;
        facts.host = c.host;
        const auto warm = bounce::classify(facts);
        const auto begin = std::chrono::steady_clock::now();
        std::size_t sum = 0;
        for (int i = 0; i < kRounds; ++i) sum += static_cast<std::size_t>(bounce::classify(facts).what);
        const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
        fmt::print("{{\"bench\":\"classify\",\"case\":\"{}\",\"class\":\"{}\",\"us\":{:.2f},\"sum\":{}}}\n", c.name,
                   bounce::to_string(warm.what), spent.count() / kRounds, sum);
    }
}
