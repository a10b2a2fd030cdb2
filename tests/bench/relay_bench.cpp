// relay_bench: how fast the relay drains a queue, in a process of its own: store, relay, real sockets.
//
// The store was made by `posthouse init` (its routes and DKIM keys count). Messages are queued first, then the relay is
// started; prints one JSON line: messages a second until the last outcome was on disk, CPU per message, memory.
// usage: relay_bench --data DIR --messages N [--octets N] [--domains N --mx-port PORT] [--connections N] [--lane N]
//          --domains  recipients at so many domains with an MX of their own, all on loopback at --mx-port; else by the
//                     route table
//        relay_bench --data DIR --fill N
//          queues N messages for hosts that do not answer and ends
//        relay_bench --data DIR --standing
//          starts on what is queued: tells how long until the first look was over, and the memory when all is in hand;
//          then a new letter for the route's host is queued, and how long it takes to leave
//        relay_bench --data DIR --job N [--letters N]
//          a message to N recipients at the route's host is under way; how long do letters of somebody else take that
//          are queued one after the other meanwhile, until their outcome is on disk
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "protocols/mime/facts.h"
#include "relay/service.h"
#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"

using namespace posthouse;

namespace {

using SteadyClock = std::chrono::steady_clock;

struct Options {
    std::string data;
    std::size_t messages = 20'000;
    std::size_t octets = 10'240;
    std::size_t domains = 0;
    std::size_t fill = 0;
    std::size_t job = 0;
    std::size_t letters = 200;
    std::uint16_t mx_port = 25;
    std::size_t connections = 0;
    std::size_t lane = 0;
    bool standing = false;
};

[[noreturn]] void die(const std::string& what) {
    fmt::print(stderr, "relay_bench: {}\n", what);
    std::exit(1);
}

double seconds_since(SteadyClock::time_point from) {
    return std::chrono::duration<double>(SteadyClock::now() - from).count();
}

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto part = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return part(usage.ru_utime) + part(usage.ru_stime);
}

double megabytes_resident() {
    std::ifstream status("/proc/self/statm");
    std::size_t pages = 0;
    std::size_t resident = 0;
    status >> pages >> resident;
    return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
}

std::string message(std::size_t octets) {
    std::string out =
        "From: Alice <alice@home.example>\r\nTo: Bob <bob@b.example>\r\nSubject: bench\r\n"
        "Date: Mon, 23 Nov 2026 20:11:05 +0000\r\nMessage-ID: <bench@home.example>\r\n\r\n";
    while (out.size() + 72 < octets) out += std::string(70, 'x') + "\r\n";
    return out;
}

void queue(storage::Store& store, const std::string& text, std::size_t count, std::size_t domains) {
    constexpr std::size_t kBatch = 500;
    const auto facts = mime::compute_facts(text);
    for (std::size_t from = 0; from < count; from += kBatch) {
        std::vector<storage::StagedBodyPtr> bodies;
        for (std::size_t i = from; i < std::min(count, from + kBatch); ++i) {
            const auto writer = store.stage();
            if (!writer->append(text)) die("no room");
            bodies.push_back(writer->finish().value());
        }
        const auto written = store.write(bodies, [&](storage::Tx& tx) -> Result<> {
            for (std::size_t i = 0; i < bodies.size(); ++i) {
                storage::Delivery delivery;
                delivery.body = bodies[i];
                delivery.facts = facts;
                delivery.sender = "alice@home.example";
                delivery.first_attempt = tx.now();
                storage::NewQueueItem item;
                item.reverse_path = delivery.sender;
                item.expires = tx.now() + std::chrono::hours(24 * 5);
                storage::NewRecipient recipient;
                const std::size_t number = from + i;
                recipient.address = domains == 0 ? fmt::format("r{}@far.example", number)
                                                 : fmt::format("r{}@d{}.example", number, number % domains);
                item.recipients.push_back(recipient);
                delivery.outgoing = item;
                TRY_VOID(tx.deliver(delivery));
            }
            return {};
        });
        if (!written) die(written.error().context);
    }
}

