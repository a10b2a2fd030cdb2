// store_bench: how many durable local deliveries a second the store takes, and how long one waits.
//
// Producers each wait for their own commit, like sessions of a server, resumed by one thread as a network loop would.
// A case is (producers, octets); prints one JSON line a case. Lines of the mix also say how many bytes were written for
// each byte of mail (/proc/self/io, the final checkpoint included).
// usage: store_bench [--seconds N] [--directory DIR] [--producers N] [--octets N] [--memory]
//        store_bench --mix [--messages N] [--median OCTETS] [--producers N] [--seconds N] [--keep]
//            mail of real sizes (lognormal, median 10 KB, up to 2 MB); with --messages it goes on to that many and
//            tells the rate of every 50,000: how it changes as the store grows. With a small median and a directory in
//            memory that is told of mail.db alone
//        store_bench --fill DATA --account ADDRESS --messages N
//            puts N small messages into the INBOX of a store that is there
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <random>
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
    std::uint64_t messages = 0;
    double median = 10'200;
    std::string fill;
    std::string account;
    bool memory = false;
    bool mix = false;
    bool keep = false;
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

/// What this process handed to the file system so far.
std::uint64_t bytes_written() {
    std::ifstream facts("/proc/self/io");
    std::string name;
    std::uint64_t value = 0;
    while (facts >> name >> value) {
        if (name == "write_bytes:") return value;
    }
    return 0;
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

/// Producers that each wait for their own commit before they send the next, and what a stretch of that cost.
class Deliveries {
 public:
    Deliveries(Store& store, int producers) : store_(store), producers_(producers) {}

    /// `begin` is called with the number of each producer and sends its first; returns when all have stopped.
    void run(const std::function<void(int)>& begin) {
        before_ = store_.statistics();
        cpu_before_ = process_cpu_seconds();
        waits_us_.clear();
        const auto start = SteadyClock::now();
        for (int p = 0; p < producers_; ++p) {
            ++running_;
            begin(p);
        }
        loop_.run_until([this] { return running_ == 0; });
        took_ = std::chrono::duration<double>(SteadyClock::now() - start).count();
        commits_ = store_.statistics().commits - before_.commits;
        cpu_seconds_ = process_cpu_seconds() - cpu_before_;
        std::ranges::sort(waits_us_);
    }
    /// One copy for `account`. `next` is told when its commit came; it sends the next one, or gives back false.
    void send(std::string_view text, mime::MessageFacts facts, AccountId account,
              std::function<bool(SteadyClock::time_point)> next) {
        auto writer = store_.stage();
        if (!writer->append(text)) die("stage");
        auto body = writer->finish();
        if (!body) die(body.error().context);
        Delivery delivery;
        delivery.body = *body;
        delivery.facts = std::move(facts);
        delivery.sender = "alice@sender.example";
        delivery.received_detail = "from mx.sender.example [192.0.2.1] over ESMTPS";
        LocalCopy copy;
        copy.account = account;
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
            [this, next = std::move(next), began](Result<> done) {
                const auto now = SteadyClock::now();
                waits_us_.push_back(std::chrono::duration_cast<std::chrono::microseconds>(now - began).count());
                if (!done) ++failed_;
                if (!next(now)) --running_;
            });
    }

    int producers() const { return producers_; }
    std::size_t messages() const { return waits_us_.size(); }
    double per_second() const { return static_cast<double>(messages()) / took_; }
    double per_commit() const { return static_cast<double>(messages()) / static_cast<double>(commits_); }
    double cpu_us_per_message() const { return cpu_seconds_ * 1e6 / static_cast<double>(messages()); }
    double took_seconds() const { return took_; }
    int failed() const { return failed_; }
    /// What this share of the messages waited at most.
    double wait_ms(double share) const {
        const auto at = static_cast<std::size_t>(share * static_cast<double>(waits_us_.size() - 1));
        return static_cast<double>(waits_us_[at]) / 1000.0;
    }

 private:
    Store& store_;
    int producers_;
    Loop loop_;
    int running_ = 0;
    int failed_ = 0;
    std::vector<std::int64_t> waits_us_;
    StoreStatistics before_;
    double cpu_before_ = 0;
    double cpu_seconds_ = 0;
    double took_ = 0;
    std::uint64_t commits_ = 0;
};

