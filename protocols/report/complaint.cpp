// Feedback reports, RFC 5965 and RFC 6591, and two forms that are none: the report of Outlook.com (a message with the
// recipient in a field of its header) and Apple's letter for somebody who pressed "unsubscribe".
#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/header.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"
#include "protocols/report/report.h"

namespace posthouse::report {
namespace {

struct TypeName {
    FeedbackType type;
    std::string_view name;
};
constexpr TypeName kTypes[] = {{FeedbackType::abuse, "abuse"},       {FeedbackType::fraud, "fraud"},
                               {FeedbackType::virus, "virus"},       {FeedbackType::opt_out, "opt-out"},
                               {FeedbackType::not_spam, "not-spam"}, {FeedbackType::auth_failure, "auth-failure"},
                               {FeedbackType::other, "other"}};

const mime::Part* find_part(const mime::Part& part, std::string_view type, std::string_view subtype) {
    if (ascii::equals_ci(part.type, type) && ascii::equals_ci(part.subtype, subtype)) return &part;
    for (const mime::Part& child : part.children) {
        if (const mime::Part* const found = find_part(child, type, subtype)) return found;
    }
    return nullptr;
}

std::string without_brackets(std::string_view value) {
    value = ascii::trim(value);
    if (value.starts_with('<') && value.ends_with('>')) value = value.substr(1, value.size() - 2);
    return std::string(value);
}

std::string text_of(const mime::Fields& fields, std::string_view name) {
    return mime::unfold(mime::find_first(fields, name).value_or(""));
}

std::vector<std::string> texts_of(const mime::Fields& fields, std::string_view name) {
    std::vector<std::string> out;
    for (const std::string_view value : mime::find_all(fields, name)) {
        if (out.size() < kRecipientsMax) out.push_back(without_brackets(mime::unfold(value)));
    }
    return out;
}

Complaint complaint_from(const mime::Fields& fields) {
    Complaint out;
    const std::string type = text_of(fields, "feedback-type");
    for (const TypeName& one : kTypes) {
        if (ascii::equals_ci(type, one.name)) out.type = one.type;
    }
    out.user_agent = text_of(fields, "user-agent");
    out.mail_from = without_brackets(text_of(fields, "original-mail-from"));
    out.recipients = texts_of(fields, "original-rcpt-to");
    out.envelope_id = text_of(fields, "original-envelope-id");
    out.source_ip = text_of(fields, "source-ip");
    out.arrival_date = text_of(fields, "arrival-date");
    if (out.arrival_date.empty()) out.arrival_date = text_of(fields, "received-date");  // before RFC 5965
    const std::string mta = text_of(fields, "reporting-mta");
    out.reporting_mta = ascii::trim(mta.substr(mta.find(';') == std::string::npos ? 0 : mta.find(';') + 1));
    out.reported_domains = texts_of(fields, "reported-domain");
    out.reported_uris = texts_of(fields, "reported-uri");
    out.authentication_results = texts_of(fields, "authentication-results");
    out.auth_failure = ascii::to_lower(text_of(fields, "auth-failure"));
    out.dkim_domain = ascii::to_lower(text_of(fields, "dkim-domain"));
    out.incidents = ascii::parse_number(text_of(fields, "incidents")).value_or(1);
    return out;
}

std::string id_in(const mime::Fields& fields) {
    const std::string value = text_of(fields, "message-id");
    const auto ids = mime::message_ids(value);
    return ids.empty() ? value : ids.front();
}

}  // namespace

std::string_view to_string(FeedbackType type) { return std::ranges::find(kTypes, type, &TypeName::type)->name; }

Result<Complaint> read_complaint(std::string_view message) {
    const mime::Structure structure = mime::parse_structure(message);
    const mime::Part* original = find_part(structure.root, "message", "rfc822");
    if (original == nullptr) original = find_part(structure.root, "text", "rfc822-headers");
    std::string header;
    if (original != nullptr) header = message.substr(original->body_offset, original->body_octets);
    const mime::Fields original_fields = mime::parse_fields(header);

    Complaint out;
    if (const mime::Part* const part = find_part(structure.root, "message", "feedback-report")) {
        const std::string fields = mime::decoded_body(message, *part);
        out = complaint_from(mime::parse_fields(fields));
    } else if (const auto recipient = mime::find_first(original_fields, "x-hmxmroriginalrecipient")) {
        out.type = FeedbackType::abuse;
        out.recipients.push_back(without_brackets(mime::unfold(*recipient)));
        out.mail_from = without_brackets(text_of(original_fields, "x-sid-pra"));
    } else {
        const mime::Fields fields = mime::parse_fields(message);
        if (!mime::find_first(fields, "x-apple-unsubscribe")) {
            return Error(Errc::not_found, "this mail is no feedback report");
        }
        out.type = FeedbackType::opt_out;
        for (const mime::Address& from : mime::parse_address_list(mime::find_first(fields, "from").value_or(""))) {
            out.recipients.push_back(from.spec());
        }
    }
    out.original_message_id = id_in(original_fields);
    return out;
}

}  // namespace posthouse::report