// One message to many.
storage::QueueId queue_one(storage::Store& store, const std::string& text, std::size_t recipients,
                           const std::string& sender) {
    const auto writer = store.stage();
    if (!writer->append(text)) die("no room");
    const auto body = writer->finish().value();
    const auto accepted = store.write_value({body}, [&](storage::Tx& tx) {
        storage::Delivery delivery;
        delivery.body = body;
        delivery.facts = mime::compute_facts(text);
        delivery.sender = sender;
        delivery.first_attempt = tx.now();
        storage::NewQueueItem item;
        item.reverse_path = sender;
        item.expires = tx.now() + std::chrono::hours(24 * 5);
        for (std::size_t i = 0; i < recipients; ++i) {
            storage::NewRecipient recipient;
            recipient.address = fmt::format("r{}@far.example", i);
            item.recipients.push_back(recipient);
        }
        delivery.outgoing = item;
        return tx.deliver(delivery);
    });
    if (!accepted) die(accepted.error().context);
    return accepted->queue.value();
}

struct Bench {
    explicit Bench(const Options& o) : options(o) {
        storage::StoreOptions store_options;
        store_options.directory = options.data;
        store_options.watch_other_processes = true;  // as the server does
        auto opened = storage::Store::open(store_options);
        if (!opened) die(opened.error().context);
        store = *std::move(opened);
        for (std::size_t i = 0; i < options.domains; ++i) {
            resolver.add_mx(fmt::format("d{}.example", i), 10, fmt::format("mx.d{}.example", i));
            resolver.add_a(fmt::format("mx.d{}.example", i), "127.0.0.1");
        }
        verified = net::TlsClientContext::make(net::Verify::required, "").value();
        set_deps();
    }
    void set_deps() {
        deps.store = store.get();
        deps.loop = &loop;
        deps.pool = &pool;
        dialer = net::make_tcp_dialer(loop);
        deps.dialer = dialer.get();
        deps.resolver = &resolver;
        deps.random = &system_random();
        deps.clock = &system_clock();
        deps.metrics = &metrics;
        deps.hostname = "mail.home.example";
        deps.verified_tls = verified.get();
        deps.options.allow_loopback = true;
        deps.options.mx_port = options.mx_port;
        if (options.connections > 0) deps.options.connections_max = options.connections;
        if (options.lane > 0) deps.options.connections_per_lane_max = options.lane;
    }

    Options options;
    std::unique_ptr<storage::Store> store;
    net::Loop loop;
    net::ThreadPool pool{"bench", 2};
    test::FakeResolver resolver;
    std::unique_ptr<net::Dialer> dialer;
    std::unique_ptr<net::TlsClientContext> verified;
    Metrics metrics;
    relay::RelayDeps deps;
};

std::uint64_t waiting(storage::Store& store) {
    return store.read([](const storage::Snapshot& s) { return s.queue().waiting_count(); }).value();
}

void drain(Bench& bench) {
    queue(*bench.store, message(bench.options.octets), bench.options.messages, bench.options.domains);
    const double cpu = cpu_seconds();
    const std::uint64_t commits = bench.store->statistics().commits;
    const auto began = SteadyClock::now();
    relay::Relay relay(bench.deps);
    relay.start();
    relay.wake();
    test::run_task(bench.loop, relay.drained());
    const double took = seconds_since(began);
    const auto commits_made = static_cast<double>(bench.store->statistics().commits - commits);
    const auto count = static_cast<double>(bench.options.messages);
    const double spent = cpu_seconds() - cpu;
    const std::uint64_t left = waiting(*bench.store);
    relay.stop();
    test::run_task(bench.loop, relay.join());
    fmt::print(
        "{{\"bench\":\"relay_drain\",\"messages\":{},\"octets\":{},\"domains\":{},\"messages_per_s\":{:.0f},"
        "\"cpu_ms_per_message\":{:.3f},\"messages_per_commit\":{:.1f},\"resident_mb\":{:.0f},\"left\":{}}}\n",
        bench.options.messages, bench.options.octets, bench.options.domains, count / took, spent * 1000 / count,
        count / commits_made, megabytes_resident(), left);
}

