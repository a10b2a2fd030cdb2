#pragma once
/// tests/support/report_house: a store under a turned clock, and somebody who sends: seeded, so that a failure can be
/// had again.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "storage/context.h"
#include "storage/incidents.h"
#include "storage/report.h"
#include "storage/store.h"
#include "tests/support/temp_store.h"
#include "tests/support/turned_clock.h"

namespace posthouse::storage {

using test::plain_facts;
using test::TempStore;

inline constexpr std::int64_t kDayMs = 86'400'000;

/// A house that sends: seeded, so that a failure can be had again.
class Sender {
 public:
    explicit Sender(Store& store, test::TurnedClock& clock, unsigned seed)
        : store_(store), clock_(clock), random_(seed) {}

    std::uint64_t pick(std::uint64_t below) { return random_() % below; }

    QueueId submit(const std::vector<std::string>& to, std::optional<AccountId> account, std::string from) {
        const StagedBodyPtr body = TempStore::stage_in(store_, "queued body");
        const auto accepted = store_.write_value({body}, [&](Tx& tx) -> Result<Accepted> {
            Delivery delivery;
            delivery.body = body;
            delivery.facts = plain_facts("queued body", "<q@a.example>");
            delivery.sender = from;
            delivery.first_attempt = tx.now();
            delivery.outgoing.emplace();
            delivery.outgoing->reverse_path = from;
            delivery.outgoing->account = account;
            delivery.outgoing->expires = tx.now() + std::chrono::hours(120);
            for (const std::string& address : to) delivery.outgoing->recipients.emplace_back().address = address;
            return tx.deliver(delivery);
        });
        if (!accepted) FAIL(accepted.error().context);
        return *accepted->queue;
    }
    std::vector<QueueRecipient> open() {
        return store_
            .read([&](const Snapshot& s) -> Result<std::vector<QueueRecipient>> {
                std::vector<QueueRecipient> out;
                TRY(const auto items, s.queue().list(QueueId{}, 1000));
                for (const QueueItem& item : items) {
                    TRY(const auto all, s.queue().recipients(item.id));
                    for (const QueueRecipient& one : all) {
                        if (one.state == RecipientState::waiting || one.state == RecipientState::held)
                            out.push_back(one);
                    }
                }
                return out;
            })
            .value();
    }
    static Outcome outcome(RecipientState state, std::string reply_class = "", std::string way = "direct",
                           std::string provider = "google") {
        Outcome out;
        out.state = state;
        out.reply = "said";
        out.reply_class = std::move(reply_class);
        out.remote = "mx.b.example [192.0.2.1]";
        out.way = std::move(way);
        out.source = out.way == "direct" ? "198.51.100.7" : "";
        out.route = out.way == "relay" ? "bulk" : "";
        out.provider = std::move(provider);
        return out;
    }
    /// Begun and ended in one write, or where `fails` in none.
    Result<> finish(RecipientId id, const Outcome& outcome, bool fails = false) {
        return store_.write({}, [&](Tx& tx) -> Result<> {
            const std::vector<RecipientId> ids = {id};
            TRY_VOID(tx.queue().start(ids));
            TRY_VOID(tx.queue().finish(id, outcome));
            if (fails) return Error(Errc::refused, "the test wants it so");
            return {};
        });
    }

    /// One thing that may happen.
    void step() {
        clock_.advance(Milliseconds(static_cast<std::int64_t>(pick(7'200'000))));
        const auto waiting = open();
        if (waiting.size() < 3 || pick(3) == 0) {
            std::vector<std::string> to;
            for (std::uint64_t i = 0; i <= pick(3); ++i)
                to.push_back(fmt::format("user{}{}@D{}.example", to.size(), pick(5), pick(6)));
            const bool ours = pick(4) != 0;
            submit(to, ours ? std::optional(static_cast<AccountId>(1 + pick(2))) : std::nullopt,
                   ours ? "alice@a.example" : "");
            return;
        }
        const QueueRecipient& one = waiting[pick(waiting.size())];
        happen(one);
        if (pick(12) == 0) restart();
    }
    /// As the relay does at its start; what a crash left under way is taken up again.
    void restart() {
        REQUIRE(store_.write({}, [](Tx& tx) -> Result<> {
            TRY_VOID(tx.queue().recover());
            return {};
        }));
    }

