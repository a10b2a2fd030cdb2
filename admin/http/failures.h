#pragma once
/// admin/http/failures: how often an address came with a wrong token lately.
///
/// A token is 256 random bits: nobody guesses one. What this bounds is the noise that trying makes, in the log and on
/// the disk. A right token is let in all the same, since behind a proxy everybody has the same address.
/// Threads: any.  Limits: kFailuresMax in kFailuresWindow for each of kFailureClientsMax addresses.
#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "protocols/base/clock.h"

namespace posthouse::admin {

inline constexpr unsigned kFailuresMax = 10;
inline constexpr std::chrono::seconds kFailuresWindow{60};
inline constexpr std::size_t kFailureClientsMax = 1024;

class Failures {
 public:
    /// Notes a failure. Where there were too many: how long until the next one is looked at again, at least a second.
    std::optional<std::chrono::seconds> note(const std::string& client, Time now);

 private:
    struct Window {
        Time since{};
        unsigned count = 0;
    };
    std::mutex mutex_;
    std::map<std::string, Window> windows_;
};

}  // namespace posthouse::admin
