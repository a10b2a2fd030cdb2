#pragma once
/// protocols/smtp/client: the lines a client says; each ends with CRLF. Parameters go out only where the server offered
/// the extension. Nothing with a CR, LF or NUL can come out. Pure.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/smtp/capabilities.h"

namespace posthouse::smtp {

/// What goes with MAIL. Empty and zero mean "do not say".
struct MailOptions {
    std::uint64_t size_octets = 0;  ///< RFC 1870
    bool eight_bit = false;         ///< BODY=8BITMIME
    bool smtputf8 = false;
    bool require_tls = false;  ///< REQUIRETLS (RFC 8689 2); whether it must be offered is for the caller
    std::string ret;    ///< "FULL" or "HDRS" (RFC 3461 4.3)
    std::string envid;  ///< decoded; goes out as xtext
};
/// What goes with RCPT.
struct RcptOptions {
    std::string notify;  ///< "NEVER", or a list such as "SUCCESS,FAILURE" (RFC 3461 4.1)
    std::string orcpt;   ///< "rfc822;bob@example.org", decoded; the part after ';' goes out as xtext
};

/// "EHLO host\r\n". `name` is a domain or an address literal.
std::string format_ehlo(std::string_view name);
std::string format_helo(std::string_view name);
/// `reverse_path` is "" for the null sender, else local@domain as Path::spec() prints it. Errc::invalid for a path with
/// controls, unsupported where SMTPUTF8 is needed and not offered.
Result<std::string> format_mail(std::string_view reverse_path, const MailOptions& options, const Capabilities& offered);
Result<std::string> format_rcpt(std::string_view forward_path, const RcptOptions& options, const Capabilities& offered);
/// "AUTH PLAIN dGVzd...\r\n"; `initial_base64` "" leaves the response out, "=" is an empty one (RFC 4954 4).
std::string format_auth(std::string_view mechanism, std::string_view initial_base64);
std::string format_bdat(std::uint64_t octets, bool last);

/// Octets of a message as DATA carries them: leading dots doubled (RFC 5321 4.5.2) across pieces, and at the end the
/// final CRLF "." CRLF. The message itself has CRLF line ends only.
class DotStuffer {
 public:
    /// Appends the encoded form of `piece` to `out`.
    void append(std::string& out, std::string_view piece);
    /// Appends the end of data, with a CRLF before it where the message had none.
    void finish(std::string& out);

 private:
    bool at_line_start_ = true;
};

}  // namespace posthouse::smtp
