#include "storage/upkeep/pace.h"

#include <algorithm>
#include <thread>

namespace posthouse::storage {

void Pace::spend(double amount, double per_second) {
    using namespace std::chrono;
    constexpr milliseconds kSlice{50};  // how late a stop is heard at most
    const auto now = steady_clock::now();
    due_ = std::max(due_, now) + duration_cast<steady_clock::duration>(duration<double>(amount / per_second));
    while (!stopping_()) {
        const auto left = due_ - steady_clock::now();
        if (left <= steady_clock::duration::zero()) return;
        std::this_thread::sleep_for(std::min<steady_clock::duration>(left, kSlice));
    }
}

}  // namespace posthouse::storage
