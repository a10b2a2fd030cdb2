// Job "purge": what can no longer be restored goes, and with the last reference the message; retention rules; the
// memory of QRESYNC. Everything is looked for in a snapshot first: a purge that has nothing to do writes nothing.
#include <algorithm>

#include "storage/context.h"
#include "storage/settings.h"
#include "storage/upkeep/event_log.h"
#include "storage/upkeep/pace.h"
#include "storage/upkeep/retention.h"
#include "storage/upkeep/upkeep.h"

namespace posthouse::storage {
namespace {

using namespace std::chrono_literals;
using std::chrono::hours;

constexpr std::size_t kStep = 200;  // removed messages a transaction
constexpr std::uint64_t kTrimStep = 1000;
constexpr auto kRest = 60s;
constexpr auto kRetentionEvery = 1h;
constexpr auto kTrimEvery = 24h;
constexpr auto kLogEvery = 1h;

struct Policy {
    std::int64_t undelete_days = 0;
    double messages_per_second = 1;
    std::vector<RetentionRule> rules;
    LogLimits log;
};

Result<Policy> read_policy(Store& store) {
    return store.read([](const Snapshot& snapshot) -> Result<Policy> {
        Policy out;
        TRY(out.undelete_days, setting_number(snapshot.catalog(), "undelete.days"));
        TRY(const std::int64_t rate, setting_number(snapshot.catalog(), "purge.messages_per_second"));
        out.messages_per_second = static_cast<double>(rate);
        TRY(out.log.event_days, setting_number(snapshot.catalog(), "events.days"));
        TRY(out.log.report_days, setting_number(snapshot.catalog(), "report.days"));
        TRY(out.rules, snapshot.catalog().retention_rules());
        return out;
    });
}

Result<bool> any_before(Store& store, Time before) {
    return store.read([&](const Snapshot& snapshot) -> Result<bool> {
        Query q = context_of(snapshot).db.query(
            "SELECT EXISTS (SELECT 1 FROM deleted_entries INDEXED BY deleted_entries_by_time WHERE deleted_ms < ?1) "
            "OR EXISTS (SELECT 1 FROM deleted_mailboxes WHERE deleted_ms < ?1)");
        TRY_VOID(q.bind(before).row());
        return q.flag(0);
    });
}

struct Gone {
    std::int64_t account = 0;
    std::int64_t deleted_ms = 0;
    std::int64_t mailbox = 0;
    std::int64_t uid = 0;
    MessageId message{};
};

/// The next step of removed messages, in one transaction; gives back how many went.
Result<std::size_t> drop_some(Tx& tx, Time before) {
    Context& context = context_of(tx);
    std::vector<Gone> gone;
    {
        Query q = context.db.query(
            "SELECT account, deleted_ms, mailbox, uid, message FROM deleted_entries INDEXED BY deleted_entries_by_time "
            "WHERE deleted_ms < ?1 ORDER BY deleted_ms LIMIT ?2");
        q.bind(before, kStep);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            gone.push_back(Gone{q.i64(0), q.i64(1), q.i64(2), q.i64(3), q.id<MessageId>(4)});
        }
    }
    Query drop = context.db.query(
        "DELETE FROM deleted_entries WHERE account = ?1 AND deleted_ms = ?2 AND mailbox = ?3 AND uid = ?4");
    for (const Gone& one : gone) {
        drop.reset();
        TRY_VOID(drop.bind(one.account, one.deleted_ms, one.mailbox, one.uid).run());
        change_refs(context, one.message, -1);
    }
    // A mailbox goes after its content: until then it is named by what lay in it.
    if (gone.size() < kStep) {
        TRY_VOID(context.db.query("DELETE FROM deleted_mailboxes WHERE deleted_ms < ?1").bind(before).run());
    }
    return gone.size();
}

/// Mailboxes that remember clearly more removals than are kept.
Result<std::vector<MailboxId>> forgetful(Store& store, std::uint64_t kept) {
    return store.read([&](const Snapshot& snapshot) -> Result<std::vector<MailboxId>> {
        Query q = context_of(snapshot).db.query("SELECT mailbox FROM expunged GROUP BY mailbox HAVING count(*) > ?1");
        q.bind(kept + kept / 10);
        std::vector<MailboxId> out;
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return out;
            out.push_back(q.id<MailboxId>(0));
        }
    });
}

/// The MODSEQ at `offset` of a mailbox's removals, counted from one end; 0 where there are fewer.
Result<ModSeq> modseq_at(const Snapshot& snapshot, MailboxId mailbox, std::uint64_t offset, bool from_latest) {
    Connection& db = context_of(snapshot).db;
    Query q =
        from_latest
            ? db.query("SELECT modseq FROM expunged WHERE mailbox = ?1 ORDER BY modseq DESC, uid LIMIT 1 OFFSET ?2")
            : db.query("SELECT modseq FROM expunged WHERE mailbox = ?1 ORDER BY modseq, uid LIMIT 1 OFFSET ?2");
    TRY(const bool found, q.bind(mailbox, offset).row());
    return found ? q.u64(0) : ModSeq{0};
}

