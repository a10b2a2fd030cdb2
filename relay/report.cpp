#include "relay/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/mime/build.h"
#include "protocols/mime/date.h"
#include "protocols/mime/header.h"

namespace posthouse::relay {

namespace {

struct Row {
    std::string_view detail;  // "1.1" of "5.1.1"; a prefix ends with '.'
    Explanation explanation;
};

// The first row that fits wins: exact codes before their subject.
constexpr std::array kRows = {
    Row{"1.1",
        {"there is no such mailbox", "Check the address for typing errors, or ask the person for the right one."}},
    Row{"1.2", {"there is no such domain", "Check the part behind the @ for typing errors."}},
    Row{"1.3", {"the address is not written as an address must be", "Check the address for typing errors."}},
    Row{"1.6", {"the mailbox has moved and left no new address", "Ask the person for the new address."}},
    Row{"1.10", {"that domain takes no mail at all", "Use another address of that person."}},
    Row{"1.", {"the address was not accepted", "Check the address for typing errors."}},
    Row{"2.1", {"the mailbox is switched off", "Reach the person in another way, or try again some days later."}},
    Row{"2.2", {"the mailbox is full", "Try again later, or reach the person in another way."}},
    Row{"2.3", {"the message is too large for that mailbox", "Send it again with smaller attachments."}},
    Row{"2.", {"the mailbox cannot take the message", "Try again later, or reach the person in another way."}},
    Row{"3.4", {"the message is too large for that server", "Send it again with smaller attachments."}},
    Row{"3.", {"the receiving server has a problem of its own", "Send it again later."}},
    Row{"4.6",
        {"the message would go round in circles",
         "Tell your administrator: the domain's mail settings point to each other."}},
    Row{"4.7",
        {"no server there would take it in all that time",
         "Check the address, and send it again if it still matters."}},
    Row{"4.",
        {"the receiving server could not be reached",
         "Check the part behind the @ for typing errors, or send it again later."}},
    Row{"6.7",
        {"the receiving server cannot handle addresses beyond plain letters", "Use an address in plain letters."}},
    Row{"6.", {"the receiving server does not take this kind of content", "Send it in another form."}},
    Row{"7.26",
        {"the receiving server could not prove that it comes from you",
         "Tell your administrator: SPF, DKIM and DMARC of your domain need a look."}},
    Row{"7.",
        {"the receiving server refuses it by its rules",
         "Read its answer below; if that says nothing to you, show it to your administrator."}},
};

constexpr Explanation kUnknown{"the receiving server refused it", "Read its answer below; it mostly says why."};

// status-code = class "." subject "." detail                               RFC 3464 2.3.4
bool is_status(std::string_view text) {
    if (text.size() < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.') return false;
    const std::size_t dot = text.find('.', 2);
    if (dot == std::string_view::npos) return false;
    const auto subject = text.substr(2, dot - 2);
    const auto detail = text.substr(dot + 1);
    return subject.size() <= 3 && detail.size() <= 3 && ascii::parse_number(subject) && ascii::parse_number(detail);
}

std::string status_of(ReportKind kind, const ReportedRecipient& recipient) {
    const char wanted = kind == ReportKind::failed ? '5' : kind == ReportKind::delayed ? '4' : '2';
    if (recipient.expired) return "4.4.7";  // RFC 3463 3.5: too old; the class stays that of the last try
    if (is_status(recipient.status)) {
        std::string status = recipient.status;
        if (status.front() != wanted) status.front() = wanted;
        return status;
    }
    return fmt::format("{}.0.0", wanted);
}

std::string_view action_of(ReportKind kind) {
    switch (kind) {
        case ReportKind::failed: return "failed";
        case ReportKind::delayed: return "delayed";
        case ReportKind::relayed: return "relayed";
        case ReportKind::delivered: return "delivered";
        case ReportKind::expanded: return "expanded";
    }
    return "failed";
}

std::string field(std::string_view name, std::string_view value) {
    return mime::format_field(name, mime::HeaderValue::cleaned(value));
}

std::string first_line(const Report& report) {
    const std::string& address = report.recipients.front().address;
    const std::size_t others = report.recipients.size() - 1;
    const std::string whom = others == 0   ? address
                             : others == 1 ? fmt::format("{} and one other recipient", address)
                                           : fmt::format("{} and {} other recipients", address, others);
    switch (report.kind) {
        case ReportKind::failed: return fmt::format("Your message could not be delivered to {}.", whom);
        case ReportKind::delayed:
            return fmt::format(
                "Your message to {} is delayed. It has not been given up, and there is nothing you need to do.", whom);
        case ReportKind::relayed:
            return fmt::format("Your message to {} was handed on to a mail server that sends no receipts.", whom);
        case ReportKind::delivered: return fmt::format("Your message was delivered to {}.", whom);
        case ReportKind::expanded:
            return fmt::format("Your message to {} was passed on to several people; they send no receipts.", whom);
    }
    return "";
}

// "24 hours", "5 days"
std::string span_text(Milliseconds span) {
    const auto hours = std::chrono::round<std::chrono::hours>(span).count();
    if (hours >= 48 && hours % 24 == 0) return fmt::format("{} days", hours / 24);
    return fmt::format("{} hours", hours);
}

// For how long it was tried, and why no longer.
std::string tried_text(const storage::QueueItem& item, Time now) {
    const bool is_bulk = item.mail_class == static_cast<std::uint8_t>(storage::QueueClass::bulk);
    const std::string tried = fmt::format("It was tried for {}; ", span_text(now - item.created));
    if (!is_bulk) return tried + "then it is given up.";
    return tried + fmt::format("mail to many is given up after {}.", span_text(item.expires - item.created));
}

std::string recipient_text(const Report& report, const ReportedRecipient& recipient) {
    std::string out = fmt::format("{}\r\n", recipient.address);
    const Explanation why = explain_status(status_of(report.kind, recipient));
    if (report.kind == ReportKind::failed) {
        out += fmt::format("  What happened: {}.\r\n  What to do:    {}\r\n", why.cause, why.advice);
        if (recipient.expired) out += fmt::format("  {}\r\n", tried_text(report.item, report.now));
    } else if (report.kind == ReportKind::delayed) {
        out += fmt::format("  It will be tried again until {}.\r\n", mime::format_rfc5322(report.item.expires));
    }
    if (!recipient.reply.empty()) {
        const std::string_view who = recipient.from_remote ? "The server's answer" : "In detail";
        out += fmt::format("  {}: {}\r\n", who, mime::HeaderValue::cleaned(recipient.reply).view());
    }
    return out + "\r\n";
}

std::string text_part(const Report& report) {
    std::string out = first_line(report) + "\r\n\r\n";
    for (const ReportedRecipient& recipient : report.recipients) out += recipient_text(report, recipient);
    out += fmt::format("This report was made by the mail server {} about message {}.\r\n", report.hostname,
                       storage::format_queue_id(report.item.id));
    return out;
}

// per-recipient-fields                                                     RFC 3464 2.3
std::string recipient_fields(const Report& report, const ReportedRecipient& recipient) {
    std::string out;
    if (!recipient.orcpt.empty()) {
        const std::size_t semicolon = recipient.orcpt.find(';');
        out += semicolon == std::string::npos
                   ? field("Original-Recipient", "rfc822; " + recipient.orcpt)
                   : field("Original-Recipient",
                           recipient.orcpt.substr(0, semicolon) + "; " + recipient.orcpt.substr(semicolon + 1));
    }
    const std::string_view type = ascii::has_8bit(recipient.address) ? "utf-8; " : "rfc822; ";  // RFC 6533 3
    out += field("Final-Recipient", std::string(type) + recipient.address);
    out += field("Action", action_of(report.kind));
    out += field("Status", status_of(report.kind, recipient));
    const std::string host = recipient.remote.substr(0, recipient.remote.find(' '));
    if (!host.empty()) out += field("Remote-MTA", "dns; " + host);
    if (!recipient.reply.empty()) {
        out += field("Diagnostic-Code", (recipient.from_remote ? "smtp; " : "x-posthouse; ") + recipient.reply);
    }
    out += field("Last-Attempt-Date", mime::format_rfc5322(report.now));
    if (report.kind == ReportKind::delayed) out += field("Will-Retry-Until", mime::format_rfc5322(report.item.expires));
    out += field("Final-Log-ID", storage::format_queue_id(report.item.id));
    return out;
}

std::string status_part(const Report& report) {
    std::string out = field("Reporting-MTA", "dns; " + report.hostname);
    if (!report.item.envid.empty()) out += field("Original-Envelope-Id", report.item.envid);
    out += field("Arrival-Date", mime::format_rfc5322(report.item.created));
    for (const ReportedRecipient& recipient : report.recipients) out += "\r\n" + recipient_fields(report, recipient);
    return out;
}

using Headers = std::vector<std::pair<std::string, mime::HeaderValue>>;

mime::BodyPart part(std::string_view type, bool eight_bit, std::string body) {
    mime::BodyPart out;
    out.headers.emplace_back("Content-Type", mime::HeaderValue::cleaned(type));
    if (eight_bit) out.headers.emplace_back("Content-Transfer-Encoding", mime::HeaderValue::cleaned("8bit"));
    out.body = std::move(body);
    return out;
}

std::string subject_of(const Report& report) {
    switch (report.kind) {
        case ReportKind::failed: return "Undelivered: your message could not be delivered";
        case ReportKind::delayed: return "Delayed: your message has not been delivered yet";
        case ReportKind::relayed: return "Handed on: your message";
        case ReportKind::delivered: return "Delivered: your message";
        case ReportKind::expanded: return "Passed on: your message";
    }
    return "";
}

Headers message_headers(const Report& report, Random& random) {
    const auto value = [](std::string_view text) { return mime::HeaderValue::cleaned(text); };
    Headers out;
    // RFC 5321 4.4 and 6.1: it may go straight into a mailbox, where readers look for the null path here. A report that
    // leaves by the queue goes without (message.h).
    out.emplace_back("Return-Path", value("<>"));
    out.emplace_back("From", value(fmt::format("Mail Delivery System <MAILER-DAEMON@{}>", report.hostname)));
    out.emplace_back("To", value(fmt::format("<{}>", report.item.reverse_path)));
    out.emplace_back("Subject", value(subject_of(report)));
    out.emplace_back("Date", value(mime::format_rfc5322(report.now)));
    out.emplace_back("Message-ID", value(mime::make_message_id(random, report.now, report.hostname)));
    out.emplace_back("Auto-Submitted", value("auto-replied"));  // RFC 3834 5.2
    if (!report.item.message_id.empty()) {
        const bool bracketed = report.item.message_id.starts_with('<');
        const std::string id = bracketed ? report.item.message_id : "<" + report.item.message_id + ">";
        out.emplace_back("In-Reply-To", value(id));
        out.emplace_back("References", value(id));
    }
    return out;
}

}  // namespace

Explanation explain_status(std::string_view status) {
    if (!is_status(status)) return kUnknown;
    const std::string_view detail = status.substr(2);
    for (const Row& row : kRows) {
        const bool prefix = row.detail.ends_with('.');
        if (prefix ? detail.starts_with(row.detail) : detail == row.detail) return row.explanation;
    }
    return kUnknown;
}

std::string format_report(const Report& report, Random& random) {
    const std::string text = text_part(report);
    const std::string status = status_part(report);
    const bool utf8 = ascii::has_8bit(status);
    std::vector<mime::BodyPart> parts;
    parts.push_back(part("text/plain; charset=utf-8", ascii::has_8bit(text), text));
    // RFC 6533 3: the global forms where an address is not ASCII.
    parts.push_back(part(utf8 ? "message/global-delivery-status" : "message/delivery-status", utf8, status));
    if (report.original) {
        const bool eight_bit = ascii::has_8bit(*report.original);
        const bool global = ascii::has_8bit(report.original_header);
        parts.push_back(part(global ? "message/global" : "message/rfc822", eight_bit, *report.original));
    } else {
        const bool global = ascii::has_8bit(report.original_header);
        parts.push_back(
            part(global ? "message/global-headers" : "text/rfc822-headers", global, report.original_header));
    }
    const Headers headers = message_headers(report, random);
    return mime::assemble_report(headers, "delivery-status", mime::make_boundary(random), parts);
}

}  // namespace posthouse::relay
