// report_bench: what keeping the events costs, and how long a report takes over many of them.
//
//   cost     the same messages twice: taken, sent and delivered as the relay does it, and their events alone; tells
//            what the events take of the whole, of a core at 1,000 messages a second, and how many bytes of mail.db a
//            message
//   takers   deliveries to recipients who are new, and to such who are known, where a million are known: what noting
//            who took mail takes, beside all else
//   reports  fills a log (30 days, 50 accounts, 3,000 destinations by Zipf's law) and asks every report of it
// Prints one JSON line a case.
// usage: report_bench [--events N] [--messages N] [--directory DIR] [--rebuild]
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "storage/context.h"
#include "storage/events_impl.h"
#include "storage/report.h"
#include "storage/store.h"
#include "storage/takers.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kFirstDay = 20'000;
constexpr int kDays = 30;
constexpr int kAccounts = 50;
constexpr int kDestinations = 3'000;
constexpr int kMessagesACommit = 50;
constexpr std::string_view kDialogue =
    "connected to mx.example.com [192.0.2.1]:25\nS: 220 mx.example.com ESMTP\nC: EHLO mail.a.example\nS: "
    "250-mx.example.com\n"
    "S: 250-PIPELINING\nS: 250-SIZE 52428800\nS: 250-8BITMIME\nS: 250 STARTTLS\nTLS 1.3, verified\nC: MAIL "
    "FROM:<a@a.example>\n"
    "C: RCPT TO:<user@example.com>\nC: DATA\nS: 250 2.1.0 Ok\nS: 250 2.1.5 Ok\nS: 354 End data\nS: 250 2.0.0 Ok: "
    "queued as 4F2\n";

struct Options {
    std::int64_t events = 10'000'000;
    int messages = 20'000;
    std::string directory = "/tmp";
    bool rebuild = false;
};

[[noreturn]] void die(const std::string& what) {
    fmt::print(stderr, "report_bench: {}\n", what);
    std::exit(1);
}

template <class T>
T need(Result<T> result) {
    if (!result) die(result.error().context);
    if constexpr (!std::is_void_v<T>) return *std::move(result);
}

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
    rusage use{};
    ::getrusage(RUSAGE_SELF, &use);
    const auto of = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return of(use.ru_utime) + of(use.ru_stime);
}

std::unique_ptr<Store> make_store(const std::string& directory) {
    std::filesystem::remove_all(directory);
    StoreOptions options;
    options.directory = directory;
    return need(Store::create(options));
}

std::uintmax_t database_octets(const std::string& directory) {
    std::uintmax_t sum = 0;
    for (const char* const name : {"/mail.db", "/mail.db-wal"}) {
        std::error_code none;
        const auto octets = std::filesystem::file_size(directory + name, none);
        if (!none) sum += octets;
    }
    return sum;
}

mime::MessageFacts facts_of_mail(int i) {
    mime::MessageFacts facts;
    facts.envelope = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
    facts.structure = std::string("\x01\x00\x02", 3);
    facts.subject = "a subject of usual length";
    facts.message_id = fmt::format("<{}.4f2a9c@mail.a.example>", i);
    facts.header_octets = 400;
    return facts;
}

std::string address_of(int i) { return fmt::format("user{}@d{}.example.com", i % 1000, i % kDestinations); }

Result<> begin_one(Tx& tx, const StagedBodyPtr& body, int i, std::vector<RecipientId>& ids) {
    Delivery delivery;
    delivery.body = body;
    delivery.facts = facts_of_mail(i);
    delivery.sender = "someone@a.example";
    delivery.received_detail = "from alice@a.example [192.0.2.9] over ESMTPSA";
    delivery.outgoing.emplace();
    delivery.outgoing->reverse_path = delivery.sender;
    delivery.outgoing->account = static_cast<AccountId>(1 + i % kAccounts);
    delivery.outgoing->recipients.emplace_back().address = address_of(i);
    TRY(const Accepted accepted, tx.deliver(delivery));
    TRY(const auto all, tx.queue().recipients(*accepted.queue));
    ids.push_back(all.front().id);
    return {};
}

