#include "server/smtp/extension.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"

namespace posthouse::server::smtp {

namespace {

bool always(const ExtensionContext&) { return true; }
// RFC 3207 4.2: not offered again inside TLS.
bool starttls_offered(const ExtensionContext& context) { return context.tls_possible && !context.tls; }
// RFC 8689 4.1: only inside TLS.
bool require_tls_offered(const ExtensionContext& context) { return context.tls; }
// RFC 4954 4: not after a login; ours needs TLS as well, so that no password ever goes in clear.
bool auth_offered(const ExtensionContext& context) {
    return context.options->kind == Kind::submission && context.tls && !context.logged_in;
}

std::string size_arguments(const ExtensionContext& context) {
    return std::to_string(context.options->limits.message_octets_max);
}
std::string auth_arguments(const ExtensionContext& context) { return context.mechanisms; }
std::string limits_arguments(const ExtensionContext& context) {
    const SmtpLimits& limits = context.options->limits;
    return fmt::format("MAILMAX={} RCPTMAX={}", context.mails_max, limits.recipients_max);
}

Error bad(std::string_view what) { return Error(Errc::invalid, std::string(what)); }

// SIZE=digits                                                         RFC 1870 4
Result<> apply_size(MailParameters& into, const wire::Parameter& parameter) {
    TRY(into.size_octets, wire::parse_size(parameter.value));
    return {};
}
// BODY=7BIT / BODY=8BITMIME                                           RFC 6152 2
Result<> apply_body(MailParameters& into, const wire::Parameter& parameter) {
    if (ascii::equals_ci(parameter.value, "8BITMIME")) {
        into.eight_bit = true;
    } else if (!ascii::equals_ci(parameter.value, "7BIT")) {
        return bad("BODY takes 7BIT or 8BITMIME");
    }
    return {};
}
// SMTPUTF8, without a value                                           RFC 6531 3.4
Result<> apply_smtputf8(MailParameters& into, const wire::Parameter& parameter) {
    if (parameter.has_value) return bad("SMTPUTF8 takes no value");
    into.smtputf8 = true;
    return {};
}
// RET=FULL / RET=HDRS                                                 RFC 3461 4.3
Result<> apply_ret(MailParameters& into, const wire::Parameter& parameter) {
    if (ascii::equals_ci(parameter.value, "FULL")) {
        into.ret = Ret::full;
    } else if (ascii::equals_ci(parameter.value, "HDRS")) {
        into.ret = Ret::headers;
    } else {
        return bad("RET takes FULL or HDRS");
    }
    return {};
}
Result<> apply_envid(MailParameters& into, const wire::Parameter& parameter) {
    TRY(into.envid, wire::parse_envid(parameter.value));
    return {};
}
// REQUIRETLS, without a value                                         RFC 8689 2
Result<> apply_require_tls(MailParameters& into, const wire::Parameter& parameter) {
    if (parameter.has_value) return bad("REQUIRETLS takes no value");
    into.require_tls = true;
    return {};
}
// AUTH=<mailbox> or AUTH=<>: read and not believed                    RFC 4954 5
Result<> apply_auth(MailParameters&, const wire::Parameter& parameter) {
    if (!parameter.has_value) return bad("AUTH takes a mailbox");
    return {};
}
Result<> apply_notify(RcptParameters& into, const wire::Parameter& parameter) {
    TRY(into.notify, wire::parse_notify(parameter.value));
    return {};
}
Result<> apply_orcpt(RcptParameters& into, const wire::Parameter& parameter) {
    TRY(into.orcpt, wire::parse_orcpt(parameter.value));
    return {};
}

constexpr ParameterRow<MailParameters> kSizeMail[] = {{"SIZE", apply_size}};
constexpr ParameterRow<MailParameters> kBodyMail[] = {{"BODY", apply_body}};
constexpr ParameterRow<MailParameters> kUtf8Mail[] = {{"SMTPUTF8", apply_smtputf8}};
constexpr ParameterRow<MailParameters> kDsnMail[] = {{"RET", apply_ret}, {"ENVID", apply_envid}};
constexpr ParameterRow<RcptParameters> kDsnRcpt[] = {{"NOTIFY", apply_notify}, {"ORCPT", apply_orcpt}};
constexpr ParameterRow<MailParameters> kRequireTlsMail[] = {{"REQUIRETLS", apply_require_tls}};
constexpr ParameterRow<MailParameters> kAuthMail[] = {{"AUTH", apply_auth}};

constexpr Extension kExtensions[] = {
    {"PIPELINING", always, nullptr, {}, {}, "2920"},
    {"SIZE", always, size_arguments, kSizeMail, {}, "1870"},
    {"8BITMIME", always, nullptr, kBodyMail, {}, "6152"},
    {"SMTPUTF8", always, nullptr, kUtf8Mail, {}, "6531"},
    {"ENHANCEDSTATUSCODES", always, nullptr, {}, {}, "2034"},
    {"CHUNKING", always, nullptr, {}, {}, "3030"},
    {"DSN", always, nullptr, kDsnMail, kDsnRcpt, "3461"},
    {"REQUIRETLS", require_tls_offered, nullptr, kRequireTlsMail, {}, "8689"},
    {"LIMITS", always, limits_arguments, {}, {}, "9422"},
    {"STARTTLS", starttls_offered, nullptr, {}, {}, "3207"},
    {"AUTH", auth_offered, auth_arguments, kAuthMail, {}, "4954"},
};

// RFC 4954 5: the AUTH parameter of MAIL may be used once AUTH was offered; after the login that is still so.
bool understands(const Extension& extension, const ExtensionContext& context) {
    if (extension.keyword == "AUTH") return context.options->kind == Kind::submission && context.tls;
    return extension.offered(context);
}

template <class Into>
const ParameterRow<Into>* find_row(std::span<const ParameterRow<Into>> rows, std::string_view keyword) {
    for (const auto& row : rows) {
        if (row.keyword == keyword) return &row;
    }
    return nullptr;
}

template <class Into, auto Rows>
Result<Into> parse_parameters(const ExtensionContext& context, std::string_view tail) {
    Into out;
    Cursor in(tail);
    TRY(const std::vector<wire::Parameter> parameters, wire::take_parameters(in));
    for (const wire::Parameter& parameter : parameters) {
        const ParameterRow<Into>* row = nullptr;
        for (const Extension& extension : kExtensions) {
            if (row != nullptr || !context.esmtp || !understands(extension, context)) continue;
            row = find_row<Into>(extension.*Rows, parameter.keyword);
        }
        // RFC 5321 4.1.1.11: 555 for a parameter that is not recognised.
        if (row == nullptr) return Error(Errc::unsupported, "an unknown parameter");
        TRY_VOID(row->apply(out, parameter));
    }
    return out;
}

}  // namespace

std::span<const Extension> all_extensions() { return kExtensions; }

std::vector<std::string> ehlo_lines(const ExtensionContext& context) {
    std::vector<std::string> out;
    for (const Extension& extension : kExtensions) {
        if (!extension.offered(context)) continue;
        std::string line(extension.keyword);
        if (extension.arguments != nullptr) line += " " + extension.arguments(context);
        out.push_back(std::move(line));
    }
    return out;
}

Result<MailParameters> parse_mail_parameters(const ExtensionContext& context, std::string_view tail) {
    return parse_parameters<MailParameters, &Extension::mail>(context, tail);
}

Result<RcptParameters> parse_rcpt_parameters(const ExtensionContext& context, std::string_view tail) {
    return parse_parameters<RcptParameters, &Extension::rcpt>(context, tail);
}

}  // namespace posthouse::server::smtp
