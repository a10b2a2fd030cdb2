#include "protocols/mime/envelope.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/structure.h"

namespace posthouse::mime {
namespace {

/// nstring = string / nil, RFC 3501 9
void append_nstring(std::string& out, const std::optional<std::string>& text) {
    if (text)
        append_imap_string(out, *text);
    else
        out += "NIL";
}

/// address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")", RFC 3501 9. A NIL host marks a group, so an
/// address without a domain has an empty one.
void append_address(std::string& out, const Address& address) {
    const auto text_or_nil = [&](const std::string& text) {
        if (text.empty())
            out += "NIL";
        else
            append_imap_string(out, text);
    };
    switch (address.kind) {
        case Address::Kind::group_end: out += "(NIL NIL NIL NIL)"; return;
        case Address::Kind::group_start:
            out += "(NIL NIL ";
            append_imap_string(out, address.display_name);
            out += " NIL)";
            return;
        case Address::Kind::mailbox: break;
    }
    out.push_back('(');
    text_or_nil(address.display_name);
    out.push_back(' ');
    text_or_nil(address.route);
    out.push_back(' ');
    append_imap_string(out, address.local_part);
    out.push_back(' ');
    append_imap_string(out, address.domain);
    out.push_back(')');
}

/// env-from and the others: "(" 1*address ")" / nil, RFC 3501 9. No blank between the addresses.
void append_addresses(std::string& out, const std::vector<Address>& addresses) {
    out.push_back(' ');
    if (addresses.empty()) {
        out += "NIL";
        return;
    }
    out.push_back('(');
    for (const Address& address : addresses) append_address(out, address);
    out.push_back(')');
}

/// body-fld-param, RFC 3501 9
void append_params(std::string& out, const std::vector<Parameter>& params) {
    out.push_back(' ');
    if (params.empty()) {
        out += "NIL";
        return;
    }
    char before = '(';
    for (const Parameter& param : params) {
        out.push_back(before);
        append_imap_string(out, param.name);
        out.push_back(' ');
        append_imap_string(out, param.value);
        before = ' ';
    }
    out.push_back(')');
}

/// body-fld-dsp SP body-fld-lang SP body-fld-loc
void append_disposition_and_on(std::string& out, const Part& part) {
    out.push_back(' ');
    if (part.disposition) {
        out.push_back('(');
        append_imap_string(out, *part.disposition);
        append_params(out, part.disposition_params);
        out.push_back(')');
    } else {
        out += "NIL";
    }
    out.push_back(' ');
    if (part.language.empty()) {
        out += "NIL";
    } else if (part.language.size() == 1) {
        append_imap_string(out, part.language.front());
    } else {
        char before = '(';
        for (const std::string& tag : part.language) {
            out.push_back(before);
            append_imap_string(out, tag);
            before = ' ';
        }
        out.push_back(')');
    }
    out.push_back(' ');
    append_nstring(out, part.location);
}

/// body, RFC 3501 9. Recurses as deep as the tree, whose depth parse_structure() and decode_structure() bound.
void append_part(std::string& out, const Part& part, Extension extension, Globals globals) {
    out.push_back('(');
    if (part.is_multipart()) {
        for (const Part& child : part.children) append_part(out, child, extension, globals);
        out.push_back(' ');
        append_imap_string(out, part.subtype);
        if (extension == Extension::with) {
            append_params(out, part.params);
            append_disposition_and_on(out, part);
        }
        out.push_back(')');
        return;
    }
    append_imap_string(out, part.type);
    out.push_back(' ');
    append_imap_string(out, part.subtype);
    append_params(out, part.params);
    out.push_back(' ');
    append_nstring(out, part.id);
    out.push_back(' ');
    append_nstring(out, part.description);
    out.push_back(' ');
    append_imap_string(out, part.encoding);
    out += fmt::format(" {}", part.body_octets);
    const bool leaf = globals == Globals::leaves && ascii::equals_ci(part.subtype, "global");
    if (part.is_message_rfc822 && !leaf && part.envelope && !part.children.empty()) {
        out.push_back(' ');
        out += format_imap_envelope(*part.envelope);
        out.push_back(' ');
        append_part(out, part.children.front(), extension, globals);
        out += fmt::format(" {}", part.lines);
    } else if (ascii::equals_ci(part.type, "text")) {
        out += fmt::format(" {}", part.lines);
    }
    if (extension == Extension::with) {
        out.push_back(' ');
        append_nstring(out, part.md5);
        append_disposition_and_on(out, part);
    }
    out.push_back(')');
}

}  // namespace

Envelope envelope_from(const Fields& fields, const Limits& limits) {
    Envelope out;
    // Repeated fields (obsolete, RFC 5322 4.5): address fields add up, of the others the last one counts.
    const auto text = [](std::optional<std::string>& to, std::string_view raw) { to = unfold(raw); };
    const auto list = [&](std::vector<Address>& to, std::string_view raw) {
        if (to.size() >= limits.addresses_max) return;
        std::vector<Address> more = parse_address_list(raw, limits);
        if (to.empty())
            to = std::move(more);
        else
            std::move(more.begin(), more.end(), std::back_inserter(to));
    };
    // By length first: most fields of a message are none of these ten, and this runs for each of them.
    for (const Field& field : fields) {
        const std::string_view name = field.name;
        switch (name.size()) {
            case 2:
                if (ascii::equals_ci(name, "To"))
                    list(out.to, field.raw_value);
                else if (ascii::equals_ci(name, "Cc"))
                    list(out.cc, field.raw_value);
                break;
            case 3:
                if (ascii::equals_ci(name, "Bcc")) list(out.bcc, field.raw_value);
                break;
            case 4:
                if (ascii::equals_ci(name, "Date"))
                    text(out.date, field.raw_value);
                else if (ascii::equals_ci(name, "From"))
                    list(out.from, field.raw_value);
                break;
            case 6:
                if (ascii::equals_ci(name, "Sender")) list(out.sender, field.raw_value);
                break;
            case 7:
                if (ascii::equals_ci(name, "Subject")) text(out.subject, field.raw_value);
                break;
            case 8:
                if (ascii::equals_ci(name, "Reply-To")) list(out.reply_to, field.raw_value);
                break;
            case 10:
                if (ascii::equals_ci(name, "Message-ID")) text(out.message_id, field.raw_value);
                break;
            case 11:
                if (ascii::equals_ci(name, "In-Reply-To")) text(out.in_reply_to, field.raw_value);
                break;
            default: break;
        }
    }
    return out;
}

std::string format_imap_envelope(const Envelope& envelope) {
    std::string out = "(";
    append_nstring(out, envelope.date);
    out.push_back(' ');
    append_nstring(out, envelope.subject);
    append_addresses(out, envelope.from);
    append_addresses(out, envelope.sender.empty() ? envelope.from : envelope.sender);
    append_addresses(out, envelope.reply_to.empty() ? envelope.from : envelope.reply_to);
    append_addresses(out, envelope.to);
    append_addresses(out, envelope.cc);
    append_addresses(out, envelope.bcc);
    out.push_back(' ');
    append_nstring(out, envelope.in_reply_to);
    out.push_back(' ');
    append_nstring(out, envelope.message_id);
    return out += ')';
}

std::string format_imap_body(const Structure& structure, Extension extension, Globals globals) {
    std::string out;
    append_part(out, structure.root, extension, globals);
    return out;
}

void append_imap_string(std::string& out, std::string_view text) {
    const bool plain = std::all_of(text.begin(), text.end(),
                                   [](char c) { return c != '\r' && c != '\n' && c != '\0' && !ascii::is_8bit(c); });
    if (!plain) {
        out += fmt::format("{{{}}}\r\n", text.size());
        const std::size_t from = out.size();
        out += text;
        std::replace(out.begin() + static_cast<std::ptrdiff_t>(from), out.end(), '\0', '\x80');
        return;
    }
    out.push_back('"');
    for (const char c : text) {
        if (c == '"' || c == '\\') out.push_back('\\');
        out.push_back(c);
    }
    out.push_back('"');
}

}  // namespace posthouse::mime
