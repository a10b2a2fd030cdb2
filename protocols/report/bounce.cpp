#include <algorithm>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/mime/address.h"
#include "protocols/mime/charset.h"
#include "protocols/mime/html_text.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"
#include "protocols/report/bounce_text.h"
#include "protocols/report/delivery_status.h"
#include "protocols/report/report.h"

namespace posthouse::report {
namespace {

using bounce::ReplyClass;

bool is_type(const mime::Part& part, std::string_view type, std::string_view subtype) {
    return ascii::equals_ci(part.type, type) && ascii::equals_ci(part.subtype, subtype);
}

// The parts of a notification. The first of each kind counts; what lies in the returned message does not.
struct Pieces {
    const mime::Part* text = nullptr;
    const mime::Part* html = nullptr;
    const mime::Part* status = nullptr;
    const mime::Part* returned = nullptr;  // a message or its header
    const mime::Part* inner = nullptr;     // the contained message, looked into last
};

void collect(const mime::Part& part, Pieces& out) {
    const bool is_status = ascii::equals_ci(part.type, "message") &&
                           (ascii::equals_ci(part.subtype, "delivery-status") ||
                            ascii::equals_ci(part.subtype, "global-delivery-status"));  // RFC 6533 3
    const bool is_header = is_type(part, "text", "rfc822-headers") || is_type(part, "message", "rfc822-headers") ||
                           is_type(part, "message", "global-headers") || is_type(part, "text", "rfc822-header");
    if (is_status) {
        if (out.status == nullptr) out.status = &part;
    } else if (part.is_message_rfc822 || is_header) {
        if (out.returned == nullptr) out.returned = &part;
        if (part.is_message_rfc822 && out.inner == nullptr) out.inner = &part.children.front();
    } else if (is_type(part, "text", "html")) {
        if (out.html == nullptr) out.html = &part;
    } else if (ascii::equals_ci(part.type, "text") && part.children.empty()) {
        if (out.text == nullptr) out.text = &part;
    }
    for (const mime::Part& child : part.children) {
        if (!part.is_message_rfc822) collect(child, out);
    }
}

std::string_view raw_of(std::string_view message, const mime::Part& part) {
    return message.substr(part.body_offset, part.body_octets);
}

std::string notification_text(std::string_view message, const mime::Part& root, const Pieces& pieces) {
    mime::Limits limits;
    limits.text_octets_max = kTextOctetsMax;
    std::string out;
    if (pieces.text != nullptr) out = mime::decoded_text(message, *pieces.text, limits);
    if (ascii::trim(out).empty() && pieces.html != nullptr) {
        out = mime::html_text(mime::decoded_text(message, *pieces.html, limits));
    }
    // Some say multipart and write no delimiter: all is text then.
    if (ascii::trim(out).empty()) out = mime::repair_utf8(raw_of(message, root).substr(0, kTextOctetsMax));
    return out;
}

std::string message_id_in(std::string_view header) {
    const mime::Fields fields = mime::parse_fields(header);
    if (const auto value = mime::find_first(fields, "message-id")) {
        const auto ids = mime::message_ids(*value);
        if (!ids.empty()) return ids.front();
        return std::string(ascii::trim(mime::unfold(*value)));
    }
    return {};
}

// Free text shows the field among others, indented or not.
std::string message_id_near(std::string_view text) {
    constexpr std::string_view kName = "message-id:";
    const std::size_t at = ascii::find_ci(text, kName);
    if (at == std::string_view::npos) return {};
    const std::string_view rest = text.substr(at + kName.size(), 1000);
    const auto ids = mime::message_ids(rest.substr(0, rest.find("\n\n")));
    return ids.empty() ? std::string() : ids.front();
}

Action action_of(std::string_view word) {
    if (word == "delayed") return Action::delayed;
    if (word == "delivered") return Action::delivered;
    if (word == "relayed") return Action::relayed;
    if (word == "expanded") return Action::expanded;
    return Action::failed;
}

// What the step of the dialogue makes of it. Unknown after DATA is what filters answer to whom they do not want; where
// the receiver is known to check its users then (a provider's own rule), it is believed. At MAIL only the sender is
// known, so that what does not exist is the sender's.
void correct_by_step(BouncedRecipient& one) {
    const bool is_unknown = one.found.what == ReplyClass::recipient_unknown;
    if (one.step == Step::data && is_unknown && one.found.rule == "unknown-words") {
        one.found.what = ReplyClass::recipient_policy;
        one.found.rule = "unknown-after-data";
    }
    // Who is turned away before he has said anything is turned away for where he comes from.
    if (one.step == Step::connect && one.found.what == ReplyClass::policy && one.found.rule == "policy-words") {
        one.found.what = ReplyClass::ip_blocked;
        one.found.rule = "policy-at-connect";
    }
    if (one.step == Step::mail && (is_unknown || one.found.what == ReplyClass::domain_no_mail)) {
        one.found.what = ReplyClass::sender_fault;
        one.found.rule = "unknown-at-mail";
    }
}

// The reply without what would be taken for words of the remote: the address itself, and the codes that begin each
// further line.
std::string words_to_judge(const BouncedRecipient& one, std::string_view reply) {
    std::string out;
    const std::string code = one.code == 0 ? std::string() : std::to_string(one.code);
    for (std::size_t at = 0; at < reply.size();) {
        const std::string_view rest = reply.substr(at);
        const bool is_address = !one.final_recipient.empty() && ascii::starts_with_ci(rest, one.final_recipient);
        const bool is_code = at > 4 && !code.empty() && rest.starts_with(code) && reply[at - 1] == ' ' &&
                             (rest.substr(3).starts_with('-') || rest.substr(3).starts_with(' '));
        if (is_address) {
            at += one.final_recipient.size();
        } else if (is_code) {
            at += 4;
            if (!one.status.empty() && reply.substr(at).starts_with(one.status)) at += one.status.size();
        } else {
            out.push_back(reply[at++]);
        }
    }
    return out;
}

// Invariant 3 of report.h.
bool is_hard(const BouncedRecipient& one) {
    if (one.action != Action::failed) return false;
    if (one.found.what == ReplyClass::recipient_unknown) return true;
    return bounce::is_dead_address(one.found);
}

// `reply` begins with the code where there is one; what goes before it is the reporting host's own.
void judge(BouncedRecipient& one, std::string_view reply) {
    bounce::ReplyFacts facts;
    facts.code = one.code;
    facts.enhanced = one.status;
    const std::string words = words_to_judge(one, reply);
    facts.text = words;
    facts.host = one.remote;
    // What has failed for good without a reply is judged as a refusal.
    if (facts.code == 0 && one.action == Action::failed) facts.code = one.status.starts_with('4') ? 450 : 550;
    if (one.action == Action::delivered || one.action == Action::relayed || one.action == Action::expanded) {
        facts.code = 250;
    }
    one.found = bounce::classify(facts);
    correct_by_step(one);
    one.hard = is_hard(one);
}

std::string first_octets(std::string text) {
    text.resize(mime::cut_utf8(text, kReplyOctetsMax).size());
    return text;
}

// What the text says of this recipient; all of it where only one is meant.
std::string_view said_of(const BounceText& text, const RecipientFields& fields, bool is_only_one) {
    for (const TextRecipient& one : text.recipients) {
        if (ascii::equals_ci(one.address, fields.final_recipient) ||
            ascii::equals_ci(one.address, fields.original_recipient)) {
            return one.said;
        }
    }
    return is_only_one ? std::string_view(text.notice) : std::string_view();
}

BouncedRecipient recipient_from(const RecipientFields& fields, std::string_view said) {
    BouncedRecipient out;
    out.final_recipient = fields.final_recipient;
    out.original_recipient = fields.original_recipient;
    out.action = action_of(fields.action);
    out.remote = fields.remote_mta;
    const std::string diagnostic = mime::repair_utf8(fields.diagnostic);
    Said reported = find_said(diagnostic);
    const Said told = find_said(said);
    out.step = told.step;
    // A number alone is the exit status of a program.
    const bool says_little = diagnostic.find(' ') == std::string::npos;
    if (says_little && !told.text.empty()) reported = told;
    out.code = reported.code;
    out.reply = first_octets(says_little ? reported.text : diagnostic);
    out.status = find_status(reported.text);
    if (out.status.empty()) out.status = find_status(fields.status);
    if (out.status.empty()) out.status = reported.status;
    judge(out, reported.text);
    return out;
}

BouncedRecipient recipient_from_text(const std::string& address, std::string_view lines, bool is_delay) {
    const Said said = find_said(lines);
    BouncedRecipient out;
    out.final_recipient = address;
    out.action = is_delay ? Action::delayed : Action::failed;
    out.status = said.status;
    out.code = said.code;
    out.reply = first_octets(said.text);
    out.step = said.step;
    judge(out, out.reply);
    return out;
}

// Two groups about one recipient (a second try, two hosts): the one that tells more stays.
void add(std::vector<BouncedRecipient>& all, BouncedRecipient one) {
    for (BouncedRecipient& known : all) {
        if (!ascii::equals_ci(known.final_recipient, one.final_recipient)) continue;
        if (known.found.what == ReplyClass::other && one.found.what != ReplyClass::other) known = std::move(one);
        return;
    }
    if (all.size() < kRecipientsMax) all.push_back(std::move(one));
}

bool is_delay_notice(std::string_view subject, std::string_view notice) {
    constexpr std::string_view kWords[] = {"(Delay)", "has been delayed", "not yet been delivered",
                                           "WARNING MESSAGE ONLY", "still being retried"};
    return std::ranges::any_of(kWords, [&](std::string_view word) {
        return ascii::find_ci(subject, word) != std::string_view::npos ||
               ascii::find_ci(notice, word) != std::string_view::npos;
    });
}

bool is_from_daemon(const mime::Fields& fields) {
    if (const auto path = mime::find_first(fields, "return-path")) {
        if (ascii::trim(*path) == "<>") return true;
    }
    constexpr std::string_view kDaemons[] = {"mailer-daemon",        "postmaster",   "post_master",
                                             "mail.delivery.system", "maildelivery", "mdaemon"};
    for (const auto& sender : mime::parse_address_list(mime::find_first(fields, "from").value_or(""))) {
        for (const std::string_view daemon : kDaemons) {
            if (ascii::equals_ci(sender.local_part, daemon)) return true;
        }
    }
    return false;
}

// Exim and others name them in a field.
std::vector<std::string> failed_recipients(const mime::Fields& fields) {
    std::vector<std::string> out;
    for (const std::string_view value : mime::find_all(fields, "x-failed-recipients")) {
        for (const mime::Address& one : mime::parse_address_list(value)) {
            if (one.kind == mime::Address::Kind::mailbox && !one.domain.empty()) out.push_back(one.spec());
        }
    }
    return out;
}

// To whom the returned message went, where the notice names nobody.
std::vector<std::string> addressees(std::string_view header) {
    std::vector<std::string> out;
    const mime::Fields fields = mime::parse_fields(header);
    for (const mime::Address& one : mime::parse_address_list(mime::find_first(fields, "to").value_or(""))) {
        if (one.kind == mime::Address::Kind::mailbox && !one.domain.empty()) out.push_back(one.spec());
    }
    if (out.size() > 1) out.clear();  // which of them failed?
    return out;
}

// Whether these lines tell why, or the rest of the notice does.
bool tells_cause(std::string_view said, std::string_view notice) {
    const Said here = find_said(said);
    if (here.code != 0 || !here.status.empty()) return true;
    constexpr std::size_t kWordsMin = 2;
    std::size_t words = 0;
    for (Cursor in(here.text); !in.at_end(); in.take_octets(1)) {
        if (in.take_while(ascii::is_alpha).size() > 1) ++words;
    }
    return words >= kWordsMin && find_said(notice).code == 0;
}

void read_free_text(Bounce& out, const mime::Fields& fields, const BounceText& text, std::string_view returned) {
    const std::string subject = mime::unfold(mime::find_first(fields, "subject").value_or(""));
    const bool is_delay = is_delay_notice(subject, text.notice);
    const std::vector<std::string> named = failed_recipients(fields);
    if (!named.empty()) {
        for (const std::string& address : named) {
            RecipientFields wanted;
            wanted.final_recipient = address;
            add(out.recipients, recipient_from_text(address, said_of(text, wanted, named.size() == 1), is_delay));
        }
        return;
    }
    for (const TextRecipient& one : text.recipients) {
        // A sole recipient may stand after the cause, or anywhere.
        const bool is_elsewhere = text.recipients.size() == 1 && !tells_cause(one.said, text.notice);
        add(out.recipients, recipient_from_text(one.address, is_elsewhere ? text.notice : one.said, is_delay));
    }
    if (!out.recipients.empty() || !(text.has_introduction || is_from_daemon(fields))) return;
    for (const std::string& address : addressees(returned)) {
        add(out.recipients, recipient_from_text(address, text.notice, is_delay));
    }
}

}  // namespace

std::string_view to_string(Action action) {
    switch (action) {
        case Action::failed: return "failed";
        case Action::delayed: return "delayed";
        case Action::delivered: return "delivered";
        case Action::relayed: return "relayed";
        case Action::expanded: return "expanded";
    }
    return "";
}

Result<Bounce> read_bounce(std::string_view message) {
    const mime::Structure structure = mime::parse_structure(message);
    const mime::Fields fields = mime::parse_fields(message);
    Pieces pieces;
    collect(structure.root, pieces);
    const std::string text = notification_text(message, structure.root, pieces);
    const BounceText read = read_bounce_text(text);

    Bounce out;
    DeliveryStatus status;
    if (pieces.status != nullptr) status = parse_delivery_status(mime::decoded_body(message, *pieces.status));
    if (status.recipients.empty()) status = parse_delivery_status(text);  // a report without its part
    if (status.recipients.empty() && pieces.inner != nullptr && read.recipients.empty()) {
        Pieces inner;  // wrapped by a gateway
        collect(*pieces.inner, inner);
        if (inner.status != nullptr) status = parse_delivery_status(mime::decoded_body(message, *inner.status));
        if (inner.returned != nullptr && !status.recipients.empty()) pieces.returned = inner.returned;
    }
    out.from_daemon = is_from_daemon(fields);
    out.reporting_mta = status.reporting_mta;
    out.envelope_id = status.envelope_id;
    for (const RecipientFields& one : status.recipients) {
        add(out.recipients, recipient_from(one, said_of(read, one, status.recipients.size() == 1)));
    }
    std::string_view returned = read.returned;
    if (pieces.returned != nullptr) returned = raw_of(message, *pieces.returned);
    if (out.recipients.empty()) {
        out.is_free_text = true;
        read_free_text(out, fields, read, returned);
    }
    if (out.recipients.empty()) return Error(Errc::not_found, "this mail is no bounce");
    out.original_message_id = message_id_in(returned);
    if (out.original_message_id.empty()) out.original_message_id = message_id_near(text);
    return out;
}

}  // namespace posthouse::report