SteadyClock::time_point in_seconds(double seconds) {
    return SteadyClock::now() +
           std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
}

class Case {
 public:
    Case(Store& store, const std::vector<AccountId>& accounts, int producers, std::size_t octets, double seconds)
        : deliveries_(store, producers), accounts_(accounts), seconds_(seconds), text_(octets, 'x') {}

    void run() {
        end_ = in_seconds(seconds_);
        deliveries_.run([this](int producer) { send(producer, 0); });
        fmt::print(
            "{{\"bench\":\"store_deliver\",\"producers\":{},\"octets\":{},\"messages_per_s\":{:.0f},\"p50_ms\":{:.2f},"
            "\"p99_ms\":{:.2f},\"messages\":{},\"per_commit\":{:.1f},\"cpu_us_per_message\":{:.1f},"
            "\"failed\":{}}}\n",
            deliveries_.producers(), text_.size(), deliveries_.per_second(), deliveries_.wait_ms(0.5),
            deliveries_.wait_ms(0.99), deliveries_.messages(), deliveries_.per_commit(),
            deliveries_.cpu_us_per_message(), deliveries_.failed());
        std::fflush(stdout);
    }

 private:
    void send(int producer, int count) {
        const std::size_t account = static_cast<std::size_t>(producer * 31 + count) % accounts_.size();
        deliveries_.send(text_, facts_for(text_.size(), producer, count), accounts_[account],
                         [this, producer, count](SteadyClock::time_point now) {
                             if (now >= end_) return false;
                             send(producer, count + 1);
                             return true;
                         });
    }

    Deliveries deliveries_;
    const std::vector<AccountId>& accounts_;
    double seconds_;
    std::string text_;
    SteadyClock::time_point end_;
};

/// Mail of real sizes into one store, in stretches.
class Mix {
 public:
    Mix(Store& store, const std::vector<AccountId>& accounts, int producers, double median)
        : deliveries_(store, producers), accounts_(accounts), text_(kOctetsMax, 'x'), sizes_(std::log(median), 1.3) {
        // Not one octet repeated: what lies below could be cleverer than mail allows.
        std::mt19937_64 generator(1);
        for (char& c : text_) c = static_cast<char>('!' + generator() % 90);
    }

    /// Until `messages` more are in, or `seconds` are over (whichever is not 0).
    void run(std::uint64_t messages, double seconds) {
        target_ = messages == 0 ? ~std::uint64_t{0} : total_ + messages;
        end_ = seconds > 0 ? in_seconds(seconds) : SteadyClock::time_point::max();
        const std::uint64_t total_before = total_;
        const std::uint64_t octets_before = octets_;
        deliveries_.run([this](int) { send(); });
        const auto octets = static_cast<double>(octets_ - octets_before);
        fmt::print(
            "{{\"bench\":\"store_mix\",\"producers\":{},\"messages_before\":{},\"messages\":{},\"messages_per_s\":{:."
            "0f},"
            "\"mb_per_s\":{:.0f},\"mean_octets\":{:.0f},\"p50_ms\":{:.2f},\"p99_ms\":{:.2f},\"max_ms\":{:.1f},"
            "\"per_commit\":{:.1f},\"cpu_us_per_message\":{:.1f},\"resident_mb\":{:.0f},\"failed\":{}}}\n",
            deliveries_.producers(), total_before, deliveries_.messages(), deliveries_.per_second(),
            octets / 1e6 / deliveries_.took_seconds(), octets / static_cast<double>(deliveries_.messages()),
            deliveries_.wait_ms(0.5), deliveries_.wait_ms(0.99), deliveries_.wait_ms(1.0), deliveries_.per_commit(),
            deliveries_.cpu_us_per_message(), megabytes_resident(), deliveries_.failed());
        std::fflush(stdout);
    }
    std::uint64_t octets() const { return octets_; }
    std::uint64_t total() const { return total_; }

 private:
    static constexpr std::size_t kOctetsMax = 2 * 1024 * 1024;

