#include "relay/probe.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/mime/build.h"
#include "protocols/mime/date.h"
#include "protocols/smtp/presets.h"
#include "relay/connect.h"
#include "relay/way_book.h"

namespace posthouse::relay {

namespace {

// The octets of one short message.
class ShortMessage final : public MessageSource {
 public:
    explicit ShortMessage(std::string octets) : octets_(std::move(octets)) {}
    net::Task<Result<std::string_view>> next() override {
        const std::string_view out = given_ ? std::string_view() : std::string_view(octets_);
        given_ = true;
        co_return out;
    }

 private:
    std::string octets_;
    bool given_ = false;
};

std::string message_for(const ProbeRequest& request, const RelayDeps& deps, std::string_view headers) {
    const Time now = deps.clock->now();
    std::string own;
    for (const char c : headers) own += c == '\n' ? "\r\n" : std::string(1, c);
    return fmt::format(
        "{}From: <{}>\r\nTo: <{}>\r\nSubject: Test of the way \"{}\"\r\nDate: {}\r\nMessage-ID: {}\r\n"
        "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        "This message was sent by posthouse route test, to see whether mail that goes out by the way\r\n\"{}\" "
        "arrives. Nothing needs to be done.\r\n",
        own, request.from, request.to, request.way.name, mime::format_rfc5322(now),
        mime::make_message_id(*deps.random, now, deps.hostname), request.way.name);
}

class Probe {
 public:
    Probe(RelayDeps deps, ProbeRequest request) : core_(std::move(deps)), request_(std::move(request)) {}

    net::Task<ProbeResult> run() {
        storage::Choice choice;
        choice.way = request_.way;
        const std::string domain = storage::address_domain(request_.to);
        auto target = make_target(choice, domain);
        if (!target) co_return fail(target.error().context);
        to_.target = *std::move(target);
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
        out_.dialogue = dialogue_.text();
        return std::move(out_);
    }
    ProbeResult refused(const Verdict& verdict) {
        const Lesson lesson = learn(to_.target, verdict, false);
        say("{}", verdict.reply);
        if (lesson.is_trouble() && lesson.reason != verdict.reply) say("That means: {}", lesson.reason);
        return fail("The way does not work as it is");
    }

    void tell_connection() {
        out_.good = true;
        say("Connected to {}.", connection_->remote());
        const auto& tls = connection_->client().stream().tls();
        if (!tls) {
            say("The connection is in clear.");
        } else {
            say("{} with {}, the certificate is {}.", tls->version, tls->cipher,
                tls->peer_verified ? "good" : "not checked (" + tls->verify_error + ")");
        }
        if (to_.target.is_mx() || to_.target.url.user.empty()) return;
        say("The login of {} was accepted.", to_.target.url.user);
    }

    void tell_limits() {
        const smtp::Capabilities& offered = connection_->client().capabilities();
        const storage::WayLimits& limits = request_.way.limits;
        if (offered.size && offered.size_octets_max != 0) {
            say("It takes messages of up to {} octets.", offered.size_octets_max);
            if (limits.message_octets_max > offered.size_octets_max) {
                say("The way allows {}: set --max-size {} so that larger ones take another way.",
                    limits.message_octets_max, offered.size_octets_max);
            }
        }
        if (limits.connections_max != 0) say("At most {} connections are opened to it.", limits.connections_max);
        if (limits.day_max != 0) say("At most {} recipients a day are handed to it.", limits.day_max);
    }

    net::Task<void> hand_over() {
        Envelope envelope;
        envelope.reverse_path = request_.from;
        EnvelopeRecipient recipient;
        recipient.address = request_.to;
        envelope.recipients.push_back(std::move(recipient));
        std::string octets = message_for(request_, core_.deps, request_.way.headers);
        envelope.mail.size_octets = octets.size();
        ShortMessage message(std::move(octets));
        const auto verdicts = co_await connection_->client().send(envelope, message, dialogue_);
        const Verdict& verdict = verdicts.front();
        if (verdict.fate == Fate::delivered) {
            say("It took a message for {}: {}", request_.to, verdict.reply);
            say("Look whether it arrives; if it is returned later, the report goes to {}.", request_.from);
            co_return;
        }
        out_.good = false;
        say("It did not take a message for {}: {}", request_.to, verdict.reply);
        const Lesson lesson = learn(to_.target, verdict, false);
        if (lesson.is_trouble()) say("That means: {}", lesson.reason);
    }

    Core core_;
    ProbeRequest request_;
    Destination to_;
    Dialogue dialogue_;
    std::unique_ptr<Connection> connection_;
    ProbeResult out_;
};

}  // namespace

net::Task<ProbeResult> probe_way(RelayDeps deps, ProbeRequest request) {
    Probe probe(std::move(deps), std::move(request));
    co_return co_await probe.run();
}

}  // namespace posthouse::relay