class PurgeJob final : public Job {
 public:
    PurgeJob(Store& store, Metrics& metrics, const Clock& clock, std::function<void()> freed)
        : store_(store),
          clock_(clock),
          freed_(std::move(freed)),
          purged_(metrics.counter("purged_messages_total", "Removed messages that can no longer be restored")),
          expired_(metrics.counter("retention_expunged_total", "Messages expunged by a retention rule")),
          forgotten_(metrics.counter("events_forgotten_total", "Rows of the event log older than events.days")),
          pace_([this] { return stopping(); }),
          log_(store) {}

    std::string_view name() const override { return "purge"; }

    Result<std::chrono::milliseconds> step() override {
        TRY(const Policy policy, read_policy(store_));
        TRY_VOID(retain(policy));
        const Time before = clock_.now() - hours(24 * policy.undelete_days);
        TRY(const bool some, any_before(store_, before));
        if (some) {
            TRY(const std::size_t gone, store_.write_value({}, [before](Tx& tx) { return drop_some(tx, before); }));
            purged_.add(static_cast<std::int64_t>(gone));
            died_ = died_ || gone > 0;
            pace_.spend(static_cast<double>(gone), policy.messages_per_second);
            return 0ms;
        }
        if (died_ && freed_) freed_();
        died_ = false;
        TRY_VOID(trim());
        TRY(const bool more, trim_log(policy));
        return more ? 0ms : std::chrono::milliseconds(kRest);
    }

 private:
    /// Each hour, and when the rules have changed.
    Result<> retain(const Policy& policy) {
        const auto now = std::chrono::steady_clock::now();
        if (policy.rules == rules_ && now < next_retention_) return {};
        TRY(const std::uint64_t gone,
            apply_retention(store_, policy.rules, clock_.now(), pace_, policy.messages_per_second));
        expired_.add(static_cast<std::int64_t>(gone));
        rules_ = policy.rules;
        next_retention_ = now + kRetentionEvery;
        return {};
    }

    Result<> trim() {
        const auto now = std::chrono::steady_clock::now();
        if (now < next_trim_) return {};
        TRY(const std::vector<MailboxId> mailboxes, forgetful(store_, kExpungedKept));
        for (const MailboxId mailbox : mailboxes) {
            if (stopping()) return {};
            TRY_VOID(trim_expunged(store_, mailbox, kExpungedKept));
        }
        next_trim_ = now + kTrimEvery;
        return {};
    }

    /// A step each hour's round takes; true while the round is not over.
    Result<bool> trim_log(const Policy& policy) {
        const auto now = std::chrono::steady_clock::now();
        if (policy.log == limits_ && now < next_log_) return false;
        bool more = false;
        TRY(const std::uint64_t gone, log_.step(policy.log, clock_.now(), more));
        forgotten_.add(static_cast<std::int64_t>(gone));
        pace_.spend(static_cast<double>(gone), policy.messages_per_second * 10);
        if (more) return !stopping();
        limits_ = policy.log;
        next_log_ = now + kLogEvery;
        return false;
    }

    Store& store_;
    const Clock& clock_;
    std::function<void()> freed_;
    Metrics::Value& purged_;
    Metrics::Value& expired_;
    Metrics::Value& forgotten_;
    Pace pace_;
    LogTrimmer log_;
    LogLimits limits_;
    bool died_ = false;
    std::vector<RetentionRule> rules_;
    std::chrono::steady_clock::time_point next_retention_{};
    std::chrono::steady_clock::time_point next_trim_{};
    std::chrono::steady_clock::time_point next_log_{};
};

}  // namespace

Result<std::uint64_t> trim_expunged(Store& store, MailboxId mailbox, std::uint64_t kept) {
    TRY(const ModSeq last, store.read([&](const Snapshot& s) { return modseq_at(s, mailbox, kept, true); }));
    std::uint64_t total = 0;
    for (ModSeq done = 0; done < last;) {
        TRY(ModSeq until, store.read([&](const Snapshot& s) { return modseq_at(s, mailbox, kTrimStep, false); }));
        if (until == 0 || until > last) until = last;
        TRY(const std::int64_t gone, store.write_value({}, [&](Tx& tx) -> Result<std::int64_t> {
            Connection& db = context_of(tx).db;
            TRY_VOID(db.query("DELETE FROM expunged WHERE mailbox = ?1 AND modseq <= ?2").bind(mailbox, until).run());
            const std::int64_t count = db.changes();
            // UID 0 marks how far the memory was cut: see MailView::expunged_since.
            if (count > 0) {
                TRY_VOID(db.query("INSERT INTO expunged VALUES (?1, ?2, 0)").bind(mailbox, until).run());
            }
            return count;
        }));
        total += static_cast<std::uint64_t>(gone);
        done = until;
    }
    return total;
}

std::unique_ptr<Job> make_purge_job(Store& store, Metrics& metrics, const Clock& clock, std::function<void()> freed) {
    return std::make_unique<PurgeJob>(store, metrics, clock, std::move(freed));
}

}  // namespace posthouse::storage
