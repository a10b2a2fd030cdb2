#include "server/delivery/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_set>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/mime/facts.h"
#include "protocols/mime/header.h"
#include "protocols/policy/one_click.h"
#include "server/auth/exchange.h"
#include "server/delivery/client_login.h"
#include "server/delivery/late_mail.h"
#include "server/delivery/list_copies.h"
#include "server/delivery/spread.h"
#include "server/delivery/staged_sink.h"
#include "server/delivery/suppressed.h"
#include "server/delivery/wishes.h"
#include "server/returns/late_report.h"
#include "server/submission/rules.h"
#include "storage/account_guard.h"
#include "storage/await.h"
#include "storage/receipts.h"

namespace posthouse::server {

namespace {

namespace wire = ::posthouse::smtp;

using submission::kLetterRecipientsMax;


// Its share of the lanes: mail to many, and mail that calls itself so, yields to letters.
void set_priority(storage::NewQueueItem& item, const storage::StagedBody& body, std::uint64_t header_octets) {
    const std::string_view header = body.view().substr(0, static_cast<std::size_t>(header_octets));
    const bool many = item.recipients.size() > kLetterRecipientsMax;
    if (many || submission::is_for_many(mime::parse_fields(header))) {
        item.mail_class = static_cast<std::uint8_t>(storage::QueueClass::bulk);
    }
}

// A dialogue of server/auth as sessions know it.
class StoreExchange final : public smtp::AuthExchange {
 public:
    explicit StoreExchange(std::unique_ptr<LoginExchange> exchange) : exchange_(std::move(exchange)) {}

    net::Task<Result<smtp::AuthStep>> start(std::optional<std::string> initial) override {
        auto step = co_await exchange_->start(std::move(initial));
        co_return translate(std::move(step));
    }
    net::Task<Result<smtp::AuthStep>> answer(std::string response) override {
        auto step = co_await exchange_->answer(std::move(response));
        co_return translate(std::move(step));
    }

 private:
    static Result<smtp::AuthStep> translate(Result<LoginStep> step) {
        if (!step) return Error(step.error());
        smtp::AuthStep out;
        out.challenge = std::move(step->challenge);
        if (!step->identity) return out;
        out.login.emplace(storage::raw(step->identity->account), step->identity->address);
        out.login->proof = std::make_shared<Identity>(*std::move(step->identity));
        return out;
    }

    std::unique_ptr<LoginExchange> exchange_;
};

class StoreBackend final : public smtp::Backend {
 public:
    StoreBackend(storage::Store& store, net::Loop& loop, net::ThreadPool& pool, Authenticator& authenticator,
                 Directory& directory, std::string hostname, const Clock& clock, Metrics& metrics)
        : store_(store),
          loop_(loop),
          pool_(pool),
          authenticator_(authenticator, directory, metrics),
          directory_(directory),
          clock_(clock),
          late_(store, loop, pool, directory, clock, metrics),
          hostname_(hostname),
          notes_(store, loop),
          spreader_(directory, std::move(hostname), clock),
          local_copies_(metrics.counter("delivery_local_total", "Copies put into local mailboxes")),
          queued_(metrics.counter("delivery_queued_total", "Recipients put into the queue")),
          distrusted_(metrics.counter("relay_clients_distrusted_total", "Relay clients whose address is not believed")),
          suppressed_(metrics.counter("smtp_suppressed_total", "Recipients refused at submission: suppressed")),
          over_share_(metrics.counter("relay_client_limits_total", "Messages of relay clients put off by a limit")),
          repeated_(metrics.counter("submission_repeated_total", "Messages not queued again: their key was known")),
          unsubscribed_(metrics.counter("unsubscribed_total", "Recipients who unsubscribed", "by=\"mail\"")) {}

