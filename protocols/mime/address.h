#pragma once
/// protocols/mime/address: address lists of RFC 5322 3.4 with the obsolete forms of 4.4 and UTF-8 (RFC 6532).
/// Lenient reading: a broken address yields what could be made of it. SMTP paths are another grammar and not here.
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/mime/header.h"

namespace posthouse::mime {

struct Address {
    enum class Kind { mailbox, group_start, group_end };

    std::string display_name;  ///< phrase or, failing that, comment; unquoted, encoded words untouched. Group: its name
    std::string route;         ///< obsolete source route, e.g. "@a,@b"; mostly empty
    std::string local_part;    ///< unquoted
    std::string domain;        ///< without comments and blanks; empty where the address has none
    Kind kind = Kind::mailbox;

    /// "local@domain" with the local part quoted where it must be; just the local part where there is no domain.
    std::string spec() const;
    bool operator==(const Address&) const = default;
};

/// All addresses of a field value (folded or not). Groups appear as group_start, members, group_end.
std::vector<Address> parse_address_list(std::string_view field_value, const Limits& limits = kLimits);

/// Exactly one mailbox with local part and domain in the grammar of RFC 5322 3.4.1 (4.4 included), as a From field
/// must hold for DMARC. Errc::invalid for a group, a list, or broken syntax.
Result<Address> parse_single_mailbox(std::string_view field_value);

/// The mailboxes of a whole list, each as parse_single_mailbox() takes it; empty elements are passed over (4.4).
/// `with_groups`: those of groups too (3.4), as in To and Cc. Errc::invalid where any of it is something else, so that
/// nobody is left out and nobody is made up.
Result<std::vector<Address>> parse_mailbox_list(std::string_view text, bool with_groups);

/// `"Display Name" <local@domain>` for a field we write; non-ASCII names become encoded words.
std::string format_address(const Address& address);

/// The local part as it must stand in an address: quoted unless it is a dot-atom.
std::string quote_local_part(std::string_view local_part);
/// dot-atom-text of RFC 5322 3.2.3, with UTF-8 as RFC 6532 3.2 allows it.
bool is_dot_atom(std::string_view text);

}  // namespace posthouse::mime
