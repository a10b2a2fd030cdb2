#include "server/smtp/content.h"

#include <cstring>

namespace posthouse::server::smtp {

namespace {

constexpr std::string_view kCr = "\r";

struct Counts {
    std::uint64_t cr = 0;
    std::uint64_t lf = 0;
    std::uint64_t pairs = 0;
    std::uint64_t nul = 0;
    unsigned char high = 0;
};

// Counters of one octet over at most 128 positions: the compiler turns this into vector compares.
void count_block(Counts& total, const char* at, std::size_t size, char before) {
    std::uint8_t cr = 0;
    std::uint8_t lf = 0;
    std::uint8_t nul = 0;
    std::uint8_t pairs = static_cast<std::uint8_t>((before == '\r') & (at[0] == '\n'));
    std::uint8_t high = 0;
    for (std::size_t i = 0; i < size; ++i) {
        cr = static_cast<std::uint8_t>(cr + (at[i] == '\r'));
        lf = static_cast<std::uint8_t>(lf + (at[i] == '\n'));
        nul = static_cast<std::uint8_t>(nul + (at[i] == '\0'));
        high = static_cast<std::uint8_t>(high | (static_cast<unsigned char>(at[i]) & 0x80U));
    }
    for (std::size_t i = 1; i < size; ++i) {
        pairs = static_cast<std::uint8_t>(pairs + ((at[i - 1] == '\r') & (at[i] == '\n')));
    }
    total.cr += cr;
    total.lf += lf;
    total.nul += nul;
    total.pairs += pairs;
    total.high |= high;
}

}  // namespace

std::string_view DotDecoder::next(std::string_view& input) {
    const auto take = [&input](std::size_t count) {
        const std::string_view out = input.substr(0, count);
        input.remove_prefix(count);
        return out;
    };
    while (!input.empty()) {
        const char c = input.front();
        switch (state_) {
            case State::line_start:
                state_ = c == '.' ? State::dot : State::inside;
                if (c == '.') take(1);
                break;
            case State::dot:
                state_ = c == '\r' ? State::dot_cr : State::inside;
                if (c == '\r') take(1);
                break;
            case State::dot_cr:
                if (c == '\n') {
                    take(1);
                    state_ = State::done;
                    return {};
                }
                // A CR that ends no line is content (and refused later); what follows it is looked at anew.
                state_ = State::cr;
                return kCr;
            case State::cr:
                if (c != '\n') {
                    state_ = State::inside;
                    break;
                }
                state_ = State::line_start;
                return take(1);
            case State::inside: {
                const void* found = memmem(input.data(), input.size(), "\r\n.", 3);
                if (found != nullptr) {
                    const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - input.data());
                    const std::string_view out = take(at + 2);
                    take(1);
                    state_ = State::dot;
                    return out;
                }
                if (input.ends_with("\r\n")) {
                    state_ = State::line_start;
                } else if (input.ends_with('\r')) {
                    state_ = State::cr;
                }
                return take(input.size());
            }
            case State::done: return {};
        }
    }
    return {};
}

void LineScan::feed(std::string_view octets) {
    constexpr std::size_t kBlock = 128;
    Counts total;
    char before = last_;
    while (!octets.empty()) {
        const std::string_view block = octets.substr(0, kBlock);
        count_block(total, block.data(), block.size(), before);
        before = block.back();
        octets.remove_prefix(block.size());
    }
    last_ = before;
    cr_ += total.cr;
    lf_ += total.lf;
    pairs_ += total.pairs;
    nul_ += total.nul;
    high_ |= total.high;
}

}  // namespace posthouse::server::smtp
