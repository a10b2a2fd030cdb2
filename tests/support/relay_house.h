#pragma once
/// tests/support/relay_house: the whole outbound leg in one process: a store, a fake DNS, scripted remotes, time that
/// the test turns.
#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocols/mime/facts.h"
#include "relay/service.h"
#include "storage/routes.h"
#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"
#include "tests/support/memory_dialer.h"
#include "tests/support/scripted_remote.h"
#include "tests/support/temp_store.h"
#include "tests/support/turned_clock.h"

namespace posthouse::relay {

using storage::EventKind;
using test::kHangUp;

inline constexpr std::string_view kMessage =
    "Return-Path: <alice@home.example>\r\nFrom: alice@home.example\r\nTo: bob@b.example\r\n"
    "Message-ID: <m1@home.example>\r\nSubject: hello\r\n\r\nbody\r\n";

/// A way to a smarthost, in clear where the URL says nothing else.
inline storage::Way smarthost_way(std::string name = "relay", std::string url = "smtp+plain://10.0.0.9:25") {
    storage::Way out;
    out.name = std::move(name);
    out.kind = storage::WayKind::smarthost;
    out.url = std::move(url);
    return out;
}

/// That way, and a route for all mail with these steps.
inline Result<> add_relay_to(storage::Tx& tx, std::string_view steps, const storage::Way& relay = smarthost_way()) {
    storage::RouteTx routes(tx);
    TRY_VOID(routes.add_way(relay));
    storage::Route route;
    route.name = "all";
    TRY(route.steps, storage::parse_steps(steps));
    return routes.add_route(route);
}

struct House {
    explicit House(const std::function<void(RelayOptions&)>& adjust = {})
        : store([this](storage::StoreOptions& o) { o.clock = &clock; }),
          alice(store.add_account("alice@home.example")) {
        resolver.add_mx("b.example", 10, "mx.b.example");
        resolver.add_a("mx.b.example", "192.0.2.1");
        serve("192.0.2.1", remote);
        RelayDeps deps;
        deps.store = &*store;
        deps.loop = &loop;
        deps.pool = &pool;
        deps.dialer = &dialer;
        deps.resolver = &resolver;
        deps.random = &system_random();
        deps.clock = &clock;
        deps.metrics = &metrics;
        deps.hostname = "mail.home.example";
        deps.options.refill_interval = std::chrono::milliseconds(1);
        deps.options.idle = std::chrono::milliseconds(1);
        deps.options.stop_patience = std::chrono::milliseconds(1);
        if (adjust) adjust(deps.options);
        kept = deps;
        relay = std::make_unique<Relay>(std::move(deps));
        relay->start();
    }
    /// As after a stop and a start of the program.
    void restart() {
        relay->stop();
        test::run_task(loop, relay->join());
        relay = std::make_unique<Relay>(kept);
        relay->start();
    }
    ~House() {
        relay->stop();
        test::run_task(loop, relay->join());
        test::run_task(loop, dialer.join());
    }

    void serve(std::string_view address, test::ScriptedRemote& with, std::uint16_t port = 25) {
        dialer.serve(net::Endpoint(net::IpAddress::parse(address).value(), port),
                     [&with](std::unique_ptr<net::Stream> stream) { return with.serve(std::move(stream)); });
    }

    storage::QueueId submit(std::vector<std::string> recipients, std::string sender = "alice@home.example",
                            storage::NotifyBits notify = 0, std::optional<storage::AccountId> account = {}) {
        const auto body = store.stage(kMessage);
        auto accepted = store->write_value({body}, [&](storage::Tx& tx) {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(kMessage);
            delivery.sender = sender;
            delivery.first_attempt = tx.now();
            storage::NewQueueItem item;
            item.reverse_path = sender;
            item.account = account;
            item.expires = tx.now() + std::chrono::hours(24 * 5);
            for (const std::string& address : recipients) {
                storage::NewRecipient recipient;
                recipient.address = address;
                recipient.notify = notify;
                item.recipients.push_back(recipient);
            }
            delivery.outgoing = item;
            return tx.deliver(delivery);
        });
        REQUIRE(accepted);
        return accepted->queue.value();
    }

    /// Everything that is due is done; then the hands of the clock are where the test left them.
    void settle() {
        relay->wake();
        test::run_task(loop, relay->drained());
    }
    void settle_after(Milliseconds span) {
        clock.advance(span);
        settle();
    }
    std::uint64_t waiting() {
        return store->read([](const storage::Snapshot& s) { return s.queue().waiting_count(); }).value();
    }
    std::size_t events(storage::QueueId id, EventKind kind) {
        const auto all = store->read([&](const storage::Snapshot& s) { return s.events().by_queue(id); }).value();
        std::size_t count = 0;
        for (const storage::Event& event : all) count += event.kind == kind ? 1 : 0;
        return count;
    }
    std::vector<std::string> inbox() {
        return store
            ->read([&](const storage::Snapshot& s) -> Result<std::vector<std::string>> {
                const storage::MailView& mail = s.mail(alice);
                TRY(const storage::Mailbox box, mail.mailbox("INBOX"));
                TRY(const auto entries, mail.entries(box.id, 1, ~storage::Uid{0}));
                std::vector<std::string> out;
                for (const storage::Entry& entry : entries) {
                    TRY(const storage::BodyReader body, mail.body(box.id, entry.uid));
                    TRY(out.emplace_back(), body.read_all());
                }
                return out;
            })
            .value();
    }

    test::TurnedClock clock;
    net::Loop loop;
    test::TempStore store;
    storage::AccountId alice;
    net::ThreadPool pool{"test", 1};
    test::FakeResolver resolver;
    test::MemoryDialer dialer{loop};
    test::ScriptedRemote remote;
    Metrics metrics;
    RelayDeps kept;
    std::unique_ptr<Relay> relay;
};

}  // namespace posthouse::relay
