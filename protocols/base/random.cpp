#include "protocols/base/random.h"

#include <sys/random.h>

#include <cstring>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse {
namespace {

class SystemRandom final : public Random {
 public:
    void fill(std::span<unsigned char> out) override {
        while (!out.empty()) {
            const ssize_t got = getrandom(out.data(), out.size(), 0);
            if (got < 0) continue;  // EINTR only: the source is never empty once the system is up
            out = out.subspan(static_cast<std::size_t>(got));
        }
    }
};

}  // namespace

std::uint64_t Random::below(std::uint64_t bound) {
    ASSERT(bound > 0);
    const std::uint64_t fair = ~std::uint64_t{0} - (~std::uint64_t{0} % bound);
    for (;;) {
        unsigned char octets[8];
        fill(octets);
        std::uint64_t value = 0;
        std::memcpy(&value, octets, sizeof value);
        if (value < fair) return value % bound;
    }
}

std::string Random::token(std::size_t length) {
    constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    std::vector<unsigned char> octets(length);
    fill(octets);
    std::string out;
    out.reserve(length);
    for (const unsigned char octet : octets) out.push_back(kAlphabet[octet & 31U]);
    return out;
}

Random& system_random() {
    static SystemRandom random;
    return random;
}

}  // namespace posthouse
