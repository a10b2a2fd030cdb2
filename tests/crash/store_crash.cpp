// store_crash: a process that writes is killed (SIGKILL) at every named step of the commit path and at random moments;
// after each death the store is opened again and must keep its promise.
//
//   what was acknowledged is there exactly once, octet for octet;  PRAGMA integrity_check says ok;
//   counters, references and UIDs agree with the rows;  UIDNEXT and MODSEQ never fall.
//
// usage: store_crash [random rounds, default 10]      Exit status 0 only if all of it held.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "storage/fail_point.h"
#include "tests/crash/crash_support.h"

using namespace posthouse;
using namespace posthouse::storage;
using namespace posthouse::crash;

namespace {

constexpr int kProducers = 6;
constexpr const char* kPoints[] = {"after-new-segment", "after-append",  "after-sync",  "before-commit",
                                   "after-commit",      "before-rename", "after-rename"};

StoreOptions options_for(const std::string& directory) {
    return options_in(directory, 4UL * 1024 * 1024);  // small: new segments are begun often
}

/// A body that says who it is and can be checked whole: the token, then a text made from it.
std::string body_for(const std::string& token, std::size_t octets) {
    std::string body = token + "\n";
    std::minstd_rand random(static_cast<unsigned>(std::hash<std::string>()(token)));
    while (body.size() < octets) body.push_back(static_cast<char>('a' + random() % 26));
    return body;
}

struct Plan {
    std::string directory;
    std::string log;   ///< acknowledged tokens, one a line
    std::string name;  ///< unique prefix of this process's tokens
    std::string point;
    int count = 0;
    AccountId account{};
};

void deliver_one(Store& store, const Plan& plan, int log, const std::string& token, std::size_t octets, bool queued) {
    const std::string text = body_for(token, octets);
    const auto queue = queued ? Queued::yes : Queued::no;
    const Result<> done = deliver(store, plan.account, text, "<" + token + "@crash.example>", queue);
    const std::string line = token + "\n";
    if (done && ::write(log, line.data(), line.size()) < 0) std::_Exit(3);
}

/// Flags, expunges, copies and the queue move beside the deliveries.
void disturb(Store& store, const Plan& plan, std::minstd_rand& random) {
    static_cast<void>(store.write({}, [&](Tx& tx) -> Result<> {
        MailTx& mail = tx.mail(plan.account);
        TRY(const Mailbox inbox, mail.mailbox("INBOX"));
        TRY(const Mailbox trash, mail.mailbox("Trash"));
        if (inbox.uid_next < 2) return {};
        const std::vector<Uid> uids = {1 + static_cast<Uid>(random() % (inbox.uid_next - 1))};
        FlagChange change;
        change.how = random() % 2 == 0 ? FlagChange::How::add : FlagChange::How::remove;
        change.flags = bit(Flag::seen);
        change.keywords = {"k" + std::to_string(random() % 4)};
        TRY_VOID(mail.store(inbox.id, uids, change, std::nullopt));
        TRY_VOID(mail.copy(inbox.id, uids, trash.id));
        const std::vector<Uid> old = {1 + static_cast<Uid>(random() % trash.uid_next)};
        TRY_VOID(mail.expunge(trash.id, old));
        TRY(const auto due, tx.queue().due(tx.now(), 2));
        for (const QueueRecipient& recipient : due) {
            const std::vector<RecipientId> ids = {recipient.id};
            TRY_VOID(tx.queue().start(ids));
            Outcome outcome;
            outcome.state = RecipientState::delivered;
            TRY_VOID(tx.queue().finish(recipient.id, outcome));
        }
        return {};
    }));
}

/// The process that dies.
void child(const Plan& plan) {
    const auto store = need(Store::open(options_for(plan.directory)));
    const int log = ::open(plan.log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0) die("no log");
    const bool large = plan.point.ends_with("rename");
    if (!plan.point.empty()) fail_point::arm_kill(plan.point, plan.count);
    std::vector<std::thread> threads;
    for (int t = 0; t < kProducers; ++t) {
        threads.emplace_back([&, t] {
            std::minstd_rand random(static_cast<unsigned>(t + 1));
            for (int i = 0;; ++i) {
                std::size_t octets = 50 + random() % 100'000;
                if (large && t == 0) octets = kSpoolOctets + 1 + random() % 1000;
                deliver_one(*store, plan, log, fmt::format("{}.{}.{}", plan.name, t, i), octets, i % 4 == 0);
                if (i % 5 == 0) disturb(*store, plan, random);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
}

/// Everything that must hold whatever happened.
void check_rows(const std::string& directory, std::int64_t& uid_next, std::int64_t& modseq) {
    const auto opened = look_into(directory);
    Connection& db = *opened;
    {
        Query q = db.query("PRAGMA integrity_check");
        expect(q.row().value_or(false) && q.text(0) == "ok", "integrity_check");
    }
    expect(ask(db,
               "SELECT count(*) FROM mailboxes b WHERE messages <> (SELECT count(*) FROM entries e WHERE "
               "e.mailbox = b.id) OR unseen <> (SELECT count(*) FROM entries e WHERE e.mailbox = b.id AND "
               "e.flags & 1 = 0) OR octets <> (SELECT coalesce(sum(size_octets), 0) FROM entries e WHERE "
               "e.mailbox = b.id)") == 0,
           "mailbox counters");
    expect(ask(db,
               "SELECT count(*) FROM mailboxes b WHERE uid_next <= (SELECT coalesce(max(uid), 0) FROM entries e "
               "WHERE e.mailbox = b.id)") == 0,
           "uid_next above every UID");
    expect(ask(db,
               "SELECT count(*) FROM accounts a WHERE used_messages <> (SELECT sum(messages) FROM mailboxes b WHERE "
               "b.account = a.id) OR used_octets <> (SELECT sum(octets) FROM mailboxes b WHERE b.account = a.id)") == 0,
           "account counters");
    expect(ask(db,
               "SELECT count(*) FROM accounts a JOIN mailboxes b ON b.account = a.id JOIN entries e ON e.mailbox = "
               "b.id WHERE e.modseq > b.highest_modseq OR b.highest_modseq > a.modseq") == 0,
           "MODSEQ order");
    expect(ask(db,
               "SELECT count(*) FROM messages m LEFT JOIN (SELECT message, count(*) AS n FROM (SELECT message FROM "
               "entries UNION ALL SELECT message FROM deleted_entries UNION ALL SELECT message FROM queue_items) "
               "GROUP BY message) r ON r.message = m.id WHERE m.refs <> coalesce(r.n, 0) OR m.refs = 0") == 0,
           "references");
    expect(ask(db,
               "SELECT count(*) FROM (SELECT message FROM entries UNION ALL SELECT message FROM queue_items) WHERE "
               "message NOT IN (SELECT id FROM messages)") == 0,
           "every entry has its message");
    expect(ask(db,
               "SELECT count(*) FROM messages m LEFT JOIN segments s ON s.id = m.segment WHERE s.id IS NULL OR "
               "m.position + 32 + m.stored_octets > s.octets") == 0,
           "every message lies in committed octets");
    expect(
        ask(db, "SELECT count(*) FROM messages WHERE id >= (SELECT value FROM counters WHERE name = 'message')") == 0,
        "message ids come from reserved blocks");
    const std::int64_t uid_now = ask(db, "SELECT uid_next FROM mailboxes WHERE name = 'INBOX'");
    const std::int64_t modseq_now = ask(db, "SELECT modseq FROM accounts");
    expect(uid_now >= uid_next, "UIDNEXT never falls");
    expect(modseq_now >= modseq, "MODSEQ never falls");
    uid_next = uid_now;
    modseq = modseq_now;
}

std::set<std::string> acknowledged(const std::string& log) {
    std::set<std::string> out;
    std::ifstream in(log);
    for (std::string line; std::getline(in, line);) out.insert(line);
    return out;
}

/// Reads every message of INBOX; gives back how often each token is there.
std::map<std::string, int> read_all(Store& store, AccountId account) {
    std::map<std::string, int> found;
    each_message(store, account, [&](const Entry& entry, const Result<std::string>& text) {
        expect(text.has_value(), text ? "" : text.error().context);
        if (!text) return;
        const std::string token = text->substr(0, text->find('\n'));
        expect(*text == body_for(token, entry.size_octets), "the body of " + token);
        ++found[token];
    });
    return found;
}

class Trial {
 public:
    Trial() {
        plan_.directory = scratch_.path() + "/data";
        plan_.log = scratch_.path() + "/acknowledged";
        plan_.account = make_store(options_for(plan_.directory));
    }

    /// One death (or, with `beside`, one while another process goes on writing for a moment) and what is left of it.
    void round(const std::string& point, int count, int run_ms, bool beside) {
        plan_.name = "r" + std::to_string(++rounds_);
        plan_.point = point;
        plan_.count = count;
        const pid_t first = spawn([this] { child(plan_); });
        pid_t second = 0;
        if (beside) {
            Plan other = plan_;
            other.name += "b";
            other.point.clear();
            second = spawn([&] { child(other); });
        }
        if (point.empty()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(run_ms));
            ::kill(first, SIGKILL);
        }
        expect_killed(first, point);
        if (second != 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
            ::kill(second, SIGKILL);
            expect_killed(second, "the process beside it");
        }
        verify(fmt::format("{} {}", point.empty() ? "random" : point, point.empty() ? run_ms : count));
    }

 private:
    void verify(const std::string& what) {
        const int before = failures();
        const auto store = need(Store::open(options_for(plan_.directory)));
        check_rows(plan_.directory, uid_next_, modseq_);
        const std::set<std::string> promised = acknowledged(plan_.log);
        const std::map<std::string, int> found = read_all(*store, plan_.account);
        std::size_t missing = 0;
        for (const std::string& token : promised) missing += found.contains(token) ? 0U : 1U;
        expect(missing == 0, fmt::format("{} acknowledged messages are missing", missing));
        for (const auto& [token, times] : found) expect(times == 1, token + " is there more than once");
        // A store that came back also takes mail.
        expect(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("alive", "yes"); }).has_value(), "writes");
        fmt::print("{:24} acknowledged {:5}  found {:5}  {}\n", what, promised.size(), found.size(),
                   verdict_since(before));
        std::fflush(stdout);
    }

    Scratch scratch_;
    Plan plan_;
    int rounds_ = 0;
    std::int64_t uid_next_ = 0;
    std::int64_t modseq_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    const int random_rounds = argc > 1 ? std::atoi(argv[1]) : 10;
    for (const char* point : kPoints) {
        Trial trial;
        for (const int count : {1, 3, 10}) trial.round(point, count, 0, count == 10);
    }
    Trial trial;
    std::minstd_rand random(static_cast<unsigned>(::getpid()));
    for (int i = 0; i < random_rounds; ++i) trial.round("", 0, 20 + static_cast<int>(random() % 300), i % 3 == 2);
    return finish();
}
