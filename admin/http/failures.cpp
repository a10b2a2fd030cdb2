#include "admin/http/failures.h"

#include <algorithm>

namespace posthouse::admin {

std::optional<std::chrono::seconds> Failures::note(const std::string& client, Time now) {
    const std::lock_guard hold(mutex_);
    // A window from the future: the clock was set back.
    const auto is_over = [now](const Window& w) { return now >= w.since + kFailuresWindow || now < w.since; };
    if (windows_.size() >= kFailureClientsMax && !windows_.contains(client)) {
        std::erase_if(windows_, [&](const auto& entry) { return is_over(entry.second); });
        // Still full: the oldest is forgotten, so that memory stays bounded whoever comes.
        if (windows_.size() >= kFailureClientsMax) {
            windows_.erase(
                std::ranges::min_element(windows_, {}, [](const auto& entry) { return entry.second.since; }));
        }
    }
    Window& window = windows_[client];
    if (is_over(window)) window = Window{now, 0};
    if (window.count < kFailuresMax) {
        ++window.count;
        return std::nullopt;
    }
    return std::chrono::ceil<std::chrono::seconds>(window.since + kFailuresWindow - now);
}

}  // namespace posthouse::admin
