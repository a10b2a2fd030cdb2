#pragma once
/// tests/support/door_house: a store with two accounts, its backend and the door for programs, on a loop of its own.
#include <doctest/doctest.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "protocols/crypto/crypto.h"
#include "server/auth/authenticator.h"
#include "server/delivery/backend.h"
#include "server/delivery/program_door.h"
#include "tests/support/temp_store.h"

namespace posthouse::server {

using storage::Submission;
using storage::SubmissionOutcome;

/// Says what it is told to, and once it is armed only when it is let go.
class Alignment final : public server::smtp::AlignmentCheck {
 public:
    explicit Alignment(net::Loop& loop) : go(loop) { go.set(); }
    net::Task<Result<>> check(server::smtp::AlignmentQuestion question) override {
        if (!std::exchange(was_asked, true)) asked.set_value(question.author_domain);
        co_await go.wait();
        co_return answer;
    }
    net::Event go;                    // the loop's
    std::promise<std::string> asked;  // the first time
    bool was_asked = false;
    Result<> answer;
};

struct DoorHouse {
    explicit DoorHouse(std::uint64_t free_octets_min = 1024)
        : store([&](storage::StoreOptions& options) { options.free_octets_min = free_octets_min; }) {
        REQUIRE(crypto::init());
        alice = store.add_account("alice@a.example");
        bob = store.add_account("bob@a.example");
        REQUIRE(store->write({}, [](storage::Tx& tx) -> Result<> {
            TRY_VOID(tx.catalog().add_alias("@a.example", {"alice@a.example"}));
            return {};
        }));
        auto opened = Directory::open(*store, loop, pool);
        REQUIRE(opened);
        directory = *std::move(opened);
        authenticator = make_authenticator(*store, loop, pool, system_clock(), metrics);
        backend =
            make_backend(*store, loop, pool, *authenticator, *directory, "mail.a.example", system_clock(), metrics);
        options.limits.recipients_max = 3;
        options.limits.message_octets_max = 5000;
        door = std::make_unique<ProgramDoor>(
            ProgramDoorDeps(*store, loop, pool, *backend, &alignment, *directory, options, metrics));
        runner = std::thread([this] { loop.run(); });
    }
    ~DoorHouse() {
        stop();
        // The thread that commits may still be telling the loop of the last one; behind one more it is done with that.
        static_cast<void>(store->write({}, [](storage::Tx&) -> Result<> { return {}; }));
    }
    void stop() {
        if (!runner.joinable()) return;
        door->stop();
        loop.post([this] { tasks.spawn("stop", end()); });
        runner.join();
        while (tasks.size() > 0) loop.poll();
    }
    net::Task<void> end() {
        co_await door->join();
        loop.stop();
    }

    /// The same message by SMTP, as a session hands it over.
    Result<server::smtp::AcceptedMessage> by_smtp(std::vector<std::string> to, std::string key,
                                                  std::string stream = "") {
        std::promise<Result<server::smtp::AcceptedMessage>> done;
        loop.post([&] { tasks.spawn("smtp", take(std::move(to), std::move(key), std::move(stream), done)); });
        return done.get_future().get();
    }
    net::Task<void> take(std::vector<std::string> to, std::string key, std::string stream,
                         std::promise<Result<server::smtp::AcceptedMessage>>& done) {
        server::smtp::Envelope envelope;
        envelope.login.emplace(storage::raw(alice), "alice@a.example");
        envelope.sender = ::posthouse::smtp::Path("alice", "a.example");
        for (const std::string& one : to) {
            server::smtp::Recipient recipient;
            recipient.path = *::posthouse::smtp::parse_mailbox(one);
            recipient.kind = server::smtp::RecipientKind::remote;
            envelope.recipients.push_back(std::move(recipient));
        }
        envelope.wishes.key = std::move(key);
        envelope.wishes.stream = std::move(stream);
        envelope.wishes.author = "alice@a.example";
        auto body = backend->begin_body();
        static_cast<void>(body->append("From: alice@a.example\r\nSubject: x\r\n\r\nx\r\n"));
        done.set_value(co_await backend->accept(std::move(body), std::move(envelope)));
    }
    /// What a stranger at the door for mail hears of a recipient.
    Result<server::smtp::RecipientKind> look_up(const std::string& address) {
        std::promise<Result<server::smtp::RecipientKind>> done;
        loop.post([&] { tasks.spawn("look", look(address, done)); });
        return done.get_future().get();
    }
    net::Task<void> look(std::string address, std::promise<Result<server::smtp::RecipientKind>>& done) {
        done.set_value(co_await backend->lookup_recipient(*::posthouse::smtp::parse_mailbox(address), std::nullopt, 0));
    }

