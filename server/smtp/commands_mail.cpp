// The envelope: MAIL and RCPT.
#include "protocols/base/ascii.h"
#include "server/smtp/replies.h"
#include "server/smtp/session.h"

namespace posthouse::server::smtp {

namespace {

using wire::Reply;

// RFC 6531 3.5: an address beyond ASCII is only for a transaction that asked for SMTPUTF8.
Reply needs_smtputf8() { return Reply(553, "5.6.7", "This address needs the SMTPUTF8 parameter"); }

Reply parameter_reply(const Error& error) {
    if (error.code == Errc::limit) return Reply(501, "5.5.4", "Too many parameters");
    return reply_for(error);
}

// mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF          RFC 5321 4.1.1.2
net::Task<Reply> on_mail(Session& session, std::string_view args) {
    if (session.mails_exhausted()) {
        session.close_after_reply();
        co_return Reply(421, "4.7.0", "Too many messages in this session");
    }
    if (auto ended = co_await session.check_login()) co_return *std::move(ended);
    Cursor in(args);
    if (!in.take_word("FROM:")) co_return Reply(501, "5.5.4", "Syntax: MAIL FROM:<address>");
    in.skip_blanks();  // not in the grammar, but sent by many (RFC 5321 4.1.1.2 warns of it)
    const auto path = wire::take_reverse_path(in);
    if (!path) co_return Reply(501, "5.1.7", "Bad sender address");
    const auto parameters = parse_mail_parameters(session.extension_context(), in.rest());
    if (!parameters) co_return parameter_reply(parameters.error());
    if (path->has_utf8() && !parameters->smtputf8) co_return needs_smtputf8();

    const std::uint64_t size = parameters->size_octets;
    if (size > session.options().limits.message_octets_max) {
        co_return Reply(552, "5.3.4", "The message is larger than this server takes");
    }
    const auto room = session.backend().check_room(size);
    if (!room) co_return reply_for(room.error());
    if (session.login() && !path->is_null()) {
        const auto owned = co_await session.backend().check_sender(*session.login(), *path);
        if (!owned && owned.error().code == Errc::denied) {
            co_return Reply(553, "5.7.1", "The sender address does not belong to this login");
        }
        if (!owned) co_return reply_for(owned.error());
    }
    std::optional<Login> who = session.login();
    std::string no_relay;
    if (session.neighbour()) {
        // Known by its address; with a sender that is not its own it is a stranger like any other.
        const auto owned = co_await session.backend().check_sender(*session.neighbour(), *path);
        if (owned || path->is_null()) who = session.neighbour();
        if (!owned && !path->is_null()) no_relay = owned.error().context;
    }
    if (who && who->is_relay_client()) {
        const auto share = co_await session.backend().check_share(*who);
        if (!share && share.error().code == Errc::limit) co_return Reply(451, "4.7.1", share.error().context);
        if (!share) co_return reply_for(share.error());
    }
    Envelope envelope;
    envelope.sender = *path;
    envelope.envid = parameters->envid;
    envelope.ret = parameters->ret;
    envelope.smtputf8 = parameters->smtputf8;
    envelope.eight_bit = parameters->eight_bit;
    if (parameters->require_tls) envelope.tls = TlsWish::require;
    envelope.declared_octets = size;
    envelope.login = std::move(who);
    session.open_transaction(std::move(envelope), *parameters);
    session.transaction().no_relay = std::move(no_relay);
    co_return Reply(250, "2.1.0", "Sender ok");
}
constexpr Command kMail{.verb = "MAIL",
                        .phases = {Phase::ready},
                        .need = Need::login,
                        .run = on_mail,
                        .help = "MAIL FROM:<address> [parameters]: begins a message",
                        .rfc = "5321 4.1.1.2"};

// rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
net::Task<Reply> on_rcpt(Session& session, std::string_view args) {
    Cursor in(args);
    if (!in.take_word("TO:")) co_return Reply(501, "5.5.4", "Syntax: RCPT TO:<address>");
    in.skip_blanks();
    const auto path = wire::take_forward_path(in);
    if (!path) co_return Reply(501, "5.1.3", "Bad recipient address");
    auto parameters = parse_rcpt_parameters(session.extension_context(), in.rest());
    if (!parameters) co_return parameter_reply(parameters.error());
    Envelope& envelope = session.transaction().envelope;
    if (path->has_utf8() && !envelope.smtputf8) co_return needs_smtputf8();
    if (envelope.recipients.size() >= session.options().limits.recipients_max) {
        co_return Reply(452, "4.5.3", "Too many recipients, send to these first");
    }
    const auto kind = co_await session.backend().lookup_recipient(*path, envelope.login, envelope.declared_octets);
    if (!kind) {
        session.mark_recipient_refused();
        const std::string& why = session.transaction().no_relay;
        if (kind.error().code == Errc::denied && !why.empty())
            co_return Reply(554, "5.7.1", "Relay access denied: " + why);
        co_return recipient_refused(kind.error());
    }
    if (*kind == RecipientKind::bounce && !envelope.sender.is_null()) {
        session.mark_recipient_refused();
        co_return Reply(550, "5.7.1", "This address takes delivery reports (mail from <>) only");
    }
    if (*kind == RecipientKind::remote && envelope.login) {
        auto refusal = co_await session.backend().check_wanted(*envelope.login, envelope.sender, *path);
        if (!refusal) co_return reply_for(refusal.error());
        if (*refusal) {
            session.mark_recipient_unwanted();
            co_return **std::move(refusal);
        }
    }
    Recipient recipient;
    recipient.path = *path;
    recipient.orcpt = std::move(parameters->orcpt);
    recipient.notify = parameters->notify;
    recipient.kind = *kind;
    envelope.recipients.push_back(std::move(recipient));
    if (session.phase() == Phase::mail) session.enter(Phase::rcpt);
    co_return Reply(250, "2.1.5", "Recipient ok");
}
constexpr Command kRcpt{.verb = "RCPT",
                        .phases = {Phase::mail, Phase::rcpt},
                        .need = Need::login,
                        .run = on_rcpt,
                        .help = "RCPT TO:<address> [parameters]: adds a recipient",
                        .rfc = "5321 4.1.1.3"};

constexpr Command kRows[] = {kMail, kRcpt};

}  // namespace

std::span<const Command> mail_commands() { return kRows; }

}  // namespace posthouse::server::smtp
