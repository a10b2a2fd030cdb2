#pragma once
/// protocols/base/metrics: counters and gauges, printed as Prometheus text by the admin listener.
/// A Metrics object is passed to the parts that count; a test has its own. Threads: any; handing out a counter takes a
/// lock, counting does not, so keep the reference.
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace posthouse {

class Metrics {
 public:
    class Value {
     public:
        void add(std::int64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
        void set(std::int64_t to) { value_.store(to, std::memory_order_relaxed); }
        std::int64_t get() const { return value_.load(std::memory_order_relaxed); }

     private:
        std::atomic<std::int64_t> value_{0};
    };

    /// `name` without the prefix "posthouse_", ending in "_total"; `labels` as in `service="smtp"`, or empty.
    Value& counter(std::string_view name, std::string_view help, std::string_view labels = {});
    Value& gauge(std::string_view name, std::string_view help, std::string_view labels = {});
    /// Text exposition format 0.0.4.
    std::string to_prometheus() const;

 private:
    struct Family {
        std::string help;
        bool is_counter = false;
        std::map<std::string, std::unique_ptr<Value>, std::less<>> values;
    };
    Value& value(std::string_view name, std::string_view help, std::string_view labels, bool is_counter);

    mutable std::mutex mutex_;
    std::map<std::string, Family, std::less<>> families_;
};

}  // namespace posthouse
