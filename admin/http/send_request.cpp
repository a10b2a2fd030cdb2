#include "admin/http/send_request.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <string_view>

#include "protocols/base/ascii.h"
#include "protocols/mime/address.h"
#include "protocols/mime/compose.h"
#include "protocols/mime/encoding.h"
#include "protocols/mime/header.h"
#include "protocols/mime/idna.h"
#include "storage/streams.h"

namespace posthouse::admin {
namespace {

using mime::Address;
using Poco::Dynamic::Var;
using Fault = std::optional<SendFault>;

// What the other members make, what only servers write, and what would tell of others.
constexpr std::string_view kReserved[] = {"From",
                                          "Sender",
                                          "To",
                                          "Cc",
                                          "Bcc",
                                          "Reply-To",
                                          "Subject",
                                          "Date",
                                          "MIME-Version",
                                          "Received",
                                          "Resent-From",
                                          "Return-Path",
                                          "DKIM-Signature",
                                          "Authentication-Results",
                                          "Idempotency-Key"};

Fault fault(std::string field, std::string sentence) { return SendFault(std::move(field), std::move(sentence)); }

/// One message while it is read.
struct Reading {
    storage::Submission& out;
    mime::Draft draft{};
    std::vector<Address> from{}, to{}, cc{}, bcc{}, reply_to{};
    std::string subject{};
    std::vector<std::pair<std::string, mime::HeaderValue>> headers{};
    std::optional<std::vector<std::string>> envelope_to{};
};

Fault read_text(const Var& value, const std::string& field, std::string& out) {
    if (!value.isString()) return fault(field, "This is a text.");
    out = value.extract<std::string>();
    if (out.contains('\0')) return fault(field, "A text must not hold a NUL.");
    // Half of a surrogate pair, escaped (RFC 8259 8.2).
    if (!ascii::is_valid_utf8(out)) return fault(field, "A text must be UTF-8.");
    return std::nullopt;
}

// One line of a header.
Fault read_line(const Var& value, const std::string& field, std::size_t octets_max, std::string& out) {
    if (auto wrong = read_text(value, field, out)) return wrong;
    if (std::ranges::any_of(out, ascii::is_control)) return fault(field, "A line must not hold control characters.");
    if (out.size() > octets_max) return fault(field, fmt::format("This may be {} octets long.", octets_max));
    return std::nullopt;
}

Fault read_flag(const Var& value, const std::string& field, bool& out) {
    if (!value.isBoolean()) return fault(field, "This is true or false.");
    out = value.extract<bool>();
    return std::nullopt;
}

const Poco::JSON::Array* array_of(const Var& value) {
    if (value.type() != typeid(Poco::JSON::Array::Ptr)) return nullptr;
    return value.extract<Poco::JSON::Array::Ptr>().get();
}

const Poco::JSON::Object* object_of(const Var& value) {
    if (value.type() != typeid(Poco::JSON::Object::Ptr)) return nullptr;
    return value.extract<Poco::JSON::Object::Ptr>().get();
}

// ---- addresses

Fault check_address(Address address, const std::string& field, std::vector<Address>& out) {
    if (ascii::has_8bit(address.domain)) {
        const auto domain = mime::domain_to_ascii(address.domain);
        if (!domain) return fault(field, "The domain of the address is none.");
        address.domain = *domain;
    }
    const bool whole = address.kind == Address::Kind::mailbox && address.route.empty() &&
                       mime::parse_single_mailbox(address.spec()).has_value();
    if (!whole) return fault(field, "This is no address, local@domain or Name <local@domain>.");
    out.push_back(std::move(address));
    return std::nullopt;
}

Fault read_address_text(const std::string& text, const std::string& field, std::vector<Address>& out) {
    if (std::ranges::any_of(text, ascii::is_control)) {
        return fault(field, "An address must not hold control characters.");
    }
    const auto found = mime::parse_mailbox_list(text, /*with_groups=*/false);
    if (!found || found->empty()) {
        return fault(field, "This is no address, local@domain or Name <local@domain>; between several stands a comma.");
    }
    for (const Address& one : *found) {
        if (auto wrong = check_address(one, field, out)) return wrong;
    }
    return std::nullopt;
}

Fault read_address_object(const Poco::JSON::Object& object, const std::string& field, std::vector<Address>& out) {
    std::string name;
    std::string spec;
    for (const auto& [member, value] : object) {
        std::string* const into = member == "name" ? &name : member == "address" || member == "email" ? &spec : nullptr;
        if (into == nullptr) return fault(field + "." + member, "An address has name and address.");
        if (auto wrong = read_line(value, field + "." + member, kSubjectOctetsMax, *into)) return wrong;
    }
    auto address = mime::parse_single_mailbox(spec);
    if (!address) return fault(field + ".address", "This is no address, local@domain.");
    address->display_name = name;
    return check_address(*std::move(address), field, out);
}

Fault read_addresses(const Var& value, const std::string& field, std::vector<Address>& out) {
    if (value.isString()) return read_address_text(value.extract<std::string>(), field, out);
    if (const auto* const object = object_of(value)) return read_address_object(*object, field, out);
    const auto* const array = array_of(value);
    if (array == nullptr) return fault(field, "This is an address or a list of them.");
    std::size_t at = 0;
    for (const Var& one : *array) {
        const std::string place = fmt::format("{}[{}]", field, at++);
        if (array_of(one) != nullptr) return fault(place, "This is an address.");
        if (auto wrong = read_addresses(one, place, out)) return wrong;
    }
    return std::nullopt;
}

Fault read_from(Reading& r, const std::string& field, const Var& value) {
    if (auto wrong = read_addresses(value, field, r.from)) return wrong;
    if (r.from.size() != 1) return fault(field, "A message has one author.");
    return std::nullopt;
}
Fault read_to(Reading& r, const std::string& field, const Var& value) { return read_addresses(value, field, r.to); }
Fault read_cc(Reading& r, const std::string& field, const Var& value) { return read_addresses(value, field, r.cc); }
Fault read_bcc(Reading& r, const std::string& field, const Var& value) { return read_addresses(value, field, r.bcc); }
Fault read_reply_to(Reading& r, const std::string& field, const Var& value) {
    return read_addresses(value, field, r.reply_to);
}

// ---- texts and fields

Fault read_subject(Reading& r, const std::string& field, const Var& value) {
    return read_line(value, field, kSubjectOctetsMax, r.subject);
}
Fault read_plain(Reading& r, const std::string& field, const Var& value) {
    return read_text(value, field, r.draft.text);
}
Fault read_html(Reading& r, const std::string& field, const Var& value) {
    return read_text(value, field, r.draft.html);
}

bool is_reserved(std::string_view name) {
    const auto same = [name](std::string_view reserved) { return ascii::equals_ci(name, reserved); };
    return std::ranges::any_of(kReserved, same) || ascii::starts_with_ci(name, "Content-") ||
           ascii::starts_with_ci(name, "ARC-") || ascii::starts_with_ci(name, "Resent-");
}

// "<left@right>" (RFC 5322 3.6.4), as we and everybody else compare it: octets without blanks.
bool is_message_id(std::string_view text) {
    const bool framed = text.starts_with('<') && text.ends_with('>') && text.size() > 4;
    const auto plain = [](char c) { return ascii::is_printable(c) && c != ' ' && c != '<' && c != '>'; };
    return framed && std::ranges::all_of(text.substr(1, text.size() - 2), plain) && std::ranges::count(text, '@') == 1;
}

Fault read_headers(Reading& r, const std::string& field, const Var& value) {
    const auto* const object = object_of(value);
    if (object == nullptr) return fault(field, "This is an object of names and values.");
    for (const auto& [name, one] : *object) {
        const std::string place = field + "." + name;
        if (!mime::is_field_name(name) || name.size() > 70) return fault(place, "This is no name of a header field.");
        if (is_reserved(name)) return fault(place, "This field is made by the server or from the other members.");
        std::string text;
        if (auto wrong = read_line(one, place, kCustomHeaderOctetsMax, text)) return wrong;
        if (ascii::equals_ci(name, "Message-ID") && !is_message_id(text)) {
            return fault(place, "A Message-ID is <something@domain>.");
        }
        if (r.headers.size() >= kCustomHeadersMax) {
            return fault(field, fmt::format("There may be {} fields.", kCustomHeadersMax));
        }
        const bool plain = !ascii::has_8bit(text);
        r.headers.emplace_back(name, plain ? mime::HeaderValue::cleaned(text) : mime::HeaderValue::text(text));
    }
    return std::nullopt;
}

// ---- attachments

Fault read_type(const std::string& text, const std::string& field, mime::DraftFile& file) {
    file.type = mime::parse_content_type(text);
    const bool whole = mime::is_mime_token(file.type.type) && mime::is_mime_token(file.type.subtype);
    if (!whole) return fault(field, "This is no media type, such as application/pdf.");
    const bool is_mail = ascii::equals_ci(file.type.type, "message");
    if (ascii::equals_ci(file.type.type, "multipart") || (is_mail && !ascii::equals_ci(file.type.subtype, "rfc822"))) {
        return fault(field, "A file may be message/rfc822, but no other message/ and no multipart/ type.");
    }
    auto& parameters = file.type.parameters;
    std::erase_if(parameters, [](const mime::Parameter& one) {
        return !mime::is_mime_token(one.name) || one.name.contains('*') || ascii::equals_ci(one.name, "name");
    });
    return std::nullopt;
}

Fault read_attachment(const Poco::JSON::Object& object, const std::string& field, mime::DraftFile& file) {
    std::string type = "application/octet-stream";
    bool has_content = false;
    for (const auto& [name, value] : object) {
        const std::string place = field + "." + name;
        if (name == "content") {
            if (!value.isString()) return fault(place, "This is base64.");
            mime::Decoded decoded = mime::decode_base64(value.extract<std::string>());
            if (decoded.damaged) return fault(place, "This is no base64 (RFC 4648 4).");
            file.content = std::move(decoded.data);
            has_content = true;
        } else if (name == "inline") {
            if (auto wrong = read_flag(value, place, file.shown_inline)) return wrong;
        } else if (name == "name" || name == "type" || name == "content_id") {
            std::string& into = name == "name" ? file.name : name == "type" ? type : file.content_id;
            if (auto wrong = read_line(value, place, 255, into)) return wrong;
        } else {
            return fault(place, "An attachment has name, type, content, content_id and inline.");
        }
    }
    if (!has_content) return fault(field + ".content", "An attachment has content, in base64.");
    const auto plain = [](char c) { return ascii::is_printable(c) && c != ' ' && c != '<' && c != '>'; };
    if (!std::ranges::all_of(file.content_id, plain)) {
        return fault(field + ".content_id", "A content id is printable ASCII without blanks and angle brackets.");
    }
    return read_type(type, field + ".type", file);
}

Fault read_attachments(Reading& r, const std::string& field, const Var& value) {
    const auto* const array = array_of(value);
    if (array == nullptr) return fault(field, "This is a list of attachments.");
    if (array->size() > kAttachmentsMax) return fault(field, fmt::format("There may be {} files.", kAttachmentsMax));
    for (const Var& one : *array) {
        const std::string place = fmt::format("{}[{}]", field, r.draft.files.size());
        const auto* const object = object_of(one);
        if (object == nullptr) return fault(place, "An attachment is an object.");
        mime::DraftFile file;
        if (auto wrong = read_attachment(*object, place, file)) return wrong;
        r.draft.files.push_back(std::move(file));
    }
    return std::nullopt;
}

// ---- what is said beside the message

Fault take_class(const std::string& text, const std::string& field, storage::Submission& out) {
    if (text == "transactional") {
        out.mail_class = storage::QueueClass::transactional;
    } else if (text == "bulk") {
        out.mail_class = storage::QueueClass::bulk;
    } else {
        return fault(field, "The class is transactional or bulk.");
    }
    return std::nullopt;
}

Fault take_stream(const std::string& text, const std::string& field, storage::Submission& out) {
    out.stream = ascii::to_lower(text);
    if (!storage::is_stream_name(out.stream))
        return fault(field, "This is no name of a stream; posthouse stream list.");
    return std::nullopt;
}

Fault read_stream(Reading& r, const std::string& field, const Var& value) {
    std::string text;
    if (auto wrong = read_text(value, field, text)) return wrong;
    return take_stream(text, field, r.out);
}

Fault read_class(Reading& r, const std::string& field, const Var& value) {
    std::string text;
    if (auto wrong = read_text(value, field, text)) return wrong;
    return take_class(text, field, r.out);
}

template <class Json>
std::string json_text(const Json& value) {
    std::ostringstream out;
    value.stringify(out);
    return out.str();
}

Fault take_tags(const std::vector<std::string>& tags, const std::string& field, storage::Submission& out) {
    if (tags.size() > storage::kTagsMax) return fault(field, fmt::format("There may be {} tags.", storage::kTagsMax));
    Poco::JSON::Array array;
    for (const std::string& tag : tags) {
        if (tag.empty() || tag.size() > storage::kNoteOctetsMax) {
            return fault(field, fmt::format("A tag is 1 to {} octets long.", storage::kNoteOctetsMax));
        }
        array.add(tag);
    }
    out.tags = json_text(array);
    return std::nullopt;
}

Fault read_tags(Reading& r, const std::string& field, const Var& value) {
    const auto* const array = array_of(value);
    if (array == nullptr) return fault(field, "This is a list of texts.");
    std::vector<std::string> tags;
    for (const Var& one : *array) {
        if (auto wrong = read_text(one, fmt::format("{}[{}]", field, tags.size()), tags.emplace_back())) return wrong;
    }
    return take_tags(tags, field, r.out);
}

Fault read_metadata(Reading& r, const std::string& field, const Var& value) {
    const auto* const object = object_of(value);
    if (object == nullptr) return fault(field, "This is an object of names and texts.");
    if (object->size() > storage::kMetadataMax) {
        return fault(field, fmt::format("There may be {} members.", storage::kMetadataMax));
    }
    for (const auto& [name, one] : *object) {
        std::string text;
        if (auto wrong = read_text(one, field + "." + name, text)) return wrong;
        if (name.size() > storage::kNoteOctetsMax || text.size() > storage::kNoteOctetsMax) {
            return fault(field + "." + name, fmt::format("This may be {} octets long.", storage::kNoteOctetsMax));
        }
    }
    r.out.metadata = json_text(*object);
    return std::nullopt;
}

// esmtp-keyword "ENVID", "NOTIFY", "RET"                                  RFC 3461 4.1, 4.3, 4.4
Fault take_envid(const std::string& text, const std::string& field, storage::Submission& out) {
    if (text.size() > kEnvidOctetsMax || !std::ranges::all_of(text, ascii::is_printable)) {
        return fault(field, fmt::format("An envid is at most {} characters of printable ASCII.", kEnvidOctetsMax));
    }
    out.envid = text;
    return std::nullopt;
}

Fault take_notify(const std::vector<std::string>& words, const std::string& field, storage::Submission& out) {
    for (const std::string& word : words) {
        storage::Notify bit{};
        if (word == "never") {
            bit = storage::Notify::never;
        } else if (word == "success") {
            bit = storage::Notify::success;
        } else if (word == "failure") {
            bit = storage::Notify::failure;
        } else if (word == "delay") {
            bit = storage::Notify::delay;
        } else {
            return fault(field, "Notify is never, or some of success, failure and delay.");
        }
        out.notify = static_cast<storage::NotifyBits>(out.notify | static_cast<storage::NotifyBits>(bit));
    }
    const auto never = static_cast<storage::NotifyBits>(storage::Notify::never);
    if ((out.notify & never) != 0 && out.notify != never) return fault(field, "never stands alone.");
    return std::nullopt;
}

Fault take_ret(const std::string& text, const std::string& field, storage::Submission& out) {
    if (text != "full" && text != "headers") return fault(field, "Ret is full or headers.");
    out.ret = text == "full" ? storage::Ret::full : storage::Ret::headers;
    return std::nullopt;
}

std::vector<std::string> specs(const std::vector<Address>& addresses) {
    std::vector<std::string> out;
    for (const Address& one : addresses) out.push_back(one.spec());
    return out;
}

Fault read_envelope_member(Reading& r, const std::string& name, const std::string& field, const Var& value) {
    if (name == "to") {
        std::vector<Address> addresses;
        if (auto wrong = read_addresses(value, field, addresses)) return wrong;
        r.envelope_to = specs(addresses);
        return std::nullopt;
    }
    if (name == "notify") {
        const auto* const array = array_of(value);
        if (array == nullptr) return fault(field, "This is a list of words.");
        std::vector<std::string> words;
        for (const Var& one : *array) {
            if (auto wrong = read_text(one, field, words.emplace_back())) return wrong;
        }
        return take_notify(words, field, r.out);
    }
    if (name == "require_tls") {
        bool wanted = false;
        if (auto wrong = read_flag(value, field, wanted)) return wrong;
        if (wanted) r.out.tls = storage::TlsWish::require;
        return std::nullopt;
    }
    std::string text;
    if (auto wrong = read_line(value, field, kSubjectOctetsMax, text)) return wrong;
    if (name == "from") {
        if (text.empty()) return fault(field, "Mail of a program has a sender; without this it is the author.");
        r.out.sender = text;
        return std::nullopt;
    }
    if (name == "envid") return take_envid(text, field, r.out);
    if (name == "ret") return take_ret(text, field, r.out);
    return fault(field, "An envelope has from, to, envid, notify, ret and require_tls.");
}

Fault read_envelope(Reading& r, const std::string& field, const Var& value) {
    const auto* const object = object_of(value);
    if (object == nullptr) return fault(field, "This is an object.");
    for (const auto& [name, one] : *object) {
        if (auto wrong = read_envelope_member(r, name, field + "." + name, one)) return wrong;
    }
    return std::nullopt;
}

struct Member {
    std::string_view name;
    Fault (*read)(Reading& reading, const std::string& field, const Var& value);
};
constexpr Member kMembers[] = {{"from", read_from},
                               {"to", read_to},
                               {"cc", read_cc},
                               {"bcc", read_bcc},
                               {"reply_to", read_reply_to},
                               {"subject", read_subject},
                               {"text", read_plain},
                               {"html", read_html},
                               {"headers", read_headers},
                               {"attachments", read_attachments},
                               {"class", read_class},
                               {"stream", read_stream},
                               {"tags", read_tags},
                               {"metadata", read_metadata},
                               {"envelope", read_envelope}};

// The fields in the order in which people read them.
void add_headers(Reading& r) {
    auto& out = r.draft.headers;
    out.emplace_back("From", mime::format_address_list(r.from));
    if (!r.reply_to.empty()) out.emplace_back("Reply-To", mime::format_address_list(r.reply_to));
    if (!r.to.empty()) out.emplace_back("To", mime::format_address_list(r.to));
    if (!r.cc.empty()) out.emplace_back("Cc", mime::format_address_list(r.cc));
    out.emplace_back("Subject", mime::HeaderValue::text(r.subject));
    for (auto& one : r.headers) out.push_back(std::move(one));
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(','), text.size());
        const std::string_view word = ascii::trim(text.substr(0, end));
        if (!word.empty()) out.emplace_back(word);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

Fault take_query(const std::string& name, const std::string& value, storage::Submission& out) {
    if (name == "class") return take_class(value, name, out);
    if (name == "stream") return take_stream(value, name, out);
    if (name == "tags") return take_tags(split(value), name, out);
    if (name == "envid") return take_envid(value, name, out);
    if (name == "notify") return take_notify(split(value), name, out);
    if (name == "ret") return take_ret(value, name, out);
    if (name == "from") {
        if (value.empty()) return fault(name, "Mail of a program has a sender; without this it is the author.");
        out.sender = value;
    } else if (name == "to") {
        std::vector<Address> addresses;
        if (auto wrong = read_address_text(value, name, addresses)) {
            if (value.contains(' ')) wrong->sentence += " A + is written %2B in a query.";
            return wrong;
        }
        out.recipients = specs(addresses);
    } else if (name == "require_tls") {
        const bool wanted = value == "1" || value == "true";
        if (!wanted && value != "0" && value != "false") return fault(name, "This is true or false.");
        if (wanted) out.tls = storage::TlsWish::require;
    } else {
        return fault(name, "There are from, to, stream, class, tags, envid, notify, ret and require_tls.");
    }
    return std::nullopt;
}

// To, Cc and Bcc of the message itself.
Fault read_header_recipients(storage::Submission& out) {
    const mime::Fields fields = mime::parse_fields(out.octets);
    std::vector<Address> addresses;
    for (const std::string_view name : {"To", "Cc", "Bcc"}) {
        for (const std::string_view value : mime::find_all(fields, name)) {
            const auto found = mime::parse_mailbox_list(value, /*with_groups=*/true);
            if (!found || !ascii::is_valid_utf8(value)) {
                return fault("to", fmt::format("The field {} is no list of addresses, or no UTF-8: mend it, or name "
                                               "the recipients in the query.",
                                               name));
            }
            for (const Address& one : *found) {
                if (auto wrong = check_address(one, "to", addresses)) return wrong;
            }
        }
    }
    out.recipients = specs(addresses);
    return std::nullopt;
}

}  // namespace

std::optional<SendFault> read_message(const Poco::JSON::Object& object, const std::string& prefix, Random& random,
                                      storage::Submission& out) {
    Reading r(out);
    for (const auto& [name, value] : object) {
        const auto* const member = std::ranges::find(kMembers, std::string_view(name), &Member::name);
        if (member == std::end(kMembers)) return fault(prefix + name, "There is no such member of a message.");
        if (auto wrong = member->read(r, prefix + name, value)) return wrong;
    }
    if (r.from.empty()) return fault(prefix + "from", "A message has one author.");
    for (const auto* const list : {&r.to, &r.cc, &r.bcc}) {
        for (const Address& one : *list) out.recipients.push_back(one.spec());
    }
    if (r.envelope_to) out.recipients = *std::move(r.envelope_to);
    if (out.recipients.empty()) return fault(prefix + "to", "There is no recipient: name some in to, cc or bcc.");
    add_headers(r);
    auto octets = mime::compose(r.draft, random);
    if (!octets) return fault(prefix + "attachments", octets.error().context + ".");
    out.octets = *std::move(octets);
    return std::nullopt;
}

std::optional<SendFault> read_mail(std::string body, const std::map<std::string, std::string>& query,
                                   storage::Submission& out) {
    for (const auto& [name, value] : query) {
        if (auto wrong = take_query(name, value, out)) return wrong;
    }
    // A file of this machine has its own line ends; what has both kinds is judged as any message is.
    out.octets = body.contains('\r') ? std::move(body) : mime::normalise_crlf(body);
    if (!query.contains("to")) {
        if (auto wrong = read_header_recipients(out)) return wrong;
    }
    if (out.recipients.empty()) return fault("to", "There is no recipient: name some in the query or in To, Cc, Bcc.");
    return std::nullopt;
}

}  // namespace posthouse::admin