void stand(Bench& bench) {
    const std::uint64_t before = waiting(*bench.store);
    const auto began = SteadyClock::now();
    relay::Relay relay(bench.deps);
    relay.start();
    // A letter that comes right behind the start does not wait for the rest to be read.
    std::vector<double> letters;
    const std::string text = message(2'000);
    for (int i = 0; i < 20; ++i) {
        queue(*bench.store, text, 1, 0);
        const auto from = SteadyClock::now();
        const auto& delivered = bench.metrics.counter("relay_delivered_total", "Recipients handed over");
        const std::int64_t want = i + 1;
        while (delivered.get() < want && seconds_since(from) < 30) bench.loop.poll();
        letters.push_back(seconds_since(from) * 1000);
    }
    relay.wake();
    test::run_task(bench.loop, relay.drained());
    const double all = seconds_since(began);
    std::ranges::sort(letters);
    fmt::print(
        "{{\"bench\":\"relay_standing\",\"queued\":{},\"letter_ms_median\":{:.1f},\"letter_ms_max\":{:.1f},"
        "\"all_in_hand_s\":{:.1f},\"resident_mb\":{:.0f}}}\n",
        before, letters[letters.size() / 2], letters.back(), all, megabytes_resident());
    relay.stop();
    test::run_task(bench.loop, relay.join());
}

void run_job(Bench& bench) {
    const std::string text = message(2'000);
    const auto left = [&](storage::QueueId id) {
        return bench.store->read([&](const storage::Snapshot& s) { return s.queue().item(id); }).has_value();
    };
    const storage::QueueId job = queue_one(*bench.store, text, bench.options.job, "news@home.example");
    const auto began = SteadyClock::now();
    relay::Relay relay(bench.deps);
    relay.start();
    relay.wake();
    const auto& delivered = bench.metrics.counter("relay_delivered_total", "Recipients handed over");
    while (delivered.get() == 0 && seconds_since(began) < 30) bench.loop.poll();
    std::vector<double> letters;
    while (letters.size() < bench.options.letters && left(job)) {
        const auto from = SteadyClock::now();
        const storage::QueueId letter = queue_one(*bench.store, text, 1, "alice@home.example");
        // Looked at between the relay's steps, at most a thousand times a second.
        for (auto look = from; left(letter) && seconds_since(from) < 30; look = SteadyClock::now()) {
            while (SteadyClock::now() - look < std::chrono::milliseconds(1)) bench.loop.poll();
        }
        letters.push_back(seconds_since(from) * 1000);
    }
    const std::size_t done = static_cast<std::size_t>(delivered.get());
    const bool beside = left(job);
    relay.wake();
    test::run_task(bench.loop, relay.drained());
    const double all = seconds_since(began);
    std::ranges::sort(letters);
    if (letters.empty()) die("the job was over before the first letter");
    fmt::print(
        "{{\"bench\":\"relay_job\",\"recipients\":{},\"letters\":{},\"delivered_meanwhile\":{},\"job_still_running\":{}"
        ","
        "\"letter_ms_median\":{:.1f},\"letter_ms_p99\":{:.1f},\"letter_ms_max\":{:.1f},\"all_s\":{:.1f}}}\n",
        bench.options.job, letters.size(), done, beside, letters[letters.size() / 2],
        letters[letters.size() * 99 / 100], letters.back(), all);
    relay.stop();
    test::run_task(bench.loop, relay.join());
}

Options parse(int argc, char** argv) {
    Options out;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const auto value = [&]() -> const char* { return ++i < argc ? argv[i] : (die("a value is missing"), ""); };
        const auto number = [&] { return static_cast<std::size_t>(std::strtoull(value(), nullptr, 10)); };
        if (word == "--data")
            out.data = value();
        else if (word == "--messages")
            out.messages = number();
        else if (word == "--octets")
            out.octets = number();
        else if (word == "--domains")
            out.domains = number();
        else if (word == "--mx-port")
            out.mx_port = static_cast<std::uint16_t>(number());
        else if (word == "--connections")
            out.connections = number();
        else if (word == "--lane")
            out.lane = number();
        else if (word == "--fill")
            out.fill = number();
        else if (word == "--job")
            out.job = number();
        else if (word == "--letters")
            out.letters = number();
        else if (word == "--standing")
            out.standing = true;
        else
            die("usage: see the head of the source");
    }
    if (out.data.empty()) die("--data names a store made by posthouse init");
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    Bench bench(options);
    if (options.fill > 0) {
        queue(*bench.store, message(1'000), options.fill, std::max<std::size_t>(options.domains, 100));
    } else if (options.standing) {
        stand(bench);
    } else if (options.job > 0) {
        run_job(bench);
    } else {
        drain(bench);
    }
}
