#pragma once
/// tests/unit/relay/tls_house: the whole outbound leg with TLS at both ends of memory streams (whose handshakes always
/// go well), a DNS and a clock that the test turns.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>

#include "protocols/crypto/crypto.h"
#include "protocols/mime/facts.h"
#include "relay/service.h"
#include "storage/transport.h"
#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"
#include "tests/support/memory_dialer.h"
#include "tests/support/scripted_remote.h"
#include "tests/support/temp_store.h"

#include <fstream>

namespace posthouse::relay {

class HouseClock final : public Clock {
 public:
    Time now() const override { return from_unix_ms(ms_.load()); }
    void advance(Milliseconds by) { ms_ += by.count(); }

 private:
    std::atomic<std::int64_t> ms_{1'764'000'000'000};
};

struct TlsHouse {
    TlsHouse()
        : store([this](storage::StoreOptions& o) { o.clock = &clock; }),
          alice(store.add_account("alice@home.example")) {
        const std::vector<std::string> names = {"mx.b.example"};
        const auto made = crypto::make_self_signed(names, 30);
        REQUIRE(made);
        std::ofstream(files.path() + "/cert.pem") << made->certificate_pem;
        std::ofstream(files.path() + "/key.pem") << made->key_pem;
        server_tls =
            net::TlsServerContext::load("smtp", files.path() + "/cert.pem", files.path() + "/key.pem", {}).value();
        client_tls = net::TlsClientContext::make(net::Verify::opportunistic, "").value();
        verified_tls = net::TlsClientContext::make(net::Verify::required, "").value();
        add_mx("b.example", "mx.b.example", "192.0.2.1", remote);
        with_tls(remote);
    }
    ~TlsHouse() {
        if (!relay) return;
        relay->stop();
        test::run_task(loop, relay->join());
        test::run_task(loop, dialer.join());
    }

    /// After the DNS is written: the relay may begin to ask at once.
    void open(const std::function<void(RelayOptions&)>& adjust = {}) {
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
        deps.opportunistic_tls = client_tls.get();
        deps.verified_tls = verified_tls.get();
        deps.options.refill_interval = std::chrono::milliseconds(1);
        deps.options.idle = std::chrono::milliseconds(1);
        deps.options.stop_patience = std::chrono::milliseconds(1);
        if (adjust) adjust(deps.options);
        relay = std::make_unique<Relay>(std::move(deps));
        relay->start();
    }
    void close() {
        relay->stop();
        test::run_task(loop, relay->join());
        test::run_task(loop, dialer.join());
        relay.reset();
    }

    void add_mx(const std::string& domain, const std::string& host, const std::string& address,
                test::ScriptedRemote& at, std::uint16_t preference = 10) {
        resolver.add_mx(domain, preference, host);
        resolver.add_a(host, address);
        dialer.serve(net::Endpoint(net::IpAddress::parse(address).value(), 25),
                     [&at](std::unique_ptr<net::Stream> stream) { return at.serve(std::move(stream)); });
    }
    void with_tls(test::ScriptedRemote& at) {
        at.tls = server_tls.get();
        at.keywords = {"PIPELINING", "8BITMIME", "STARTTLS"};
        at.keywords_tls = {"PIPELINING", "8BITMIME"};
    }
    void without_tls(test::ScriptedRemote& at) {
        at.tls = nullptr;
        at.keywords = {"PIPELINING", "8BITMIME"};
    }
    /// A signed zone with a TLSA record for mx.b.example.
    void sign_b() {
        for (const char* name : {"b.example", "mx.b.example", "_25._tcp.mx.b.example"}) resolver.set_secure(name);
        dns::TlsaRecord record;
        record.usage = 3;
        record.selector = 1;
        record.matching = 1;
        record.data = std::string(32, 'x');
        resolver.add_tlsa("_25._tcp.mx.b.example", record);
    }
    void keep_policy(std::string domain, std::string mode, std::string mx, std::chrono::hours life,
                     std::string id = "1") {
        storage::StsEntry entry;
        entry.domain = std::move(domain);
        entry.id = std::move(id);
        entry.policy = "version: STSv1\r\nmode: " + mode + "\r\nmx: " + mx + "\r\nmax_age: 86400\r\n";
        entry.fetched = clock.now();
        entry.expires = clock.now() + life;
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return storage::TransportTx(tx).keep_sts_policy(entry); }));
    }

    storage::QueueId submit(const std::string& recipient, storage::TlsWish wish = storage::TlsWish::policy,
                            const std::string& sender = "alice@home.example",
                            storage::Ret ret = storage::Ret::unspecified) {
        const std::string message = "From: alice@home.example\r\nTo: " + recipient +
                                    "\r\nMessage-ID: <m@home.example>\r\nSubject: hello\r\n\r\nbody\r\n";
        const auto body = store.stage(message);
        auto accepted = store->write_value({body}, [&](storage::Tx& tx) {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(message);
            delivery.sender = sender;
            delivery.first_attempt = tx.now();
            storage::NewQueueItem item;
            item.reverse_path = sender;
            item.tls = wish;
            item.ret = ret;
            item.expires = tx.now() + std::chrono::hours(24 * 5);
            storage::NewRecipient to;
            to.address = recipient;
            item.recipients.push_back(to);
            delivery.outgoing = item;
            return tx.deliver(delivery);
        });
        REQUIRE(accepted);
        return accepted->queue.value();
    }
    void settle() {
        relay->wake();
        test::run_task(loop, relay->drained());
    }
    void settle_after(Milliseconds span) {
        clock.advance(span);
        settle();
    }
    /// What the last event of the item says: sentence and dialogue.
    std::string last(storage::QueueId id) {
        const auto all = store->read([&](const storage::Snapshot& s) { return s.events().by_queue(id); }).value();
        return all.empty() ? "" : all.back().detail + "\n" + all.back().dialogue;
    }
    std::uint64_t waiting() {
        return store->read([](const storage::Snapshot& s) { return s.queue().waiting_count(); }).value();
    }
    std::vector<storage::TlsSessions> sessions(const std::string& domain) {
        return store
            ->read([&](const storage::Snapshot& s) {
                return storage::TransportView(s).tls_sessions(storage::day_of(clock.now()), domain);
            })
            .value();
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

    test::TempDirectory files;
    HouseClock clock;
    net::Loop loop;
    test::TempStore store;
    storage::AccountId alice;
    net::ThreadPool pool{"test", 1};
    std::unique_ptr<net::TlsServerContext> server_tls;
    std::unique_ptr<net::TlsClientContext> client_tls, verified_tls;
    test::FakeResolver resolver;
    test::MemoryDialer dialer{loop};
    test::ScriptedRemote remote;
    Metrics metrics;
    std::unique_ptr<Relay> relay;
};

}  // namespace posthouse::relay
