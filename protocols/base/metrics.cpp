#include "protocols/base/metrics.h"

#include <fmt/core.h>

namespace posthouse {

Metrics::Value& Metrics::value(std::string_view name, std::string_view help, std::string_view labels, bool is_counter) {
    const std::lock_guard lock(mutex_);
    Family& family = families_[std::string(name)];
    if (family.help.empty()) {
        family.help = help;
        family.is_counter = is_counter;
    }
    auto& slot = family.values[std::string(labels)];
    if (!slot) slot = std::make_unique<Value>();
    return *slot;
}

Metrics::Value& Metrics::counter(std::string_view name, std::string_view help, std::string_view labels) {
    return value(name, help, labels, true);
}

Metrics::Value& Metrics::gauge(std::string_view name, std::string_view help, std::string_view labels) {
    return value(name, help, labels, false);
}

std::string Metrics::to_prometheus() const {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const auto& [name, family] : families_) {
        out += fmt::format("# HELP posthouse_{} {}\n# TYPE posthouse_{} {}\n", name, family.help, name,
                           family.is_counter ? "counter" : "gauge");
        for (const auto& [labels, metric] : family.values) {
            if (labels.empty()) out += fmt::format("posthouse_{} {}\n", name, metric->get());
            else out += fmt::format("posthouse_{}{{{}}} {}\n", name, labels, metric->get());
        }
    }
    return out;
}

}  // namespace posthouse
