#pragma once
/// admin/transfer/imap_url: which account of which IMAP server, as one line of text without its password. Pure.
///
///     imaps://user@host:993        TLS from the first octet, certificate checked   (RFC 8314 3.2)
///     imap://user@host:143         STARTTLS required, certificate checked          (RFC 3501 6.2.1)
///     imap+plain://user@host:143   in clear; only to this machine or a private network
/// The user may hold '@' (the last one before the host counts) and %XX. "?name=mail.example.org" behind the port says
/// which name the certificate must bear, where the host is an address or an alias.
#include <cstdint>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::transfer {

struct ImapUrl {
    enum class Security { plain, starttls, implicit_tls };

    Security security = Security::implicit_tls;
    std::string user;
    std::string host;  ///< lower-case name, or an address without brackets
    std::uint16_t port = 993;
    std::string tls_name;  ///< what the certificate must say

    /// "imap://user@host": names the source in what is remembered of it; neither port nor protection change whose mail
    /// it is. A port of its own is kept, for several servers behind one address.
    std::string source() const;
};

/// Errc::invalid with the sentence to show: what is wrong and what to write.
Result<ImapUrl> parse_imap_url(std::string_view text);

}  // namespace posthouse::transfer