    void send() {
        const auto size = static_cast<std::size_t>(std::clamp(sizes_(generator_), 600.0, double{kOctetsMax}));
        const std::size_t from = generator_() % (kOctetsMax - size + 1);
        const std::uint64_t number = ++total_;
        octets_ += size;
        deliveries_.send(std::string_view(text_).substr(from, size), facts_for(size, 0, static_cast<int>(number)),
                         accounts_[generator_() % accounts_.size()], [this](SteadyClock::time_point now) {
                             if (total_ >= target_ || now >= end_) return false;
                             send();
                             return true;
                         });
    }

    Deliveries deliveries_;
    const std::vector<AccountId>& accounts_;
    std::string text_;
    std::mt19937_64 generator_{2};
    // With a median of 10 KB one message in 40,000 would pass 2 MB.
    std::lognormal_distribution<double> sizes_;
    SteadyClock::time_point end_;
    std::uint64_t target_ = 0;
    std::uint64_t total_ = 0;
    std::uint64_t octets_ = 0;
};

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        bool* const flag = name == "--memory" ? &options.memory
                           : name == "--mix"  ? &options.mix
                           : name == "--keep" ? &options.keep
                                              : nullptr;
        if (flag != nullptr) {
            *flag = true;
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
        else if (name == "--messages")
            options.messages = static_cast<std::uint64_t>(std::atoll(value));
        else if (name == "--median")
            options.median = std::atof(value);
        else if (name == "--fill")
            options.fill = value;
        else if (name == "--account")
            options.account = value;
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

void run_mix(const Options& options, const std::string& directory) {
    constexpr std::uint64_t kStretch = 50000;
    StoreOptions store_options;
    store_options.directory = directory + "/data";
    const std::uint64_t written_before = bytes_written();
    std::uint64_t octets = 0;
    {
        auto store = Store::create(store_options);
        if (!store) die(store.error().context);
        const std::vector<AccountId> accounts = make_accounts(**store);
        Mix mix(**store, accounts, options.producers == 0 ? 50 : options.producers, options.median);
        if (options.messages == 0) mix.run(0, options.seconds);
        while (mix.total() < options.messages) mix.run(std::min(kStretch, options.messages - mix.total()), 0);
        octets = mix.octets();
    }
    fmt::print("{{\"bench\":\"store_mix_written\",\"bytes_written_per_byte\":{:.2f},\"mail_mb\":{:.0f}}}\n",
               static_cast<double>(bytes_written() - written_before) / static_cast<double>(octets),
               static_cast<double>(octets) / 1e6);
    if (options.keep) fmt::print("{{\"kept\":\"{}\"}}\n", store_options.directory);
}

// Small messages into one mailbox, many at a time: what the benchmarks of IMAP read.
void fill(const Options& options) {
    constexpr std::uint64_t kPerWrite = 1000;
    StoreOptions store_options;
    store_options.directory = options.fill;
    auto store = Store::open(store_options);
    if (!store) die(store.error().context);
    for (std::uint64_t done = 0; done < options.messages; done += kPerWrite) {
        std::vector<StagedBodyPtr> bodies;
        for (std::uint64_t i = 0; i < std::min(kPerWrite, options.messages - done); ++i) {
            auto writer = (*store)->stage();
            const auto text = fmt::format("From: <a@sender.example>\r\nSubject: message {}\r\n\r\nhello\r\n", done + i);
            if (!writer->append(text)) die("stage");
            auto body = writer->finish();
            if (!body) die(body.error().context);
            bodies.push_back(*std::move(body));
        }
        const auto written = (*store)->write(bodies, [&](Tx& tx) -> Result<> {
            TRY(const Account account, tx.catalog().account(options.account));
            MailTx& mail = tx.mail(account.id);
            TRY(const Mailbox inbox, mail.mailbox("INBOX"));
            for (const StagedBodyPtr& body : bodies) {
                TRY(const MessageId id, tx.add_message(body, facts_for(body->size_octets(), 0, 0)));
                AppendOptions append;
                append.flags = static_cast<FlagBits>(raw(id) % 2);
                TRY_VOID(mail.append(inbox.id, id, append));
            }
            return {};
        });
        if (!written) die(written.error().context);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    if (!options.fill.empty()) {
        fill(options);
        return 0;
    }
    std::string pattern = options.directory + "/posthouse-bench-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) die("cannot make a directory");
    if (options.mix) {
        run_mix(options, pattern);
        if (!options.keep) std::filesystem::remove_all(pattern);
        return 0;
    }
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
