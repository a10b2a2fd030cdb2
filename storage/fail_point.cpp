#include "storage/fail_point.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace posthouse::storage::fail_point {
namespace {

struct Plan {
    std::string name;
    int count = 0;
    int times = 0;
    int error_number = 0;  ///< 0: a signal
    int signal = SIGKILL;
    std::chrono::microseconds delay{0};  ///< from the passing to the signal; the process goes on meanwhile
};

std::atomic<bool> g_armed = false;
std::mutex g_mutex;
Plan g_plan;
std::map<std::string, int, std::less<>> g_passed;

void send_signal(const Plan& plan) {
    if (plan.delay.count() == 0) {
        ::kill(::getpid(), plan.signal);
        return;
    }
    std::thread([signal = plan.signal, delay = plan.delay] {
        std::this_thread::sleep_for(delay);
        ::kill(::getpid(), signal);
    }).detach();
}

int count_passing(const char* name) {
    auto place = g_passed.find(name);
    if (place == g_passed.end()) place = g_passed.emplace(name, 0).first;
    return ++place->second;
}

void arm(Plan plan) {
    const std::lock_guard lock(g_mutex);
    g_plan = std::move(plan);
    g_passed.clear();
    g_armed = true;
}

/// "name:count:kill", "name:count:stop" (SIGSTOP, for who cuts the power then), either with ":microseconds" behind.
bool arm_by_environment() {
    const char* const text = std::getenv("POSTHOUSE_FAIL_POINT");
    if (text == nullptr) return false;
    std::string_view rest = text;
    const auto take = [&rest] {
        const std::size_t end = rest.find(':');
        const std::string_view field = rest.substr(0, end);
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
        return field;
    };
    const auto number = [](std::string_view field) {
        int value = 0;
        std::from_chars(field.data(), field.data() + field.size(), value);
        return value;
    };
    Plan plan;
    plan.name = take();
    plan.count = number(take());
    plan.signal = take() == "stop" ? SIGSTOP : SIGKILL;
    plan.delay = std::chrono::microseconds(number(take()));
    arm(std::move(plan));
    return true;
}

// After the mutex and the map above: within one file these are made in their order.
[[maybe_unused]] const bool g_armed_by_environment = arm_by_environment();

}  // namespace

void arm_kill(std::string_view name, int count) { arm(Plan{std::string(name), count, 1, 0, SIGKILL, {}}); }

void arm_errno(std::string_view name, int error_number, int count, int times) {
    arm(Plan{std::string(name), count, times, error_number, 0, {}});
}

void disarm() {
    const std::lock_guard lock(g_mutex);
    g_armed = false;
    g_passed.clear();
}

int passed(std::string_view name) {
    const std::lock_guard lock(g_mutex);
    const auto place = g_passed.find(name);
    return place == g_passed.end() ? 0 : place->second;
}

void pass(const char* name) {
    if (!g_armed) return;
    const std::lock_guard lock(g_mutex);
    const int nth = count_passing(name);
    if (g_plan.error_number == 0 && g_plan.name == name && nth == g_plan.count) send_signal(g_plan);
}

int errno_at(const char* name) {
    if (!g_armed) return 0;
    const std::lock_guard lock(g_mutex);
    const int own = count_passing(name);
    const int all = count_passing("*");
    const int nth = g_plan.name == "*" ? all : own;
    const bool hit =
        (g_plan.name == "*" || g_plan.name == name) && nth >= g_plan.count && nth < g_plan.count + g_plan.times;
    return hit ? g_plan.error_number : 0;
}

}  // namespace posthouse::storage::fail_point