    Submission message(std::vector<std::string> to, std::string from = "alice@a.example") {
        Submission out;
        out.account = alice;
        out.login = "alice@a.example";
        out.client = "127.0.0.1";
        out.recipients = std::move(to);
        out.octets = "From: " + from + "\r\nSubject: x\r\nBcc: secret@c.example\r\n\r\nhello\r\n";
        out.answer = [](const storage::SubmissionReceipt& receipt) {
            return receipt.id + " " + receipt.message_id + " " + std::to_string(receipt.recipients.size());
        };
        return out;
    }
    /// Until the directory has seen what was written last.
    void reload() {
        std::promise<void> done;
        loop.post([&] { tasks.spawn("fresh", fresh(done)); });
        done.get_future().wait();
    }
    net::Task<void> fresh(std::promise<void>& done) {
        static_cast<void>(co_await directory->fresh());
        done.set_value();
    }
    std::vector<storage::QueueItem> queue() {
        auto items = store->read([](const storage::Snapshot& s) { return s.queue().list(storage::QueueId{}, 100); });
        REQUIRE(items);
        return *items;
    }
    std::string queued_octets(storage::QueueId id) {
        auto text = store->read([&](const storage::Snapshot& s) -> Result<std::string> {
            TRY(const storage::BodyReader body, s.queue().body(id));
            return body.read_all();
        });
        REQUIRE(text);
        return *text;
    }

    /// As a session that takes mail of strangers.
    void take(const server::smtp::Envelope& envelope, std::string_view octets) {
        std::promise<Result<server::smtp::AcceptedMessage>> done;
        loop.post([&] { tasks.spawn("take", take_here(envelope, octets, done)); });
        const auto taken = done.get_future().get();
        REQUIRE(taken);
    }
    net::Task<void> take_here(server::smtp::Envelope envelope, std::string_view octets,
                              std::promise<Result<server::smtp::AcceptedMessage>>& done) {
        auto body = backend->begin_body();
        const auto written = body->append(octets);
        if (!written) {
            done.set_value(Error(written.error()));
            co_return;
        }
        auto taken = co_await backend->accept(std::move(body), std::move(envelope));
        done.set_value(std::move(taken));
    }
    static server::smtp::Envelope envelope_of(std::string_view sender, const std::vector<std::string>& recipients) {
        server::smtp::Envelope out;
        if (!sender.empty()) out.sender = posthouse::smtp::parse_mailbox(sender).value();
        for (const std::string& address : recipients) {
            server::smtp::Recipient& one = out.recipients.emplace_back();
            one.path = posthouse::smtp::parse_mailbox(address).value();
            if (sender.empty()) one.kind = server::smtp::RecipientKind::bounce;
        }
        return out;
    }

    test::TempStore store;
    storage::AccountId alice{}, bob{};
    Metrics metrics;
    net::Loop loop;
    net::ThreadPool pool{"test", 2};
    net::TaskGroup tasks{loop};
    std::unique_ptr<Directory> directory;
    std::unique_ptr<Authenticator> authenticator;
    std::unique_ptr<server::smtp::Backend> backend;
    Alignment alignment{loop};
    server::smtp::SmtpServiceOptions options{"mail.a.example", server::smtp::Kind::submission};
    std::unique_ptr<ProgramDoor> door;
    std::thread runner;
};

}  // namespace posthouse::server
