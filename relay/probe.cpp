#include "relay/probe.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/mime/build.h"
#include "protocols/mime/date.h"
#include "protocols/smtp/presets.h"
#include "relay/connect.h"
#include "relay/outcome.h"
#include "relay/reverse_path.h"
#include "relay/way_book.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

constexpr Milliseconds kLookEvery{250};

std::string message_for(const ProbeRequest& request, const RelayDeps& deps, const std::string& message_id) {
    return fmt::format(
        "From: <{}>\r\nTo: <{}>\r\nSubject: Test of the way \"{}\"\r\nDate: {}\r\nMessage-ID: {}\r\n"
        "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        "This message was sent by posthouse route test, to see whether mail that goes out by the way\r\n\"{}\" "
        "arrives. Nothing needs to be done.\r\n",
        request.from, request.to, request.way.name, mime::format_rfc5322(deps.clock->now()), message_id,
        request.way.name);
}

// What the store knows that the message needs.
struct Ground {
    storage::RoutePicture picture;
    OutgoingMessagePtr message;
    std::string reverse_path;
    storage::QueueId under{};  // the number in a reverse-path that is a token; 0: it is none
    bool is_at_home = false;  // somebody here has the recipient's address
};

class Probe {
 public:
    Probe(RelayDeps deps, ProbeRequest request) : core_(std::move(deps)), request_(std::move(request)) {}

    net::Task<ProbeResult> run() {
        // A resolver that loses signatures would else look like an attack on every domain.
        static_cast<void>(co_await core_.deps.resolver->test_dnssec());
        core_.resolver_tested.set();
        if (!request_.to.empty()) {
            out_.message_id = mime::make_message_id(*core_.deps.random, core_.now(), core_.deps.hostname);
        }
        auto look = [this](const storage::Snapshot& snapshot) { return read_ground(snapshot); };
        auto ground = co_await storage::read(*core_.deps.store, *core_.deps.pool, *core_.deps.loop, std::move(look));
        if (!ground) co_return fail(ground.error().context);
        ground_ = *std::move(ground);
        const std::string domain = storage::address_domain(request_.to);
        const auto trouble = choose_target(domain);
        if (!trouble.empty()) co_return fail(trouble);
        if (to_.target.is_mx()) to_.plan = co_await find_plan(core_, domain);
        if (to_.plan && to_.plan->refusal) co_return fail(to_.plan->refusal->reply);
        auto connected = co_await connect(core_, to_, dialogue_);
        if (!connected.connection) co_return refused(connected.verdict);
        connection_ = std::move(connected.connection);
        tell_connection();
        tell_limits();
        if (!request_.to.empty()) co_await hand_over();
        co_await connection_->client().quit();
        out_.dialogue = dialogue_.text();
        if (!request_.to.empty()) co_await follow();
        co_return std::move(out_);
    }

 private:
    template <class... Args>
    void say(fmt::format_string<Args...> text, Args&&... args) {
        out_.sentences.push_back(fmt::format(text, std::forward<Args>(args)...));
    }
    ProbeResult fail(std::string why) {
        out_.sentences.push_back(std::move(why));
        out_.good = false;
        out_.message_id.clear();
        out_.dialogue = dialogue_.text();
        return std::move(out_);
    }
    ProbeResult refused(const Verdict& verdict) {
        const Lesson lesson = learn(to_.target, verdict, false);
        say("{}", verdict.reply);
        if (lesson.is_trouble() && lesson.reason != verdict.reply) say("That means: {}", lesson.reason);
        return fail("The way does not work as it is");
    }

    // Blocking: the message as the relay would send it by this way.
    Result<Ground> read_ground(const storage::Snapshot& snapshot) {
        Ground out;
        TRY(out.picture, storage::RouteView(snapshot).picture(storage::day_number(core_.now())));
        if (request_.to.empty()) return out;
        const std::string& sealing_key = core_.deps.store->sealing_key();
        TRY_VOID(choose_path(snapshot, out));
        MessageWish wish;
        wish.edit.preset = request_.way.preset;
        wish.edit.headers = request_.way.headers;
        wish.edit.message_key = fmt::format("probe.{}@{}", to_unix_ms(core_.now()), core_.deps.hostname);
        wish.sender = request_.from;
        wish.envelope.reverse_path = out.reverse_path;
        wish.envelope.recipients = {request_.to};
        TRY(const auto keys, snapshot.catalog().dkim_keys());
        const Signing signing(keys, core_.keys, sealing_key);
        TRY(out.message,
            finish_message(message_for(request_, core_.deps, out_.message_id), signing, core_.now(), wish));
        TRY(const SenderPlace place, find_sender(storage::AddressView(snapshot), request_.to));
        out.is_at_home = !place.accounts.empty();
        return out;
    }

