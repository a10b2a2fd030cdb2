// The guard of accounts: what a stolen one does, and what an ordinary one may do. Pure rules; the simulated week is in
// tests/unit/relay/guard_test.cpp.
#include "storage/account_guard.h"

#include <doctest/doctest.h>

#include "storage/incidents.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

SendingFigures figures(std::uint64_t messages, std::uint64_t recipients, std::uint64_t fresh, std::uint64_t bounced,
                       std::uint64_t busiest, std::uint64_t letters) {
    SendingFigures out;
    out.messages = messages;
    out.recipients = recipients;
    out.fresh = fresh;
    out.bounced = bounced;
    out.busiest = busiest;
    out.letters = letters;
    return out;
}

}  // namespace

TEST_CASE("judged against its own past: a burst of strangers who do not exist, or a flood") {
    CHECK_FALSE(judge_sending(figures(24, 24, 24, 10, 0, 24)));  // too few to say
    CHECK(judge_sending(figures(25, 25, 25, 4, 0, 25)));
    CHECK_FALSE(judge_sending(figures(25, 25, 25, 3, 0, 25)));   // three wrong addresses are an old address book
    CHECK_FALSE(judge_sending(figures(40, 40, 40, 8, 20, 40)));  // twice its usual
    CHECK(judge_sending(figures(60, 60, 60, 9, 20, 60)));
    CHECK_FALSE(judge_sending(figures(60, 60, 30, 9, 20, 60)));  // half of them it knows
    CHECK_FALSE(judge_sending(figures(1, 400, 400, 8, 0, 0)));   // a first newsletter: two of a hundred are gone
    CHECK(judge_sending(figures(1, 400, 400, 60, 0, 0)));
    CHECK(judge_sending(figures(200, 200, 200, 0, 10, 200)));      // a flood of letters
    CHECK_FALSE(judge_sending(figures(200, 200, 200, 0, 10, 0)));  // that call themselves mail to many
    CHECK_FALSE(judge_sending(figures(200, 200, 200, 0, 30, 200)));
    CHECK(judge_sending(figures(25, 25, 25, 4, 0, 25))->contains("4 do not exist"));
}

TEST_CASE("held, reviewed, released or thrown away; one account never touches another") {
    test::TempStore store;
    const AccountId bob = store.add_account("bob@a.example");
    const AccountId carol = store.add_account("carol@a.example");
    const auto submit = [&](AccountId account, const std::string& to, const std::string& sender = "x@a.example") {
        const auto body = store.stage("Subject: x\r\n\r\nx\r\n");
        return store
            ->write_value({body},
                          [&](Tx& tx) -> Result<QueueId> {
                              Delivery delivery;
                              delivery.body = body;
                              delivery.facts = test::plain_facts("x");
                              NewQueueItem item;
                              item.reverse_path = sender;
                              item.account = account;
                              item.expires = tx.now() + std::chrono::hours(24);
                              NewRecipient recipient;
                              recipient.address = to;
                              item.recipients.push_back(recipient);
                              delivery.outgoing = item;
                              TRY(const Accepted accepted, tx.deliver(delivery));
                              TRY_VOID(AccountGuardTx(tx).submitted(*accepted.queue, item));
                              return *accepted.queue;
                          })
            .value();
    };
    const auto bounce = [&](AccountId account) {
        REQUIRE(store->write({}, [&](Tx& tx) { return AccountGuardTx(tx).bounced(account); }));
    };
    const auto state = [&](QueueId queue) {
        return store->read([&](const Snapshot& s) { return s.queue().recipients(queue); }).value().front().state;
    };
    const QueueId other = submit(carol, "dan@b.example");
    std::vector<QueueId> sent;
    for (int i = 0; i < 30; ++i) sent.push_back(submit(bob, "x" + std::to_string(i) + "@b.example"));
    for (int i = 0; i < 4; ++i) bounce(bob);
    const QueueId report = submit(bob, "r@b.example", "");
    CHECK(state(report) == RecipientState::waiting);
    CHECK(state(sent[0]) == RecipientState::waiting);
    bounce(bob);
    CHECK(state(sent[0]) == RecipientState::held);
    CHECK(state(sent[29]) == RecipientState::held);
    CHECK(state(report) == RecipientState::held);
    CHECK(state(submit(bob, "y@b.example")) == RecipientState::held);
    CHECK(state(submit(bob, "n@b.example", "")) == RecipientState::held);  // no way around it
    CHECK(state(other) == RecipientState::waiting);
    CHECK_FALSE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(AccountGuardTx(tx).release(carol));
        return {};
    }));
    CHECK(store->write_value({}, [&](Tx& tx) { return AccountGuardTx(tx).release(bob); }).value() == 33);
    CHECK(state(sent[0]) == RecipientState::waiting);
    for (int i = 0; i < 5; ++i) bounce(bob);
    CHECK(state(submit(bob, "z@b.example")) == RecipientState::waiting);  // not judged for a week

    std::vector<QueueId> carols;
    for (int i = 0; i < 30; ++i) carols.push_back(submit(carol, "c" + std::to_string(i) + "@b.example"));
    for (int i = 0; i < 5; ++i) bounce(carol);
    CHECK(state(carols[0]) == RecipientState::held);
    CHECK(store->write_value({}, [&](Tx& tx) { return AccountGuardTx(tx).discard(carol); }).value() == 31);
    CHECK_FALSE(store->read([&](const Snapshot& s) { return s.queue().item(carols[0]); }));
}