    net::Task<Result<smtp::RecipientKind>> lookup_recipient(wire::Path recipient, std::optional<smtp::Login> login,
                                                            std::uint64_t declared_octets) override {
        auto picture = directory_.picture();
        if (directory_.bounces()->is_one(recipient, *picture)) co_return late_.look_up_bounce(recipient);
        if (directory_.bounces()->is_token(recipient, *picture)) {
            co_return co_await late_.look_up_token(std::move(recipient));
        }
        if (const auto token = policy::token_of_mailbox(recipient.local_part);
            token && picture->is_ours(recipient.domain)) {
            auto farewell = co_await look_up_farewell(store_, pool_, loop_, *token);
            // An address that only looks like one is anybody's.
            if (farewell || farewell.error().code != Errc::not_found) co_return farewell;
        }
        const bool literal = recipient.is_literal();
        Resolution found = picture->resolve(spreader_.at_home(recipient, *picture));
        const bool no = found.kind == Resolution::Kind::unknown || (found.kind == Resolution::Kind::not_ours && !login);
        if (no) {
            picture = co_await directory_.fresh();
            if (directory_.bounces()->is_one(recipient, *picture)) co_return late_.look_up_bounce(recipient);
            if (directory_.bounces()->is_token(recipient, *picture)) {
                co_return co_await late_.look_up_token(std::move(recipient));
            }
            found = picture->resolve(spreader_.at_home(std::move(recipient), *picture));
        }
        switch (found.kind) {
            case Resolution::Kind::unknown:
                co_return Error(Errc::not_found, "no account, alias or catch-all has this address");
            case Resolution::Kind::too_many:
                co_return Error(Errc::limit, "the alias leads too far or to too many addresses");
            case Resolution::Kind::not_ours:
                if (!login) co_return Error(Errc::denied, "the domain is not ours and nobody has logged in");
                // RFC 5321 4.1.3: there is no host behind an address literal that we would dial for a user.
                if (literal) co_return Error(Errc::not_found, "mail to address literals is not sent");
                co_return smtp::RecipientKind::remote;
            case Resolution::Kind::deliver: break;
        }
        if (picture->any_limited(found.accounts)) CO_TRY_VOID(co_await check_quota(found.accounts, declared_octets));
        co_return found.accounts.empty() ? smtp::RecipientKind::remote : smtp::RecipientKind::local;
    }

    std::vector<std::string> auth_mechanisms(const net::TlsBinding& binding) override {
        return offered_mechanisms(authenticator_, binding);
    }

    std::unique_ptr<smtp::AuthExchange> begin_auth(std::string_view mechanism, smtp::AuthPeer peer) override {
        auto exchange =
            LoginExchange::begin(authenticator_, mechanism, std::move(peer.binding), peer.address, "submission");
        if (!exchange) return nullptr;
        return std::make_unique<StoreExchange>(std::move(exchange));
    }

    net::Task<Result<>> check_login(smtp::Login login) override {
        if (!login.proof) co_return Result<>();
        co_return co_await authenticator_.recheck(*static_cast<Identity*>(login.proof.get()));
    }

    std::optional<smtp::Login> client_at(const net::IpAddress& peer, std::string_view hello) override {
        const RelayClientBook::Answer found = directory_.clients().find(peer, hello, clock_.now());
        if (found.client == nullptr) return std::nullopt;
        if (found.distrust.empty()) return smtp::Login(0, found.client->name);
        log::error("smtp", "the relay client {} is refused, who says it is \"{}\": {}", found.client->name, hello,
                   found.distrust);
        distrusted_.add();
        if (found.newly) note_distrust(found.client->name, found.distrust);
        return std::nullopt;
    }

    net::Task<Result<>> check_share(smtp::Login login) override {
        if (!login.is_relay_client()) co_return Result<>();
        auto look = [name = login.address, now = clock_.now()](const storage::Snapshot& snapshot) -> Result<> {
            TRY(const storage::RelayClient client, storage::RelayClientView(snapshot).by_name(name));
            if (auto why = storage::over_limit(client, 1, now)) return Error(Errc::limit, *std::move(why));
            return {};
        };
        const auto has_share = co_await storage::read(store_, pool_, loop_, std::move(look));
        if (!has_share && has_share.error().code == Errc::limit) over_share_.add();
        co_return has_share;
    }

    net::Task<Result<>> check_sender(smtp::Login login, wire::Path address) override {
        if (login.is_relay_client()) {
            const storage::RelayClient* const client = directory_.clients().by_name(login.address);
            if (client != nullptr && may_send_as(*client, address.domain)) co_return Result<>();
            co_return Error(Errc::denied,
                            fmt::format("the relay client {} may not write as {}", login.address, address.spec()));
        }
        const storage::AccountId account{login.account};
        if (directory_.picture()->owns(account, address)) co_return Result<>();
        const auto fresh = co_await directory_.fresh();
        if (fresh->owns(account, address)) co_return Result<>();
        co_return Error(Errc::denied, login.address + " does not own " + address.spec());
    }

