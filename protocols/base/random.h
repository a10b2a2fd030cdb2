#pragma once
/// protocols/base/random: unpredictable octets as a parameter, so that tests can repeat themselves.
/// Threads: the system source may be used from any.
#include <cstdint>
#include <span>
#include <string>

namespace posthouse {

class Random {
 public:
    virtual ~Random() = default;
    virtual void fill(std::span<unsigned char> out) = 0;
    /// Uniform in [0, bound); bound > 0.
    std::uint64_t below(std::uint64_t bound);
    /// `length` characters of a-z2-7: safe in addresses, file names and on the telephone.
    std::string token(std::size_t length);
};

/// The kernel's source (getrandom).
Random& system_random();

}  // namespace posthouse
