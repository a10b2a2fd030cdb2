#include "server/delivery/program_door.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <mutex>
#include <set>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/mime/address.h"
#include "protocols/mime/header.h"
#include "server/delivery/unwilling.h"
#include "server/delivery/wishes.h"
#include "server/smtp/author_check.h"
#include "server/smtp/header_rules.h"
#include "server/smtp/replies.h"
#include "storage/await.h"

namespace posthouse::server {

namespace {

namespace wire = ::posthouse::smtp;
using storage::RecipientVerdict;
using storage::Submission;
using storage::SubmissionOutcome;
using storage::SubmissionRefusal;
using Kind = SubmissionRefusal::Kind;

SubmissionOutcome refused(Kind kind, std::string_view field, std::string sentence) {
    SubmissionOutcome out;
    out.refusal = SubmissionRefusal(kind, std::string(field), std::move(sentence));
    return out;
}

// A reply of SMTP for somebody who does not speak it.
SubmissionOutcome refused(const wire::Reply& reply, std::string_view field) {
    Kind kind = Kind::invalid;
    if (reply.is_transient()) kind = Kind::unavailable;
    if (reply.enhanced == "4.3.1") kind = Kind::no_space;
    if (reply.enhanced == "5.3.4") kind = Kind::too_large;
    if (reply.enhanced.starts_with("5.7.")) kind = Kind::denied;
    return refused(kind, field, reply.lines.front() + ".");
}

SubmissionOutcome unavailable() {
    return refused(Kind::unavailable, "", "The server could not do it; try again later.");
}

SubmissionOutcome reused_key() {
    return refused(Kind::reused_key, "Idempotency-Key", "This key came with another request before; take a new one.");
}

wire::Reply needs_domain() { return {553, "5.1.3", "The address needs a domain"}; }

wire::Reply refusal_of(const storage::Suppression& suppression) {
    const storage::SuppressionSentence told = storage::describe(suppression);
    return {550, storage::status_of(suppression.reason), told.why + ". " + told.what_to_do};
}

// The author as the header names it; the rules of the header say later what is wrong with it.
std::optional<wire::Path> author_of(std::string_view octets) {
    const auto from = mime::find_first(mime::parse_fields(octets), "From");
    if (!from) return std::nullopt;
    const auto author = mime::parse_single_mailbox(*from);
    if (!author) return std::nullopt;
    return wire::Path(author->local_part, author->domain);
}

storage::SubmissionReceipt receipt_of(const smtp::AcceptedMessage& taken, std::vector<RecipientVerdict> recipients) {
    storage::SubmissionReceipt out;
    out.id = taken.id;
    out.message_id = taken.message_id;
    out.recipients = std::move(recipients);
    return out;
}

smtp::Ret ret_of(storage::Ret ret) {
    switch (ret) {
        case storage::Ret::full: return smtp::Ret::full;
        case storage::Ret::headers: return smtp::Ret::headers;
        case storage::Ret::unspecified: break;
    }
    return smtp::Ret::unspecified;
}

/// A key while its request is worked on.
class KeyInWork {
 public:
    KeyInWork(std::set<std::string>& all, std::string name) : all_(all), name_(std::move(name)) {
        is_first_ = all_.insert(name_).second;
    }
    ~KeyInWork() {
        if (is_first_) all_.erase(name_);
    }
    KeyInWork(const KeyInWork&) = delete;
    KeyInWork& operator=(const KeyInWork&) = delete;
    bool is_first() const { return is_first_; }

 private:
    std::set<std::string>& all_;
    std::string name_;
    bool is_first_ = false;
};

}  // namespace

struct ProgramDoor::Impl {
    explicit Impl(ProgramDoorDeps d)
        : deps(d),
          accepted(deps.metrics->counter("api_messages_total", "Messages accepted over HTTP")),
          refusals(deps.metrics->counter("api_messages_refused_total", "Messages refused over HTTP")),
          tasks(*deps.loop),
          idle(*deps.loop) {}

    net::Task<void> run(Submission submission, std::shared_ptr<std::promise<SubmissionOutcome>> answer);
    net::Task<SubmissionOutcome> take(Submission& submission);
    net::Task<SubmissionOutcome> take_once(Submission& submission, smtp::Login login);
    net::Task<std::optional<smtp::Login>> login_of(const Submission& submission, const wire::Path& author);
    net::Task<std::vector<RecipientVerdict>> look_up(const Submission& submission, smtp::Envelope& envelope);
    net::Task<SubmissionOutcome> accept(Submission& submission, smtp::Envelope envelope,
                                        std::vector<RecipientVerdict> verdicts);
    smtp::Trace trace_of(const Submission& submission, const smtp::Envelope& envelope) const;
    void ended();