    net::Task<Result<std::optional<wire::Reply>>> check_wanted(smtp::Login login, wire::Path sender,
                                                               wire::Path recipient) override {
        // What an account sends may be a letter: that is known when its header is there.
        std::uint8_t mail_class = static_cast<std::uint8_t>(storage::QueueClass::interactive);
        if (login.is_relay_client()) {
            const storage::RelayClient* const client = directory_.clients().by_name(login.address);
            if (client != nullptr) mail_class = client->mail_class;
        }
        const std::vector<std::string> addresses{recipient.spec()};
        CO_TRY(const auto found,
               co_await find_suppressed(store_, pool_, loop_, sender.spec(), addresses, mail_class, clock_.now()));
        if (!found) co_return std::optional<wire::Reply>();
        suppressed_.add();
        notes_.add(sender.spec(), recipient.spec(), *found, clock_.now());
        const storage::SuppressionSentence told = storage::describe(*found);
        wire::Reply refusal(550, storage::status_of(found->reason), told.why);
        refusal.lines.push_back(told.what_to_do);
        co_return std::optional<wire::Reply>(std::move(refusal));
    }

    Result<> check_room(std::uint64_t octets) override { return store_.check_room(octets); }

    std::unique_ptr<smtp::BodySink> begin_body() override { return make_staged_sink(store_, pool_, loop_); }

    net::Task<Result<smtp::AcceptedMessage>> accept(std::unique_ptr<smtp::BodySink> body,
                                                    smtp::Envelope envelope) override {
        auto& sink = static_cast<StagedSink&>(*body);
        CO_TRY(storage::StagedBodyPtr staged, sink.finish());
        Farewell farewell = farewell_of(envelope, staged->view());
        if (is_farewell(envelope)) co_return co_await take_farewell(store_, loop_, unsubscribed_, std::move(farewell));
        const auto client = spreader_.client_of(envelope);
        std::string owner = key_owner(envelope, client);
        name_recipients(envelope);
        CO_TRY_VOID(co_await leave_out_known(store_, pool_, loop_, owner, envelope, clock_.now()));
        auto delivery = std::make_shared<storage::Delivery>();
        delivery->body = staged;
        CO_TRY(LateMail late, co_await late_.find(envelope));
        CO_TRY_VOID(spreader_.spread(*delivery, envelope, late));
        if (!late.sent.empty()) co_await late_.read(staged, late);
        auto facts = co_await compute_facts(staged);
        if (!facts) co_return Error(facts.error());
        delivery->facts = *std::move(facts);
        if (delivery->outgoing) set_priority(*delivery->outgoing, *staged, delivery->facts.header_octets);
        std::vector<storage::StagedBodyPtr> bodies{std::move(staged)};
        // What was taken already gets its first answer again, whatever became of its stream and its recipients.
        CO_TRY(const bool known, co_await is_known(store_, pool_, loop_, owner, envelope.wishes, clock_.now()));
        if (!known) CO_TRY_VOID(co_await apply_wishes(*delivery, envelope, bodies));

        const std::size_t recipients = envelope.recipients.size();
        auto write = [&store = store_, delivery, client, recipients, known, owner = std::move(owner),
                      late = std::move(late), receipts = spreader_.owed_receipts(envelope),
                      farewell = std::move(farewell),
                      wishes = std::move(envelope.wishes)](storage::Tx& tx) -> Result<smtp::AcceptedMessage> {
            TRY(auto first, find_first(storage::SubmissionTx(tx), owner, wishes, tx.now()));
            if (first) return *std::move(first);
            if (known) return Error(Errc::unavailable, "the key of the message was forgotten just now");
            if (client) TRY_VOID(storage::RelayClientTx(tx).charge(*client, recipients));
            TRY(const storage::Accepted taken, tx.deliver(*delivery));
            TRY_VOID(note_receipts(tx, receipts, taken.message, delivery->facts.message_id));
            for (const auto& [address, sent] : late.sent) TRY_VOID(record_news(tx, sent, late.news_of(sent)));
            TRY_VOID(take_leave(tx, store.sealing_key(), farewell));
            // What behaves as if it were stolen is taken all the same, and held.
            if (taken.queue && delivery->submitter) {
                TRY_VOID(storage::AccountGuardTx(tx).submitted(*taken.queue, *delivery->outgoing));
            }
            return carry_out(tx, *delivery, taken, owner, wishes);
        };
        auto accepted = co_await storage::commit(store_, loop_, std::move(bodies), std::move(write));
        if (!accepted) co_return Error(accepted.error());
        if (accepted->repeated) {
            repeated_.add();
            co_return accepted;
        }
        local_copies_.add(static_cast<std::int64_t>(delivery->local.size()));
        if (delivery->outgoing) queued_.add(static_cast<std::int64_t>(delivery->outgoing->recipients.size()));
        co_return accepted;
    }

