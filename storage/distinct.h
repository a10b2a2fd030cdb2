#pragma once
/// storage/distinct: how many different ones there were, without keeping them: a HyperLogLog sketch of 256 registers
/// (Flajolet et al. 2007), within 7 % for many and exact to a few for less than some dozens. Sketches of days add up to
/// one of a window. Pure.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

namespace posthouse::storage {

class Distinct {
 public:
    static constexpr std::size_t kRegisters = 256;

    void add(std::string_view what) {
        const std::uint64_t hash = hash_of(what);
        auto& slot = registers_[hash >> 56U];
        const auto rank = static_cast<std::uint8_t>(std::countl_zero((hash << 8U) | 0xffU) + 1);
        slot = std::max(slot, rank);
        is_empty_ = false;
    }
    void merge(const Distinct& other) {
        for (std::size_t i = 0; i < kRegisters; ++i) registers_[i] = std::max(registers_[i], other.registers_[i]);
        is_empty_ = is_empty_ && other.is_empty_;
    }
    std::uint64_t count() const {
        if (is_empty_) return 0;
        double sum = 0;
        double zeros = 0;
        for (const std::uint8_t rank : registers_) {
            sum += std::exp2(-static_cast<double>(rank));
            if (rank == 0) zeros += 1;
        }
        constexpr auto kMany = static_cast<double>(kRegisters);
        const double raw = 0.7182725932495458 * kMany * kMany / sum;  // alpha of 256 registers
        const double out = raw <= 2.5 * kMany && zeros > 0 ? kMany * std::log(kMany / zeros) : raw;
        return static_cast<std::uint64_t>(std::llround(out));
    }
    bool is_empty() const { return is_empty_; }
    /// "" where nothing was added.
    std::string octets() const { return is_empty_ ? std::string() : std::string(registers_.begin(), registers_.end()); }
    /// Anything but kRegisters octets is an empty sketch.
    static Distinct of(std::string_view octets) {
        Distinct out;
        if (octets.size() != kRegisters) return out;
        std::ranges::copy(octets, out.registers_.begin());
        out.is_empty_ = false;
        return out;
    }

 private:
    // FNV-1a, mixed (splitmix64) so that the high bits are as good as the low ones.
    static std::uint64_t hash_of(std::string_view what) {
        std::uint64_t hash = 0xcbf29ce484222325ULL;
        for (const char c : what) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
        hash += 0x9e3779b97f4a7c15ULL;
        hash = (hash ^ (hash >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        hash = (hash ^ (hash >> 27U)) * 0x94d049bb133111ebULL;
        return hash ^ (hash >> 31U);
    }

    std::array<std::uint8_t, kRegisters> registers_{};
    bool is_empty_ = true;
};

}  // namespace posthouse::storage
