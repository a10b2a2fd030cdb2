#include "tests/crash/crash_support.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace posthouse::crash {

using namespace storage;

namespace {

int g_failures = 0;

}  // namespace

void expect(bool good, const std::string& what) {
    if (good) return;
    ++g_failures;
    fmt::print("FAILED: {}\n", what);
}

int failures() { return g_failures; }

const char* verdict_since(int before) { return g_failures == before ? "ok" : "FAILED"; }

int finish() {
    fmt::print("{} failures\n", g_failures);
    return g_failures == 0 ? 0 : 1;
}

void die(const std::string& what) {
    fmt::print("cannot go on: {}\n", what);
    std::fflush(stdout);
    std::_Exit(2);
}

Scratch::Scratch() {
    path_ = (std::filesystem::temp_directory_path() / "posthouse-crash-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) die("mkdtemp");
}

Scratch::~Scratch() {
    std::error_code ignored;
    if (g_failures == 0) std::filesystem::remove_all(path_, ignored);
}

StoreOptions options_in(const std::string& directory, std::uint64_t segment_octets_max) {
    StoreOptions options;
    options.directory = directory;
    options.free_octets_min = 1024 * 1024;
    options.segment_octets_max = segment_octets_max;
    return options;
}

AccountId make_store(const StoreOptions& options, const std::function<Result<>(Tx&)>& prepare) {
    const auto store = need(Store::create(options));
    return need(store->write_value({}, [&](Tx& tx) -> Result<AccountId> {
        TRY_VOID(tx.catalog().add_domain("a.example"));
        if (prepare) TRY_VOID(prepare(tx));
        return tx.catalog().add_account("alice@a.example", "h", "");
    }));
}

Result<> deliver(Store& store, AccountId account, const std::string& text, const std::string& message_id,
                 Queued queued) {
    auto writer = store.stage();
    TRY_VOID(writer->append(text));
    TRY(const StagedBodyPtr body, writer->finish());
    return store.write({body}, [&](Tx& tx) -> Result<> {
        Delivery delivery;
        delivery.body = body;
        delivery.facts.message_id = message_id;
        delivery.facts.size_octets = text.size();
        LocalCopy copy;
        copy.account = account;
        copy.recipient = "alice@a.example";
        delivery.local.push_back(copy);
        if (queued == Queued::yes) {
            NewRecipient recipient;
            recipient.address = "bob@b.example";
            delivery.outgoing.emplace();
            delivery.outgoing->recipients.push_back(recipient);
        }
        TRY_VOID(tx.deliver(delivery));
        return {};
    });
}

pid_t spawn(const std::function<void()>& work) {
    std::fflush(stdout);
    const pid_t pid = ::fork();
    if (pid < 0) die("fork");
    if (pid == 0) {
        work();
        std::_Exit(4);  // nobody killed it: the point was not reached
    }
    return pid;
}

void expect_killed(pid_t pid, const std::string& what) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, fmt::format("{} was reached", what));
}

std::unique_ptr<Connection> look_into(const std::string& directory) {
    constexpr std::uint64_t kCacheOctets = 8ULL << 20U;
    return need(Connection::open(directory + "/mail.db", Connection::Mode::read, kCacheOctets));
}

std::int64_t ask(Connection& db, Sql sql) { return need(db.value(sql)); }

Result<> run(Job& job) {
    for (;;) {
        TRY(const auto rest, job.step());
        if (rest.count() > 0) return {};
    }
}

void each_message(Store& store, AccountId account,
                  const std::function<void(const Entry&, const Result<std::string>&)>& visit) {
    need(store.read([&](const Snapshot& s) -> Result<> {
        TRY(const Mailbox inbox, s.mail(account).mailbox("INBOX"));
        TRY(const auto entries, s.mail(account).entries(inbox.id, 1, ~Uid{0}));
        for (const Entry& entry : entries) {
            const auto body = s.mail(account).body(inbox.id, entry.uid);
            visit(entry, body ? body->read_all() : Result<std::string>(body.error()));
        }
        return {};
    }));
}

}  // namespace posthouse::crash
