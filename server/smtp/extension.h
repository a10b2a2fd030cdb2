#pragma once
/// server/smtp/extension: an extension is one row: what EHLO says, and which parameters of MAIL and RCPT come with it.
/// EHLO and the parameter parser read the same rows, so that neither can promise what the other refuses.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/smtp/parameters.h"
#include "protocols/smtp/reply.h"
#include "server/smtp/backend.h"
#include "server/smtp/options.h"

namespace posthouse::server::smtp {

/// What decides which extensions are there.
struct ExtensionContext {
    const SmtpServiceOptions* options = nullptr;
    bool esmtp = true;          ///< the client said EHLO
    bool tls = false;           ///< the connection is encrypted
    bool tls_possible = false;  ///< a certificate is loaded
    bool logged_in = false;
    std::size_t mails_max = 0;  ///< transactions this session may have
    std::string mechanisms;     ///< of AUTH, divided by blanks; only where EHLO is about to list them
};

/// Parameters of MAIL, gathered.
struct MailParameters {
    std::uint64_t size_octets = 0;  ///< declared; 0: not said
    bool eight_bit = false;
    bool smtputf8 = false;
    bool require_tls = false;  ///< RFC 8689
    Ret ret = Ret::unspecified;
    std::string envid;
};
/// Parameters of RCPT.
struct RcptParameters {
    std::string orcpt;
    std::uint8_t notify = 0;
};

template <class Into>
struct ParameterRow {
    std::string_view keyword;
    Result<> (*apply)(Into& into, const wire::Parameter& parameter);
};

struct Extension {
    std::string_view keyword;
    bool (*offered)(const ExtensionContext& context);
    /// What follows the keyword in the EHLO reply; null where nothing does.
    std::string (*arguments)(const ExtensionContext& context);
    std::span<const ParameterRow<MailParameters>> mail;
    std::span<const ParameterRow<RcptParameters>> rcpt;
    std::string_view rfc;
};

std::span<const Extension> all_extensions();
/// The lines of the EHLO reply behind the first.
std::vector<std::string> ehlo_lines(const ExtensionContext& context);
/// The tail of MAIL or RCPT. Errc::invalid for bad syntax, unsupported for a keyword that was not offered.
Result<MailParameters> parse_mail_parameters(const ExtensionContext& context, std::string_view tail);
Result<RcptParameters> parse_rcpt_parameters(const ExtensionContext& context, std::string_view tail);

}  // namespace posthouse::server::smtp