 private:
    // Its stream, its class, and whether anybody is left who wants it.
    net::Task<Result<>> apply_wishes(storage::Delivery& delivery, smtp::Envelope& envelope,
                                     std::vector<storage::StagedBodyPtr>& bodies) {
        CO_TRY(auto stream, co_await apply_stream(store_, pool_, loop_, spreader_.stream_of_client(envelope), delivery,
                                                  envelope, clock_.now()));
        if (delivery.outgoing) choose_class(*delivery.outgoing, envelope.wishes);
        CO_TRY_VOID(co_await check_all_wanted(delivery));
        if (!stream) co_return Result<>();
        co_return co_await make_list_copies(store_, pool_, loop_, hostname_, *std::move(stream), delivery, bodies);
    }

    static Result<> note_receipts(storage::Tx& tx, std::vector<storage::Receipt> receipts, storage::MessageId message,
                                  const std::string& message_id) {
        for (storage::Receipt& one : receipts) {
            one.message = message;
            one.message_id = message_id;
            TRY_VOID(storage::ReceiptTx(tx).add(one));
        }
        return {};
    }

    // Mail to many, all of whom are suppressed, is not taken; of others the relay tells what was not sent.
    net::Task<Result<>> check_all_wanted(const storage::Delivery& delivery) {
        const bool is_alone = delivery.submitter && delivery.outgoing && delivery.local.empty();
        if (!is_alone || delivery.outgoing->recipients.size() > kLetterRecipientsMax) co_return Result<>();
        std::vector<std::string> addresses;
        for (const storage::NewRecipient& one : delivery.outgoing->recipients) addresses.push_back(one.address);
        const std::uint8_t mail_class = delivery.outgoing->mail_class;
        CO_TRY(const auto found,
               co_await find_suppressed(store_, pool_, loop_, delivery.sender, addresses, mail_class, clock_.now()));
        if (!found) co_return Result<>();
        suppressed_.add(static_cast<std::int64_t>(addresses.size()));
        for (const std::string& address : addresses) notes_.add(delivery.sender, address, *found, clock_.now());
        const storage::SuppressionSentence told = storage::describe(*found);
        co_return Error(Errc::refused, told.why + ". " + told.what_to_do);
    }

    // Kept, so that it holds over a restart and `doctor` tells of it. Nobody waits for it.
    void note_distrust(const std::string& name, const std::string& why) {
        const bool taken = pool_.submit([&store = store_, name, why] {
            const auto written = store.write(
                {}, [&](storage::Tx& tx) -> Result<> { return storage::RelayClientTx(tx).set_distrust(name, why); });
            if (!written) log::error("smtp", "the distrust cannot be written: {}", written.error().context);
        });
        if (!taken) log::warn("smtp", "too much work is queued: the distrust of {} is not written down", name);
    }

    // The picture knows who has a quota; how much of it is used is asked of the store, for those only. A mailbox below
    // its limit takes a message of any size that was not declared: the overshoot is one message for each transaction
    // under way, and nothing that was accepted is lost. 452 4.2.2, since room can be made (RFC 3463 3.3, X.2.2).
    net::Task<Result<>> check_quota(std::vector<storage::AccountId> accounts, std::uint64_t declared_octets) {
        auto look = [accounts = std::move(accounts), declared_octets](const storage::Snapshot& snapshot) {
            return storage::check_quota(snapshot.catalog(), accounts, declared_octets);
        };
        co_return co_await storage::read(store_, pool_, loop_, std::move(look));
    }

    net::Task<Result<mime::MessageFacts>> compute_facts(storage::StagedBodyPtr body) {
        if (body->size_octets() <= kParseHereOctetsMax) co_return mime::compute_facts(body->view());
        auto parse = [body]() -> Result<mime::MessageFacts> { return mime::compute_facts(body->view()); };
        co_return co_await net::offload(pool_, loop_, std::move(parse));
    }

    storage::Store& store_;
    net::Loop& loop_;
    net::ThreadPool& pool_;
    ClientLogin authenticator_;  ///< of accounts and of relay clients
    Directory& directory_;
    const Clock& clock_;
    LateDesk late_;
    std::string hostname_;
    SuppressionNotes notes_;
    Spreader spreader_;
    Metrics::Value& local_copies_;
    Metrics::Value& queued_;
    Metrics::Value& distrusted_;
    Metrics::Value& suppressed_;
    Metrics::Value& over_share_;
    Metrics::Value& repeated_;
    Metrics::Value& unsubscribed_;
};

}  // namespace

std::unique_ptr<smtp::Backend> make_backend(storage::Store& store, net::Loop& loop, net::ThreadPool& pool,
                                            Authenticator& authenticator, Directory& directory, std::string hostname,
                                            const Clock& clock, Metrics& metrics) {
    return std::make_unique<StoreBackend>(store, loop, pool, authenticator, directory, std::move(hostname), clock,
                                          metrics);
}

}  // namespace posthouse::server