 private:
    void happen(const QueueRecipient& one) {
        constexpr std::string_view kClasses[] = {"recipient-unknown", "mailbox-full", "throttled", "policy"};
        const std::string reply_class(kClasses[pick(4)]);
        const std::string way = pick(3) == 0 ? "relay" : "direct";
        const std::vector<RecipientId> ids = {one.id};
        const bool waits = one.state == RecipientState::waiting;
        const bool fails = pick(6) == 0;
        const auto ends = [&](RecipientState state, const std::string& meaning) {
            Outcome said = outcome(state, meaning, way);
            said.next_attempt = clock_.now() + Milliseconds(static_cast<std::int64_t>(pick(9'000'000)));
            said.uses_attempt = pick(4) != 0;
            CHECK(finish(one.id, said, fails).has_value() == !fails);
        };
        switch (pick(11)) {
            case 0:
            case 1: return waits ? ends(RecipientState::delivered, "delivered") : void();
            case 2: return waits ? ends(RecipientState::failed, reply_class) : void();
            case 3:
            case 4: return waits ? ends(RecipientState::waiting, reply_class) : void();
            case 5:
                if (waits) hold(ids);
                return;
            case 6: REQUIRE(store_.write({}, [&](Tx& tx) { return tx.queue().retry_now(one.queue); })); return;
            case 7:
                if (!waits) REQUIRE(store_.write({}, [&](Tx& tx) { return tx.queue().release(one.queue); }));
                return;
            case 8:
                // Begun, and the program ends.
                REQUIRE(store_.write({}, [&](Tx& tx) -> Result<> {
                    TRY_VOID(tx.queue().start(ids));
                    return {};
                }));
                return;
            case 9: return waits ? late(one, reply_class) : void();
            default:
                if (pick(3) == 0) REQUIRE(store_.write({}, [&](Tx& tx) { return tx.queue().cancel(one.queue); }));
        }
    }
    /// Delivered, and bounced late by the other side: it stays delivered, and is a bounce in the figures.
    void late(const QueueRecipient& one, const std::string& reply_class) {
        REQUIRE(finish(one.id, outcome(RecipientState::delivered, "delivered")));
        REQUIRE(store_.write({}, [&](Tx& tx) -> Result<> {
            TRY(const auto events, tx.events().by_queue(one.queue));
            Event event = events.front();
            event.at = tx.now();
            event.kind = EventKind::bounced;
            event.recipient = one.address;
            event.facts.reply_class = reply_class;
            return tx.events().append(event);
        }));
    }
    void hold(const std::vector<RecipientId>& ids) {
        const bool under_incident = pick(2) == 0;
        REQUIRE(store_.write({}, [&](Tx& tx) -> Result<> {
            if (!under_incident) return tx.queue().hold_recipients(ids, "by a rule");
            IncidentKey key;
            key.kind = IncidentKind::ip_blocked;
            key.way = "direct";
            Refusal refusal;
            refusal.reply = "550 blocked";
            IncidentTx incidents(tx);
            TRY(const Incident incident, incidents.note(key, refusal));
            TRY_VOID(incidents.hold(ids, incident));
            return {};
        }));
    }

    Store& store_;
    test::TurnedClock& clock_;
    std::minstd_rand random_;
};

struct ReportHouse {
    std::vector<ReportLine> lines(ReportBy by, ReportFilter filter = {}) {
        if (filter.to_day == 0) filter.to_day = 30'000;
        auto out = store->read([&](const Snapshot& s) { return ReportView(s).lines(by, filter); });
        if (!out) FAIL(out.error().context);
        return *out;
    }
    ReportRebuild rebuild() {
        const auto done = report_rebuild(*store);
        if (!done) FAIL(done.error().context);
        return *done;
    }
    /// Until the store is closed: it runs none of its own.
    void allow_triggers() {
        REQUIRE(store->write({}, [](Tx& tx) -> Result<> {
            sqlite3_db_config(context_of(tx).db.handle(), SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, nullptr);
            return {};
        }));
    }
    void exec(Sql sql) {
        REQUIRE(store->write({}, [&](Tx& tx) { return context_of(tx).db.exec(sql); }));
    }
    /// Rows as text, to be compared whole.
    std::vector<std::string> rows() {
        std::vector<std::string> out;
        for (const ReportBy by : {ReportBy::day, ReportBy::domain, ReportBy::destination, ReportBy::provider,
                                  ReportBy::way, ReportBy::address, ReportBy::account, ReportBy::route}) {
            for (const ReportLine& line : lines(by)) {
                std::string text = fmt::format("{} {}", static_cast<int>(by), line.key);
                for (const std::uint64_t n : line.figures) text += fmt::format(" {}", n);
                for (const auto& [name, n] : line.bounced_by) text += fmt::format(" {}={}", name, n);
                text += fmt::format(" {} {}", line.times.total(),
                                    line.times.percentile(0.9).value_or(Milliseconds()).count());
                out.push_back(text);
            }
        }
        return out;
    }
    test::TurnedClock clock{20'000 * kDayMs + 3'600'000};
    TempStore store{[this](StoreOptions& options) { options.clock = &clock; }};
    AccountId alice = store.add_account("alice@a.example");
    AccountId carol = store.add_account("carol@c.example");
};

}  // namespace posthouse::storage
