#include "admin/cli/progress.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <iostream>

#include "protocols/base/log.h"

namespace posthouse::admin {
namespace {

constexpr std::chrono::milliseconds kTerminalPeriod{200};
constexpr std::chrono::minutes kLogPeriod{1};

std::atomic<bool> asked_to_stop = false;

void on_stop(int /*signal*/) { asked_to_stop = true; }

void watch_signals() {
    struct sigaction action{};
    action.sa_handler = on_stop;
    action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second Ctrl-C ends the program at once
    static_cast<void>(::sigaction(SIGINT, &action, nullptr));
    static_cast<void>(::sigaction(SIGTERM, &action, nullptr));
}

std::string format_span(double seconds) {
    const auto whole = static_cast<std::uint64_t>(std::max(0.0, seconds));
    if (whole < 60) return fmt::format("{} s", whole);
    if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
    return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

}  // namespace

Progress::Progress(const Output& output, std::string unit, std::uint64_t total)
    : quiet_(output.json()),
      terminal_(::isatty(STDERR_FILENO) == 1),
      unit_(std::move(unit)),
      total_(total),
      started_(std::chrono::steady_clock::now()),
      shown_(started_) {
    watch_signals();
}

Progress::~Progress() {
    if (dirty_) std::cerr << '\n';
}

bool Progress::interrupted() { return asked_to_stop; }

void Progress::show(std::uint64_t done, std::uint64_t octets, const std::string& what) {
    if (quiet_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - shown_ < (terminal_ ? std::chrono::milliseconds(kTerminalPeriod) : kLogPeriod)) return;
    shown_ = now;
    const double seconds = std::chrono::duration<double>(now - started_).count();
    const std::string text = line(done, total_, octets, seconds, unit_, log::escape(what));
    if (terminal_) {
        std::cerr << "\r\x1b[K" << text << std::flush;
        dirty_ = true;
    } else {
        std::cerr << text << '\n';
    }
}

std::string Progress::line(std::uint64_t done, std::uint64_t total, std::uint64_t octets, double seconds,
                           const std::string& unit, const std::string& what) {
    const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    std::string out = fmt::format("{} {}", done, unit);
    if (total > 0) {
        const std::uint64_t share = std::min<std::uint64_t>(100, done * 100 / total);
        out = fmt::format("{} of {} {} ({} %)", done, total, unit, share);
    }
    out += fmt::format(", {:.0f} a second", rate);
    if (octets > 0) out += fmt::format(", {}", format_octets(octets));
    if (total > done && rate > 0) {
        out += fmt::format(", {} left", format_span(static_cast<double>(total - done) / rate));
    }
    if (!what.empty()) out += ": " + what;
    return out;
}

}  // namespace posthouse::admin
