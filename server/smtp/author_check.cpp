#include "server/smtp/author_check.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/header.h"
#include "server/smtp/replies.h"
#include "server/submission/rules.h"

namespace posthouse::server::smtp {

net::Task<std::optional<wire::Reply>> check_author(Backend& backend, AlignmentCheck* alignment, const Envelope& about,
                                                   Intake& intake) {
    if (!about.login || !intake.author()) co_return std::nullopt;
    // A report of another server of the house has no sender, and its author is that server.
    const bool is_report = about.login->is_relay_client() && about.sender.is_null() &&
                           (ascii::equals_ci(intake.author()->local_part, "MAILER-DAEMON") ||
                            ascii::equals_ci(intake.author()->local_part, "postmaster"));
    if (is_report) co_return std::nullopt;
    const auto owned = co_await backend.check_sender(*about.login, *intake.author());
    if (!owned && owned.error().code == Errc::denied) {
        co_return wire::Reply(550, "5.7.1", "The address in From does not belong to this login");
    }
    if (!owned) co_return reply_for(owned.error());
    const bool leaves = std::ranges::any_of(
        about.recipients, [](const Recipient& recipient) { return recipient.kind == RecipientKind::remote; });
    if (!leaves || alignment == nullptr) co_return std::nullopt;
    auto octets = intake.sink().octets();
    if (!octets) co_return reply_for(octets.error());
    AlignmentQuestion question;
    question.author_domain = intake.author()->domain;
    question.sender = about.sender.spec();
    for (const Recipient& recipient : about.recipients) {
        if (recipient.kind == RecipientKind::remote) question.recipients.push_back(recipient.path.spec());
    }
    if (about.login->is_relay_client()) question.client = about.login->address;
    question.mail_class = about.wishes.mail_class;
    question.by_program = about.wishes.by_program;
    question.octets = *std::move(octets);
    const std::string_view header = question.octets.view.substr(0, mime::find_header_end(question.octets.view));
    question.for_many = question.recipients.size() > submission::kLetterRecipientsMax ||
                        submission::is_for_many(mime::parse_fields(header));
    const auto aligned = co_await alignment->check(std::move(question));
    // The sentence is for our own user, who can do something about it.
    if (!aligned && aligned.error().code == Errc::refused) co_return wire::Reply(550, "5.7.1", aligned.error().context);
    if (!aligned) co_return wire::Reply(550, "5.7.26", aligned.error().context);
    co_return std::nullopt;
}

}  // namespace posthouse::server::smtp
