// Message octets: the phases data and chunk of a session, and the acceptance at their end.
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "server/smtp/author_check.h"
#include "server/smtp/header_rules.h"
#include "server/smtp/replies.h"
#include "server/smtp/session.h"

namespace posthouse::server::smtp {

namespace {

constexpr std::uint64_t kReadOctetsMax = 256 * 1024;

// RFC 3848 and RFC 6531 4.3: S for TLS, A for a login.
std::string protocol_name(bool esmtp, bool tls, bool login, bool utf8) {
    if (!esmtp) return "SMTP";
    std::string out = utf8 ? "UTF8SMTP" : "ESMTP";
    if (tls) out += "S";
    if (login) out += "A";
    return out;
}

}  // namespace

Trace Session::make_trace() const {
    const Envelope& envelope = transaction_->envelope;
    Trace trace;
    trace.hostname = options().hostname;
    trace.client_name = client_name_;
    trace.client_literal = peer_;
    trace.protocol = protocol_name(esmtp_, is_tls(), login_.has_value(), envelope.smtputf8);
    trace.of_client = envelope.login && envelope.login->is_relay_client();
    if (const auto& tls = stream_.raw().tls()) trace.tls = tls->version + " " + tls->cipher;
    trace.id = transaction_->id;
    // RFC 5321 7.6: naming one of several would tell the others of a blind copy.
    if (envelope.recipients.size() == 1) trace.only_recipient = envelope.recipients.front().path.spec();
    trace.sender = envelope.sender.spec();
    trace.now = deps_.clock->now();
    return trace;
}

void Session::begin_content() {
    Trace trace = make_trace();
    transaction_->envelope.received_detail =
        fmt::format("from {} {} over {}", trace.client_name, trace.client_literal, trace.protocol);
    HeaderRules rules = [this, trace = std::move(trace)](std::string_view block) {
        return prepare_header(trace, options(), *deps_.random, block);
    };
    transaction_->intake = std::make_unique<Intake>(backend().begin_body(), options().limits, std::move(rules));
    content_began_ = std::chrono::steady_clock::now();
    content_octets_ = 0;
}

void Session::begin_chunk(wire::ChunkHeader chunk, std::optional<wire::Reply> refusal) {
    chunk_ = chunk;
    chunk_refusal_ = std::move(refusal);
    if (!chunk_refusal_) return;
    transaction_.reset();
    content_began_ = std::chrono::steady_clock::now();
    content_octets_ = 0;
}

// Waits until something is buffered. Slow is one thing, a drip that holds a place for hours another: the deadline is
// what
// a sender at the slowest rate allowed would need for what has come so far, and never more than the idle time from now.
net::Task<Result<>> Session::fill_content() {
    const SmtpLimits& limits = options().limits;
    if (content_octets_ > limits.message_octets_max * 2) {
        co_return Error(Errc::too_large, "the client does not stop sending");
    }
    if (!stream_.buffered().empty()) co_return Result<>();
    const auto spent =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - content_began_);
    const auto earned = std::chrono::milliseconds(content_octets_ * 1000 / limits.data_octets_per_second_min);
    const auto left = limits.idle + earned - spent;
    if (left.count() <= 0) co_return Error(Errc::timeout, "the client sends too slowly");
    stream_.raw().expires_in(std::min(limits.idle, left));
    if (stream_.pending_output() > 0) CO_TRY_VOID(co_await stream_.flush());
    co_return co_await stream_.fill_more(kReadOctetsMax);
}

// The octets stopped coming, or would not stop.
wire::Reply Session::content_broken(const Error& error) {
    transaction_.reset();
    if (error.code != Errc::too_large) return broken(error);
    enter(Phase::closing);
    return wire::Reply(421, "4.3.4", "Far too much data, closing the connection");
}

net::Task<wire::Reply> Session::receive_data() {
    DotDecoder decoder;
    while (!decoder.done()) {
        const auto filled = co_await fill_content();
        if (!filled) co_return content_broken(filled.error());
        // The dialogue goes on behind the dot: what lies there stays in the buffer.
        std::string_view rest = stream_.buffered();
        const std::size_t held = rest.size();
        while (!rest.empty() && !decoder.done()) transaction_->intake->append(decoder.next(rest));
        content_octets_ += held - rest.size();
        stream_.consume(held - rest.size());
    }
    co_return co_await finish_content();
}

net::Task<wire::Reply> Session::receive_chunk() {
    std::uint64_t left = chunk_.octets;
    while (left > 0) {
        const auto filled = co_await fill_content();
        if (!filled) co_return content_broken(filled.error());
        const std::string_view octets = stream_.buffered().substr(0, static_cast<std::size_t>(left));
        if (!chunk_refusal_) transaction_->intake->append(octets);
        left -= octets.size();
        content_octets_ += octets.size();
        stream_.consume(octets.size());
    }
    if (chunk_refusal_) {
        enter(client_name_.empty() ? Phase::greeted : Phase::ready);
        wire::Reply refusal = *std::move(chunk_refusal_);
        chunk_refusal_.reset();
        co_return refusal;
    }
    if (chunk_.last) co_return co_await finish_content();
    if (transaction_->intake->fault()) {
        // RFC 3030 2: the message is lost, and so are the chunks that follow until the next MAIL.
        wire::Reply fault = *transaction_->intake->fault();
        drop_transaction();
        co_return fault;
    }
    enter(Phase::chunks);
    co_return wire::Reply(250, "2.0.0", fmt::format("{} octets received", chunk_.octets));
}

