#pragma once
/// server/auth/remembered: passwords that were right a moment ago, as keyed hashes, so that a client which opens ten
/// connections pays for one slow hash. The key dies with the process: whoever reads this memory later learns nothing.
/// Threads: the loop's.   Limits: kRememberedMax entries, kRememberedFor each; the oldest go first.
#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "protocols/base/clock.h"
#include "server/auth/authenticator.h"

namespace posthouse::server {

inline constexpr std::size_t kRememberedMax = 4096;
inline constexpr std::chrono::minutes kRememberedFor{10};

class Remembered {
 public:
    Remembered();
    /// What stands for a login and its password here.
    std::string proof_of(const std::string& login, const std::string& password) const;
    std::optional<Identity> recall(const std::string& proof, Time now) const;
    void keep(std::string proof, const Identity& identity, Time now);
    void clear();
    std::size_t size() const { return entries_.size(); }

 private:
    struct Entry {
        Identity identity;
        Time until{};
    };
    std::string key_;
    // By the proof itself: finding it compares digests under a key that nobody outside knows.
    std::unordered_map<std::string, Entry> entries_;
    std::deque<std::string> order_;
};

}  // namespace posthouse::server
