#include "storage/fail_point.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>

namespace posthouse::storage::fail_point {
namespace {

struct Plan {
    std::string name;
    int count = 0;
    int times = 0;
    int error_number = 0;  ///< 0: kill
};

std::atomic<bool> g_armed = false;
std::mutex g_mutex;
Plan g_plan;
std::map<std::string, int, std::less<>> g_passed;

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

}  // namespace

void arm_kill(std::string_view name, int count) { arm(Plan{std::string(name), count, 1, 0}); }

void arm_errno(std::string_view name, int error_number, int count, int times) {
    arm(Plan{std::string(name), count, times, error_number});
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
    if (g_plan.error_number == 0 && g_plan.name == name && nth == g_plan.count) ::kill(::getpid(), SIGKILL);
}

int errno_at(const char* name) {
    if (!g_armed) return 0;
    const std::lock_guard lock(g_mutex);
    const int nth = count_passing(name);
    const bool hit = g_plan.name == name && nth >= g_plan.count && nth < g_plan.count + g_plan.times;
    return hit ? g_plan.error_number : 0;
}

}  // namespace posthouse::storage::fail_point
