#include "protocols/smtp/client.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/smtp/xtext.h"

namespace posthouse::smtp {

namespace {

Result<> check_path(std::string_view path, const Capabilities& offered) {
    for (const char c : path) {
        if (ascii::is_control(c)) return Error(Errc::invalid, "an address holds a control octet");
    }
    if (ascii::has_8bit(path) && !offered.smtputf8) {
        return Error(Errc::unsupported, "the address needs SMTPUTF8, which the server does not offer");
    }
    return {};
}

// Only the address is xtext; the type before ';' stands as it is (RFC 3461 4.2).
std::string encode_orcpt(std::string_view orcpt) {
    const std::size_t semicolon = orcpt.find(';');
    if (semicolon == std::string_view::npos) return "rfc822;" + encode_xtext(orcpt);
    return std::string(orcpt.substr(0, semicolon + 1)) + encode_xtext(orcpt.substr(semicolon + 1));
}

// EHLO's argument comes from our own configuration, but nothing may break the line.
std::string one_line(std::string_view text) {
    std::string out(text);
    std::erase_if(out, ascii::is_control);
    return out;
}

}  // namespace

std::string format_ehlo(std::string_view name) { return "EHLO " + one_line(name) + "\r\n"; }
std::string format_helo(std::string_view name) { return "HELO " + one_line(name) + "\r\n"; }

Result<std::string> format_mail(std::string_view reverse_path, const MailOptions& options,
                                const Capabilities& offered) {
    TRY_VOID(check_path(reverse_path, offered));
    if (options.smtputf8 && !offered.smtputf8) {
        return Error(Errc::unsupported, "the message needs SMTPUTF8, which the server does not offer");
    }
    std::string out = fmt::format("MAIL FROM:<{}>", reverse_path);
    if (offered.size && options.size_octets > 0) out += fmt::format(" SIZE={}", options.size_octets);
    if (offered.eight_bit_mime && options.eight_bit) out += " BODY=8BITMIME";
    if (options.smtputf8) out += " SMTPUTF8";
    if (offered.require_tls && options.require_tls) out += " REQUIRETLS";
    if (offered.dsn && !options.ret.empty()) out += " RET=" + one_line(options.ret);
    if (offered.dsn && !options.envid.empty()) out += " ENVID=" + encode_xtext(options.envid);
    return out + "\r\n";
}

Result<std::string> format_rcpt(std::string_view forward_path, const RcptOptions& options,
                                const Capabilities& offered) {
    TRY_VOID(check_path(forward_path, offered));
    std::string out = fmt::format("RCPT TO:<{}>", forward_path);
    if (offered.dsn && !options.notify.empty()) out += " NOTIFY=" + one_line(options.notify);
    if (offered.dsn && !options.orcpt.empty()) out += " ORCPT=" + one_line(encode_orcpt(options.orcpt));
    return out + "\r\n";
}

std::string format_auth(std::string_view mechanism, std::string_view initial_base64) {
    if (initial_base64.empty()) return fmt::format("AUTH {}\r\n", mechanism);
    return fmt::format("AUTH {} {}\r\n", mechanism, initial_base64);
}

std::string format_bdat(std::uint64_t octets, bool last) {
    return fmt::format("BDAT {}{}\r\n", octets, last ? " LAST" : "");
}

void DotStuffer::append(std::string& out, std::string_view piece) {
    if (piece.empty()) return;
    if (at_line_start_ && piece.front() == '.') out.push_back('.');
    // Only a dot behind LF matters; between two such places everything is copied at once.
    for (std::size_t at = piece.find("\n."); at != std::string_view::npos; at = piece.find("\n.")) {
        out.append(piece.substr(0, at + 1));
        out.push_back('.');
        piece.remove_prefix(at + 1);
    }
    out.append(piece);
    at_line_start_ = piece.back() == '\n';
}

void DotStuffer::finish(std::string& out) {
    out += at_line_start_ ? ".\r\n" : "\r\n.\r\n";
    at_line_start_ = true;
}

}  // namespace posthouse::smtp