/// Taken, tried and delivered: three commits for so many messages, as the server makes them under load.
double send_all(Store& store, int messages) {
    const double start = seconds_now();
    for (int from = 0; from < messages; from += kMessagesACommit) {
        std::vector<StagedBodyPtr> bodies;
        for (int i = 0; i < kMessagesACommit; ++i) {
            const auto writer = store.stage();
            need(writer->append(std::string(3'000, 'x')));
            bodies.push_back(need(writer->finish()));
        }
        std::vector<RecipientId> ids;
        need(store.write(bodies, [&](Tx& tx) -> Result<> {
            for (int i = 0; i < kMessagesACommit; ++i)
                TRY_VOID(begin_one(tx, bodies[static_cast<std::size_t>(i)], from + i, ids));
            return {};
        }));
        need(store.write({}, [&](Tx& tx) -> Result<> {
            TRY_VOID(tx.queue().start(ids));
            return {};
        }));
        Outcome outcome;
        outcome.state = RecipientState::delivered;
        outcome.reply = "250 2.0.0 Ok: queued as 4F2";
        outcome.remote = "mx.example.com [192.0.2.1]";
        outcome.reply_class = "delivered";
        outcome.dialogue = kDialogue;
        outcome.way = "direct";
        outcome.source = "198.51.100.7";
        outcome.provider = "other";
        need(store.write({}, [&](Tx& tx) -> Result<> {
            for (const RecipientId id : ids) TRY_VOID(tx.queue().finish(id, outcome));
            return {};
        }));
    }
    return seconds_now() - start;
}

/// The three events of one message.
Result<> log_one(Context& context, std::int64_t message, int i, Time at, bool with_dialogue, std::int64_t took_ms) {
    const std::string to = address_of(i);
    const std::string id = fmt::format("{}.4f2a9c@mail.a.example", message);
    EventFacts facts;
    facts.who = fmt::format("a{}", 1 + i % kAccounts);
    facts.domain = "a.example";
    NewEvent event;
    event.kind = EventKind::received;
    event.message = static_cast<MessageId>(message);
    event.message_id = id;
    event.sender = "someone@a.example";
    event.detail = "from alice@a.example [192.0.2.9] over ESMTPSA";
    event.at = at;
    const std::string_view keys[] = {id, "someone@a.example", to};
    TRY_VOID(write_event(context, event, keys));
    event.message_id.reset();
    event.sender.reset();
    event.queue = static_cast<QueueId>(message);
    event.kind = EventKind::queued;
    event.recipient = to;
    event.detail = "waits to be sent";
    event.facts = &facts;
    TRY_VOID(write_event(context, event, {}));
    facts.way = i % 5 == 0 ? "relay" : "direct";
    facts.source = i % 5 == 0 ? "" : fmt::format("198.51.100.{}", i % 4);
    facts.provider = i % 3 == 0 ? "google" : "other";
    event.kind = i % 40 == 0 ? EventKind::bounced : EventKind::delivered;
    if (event.kind == EventKind::bounced) facts.reply_class = i % 80 == 0 ? "mailbox-full" : "recipient-unknown";
    event.detail = "mx.example.com [192.0.2.1]: 250 2.0.0 Ok: queued as 4F2";
    event.dialogue = with_dialogue ? kDialogue : std::string_view();
    event.at = at + Milliseconds(took_ms);
    event.accepted = at;
    return write_event(context, event, {});
}

void cost(const Options& options) {
    const std::string whole = options.directory + "/whole";
    const std::string alone = options.directory + "/alone";
    auto store = make_store(whole);
    const double cpu_before = cpu_seconds();
    const double taken = send_all(*store, options.messages);
    const double cpu_whole = cpu_seconds() - cpu_before;
    store.reset();
    store = make_store(alone);
    const auto before = database_octets(alone);
    const double cpu_start = cpu_seconds();
    const double start = seconds_now();
    for (int from = 0; from < options.messages; from += kMessagesACommit) {
        // Where they are written in the house: one commit at the beginning, one at the end; here together, in one.
        need(store->write({}, [&](Tx& tx) -> Result<> {
            for (int i = from; i < from + kMessagesACommit; ++i)
                TRY_VOID(log_one(context_of(tx), i + 1, i, tx.now(), true, 800));
            return {};
        }));
    }
    const double logged = seconds_now() - start;
    const double cpu_log = cpu_seconds() - cpu_start;
    store.reset();
    const double n = options.messages;
    fmt::print(
        "{{\"case\": \"cost\", \"messages\": {}, \"us_a_message\": {:.1f}, \"cpu_us_a_message\": {:.1f}, "
        "\"events_us_a_message\": {:.1f}, \"events_cpu_us_a_message\": {:.1f}, \"share\": {:.3f}, "
        "\"core_at_1000_a_second\": {:.3f}, \"bytes_a_message\": {:.0f}}}\n",
        options.messages, taken / n * 1e6, cpu_whole / n * 1e6, logged / n * 1e6, cpu_log / n * 1e6,
        cpu_log / cpu_whole, cpu_log / n * 1000, static_cast<double>(database_octets(alone) - before) / n);
    std::filesystem::remove_all(whole);
    std::filesystem::remove_all(alone);
}

std::uint64_t written_octets() {
    std::ifstream io("/proc/self/io");
    std::string name;
    std::uint64_t value = 0;
    while (io >> name >> value) {
        if (name == "write_bytes:") return value;
    }
    return 0;
}

void takers(const Options& options) {
    const std::string directory = options.directory + "/takers";
    auto store = make_store(directory);
    need(store->write({}, [](Tx& tx) -> Result<> {
        return context_of(tx).db.exec(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) INSERT OR IGNORE INTO "
            "takers (hash, first_day, last_day) SELECT random(), 20000, 20000 FROM n");
    }));
    for (const bool is_known : {false, true}) {
        const double cpu = cpu_seconds();
        const std::uint64_t octets = written_octets();
        for (int from = 0; from < options.messages; from += kMessagesACommit) {
            need(store->write({}, [&](Tx& tx) -> Result<> {
                for (int i = from; i < from + kMessagesACommit; ++i) {
                    const std::string to = fmt::format("new{}@d{}.example.com", i, i % kDestinations);
                    TRY_VOID(TakerTx(tx).took("other", to));
                }
                return {};
            }));
        }
        const double n = options.messages;
        fmt::print(
            "{{\"case\": \"takers\", \"known\": {}, \"cpu_us_a_recipient\": {:.1f}, \"written_a_recipient\": "
            "{:.0f}}}\n",
            is_known, (cpu_seconds() - cpu) / n * 1e6, static_cast<double>(written_octets() - octets) / n);
    }
    store.reset();
    std::filesystem::remove_all(directory);
}

void reports(const Options& options) {
    const std::string directory = options.directory + "/log";
    auto store = make_store(directory);
    const std::int64_t messages = options.events / 3;
    std::minstd_rand random(1);
    std::uniform_real_distribution<double> share(0, 1);
    constexpr int kStep = 2'000;
    const double filling = seconds_now();
    for (std::int64_t from = 0; from < messages; from += kStep) {
        need(store->write({}, [&](Tx& tx) -> Result<> {
            for (std::int64_t m = from; m < std::min(from + kStep, messages); ++m) {
                const Time at = from_unix_ms(kFirstDay * kDayMs + m * (kDays * kDayMs / messages));
                const int i = static_cast<int>(std::pow(kDestinations * kAccounts, share(random)));
                const auto took = static_cast<std::int64_t>(500 * std::exp(share(random) * 6));
                TRY_VOID(log_one(context_of(tx), m + 1, i, at, false, took));
            }
            return {};
        }));
    }
    fmt::print("{{\"case\": \"fill\", \"events\": {}, \"seconds\": {:.1f}, \"database_mb\": {}}}\n", messages * 3,
               seconds_now() - filling, database_octets(directory) >> 20U);
    constexpr std::pair<ReportBy, std::string_view> kAll[] = {
        {ReportBy::day, "day"},           {ReportBy::domain, "domain"}, {ReportBy::destination, "destination"},
        {ReportBy::provider, "provider"}, {ReportBy::way, "way"},       {ReportBy::address, "address"},
        {ReportBy::account, "account"}};
    for (const auto& [by, name] : kAll) {
        ReportFilter filter;
        filter.from_day = kFirstDay;
        filter.to_day = kFirstDay + kDays;
        const double start = seconds_now();
        const auto lines = need(store->read([&](const Snapshot& s) { return ReportView(s).lines(by, filter); }));
        const double taken = seconds_now() - start;
        std::uint64_t sent = 0;
        for (const ReportLine& line : lines) sent += line.of(Figure::sent);
        fmt::print("{{\"case\": \"report\", \"by\": \"{}\", \"lines\": {}, \"sent\": {}, \"ms\": {:.1f}}}\n", name,
                   lines.size(), sent, taken * 1000);
    }
    if (options.rebuild) {
        const double start = seconds_now();
        const ReportRebuild done = need(report_rebuild(*store));
        fmt::print("{{\"case\": \"rebuild\", \"events\": {}, \"differed\": {}, \"seconds\": {:.1f}}}\n", done.events,
                   done.differed, seconds_now() - start);
    }
    store.reset();
    std::filesystem::remove_all(directory);
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        const char* const value = i + 1 < argc ? argv[i + 1] : "";
        if (name == "--rebuild") {
            options.rebuild = true;
            continue;
        }
        ++i;
        if (name == "--events") {
            options.events = std::atoll(value);
        } else if (name == "--messages") {
            options.messages = std::atoi(value);
        } else if (name == "--directory") {
            options.directory = value;
        } else {
            die(fmt::format("unknown option {}", name));
        }
    }
    options.directory += fmt::format("/report_bench.{}", ::getpid());
    std::filesystem::create_directories(options.directory);
    std::filesystem::permissions(options.directory, std::filesystem::perms::owner_all);
    if (options.messages > 0) cost(options);
    if (options.messages > 0) takers(options);
    if (options.events > 0) reports(options);
    std::filesystem::remove_all(options.directory);
    return 0;
}