// The message is in. Whatever comes of it, the transaction is over.
net::Task<wire::Reply> Session::finish_content() {
    wire::Reply reply = co_await accept_content();
    drop_transaction();
    co_return reply;
}

// Strangers: SPF, DKIM, DMARC and ARC, before anything is acknowledged.
net::Task<std::optional<wire::Reply>> Session::check_outside_sender() {
    Envelope& about = transaction_->envelope;
    if (about.login || deps_.senders == nullptr || options().kind != Kind::reception) co_return std::nullopt;
    auto octets = transaction_->intake->sink().octets();
    if (!octets) co_return reply_for(octets.error());
    SenderQuestion question;
    question.peer = stream_.raw().peer().address;
    question.hello = client_name_;
    question.sender = about.sender.spec();
    for (const Recipient& recipient : about.recipients) question.recipients.push_back(recipient.path.spec());
    question.octets = *std::move(octets);
    SenderVerdict verdict = co_await deps_.senders->check(std::move(question));
    if (verdict.action == SenderVerdict::Action::refuse) {
        log::info("smtp", "session {}: message {} from <{}> refused: {}", id_, transaction_->id, about.sender.spec(),
                  verdict.summary);
        co_return wire::Reply(550, "5.7.26", verdict.sentence);  // RFC 7372 3.3
    }
    about.junk = verdict.action == SenderVerdict::Action::junk;
    about.sender_proven = verdict.sender_proven;
    if (!verdict.summary.empty()) about.received_detail += "; " + verdict.summary;
    if (!verdict.field.empty()) {
        const auto added = co_await transaction_->intake->sink().add_fields(std::move(verdict.field));
        if (!added) co_return reply_for(added.error());
    }
    co_return std::nullopt;
}

net::Task<wire::Reply> Session::accept_content() {
    Intake& intake = *transaction_->intake;
    if (auto refusal = intake.finish()) {
        if (intake.smuggled()) {
            count("smtp_smuggling_total", "Messages refused for a bare CR, LF or NUL").add();
            // Somebody tries to smuggle, or is broken beyond repair: do not read on.
            if (!login_) enter(Phase::closing);
        }
        co_return *std::move(refusal);
    }
    if (auto ended = co_await check_login()) co_return *std::move(ended);
    if (auto refusal = co_await check_author(backend(), deps_.alignment, transaction_->envelope, intake)) {
        co_return *std::move(refusal);
    }
    if (auto refusal = co_await check_outside_sender()) co_return *std::move(refusal);
    Envelope envelope = std::move(transaction_->envelope);
    envelope.eight_bit = envelope.eight_bit || intake.has_8bit();
    // RFC 8689 4.1: beside REQUIRETLS the field counts for nothing.
    if (envelope.tls == TlsWish::policy && intake.tls_not_required()) envelope.tls = TlsWish::best_effort;
    if (envelope.login) {
        envelope.wishes.key = intake.key();
        envelope.wishes.stream = intake.stream();
        if (intake.author()) envelope.wishes.author = intake.author()->spec();
    }
    const std::uint64_t octets = intake.octets();
    const std::string sender = envelope.sender.spec();
    const std::size_t recipients = envelope.recipients.size();
    std::unique_ptr<BodySink> sink = intake.take_sink();
    const auto accepted = co_await backend().accept(std::move(sink), std::move(envelope));
    if (!accepted && accepted.error().code == Errc::limit) {
        co_return wire::Reply(451, "4.7.1", accepted.error().context);  // a relay client's share
    }
    if (!accepted && accepted.error().code == Errc::refused) {
        co_return wire::Reply(550, "5.7.1", accepted.error().context);
    }
    if (!accepted && accepted.error().code == Errc::denied) {
        co_return wire::Reply(554, "5.7.1", accepted.error().context);  // likewise, on any day
    }
    if (!accepted) {
        log::warn("smtp", "session {}: message {} from <{}> not taken: {}", id_, transaction_->id, sender,
                  accepted.error().context);
        co_return reply_for(accepted.error());
    }
    ++accepted_;
    idle_commands_ = 0;
    errors_ = 0;
    recipient_errors_ = 0;
    count("smtp_messages_total", "Messages accepted").add();
    count("smtp_octets_total", "Octets of messages accepted").add(static_cast<std::int64_t>(octets));
    log::info("smtp", "session {}: accepted {} as {} from <{}> for {} recipients, {} octets{}", id_, transaction_->id,
              accepted->id, sender, recipients, octets, accepted->repeated ? ", once more under its key" : "");
    if (accepted->repeated) {
        co_return wire::Reply(250, "2.0.0",
                              fmt::format("Ok: nothing new queued, this key came before as {}", accepted->id));
    }
    co_return wire::Reply(250, "2.0.0", fmt::format("Ok: queued as {}", accepted->id));
}

}  // namespace posthouse::server::smtp
