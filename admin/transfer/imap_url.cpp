#include "admin/transfer/imap_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/net/address.h"
#include "protocols/net/url.h"

namespace posthouse::transfer {
namespace {

struct Scheme {
    std::string_view prefix;
    ImapUrl::Security security;
    std::uint16_t port;
};
constexpr std::array kSchemes = {
    Scheme{"imaps://", ImapUrl::Security::implicit_tls, 993},
    Scheme{"imap://", ImapUrl::Security::starttls, 143},
    Scheme{"imap+plain://", ImapUrl::Security::plain, 143},
};
constexpr std::size_t kHostOctetsMax = 253;

Error wrong(std::string_view text, std::string_view why) {
    return Error(Errc::invalid, fmt::format("\"{}\" is no IMAP account: {}. Write imaps://user@host or "
                                            "imap://user@host:143 (STARTTLS)",
                                            text, why));
}

bool is_host(std::string_view text) {
    if (net::IpAddress::parse(text)) return true;
    return !text.empty() && text.size() <= kHostOctetsMax && text.front() != '.' && text.front() != '-' &&
           std::ranges::all_of(text, [](char c) { return ascii::is_alnum(c) || c == '-' || c == '.' || c == '_'; });
}

Result<> read_authority(ImapUrl& url, std::string_view text) {
    TRY(auto read, net::parse_host_port(text));
    if (!is_host(read.host)) return Error(Errc::invalid, "the host is no name and no address");
    url.host = std::move(read.host);
    url.port = read.port.value_or(url.port);
    return {};
}

}  // namespace

std::string ImapUrl::source() const {
    const bool usual = port == 993 || port == 143;
    return usual ? fmt::format("imap://{}@{}", user, host) : fmt::format("imap://{}@{}:{}", user, host, port);
}

Result<ImapUrl> parse_imap_url(std::string_view text) {
    text = ascii::trim(text);
    const auto scheme =
        std::ranges::find_if(kSchemes, [&](const Scheme& s) { return ascii::starts_with_ci(text, s.prefix); });
    if (scheme == kSchemes.end()) return wrong(text, "it does not begin with a known scheme");
    ImapUrl url;
    url.security = scheme->security;
    url.port = scheme->port;
    std::string_view rest = text.substr(scheme->prefix.size());
    if (const std::size_t query = rest.find('?'); query != std::string_view::npos) {
        const std::string_view option = rest.substr(query + 1);
        if (!option.starts_with("name=") || !is_host(option.substr(5))) {
            return wrong(text, "the only option is ?name=HOST, the name on the certificate");
        }
        url.tls_name = ascii::to_lower(option.substr(5));
        rest = rest.substr(0, query);
    }
    if (rest.ends_with('/')) rest.remove_suffix(1);
    const std::size_t at = rest.rfind('@');
    if (at == std::string_view::npos || at == 0) return wrong(text, "the user before the @ is missing");
    const std::string_view user = rest.substr(0, at);
    // A password on the command line ends up in histories and process lists.
    if (user.contains(':')) return wrong(text, "the password does not belong into the URL");
    auto decoded = net::percent_decode(user);
    if (!decoded) return wrong(text, decoded.error().context);
    url.user = *std::move(decoded);
    if (auto read = read_authority(url, rest.substr(at + 1)); !read) return wrong(text, read.error().context);
    if (url.tls_name.empty()) url.tls_name = url.host;
    if (url.security != ImapUrl::Security::plain || url.host == "localhost") return url;
    const auto address = net::IpAddress::parse(url.host);
    if (!address || !(address->is_loopback() || address->is_private())) {
        return wrong(text,
                     "imap+plain:// sends the password in clear and is for addresses of this machine or of a "
                     "private network only");
    }
    return url;
}

}  // namespace posthouse::transfer