    // As mail of programs by this way. A token names a message of the queue: this one is none, and bears a number that
    // none of those has; its event has the same, so that a late bounce finds who sent it.
    Result<> choose_path(const storage::Snapshot& snapshot, Ground& out) {
        storage::QueueItem item;
        item.id = static_cast<storage::QueueId>(to_unix_ms(core_.now()));
        item.created = core_.now();
        item.reverse_path = request_.from;
        item.mail_class = static_cast<std::uint8_t>(storage::QueueClass::transactional);
        storage::QueueRecipient recipient;
        recipient.address = request_.to;
        TRY(out.reverse_path, choose_reverse_path(snapshot, item, {recipient}, PathWay(request_.way),
                                                  core_.deps.store->sealing_key(), core_.now()));
        if (bears_token(item, out.reverse_path)) out.under = item.id;
        return {};
    }

    // From which address of its pool, as a route that names this way alone would choose. What stands in the way.
    std::string choose_target(const std::string& domain) {
        storage::RoutePicture only = ground_.picture;
        storage::Route route;
        route.name = "test";
        route.steps.resize(1);
        route.steps.front().shares.push_back(storage::Step::Share{request_.way.name, 1});
        only.routes = {std::move(route)};
        if (!request_.source.empty()) {
            std::erase_if(only.addresses, [&](const auto& one) { return one.address != request_.source; });
        }
        storage::ChoiceInput input;
        input.mail = storage::MailFacts(request_.from, request_.to);
        input.now = core_.now();
        input.asked = input.tried = true;
        input.ticket = core_.deps.random->below(UINT32_MAX);
        const storage::Choice choice = storage::choose_way(only, input);
        if (choice.kind != storage::Choice::Kind::take) return why_waiting(choice);
        auto target = make_target(choice, domain);
        if (!target) return target.error().context;
        to_.target = *std::move(target);
        return {};
    }

    void tell_connection() {
        out_.good = true;
        say("Connected to {}{}.", connection_->remote(),
            to_.target.source ? fmt::format(" from {}", to_.target.source->to_string()) : std::string());
        const auto& tls = connection_->client().stream().tls();
        if (!tls) {
            say("The connection is in clear.");
        } else {
            say("{} with {}, the certificate is {}.", tls->version, tls->cipher,
                tls->peer_verified ? "good" : "not checked (" + tls->verify_error + ")");
        }
        if (to_.target.is_mx()) return;
        if (tls) tell_ours(*tls);
        if (to_.target.url.user.empty()) return;
        say("The login of {} was accepted.", to_.target.url.user);
    }

    // Of the certificate by which a relay may know us.
    void tell_ours(const net::TlsFacts& tls) {
        const std::string& file = to_.target.url.certificate_file;
        if (!tls.shown.empty()) {
            say("It asked for a certificate of ours and was shown {} ({}).", tls.shown, file);
        } else if (tls.asked_for_ours) {
            say("It asks for a certificate of ours, and the way has none: --client-cert sets one.");
        } else if (!file.empty()) {
            say("It did not ask for our certificate ({}): it does not know us by it.", file);
        }
    }

    void tell_limits() {
        const smtp::Capabilities& offered = connection_->client().capabilities();
        const storage::WayLimits& limits = request_.way.limits;
        if (offered.size && offered.size_octets_max != 0) {
            say("It takes messages of up to {} octets.", offered.size_octets_max);
            if (limits.message_octets_max == 0 || limits.message_octets_max > offered.size_octets_max) {
                say("The way allows {}: set --max-size {} so that larger ones take another way.",
                    limits.message_octets_max == 0 ? "any size" : fmt::format("{}", limits.message_octets_max),
                    offered.size_octets_max);
            }
        }
        if (offered.recipients_max) {  // RFC 9422
            say("It takes {} recipients of a message at once.", *offered.recipients_max);
            if (limits.recipients_max > *offered.recipients_max) {
                say("The way allows {}: set --max-recipients {}.", limits.recipients_max, *offered.recipients_max);
            }
        }
        if (limits.recipients_max != 0) {
            say("At most {} recipients of a message are handed to it at once.", limits.recipients_max);
        }
        if (limits.connections_max != 0) say("At most {} connections are opened to it.", limits.connections_max);
        if (limits.minute_max != 0) say("At most {} recipients a minute are handed to it.", limits.minute_max);
        if (limits.day_max != 0) say("At most {} recipients a day are handed to it.", limits.day_max);
    }

