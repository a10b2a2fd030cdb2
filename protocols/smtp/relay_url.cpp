#include "protocols/smtp/relay_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/net/address.h"
#include "protocols/net/url.h"
#include "protocols/smtp/path.h"

namespace posthouse::smtp {

namespace {

struct Preset {
    std::string_view name;
    std::string_view host;
    std::string_view fixed_user;  // "": the caller's own
    std::string_view example;
};

// STARTTLS on 587 works at all of them.
constexpr std::array kPresets = {
    Preset{"smtp2go", "mail.smtp2go.com", "", "preset:smtp2go:USER"},
    Preset{"sendgrid", "smtp.sendgrid.net", "apikey", "preset:sendgrid"},
    Preset{"mailgun", "smtp.mailgun.org", "", "preset:mailgun:postmaster@mg.example.org"},
    Preset{"postmark", "smtp.postmarkapp.com", "", "preset:postmark:SERVER-TOKEN"},
};

struct Scheme {
    std::string_view prefix;
    RelayUrl::Security security;
    std::uint16_t port;
};

constexpr std::array kSchemes = {
    Scheme{"smtp://", RelayUrl::Security::starttls, 587},
    Scheme{"smtps://", RelayUrl::Security::implicit_tls, 465},
    Scheme{"smtp+plain://", RelayUrl::Security::plain, 25},
};

Error wrong(std::string_view text, std::string_view why) {
    return Error(Errc::invalid,
                 fmt::format("\"{}\" is not a way to send mail: {}. Write \"direct\", smtp://user@host:587, "
                             "smtps://user@host:465 or preset:NAME:user",
                             text, why));
}

std::string percent_encode(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (ascii::is_alnum(c) || std::string_view("-._~+@=!").contains(c)) {
            out.push_back(c);
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

bool is_host(std::string_view text) { return net::IpAddress::parse(text).has_value() || is_domain(text); }

Result<> read_authority(RelayUrl& url, std::string_view text) {
    TRY(auto read, net::parse_host_port(text));
    if (!is_host(read.host)) return Error(Errc::invalid, "the host is missing or not a name");
    url.host = std::move(read.host);
    url.port = read.port.value_or(url.port);
    return {};
}

Result<RelayUrl> parse_preset(std::string_view text, std::string_view rest) {
    const std::size_t colon = rest.find(':');
    const std::string name = ascii::to_lower(rest.substr(0, colon));
    const auto found = std::ranges::find(kPresets, std::string_view(name), &Preset::name);
    if (found == kPresets.end()) return wrong(text, "the presets are smtp2go, sendgrid, mailgun and postmark");
    RelayUrl url;
    url.host = found->host;
    url.tls_name = url.host;
    url.preset = found->name;
    if (colon != std::string_view::npos) {
        auto user = net::percent_decode(rest.substr(colon + 1));
        if (!user) return wrong(text, user.error().context);
        url.user = *std::move(user);
    }
    if (url.user.empty()) url.user = found->fixed_user;
    if (url.user.empty()) return wrong(text, fmt::format("this service needs your user name: {}", found->example));
    return url;
}

// Clear text stays on this machine or inside the house; a name is looked at again when it has been resolved.
Result<> check_plain(const RelayUrl& url) {
    if (!url.user.empty()) return Error(Errc::invalid, "a password is never sent in clear: use smtp:// or smtps://");
    const auto address = net::IpAddress::parse(url.host);
    if (address && !address->is_loopback() && !address->is_private()) {
        return Error(Errc::invalid, "smtp+plain:// is for this machine and private networks only");
    }
    return {};
}

}  // namespace

std::string RelayUrl::to_string() const {
    if (direct) return "direct";
    const auto scheme = std::ranges::find(kSchemes, security, &Scheme::security);
    const std::string at = user.empty() ? "" : percent_encode(user) + "@";
    const bool brackets = host.contains(':');
    const std::string name = tls_name == host ? "" : "?name=" + tls_name;
    return fmt::format("{}{}{}{}{}:{}{}", scheme->prefix, at, brackets ? "[" : "", host, brackets ? "]" : "", port,
                       name);
}

Result<RelayUrl> parse_relay_url(std::string_view text) {
    text = ascii::trim(text);
    RelayUrl url;
    if (ascii::equals_ci(text, "direct")) {
        url.direct = true;
        return url;
    }
    if (ascii::starts_with_ci(text, "preset:")) return parse_preset(text, text.substr(7));
    const auto scheme =
        std::ranges::find_if(kSchemes, [&](const Scheme& s) { return ascii::starts_with_ci(text, s.prefix); });
    if (scheme == kSchemes.end()) return wrong(text, "it does not begin with a known scheme");
    url.security = scheme->security;
    url.port = scheme->port;
    std::string_view rest = text.substr(scheme->prefix.size());
    if (const std::size_t query = rest.find('?'); query != std::string_view::npos) {
        const std::string_view option = rest.substr(query + 1);
        if (!option.starts_with("name=") || !is_domain(option.substr(5))) {
            return wrong(text, "the only option is ?name=HOST, the name on the certificate");
        }
        url.tls_name = ascii::to_lower(option.substr(5));
        rest = rest.substr(0, query);
    }
    if (rest.ends_with('/')) rest.remove_suffix(1);
    if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
        const std::string_view user = rest.substr(0, at);
        // A password on the command line ends up in histories and process lists.
        if (user.contains(':')) return wrong(text, "the password does not belong into the URL");
        auto decoded = net::percent_decode(user);
        if (!decoded) return wrong(text, decoded.error().context);
        if (decoded->empty()) return wrong(text, "the user before the @ is empty");
        url.user = *std::move(decoded);
        rest = rest.substr(at + 1);
    }
    if (auto read = read_authority(url, rest); !read) return wrong(text, read.error().context);
    if (url.tls_name.empty()) url.tls_name = url.host;
    if (url.security == RelayUrl::Security::plain) {
        if (auto checked = check_plain(url); !checked) return wrong(text, checked.error().context);
    }
    return url;
}

}  // namespace posthouse::smtp
