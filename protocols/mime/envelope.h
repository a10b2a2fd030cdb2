#pragma once
/// protocols/mime/envelope: the ENVELOPE of a message and its IMAP text (RFC 3501 7.4.2, RFC 9051 7.5.2). Octets go out
/// as they came in: encoded words stay, 8-bit text becomes a literal.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/mime/address.h"
#include "protocols/mime/header.h"

namespace posthouse::mime {

/// Texts are unfolded; nothing = the field is absent. Address lists: empty = absent or without any address.
struct Envelope {
    std::optional<std::string> date;
    std::optional<std::string> subject;
    std::vector<Address> from;
    std::vector<Address> sender;    ///< as in the field; formatting falls back to `from` (RFC 3501 7.4.2)
    std::vector<Address> reply_to;  ///< as in the field; formatting falls back to `from`
    std::vector<Address> to;
    std::vector<Address> cc;
    std::vector<Address> bcc;
    std::optional<std::string> in_reply_to;
    std::optional<std::string> message_id;
    bool operator==(const Envelope&) const = default;
};

Envelope envelope_from(const Fields& fields, const Limits& limits = kLimits);

/// "(date subject from ... message-id)" with its parentheses.
std::string format_imap_envelope(const Envelope& envelope);

/// Appends a quoted string, or a literal where the text has line ends or 8-bit octets (RFC 3501 4.3). NUL, which
/// IMAP cannot carry, becomes 0x80 as in other servers.
void append_imap_string(std::string& out, std::string_view text);

}  // namespace posthouse::mime