    net::Task<void> hand_over() {
        Envelope envelope;
        envelope.reverse_path = ground_.reverse_path;
        EnvelopeRecipient recipient;
        recipient.address = request_.to;
        envelope.recipients.push_back(std::move(recipient));
        envelope.mail.size_octets = ground_.message->size_octets();
        const auto source = make_source(ground_.message, *core_.deps.pool, *core_.deps.loop);
        const auto verdicts = co_await connection_->client().send(envelope, *source, dialogue_);
        verdict_ = verdicts.front();
        if (ground_.message->signatures.empty()) {
            say("It is not signed: no key signs for {}.", storage::address_domain(request_.from));
        } else {
            say("It is signed for {}; its envelope sender is {}.", storage::address_domain(request_.from),
                ground_.reverse_path);
        }
        if (verdict_.fate == Fate::delivered) {
            say("It took a message for {}: {}", request_.to, verdict_.reply);
            co_return;
        }
        out_.good = false;
        say("It did not take a message for {}: {}", request_.to, verdict_.reply);
        const Lesson lesson = learn(to_.target, verdict_, false);
        if (lesson.is_trouble()) say("That means: {}", lesson.reason);
    }

    std::string bare_id() const { return out_.message_id.substr(1, out_.message_id.size() - 2); }

    // Past the queue, but not past the log: `trace` tells of it.
    net::Task<void> write_down() {
        storage::Event event;
        event.at = core_.now();
        // Nothing is returned to anybody, so no report counts it as a bounce.
        const bool is_taken = verdict_.fate == Fate::delivered;
        event.kind = is_taken ? storage::EventKind::delivered : storage::EventKind::attempted;
        event.message_id = bare_id();
        const bool has_token = storage::raw(ground_.under) != 0;
        event.queue = ground_.under;
        event.sender = has_token ? request_.from : ground_.reverse_path;
        event.recipient = request_.to;
        const std::string from = to_.target.source ? " from " + to_.target.source->to_string() : std::string();
        event.detail = fmt::format("route test by way {}{}: {} ({})", request_.way.name, from, verdict_.reply,
                                   connection_->remote());
        event.dialogue = dialogue_.text();
        std::vector<storage::StagedBodyPtr> no_bodies;
        auto write = [event](storage::Tx& tx) { return tx.events().append(event); };
        const auto written =
            co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(write));
        if (!written) say("It could not be written down: {}", written.error().context);
    }

    // What became of it: of its copy in a mailbox here, or where to look.
    net::Task<void> follow() {
        co_await write_down();
        if (verdict_.fate != Fate::delivered) co_return;
        const Time began = core_.now();
        const auto until = std::chrono::steady_clock::now() + request_.wait;
        while (ground_.is_at_home && std::chrono::steady_clock::now() < until) {
            auto look = [id = bare_id()](const storage::Snapshot& snapshot) {
                return snapshot.events().by_message_id(id);
            };
            const auto events =
                co_await storage::read(*core_.deps.store, *core_.deps.pool, *core_.deps.loop, std::move(look));
            if (events) {
                const auto stored = std::ranges::find(*events, storage::EventKind::stored, &storage::Event::kind);
                if (stored != events->end()) {
                    say("It arrived in the mailbox of {} after {:.1f} s. posthouse trace {} tells all of it.",
                        stored->recipient.empty() ? request_.to : stored->recipient,
                        static_cast<double>((stored->at - began).count()) / 1000.0, out_.message_id);
                    co_return;
                }
            }
            static_cast<void>(co_await net::sleep_for(*core_.deps.loop, kLookEvery, &core_.stopping));
        }
        if (ground_.is_at_home) {
            out_.good = false;
            say("It has not arrived in the mailbox of {} within {} s.", request_.to,
                std::chrono::duration_cast<std::chrono::seconds>(request_.wait).count());
        }
        say("Look for Message-ID {} in the mailbox of {}; its field Authentication-Results says what SPF, DKIM and "
            "DMARC "
            "were found to be.",
            out_.message_id, request_.to);
        say("If it is returned later, the report goes to {}, and posthouse trace {} tells of it.", request_.from,
            out_.message_id);
    }

    Core core_;
    ProbeRequest request_;
    Ground ground_;
    Destination to_;
    Dialogue dialogue_;
    std::unique_ptr<Connection> connection_;
    Verdict verdict_;
    ProbeResult out_;
};

}  // namespace

net::Task<ProbeResult> probe_way(RelayDeps deps, ProbeRequest request) {
    Probe probe(std::move(deps), std::move(request));
    co_return co_await probe.run();
}

}  // namespace posthouse::relay