    const ProgramDoorDeps deps;
    Metrics::Value& accepted;
    Metrics::Value& refusals;
    std::set<std::string> keys_in_work;  // the loop's
    std::mutex mutex;
    bool stopping = false;      // by mutex
    std::size_t under_way = 0;  // by mutex
    net::TaskGroup tasks;
    net::Event idle;
};

ProgramDoor::ProgramDoor(ProgramDoorDeps deps) : impl_(std::make_unique<Impl>(deps)) {}
ProgramDoor::~ProgramDoor() = default;

SubmissionOutcome ProgramDoor::submit(Submission submission) {
    auto answer = std::make_shared<std::promise<SubmissionOutcome>>();
    std::future<SubmissionOutcome> said = answer->get_future();
    {
        const std::lock_guard hold(impl_->mutex);
        if (impl_->stopping) return refused(Kind::unavailable, "", "The server is stopping; try again later.");
        ++impl_->under_way;
        impl_->deps.loop->post([impl = impl_.get(), one = std::move(submission), answer]() mutable {
            impl->tasks.spawn("submission.program", impl->run(std::move(one), answer));
        });
    }
    return said.get();
}

void ProgramDoor::stop() {
    const std::lock_guard hold(impl_->mutex);
    impl_->stopping = true;
}

net::Task<void> ProgramDoor::join() {
    bool is_idle = false;
    {
        const std::lock_guard hold(impl_->mutex);
        is_idle = impl_->under_way == 0;
    }
    if (!is_idle) co_await impl_->idle.wait();
    co_await impl_->tasks.join();
}

void ProgramDoor::Impl::ended() {
    const std::lock_guard hold(mutex);
    if (--under_way == 0 && stopping) idle.set();
}

net::Task<void> ProgramDoor::Impl::run(Submission submission, std::shared_ptr<std::promise<SubmissionOutcome>> answer) {
    SubmissionOutcome out = unavailable();
    try {
        out = co_await take(submission);
    } catch (const std::exception& e) {  // a bug or no memory: somebody waits for an answer all the same
        log::error("submission", "a message of {} was not taken: this is a bug in Posthouse: {}", submission.login,
                   e.what());
    }
    (out.refusal ? refusals : accepted).add();
    if (out.refusal) {
        log::info("submission", "message of {} from {} refused: {}", submission.login, submission.client,
                  out.refusal->sentence);
    }
    answer->set_value(std::move(out));
    ended();
}

// Whose address it is, where the token is good for everybody.
net::Task<std::optional<smtp::Login>> ProgramDoor::Impl::login_of(const Submission& submission,
                                                                  const wire::Path& author) {
    if (submission.account) co_return smtp::Login(storage::raw(*submission.account), submission.login);
    Resolution found = deps.directory->picture()->resolve(author);
    if (found.kind != Resolution::Kind::deliver || found.accounts.empty()) {
        const auto fresh = co_await deps.directory->fresh();
        found = fresh->resolve(author);
    }
    if (found.kind != Resolution::Kind::deliver || found.accounts.empty()) co_return std::nullopt;
    co_return smtp::Login(storage::raw(found.accounts.front()), author.spec());
}

net::Task<SubmissionOutcome> ProgramDoor::Impl::take(Submission& submission) {
    const auto author = author_of(submission.octets);
    if (!author) {
        co_return refused(Kind::invalid, "from", "From must hold exactly one address, local@domain.");
    }
    auto login = co_await login_of(submission, *author);
    if (!login) {
        co_return refused(
            Kind::denied, "from",
            fmt::format("{} belongs to no account or alias here; add one (posthouse alias add).", author->spec()));
    }
    if (submission.key.empty()) co_return co_await take_once(submission, *std::move(login));

    const std::string owner = storage::submission_owner(storage::AccountId{login->account});
    auto look = [owner, key = submission.key, now = deps.clock->now()](const storage::Snapshot& snapshot) {
        return storage::SubmissionView(snapshot).find(owner, key, now);
    };
    const KeyInWork work(keys_in_work, owner + " " + submission.key);
    if (!work.is_first()) {
        co_return refused(Kind::in_work, "Idempotency-Key", "A request with this key is being worked on; ask again.");
    }
    auto known = co_await storage::read(*deps.store, *deps.pool, *deps.loop, std::move(look));
    SubmissionOutcome out = unavailable();
    if (known && *known) {
        out = SubmissionOutcome();
        out.repeated = true;
        out.answer = (*known)->answer;
        if ((*known)->digest != submission.digest) out = reused_key();
    } else if (known) {
        out = co_await take_once(submission, *std::move(login));
    }
    co_return out;
}

// MAIL, RCPT: as server/smtp/commands_mail.cpp does for a session.
net::Task<SubmissionOutcome> ProgramDoor::Impl::take_once(Submission& submission, smtp::Login login) {
    smtp::Envelope envelope;
    envelope.login = std::move(login);
    envelope.declared_octets = submission.octets.size();
    if (const auto room = deps.backend->check_room(submission.octets.size()); !room) {
        co_return refused(smtp::reply_for(room.error()), "");
    }
    const auto author = author_of(submission.octets);
    envelope.sender = *author;
    if (submission.sender) {
        const auto path = wire::parse_mailbox(*submission.sender);
        if (!path) co_return refused(Kind::invalid, "envelope.from", "The sender is no address, local@domain.");
        envelope.sender = *path;
        const auto owned = co_await deps.backend->check_sender(*envelope.login, *path);
        if (!owned && owned.error().code != Errc::denied) {
            co_return refused(smtp::reply_for(owned.error()), "envelope.from");
        }
        if (!owned) {
            co_return refused(Kind::denied, "envelope.from", "The sender address does not belong to this account.");
        }
    }
    if (submission.recipients.empty()) {
        co_return refused(Kind::invalid, "to", "There is no recipient: name some in to, cc or bcc.");
    }
    if (submission.recipients.size() > deps.options->limits.recipients_max) {
        co_return refused(Kind::invalid, "to",
                          fmt::format("A message goes to {} recipients at most.", deps.options->limits.recipients_max));
    }
    envelope.envid = submission.envid;
    envelope.ret = ret_of(submission.ret);
    if (submission.tls == storage::TlsWish::require) envelope.tls = smtp::TlsWish::require;
    if (!submission.stream.empty()) {
        // Before the recipients: who unsubscribed from a stream is known to those only who may use it.
        const auto stream = co_await find_stream(*deps.store, *deps.pool, *deps.loop, submission.stream, author->spec(),
                                                 envelope.login->address);
        const bool is_no = !stream && stream.error().code == Errc::denied;
        if (is_no) co_return refused(Kind::denied, "stream", stream.error().context + ".");
        if (!stream) co_return refused(smtp::reply_for(stream.error()), "");
    }
    std::vector<RecipientVerdict> verdicts = co_await look_up(submission, envelope);
    if (envelope.recipients.empty()) {
        const bool soon = std::ranges::all_of(verdicts, &RecipientVerdict::is_transient);
        SubmissionOutcome out = refused(soon ? Kind::unavailable : Kind::recipients, "to",
                                        "None of the recipients can be written to: " + verdicts.front().sentence);
        out.recipients = std::move(verdicts);
        co_return out;
    }
    co_return co_await accept(submission, std::move(envelope), std::move(verdicts));
}

net::Task<std::vector<RecipientVerdict>> ProgramDoor::Impl::look_up(const Submission& submission,
                                                                    smtp::Envelope& envelope) {
    std::vector<RecipientVerdict> out;
    UnwillingQuestion question;
    question.sender = envelope.sender.spec();
    question.stream = submission.stream;
    question.addresses = submission.recipients;
    question.mail_class = static_cast<std::uint8_t>(submission.mail_class.value_or(storage::QueueClass::transactional));
    question.now = deps.clock->now();
    auto found = co_await find_unwilling(*deps.store, *deps.pool, *deps.loop, std::move(question));
    // What cannot be looked up now is looked at again by the relay.
    const Unwilling unwilling = found ? *std::move(found) : Unwilling();
    for (const std::string& address : submission.recipients) {
        wire::Reply reply(250, "2.1.5", "Accepted");
        smtp::Recipient recipient;
        const auto path = wire::parse_mailbox(address);
        if (!path) {
            reply = wire::Reply(501, "5.1.3", "This is no address, local@domain");
        } else if (path->domain.empty()) {
            reply = needs_domain();
        } else if (const auto no = unwilling.find(ascii::to_lower(address)); no != unwilling.end()) {
            reply = refusal_of(no->second);
        } else {
            const auto kind = co_await deps.backend->lookup_recipient(*path, envelope.login, envelope.declared_octets);
            if (!kind) reply = smtp::recipient_refused(kind.error());
            if (kind) recipient.kind = *kind;
            const bool is_bounce = kind && *kind == smtp::RecipientKind::bounce && !envelope.sender.is_null();
            if (is_bounce) reply = wire::Reply(550, "5.7.1", "This address takes delivery reports only");
        }
        RecipientVerdict verdict;
        verdict.address = address;
        verdict.code = reply.code;
        verdict.enhanced = reply.enhanced;
        verdict.sentence = reply.lines.front() + ".";
        out.push_back(std::move(verdict));
        if (reply.code >= 300) continue;
        recipient.path = *path;
        recipient.notify = submission.notify;
        envelope.smtputf8 = envelope.smtputf8 || path->has_utf8();
        envelope.recipients.push_back(std::move(recipient));
    }
    co_return out;
}

smtp::Trace ProgramDoor::Impl::trace_of(const Submission& submission, const smtp::Envelope& envelope) const {
    smtp::Trace trace;
    trace.hostname = deps.options->hostname;
    trace.client_name = "localhost";
    trace.client_literal = fmt::format("[{}]", submission.client);
    trace.protocol = "HTTP";
    trace.id = deps.random->token(10);
    if (envelope.recipients.size() == 1) trace.only_recipient = envelope.recipients.front().path.spec();
    trace.sender = envelope.sender.spec();
    trace.now = deps.clock->now();
    return trace;
}

// DATA: as server/smtp/session_content.cpp does.
net::Task<SubmissionOutcome> ProgramDoor::Impl::accept(Submission& submission, smtp::Envelope envelope,
                                                       std::vector<RecipientVerdict> verdicts) {
    const smtp::Trace trace = trace_of(submission, envelope);
    envelope.received_detail = fmt::format("from [{}] over HTTP, token {}", submission.client, submission.login);
    smtp::HeaderRules rules = [this, &trace](std::string_view block) {
        return smtp::prepare_header(trace, *deps.options, *deps.random, block);
    };
    smtp::Intake intake(deps.backend->begin_body(), deps.options->limits, std::move(rules));
    intake.append(submission.octets);
    const std::uint64_t octets = intake.octets();
    const auto fault = intake.finish();
    if (fault) co_return refused(*fault, "message");
    const std::string_view header =
        std::string_view(submission.octets).substr(0, mime::find_header_end(submission.octets));
    envelope.smtputf8 = envelope.smtputf8 || envelope.sender.has_utf8() || ascii::has_8bit(header);
    std::string().swap(submission.octets);
    const auto refusal = co_await smtp::check_author(*deps.backend, deps.alignment, envelope, intake);
    if (refusal) co_return refused(*refusal, "from");
    envelope.eight_bit = intake.has_8bit();
    if (envelope.tls == smtp::TlsWish::policy && intake.tls_not_required()) envelope.tls = smtp::TlsWish::best_effort;
    // The key of the request counts; one in the header is what the same program says to another door.
    envelope.wishes.key = submission.key.empty() ? intake.key() : submission.key;
    envelope.wishes.stream = submission.stream.empty() ? intake.stream() : submission.stream;
    if (intake.author()) envelope.wishes.author = intake.author()->spec();
    envelope.wishes.digest = submission.digest;
    const auto mail_class = submission.mail_class;
    if (mail_class) envelope.wishes.mail_class = static_cast<std::uint8_t>(*mail_class);
    envelope.wishes.by_program = true;
    envelope.wishes.tags = std::move(submission.tags);
    envelope.wishes.metadata = std::move(submission.metadata);
    envelope.wishes.answer = [make = submission.answer, verdicts](const smtp::AcceptedMessage& taken) {
        return make(receipt_of(taken, verdicts));
    };
    const std::string sender = envelope.sender.spec();
    const std::size_t count = envelope.recipients.size();
    auto taken = co_await deps.backend->accept(intake.take_sink(), std::move(envelope));
    if (!taken && taken.error().code == Errc::refused) {
        co_return refused(Kind::recipients, "to", taken.error().context + ".");
    }
    if (!taken && taken.error().code == Errc::denied) {
        co_return refused(Kind::denied, "stream", taken.error().context + ".");
    }
    if (!taken) {
        log::warn("submission", "message {} of {} from <{}> not taken: {}", trace.id, submission.login, sender,
                  taken.error().context);
        co_return refused(smtp::reply_for(taken.error()), "");
    }
    log::info("submission", "accepted {} as {} from <{}> for {} recipients, {} octets, token {}{}", trace.id, taken->id,
              sender, count, octets, submission.login, taken->repeated ? ", once more under its key" : "");
    if (taken->repeated && taken->digest != submission.digest) co_return reused_key();
    SubmissionOutcome out;
    out.repeated = taken->repeated;
    // Nothing is kept of an address that was unsubscribed by writing to it.
    out.answer = taken->answer.empty() ? submission.answer(receipt_of(*taken, verdicts)) : std::move(taken->answer);
    out.recipients = std::move(verdicts);
    co_return out;
}

}  // namespace posthouse::server
