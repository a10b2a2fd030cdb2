// store_bench: how many durable local deliveries a second the store takes, and how long one waits.
//
// Producers are blocking threads that each wait for their own commit, like sessions of a server; a case is
// (producers, octets). Prints one JSON line a case.
// usage: store_bench [--seconds N] [--directory DIR] [--producers N] [--octets N] [--memory]
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#include "storage/store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr int kAccounts = 100;

struct Options {
    double seconds = 3;
    std::string directory = "/tmp";
    int producers = 0;
    std::size_t octets = 0;
    bool memory = false;
};

[[noreturn]] void die(const std::string& what) {
    fmt::print(stderr, "store_bench: {}\n", what);
    std::exit(1);
}

double megabytes_resident() {
    std::ifstream status("/proc/self/statm");
    std::size_t pages = 0;
    std::size_t resident = 0;
    status >> pages >> resident;
    return static_cast<double>(resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) / 1048576.0;
}

double process_cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// What a session knows about a message of an ordinary kind.
mime::MessageFacts facts_for(std::size_t octets, int producer, int count) {
    mime::MessageFacts facts;
    facts.envelope = std::string(380, 'e');
    facts.structure = std::string(120, 's');
    facts.subject = "A subject as people write them";
    facts.from = "Alice Example";
    facts.to = "Bob Example";
    facts.message_id = fmt::format("<{}.{}.0123456789abcdef@mail.example.org>", producer, count);
    facts.size_octets = octets;
    facts.header_octets = 600;
    return facts;
}

/// A message, or an alias list of them, waiting on one thread: resumes the producers as a network loop would.
class Loop final : public CompletionQueue {
 public:
    void post_batch(std::vector<Completion> batch) override {
        {
            const std::lock_guard lock(mutex_);
            for (Completion& completion : batch) ready_.push_back(std::move(completion));
        }
        wake_.notify_one();
    }
    /// Runs what was posted until `done` says so.
    template <class F>
    void run_until(F done) {
        while (!done()) {
            std::vector<Completion> now;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [this] { return !ready_.empty(); });
                now.swap(ready_);
            }
            for (Completion& completion : now) completion();
        }
    }

 private:
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<Completion> ready_;
};

class Case {
 public:
    Case(Store& store, const std::vector<AccountId>& accounts, int producers, std::size_t octets, double seconds)
        : store_(store), accounts_(accounts), producers_(producers), seconds_(seconds), text_(octets, 'x') {}

    void run() {
        const StoreStatistics before = store_.statistics();
        const double cpu_before = process_cpu_seconds();
        const auto start = SteadyClock::now();
        end_ = start + std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds_));
        for (int p = 0; p < producers_; ++p) send(p, 0);
        loop_.run_until([this] { return running_ == 0; });
        const double took = std::chrono::duration<double>(SteadyClock::now() - start).count();
        const StoreStatistics after = store_.statistics();
        std::ranges::sort(waits_us_);
        const auto at = [this](double share) {
            return waits_us_[static_cast<std::size_t>(share * static_cast<double>(waits_us_.size() - 1))];
        };
        const auto count = static_cast<double>(waits_us_.size());
        fmt::print(
            "{{\"bench\":\"store_deliver\",\"producers\":{},\"octets\":{},\"messages_per_s\":{:.0f},\"p50_ms\":{:.2f},"
            "\"p99_ms\":{:.2f},\"messages\":{},\"per_commit\":{:.1f},\"cpu_us_per_message\":{:.1f},"
            "\"failed\":{}}}\n",
            producers_, text_.size(), count / took, static_cast<double>(at(0.5)) / 1000.0,
            static_cast<double>(at(0.99)) / 1000.0, waits_us_.size(),
            count / static_cast<double>(after.commits - before.commits),
            (process_cpu_seconds() - cpu_before) * 1e6 / count, failed_);
        std::fflush(stdout);
    }

 private:
    void send(int producer, int count) {
        if (count == 0) ++running_;
        auto writer = store_.stage();
        if (!writer->append(text_)) die("stage");
        auto body = writer->finish();
        if (!body) die(body.error().context);
        Delivery delivery;
        delivery.body = *body;
        delivery.facts = facts_for(text_.size(), producer, count);
        delivery.sender = "alice@sender.example";
        delivery.received_detail = "from mx.sender.example [192.0.2.1] over ESMTPS";
        LocalCopy copy;
        copy.account = accounts_[static_cast<std::size_t>(producer * 31 + count) % accounts_.size()];
        copy.recipient = "user@bench.example";
        delivery.local.push_back(std::move(copy));
        const auto began = SteadyClock::now();
        store_.submit(
            {*body},
            [delivery = std::move(delivery)](Tx& tx) -> Result<> {
                TRY_VOID(tx.deliver(delivery));
                return {};
            },
            loop_,
            [this, producer, count, began](Result<> done) {
                const auto now = SteadyClock::now();
                waits_us_.push_back(std::chrono::duration_cast<std::chrono::microseconds>(now - began).count());
                if (!done) ++failed_;
                if (now < end_) {
                    send(producer, count + 1);
                } else {
                    --running_;
                }
            });
    }

    Store& store_;
    const std::vector<AccountId>& accounts_;
    int producers_;
    double seconds_;
    std::string text_;
    Loop loop_;
    SteadyClock::time_point end_;
    int running_ = 0;
    int failed_ = 0;
    std::vector<std::int64_t> waits_us_;
};

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--memory") {
            options.memory = true;
            continue;
        }
        if (i + 1 == argc) die("an option needs a value");
        const char* value = argv[++i];
        if (name == "--seconds")
            options.seconds = std::atof(value);
        else if (name == "--directory")
            options.directory = value;
        else if (name == "--producers")
            options.producers = std::atoi(value);
        else if (name == "--octets")
            options.octets = static_cast<std::size_t>(std::atoll(value));
        else
            die("unknown option");
    }
    return options;
}

std::vector<AccountId> make_accounts(Store& store) {
    std::vector<AccountId> accounts;
    const auto made = store.write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_domain("bench.example"));
        for (int i = 0; i < kAccounts; ++i) {
            TRY(const AccountId id, tx.catalog().add_account(fmt::format("user{}@bench.example", i), "hash", ""));
            accounts.push_back(id);
        }
        return {};
    });
    if (!made) die(made.error().context);
    return accounts;
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    std::string pattern = options.directory + "/posthouse-bench-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) die("cannot make a directory");
    for (const std::size_t octets : {std::size_t{1024}, std::size_t{10240}, std::size_t{102400}}) {
        for (const int producers : {1, 10, 50, 200}) {
            if (options.octets != 0 && options.octets != octets) continue;
            if (options.producers != 0 && options.producers != producers) continue;
            StoreOptions store_options;
            store_options.directory = pattern + "/data";
            {
                auto store = Store::create(store_options);
                if (!store) die(store.error().context);
                const std::vector<AccountId> accounts = make_accounts(**store);
                if (options.memory)
                    fmt::print("{{\"bench\":\"store_open\",\"resident_mb\":{:.1f}}}\n", megabytes_resident());
                Case(**store, accounts, producers, octets, options.seconds).run();
            }
            std::filesystem::remove_all(store_options.directory);
        }
    }
    std::filesystem::remove_all(pattern);
    return 0;
}
