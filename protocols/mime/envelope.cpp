#include "protocols/mime/envelope.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"

namespace posthouse::mime {
namespace {

enum class StringClass : std::uint8_t { plain, escaped, literal };

constexpr StringClass class_of(char c) {
    if (c == '"' || c == '\\') return StringClass::escaped;
    return c == '\r' || c == '\n' || c == '\0' || ascii::is_8bit(c) ? StringClass::literal : StringClass::plain;
}

void append_imap_literal(std::string& out, std::string_view text) {
    out += fmt::format("{{{}}}\r\n", text.size());
    const std::size_t from = out.size();
    out += text;
    std::replace(out.begin() + static_cast<std::ptrdiff_t>(from), out.end(), '\0', '\x80');
}

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

void append_imap_string(std::string& out, std::string_view text) {
    bool escaped = false;
    for (const char c : text) {
        const StringClass is = class_of(c);
        if (is == StringClass::literal) return append_imap_literal(out, text);
        escaped = escaped || is == StringClass::escaped;
    }
    out.push_back('"');
    if (!escaped) {
        out += text;
    } else {
        for (const char c : text) {
            if (class_of(c) == StringClass::escaped) out.push_back('\\');
            out.push_back(c);
        }
    }
    out.push_back('"');
}

}  // namespace posthouse::mime
