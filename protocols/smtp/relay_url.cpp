#include "protocols/smtp/relay_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/net/address.h"
#include "protocols/net/url.h"
#include "protocols/smtp/path.h"
#include "protocols/smtp/presets.h"

namespace posthouse::smtp {

namespace {

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

std::string percent_encode(std::string_view text, std::string_view plain = "-._~+@=!") {
    std::string out;
    for (const char c : text) {
        if (ascii::is_alnum(c) || plain.contains(c)) {
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

std::string preset_names() {
    std::string out;
    for (const Preset& preset : presets()) out += fmt::format("{}{}", out.empty() ? "" : ", ", preset.name);
    return out;
}

struct Option {
    std::string_view key;
    std::string_view value;
};

// "region=eu-west-1&port=2525": the first, which is taken off.
Option take_option(std::string_view& query) {
    const std::size_t end = query.find('&');
    const std::string_view item = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const std::size_t equals = item.find('=');
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1);
    return Option{item.substr(0, equals), value};
}

// ?certificate= and ?key=. False where it is another option.
Result<bool> read_file_option(RelayUrl& url, const Option& option) {
    if (option.key != "certificate" && option.key != "key") return false;
    TRY(std::string file, net::percent_decode(option.value));
    if (!file.starts_with('/') || std::ranges::any_of(file, ascii::is_control)) {
        return Error(Errc::invalid, fmt::format("?{}= takes a file with its whole path, /etc/...", option.key));
    }
    (option.key == "key" ? url.key_file : url.certificate_file) = std::move(file);
    return true;
}

Result<> check_files(RelayUrl& url) {
    if (url.certificate_file.empty() && !url.key_file.empty()) {
        return Error(Errc::invalid, "?key= belongs to a ?certificate=");
    }
    if (url.certificate_file.empty()) return {};
    if (url.security == RelayUrl::Security::plain) return Error(Errc::invalid, "a certificate is shown over TLS only");
    if (url.key_file.empty()) url.key_file = url.certificate_file;
    return {};
}

struct PresetOptions {
    std::string region;
    std::string tenant;
    std::optional<std::uint16_t> port;
};

Result<PresetOptions> read_preset_options(RelayUrl& url, std::string_view query) {
    PresetOptions out;
    while (!query.empty()) {
        const Option option = take_option(query);
        TRY(const bool is_file, read_file_option(url, option));
        if (is_file) continue;
        if (option.key == "port") {
            const auto number = ascii::parse_number(option.value);
            if (!number || *number == 0 || *number > 65535) return Error(Errc::invalid, "the port is no port");
            out.port = static_cast<std::uint16_t>(*number);
            continue;
        }
        if ((option.key != "region" && option.key != "tenant") || !is_domain(option.value)) {
            return Error(Errc::invalid,
                         "the options are ?region=NAME, ?tenant=NAME, ?port=NUMBER, ?certificate=FILE and ?key=FILE");
        }
        (option.key == "region" ? out.region : out.tenant) = ascii::to_lower(option.value);
    }
    return out;
}

// ?name=, ?certificate=, ?key=
Result<> read_options(RelayUrl& url, std::string_view query) {
    while (!query.empty()) {
        const Option option = take_option(query);
        TRY(const bool is_file, read_file_option(url, option));
        if (is_file) continue;
        if (option.key != "name" || !is_domain(option.value)) {
            return Error(Errc::invalid,
                         "the options are ?name=HOST, the name on its certificate, and ?certificate=FILE with "
                         "?key=FILE, what is shown of us");
        }
        url.tls_name = ascii::to_lower(option.value);
    }
    return {};
}

std::string fill_in(std::string_view text, std::string_view placeholder, std::string_view value) {
    std::string out(text);
    if (const auto at = out.find(placeholder); at != std::string::npos) out.replace(at, placeholder.size(), value);
    return out;
}

// The host of a service, with what the options choose of it.
Result<std::string> preset_host(const Preset& preset, const PresetOptions& options) {
    std::string host(preset.host);
    if (host.contains("{tenant}")) {
        if (options.tenant.empty()) return Error(Errc::invalid, fmt::format("write {}", preset.example));
        host = fill_in(host, "{tenant}", options.tenant);
    }
    if (!host.contains("{region}")) return host;
    if (preset.region == "-") {  // the plain host, or one with a suffix of its region
        return fill_in(host, "{region}", options.region.empty() ? "" : "-" + options.region);
    }
    const std::string region = options.region.empty() ? std::string(preset.region) : options.region;
    if (region.empty()) return Error(Errc::invalid, fmt::format("it needs a region: {}", preset.example));
    return fill_in(host, "{region}", region);
}

Result<> choose_port(RelayUrl& url, const Preset& preset, const PresetOptions& options) {
    url.port = preset.ports.front().port;
    url.security = preset.ports.front().security;
    if (!options.port) return {};
    const auto found = std::ranges::find(preset.ports, *options.port, &PresetPort::port);
    if (found == preset.ports.end()) {
        std::string list;
        for (const PresetPort& row : preset.ports) list += fmt::format("{}{}", list.empty() ? "" : ", ", row.port);
        return Error(Errc::invalid, fmt::format("the ports of {} are {}", preset.title, list));
    }
    url.port = found->port;
    url.security = found->security;
    return {};
}

// preset:NAME[:user][?region=..&tenant=..&port=..]
Result<RelayUrl> parse_preset(std::string_view text, std::string_view rest) {
    RelayUrl url;
    const std::size_t question = rest.find('?');
    const auto options =
        read_preset_options(url, question == std::string_view::npos ? std::string_view() : rest.substr(question + 1));
    if (!options) return wrong(text, options.error().context);
    rest = rest.substr(0, question);
    const std::size_t colon = rest.find(':');
    const Preset* const found = find_preset(rest.substr(0, colon));
    if (found == nullptr) return wrong(text, fmt::format("the presets are {}", preset_names()));
    auto host = preset_host(*found, *options);
    if (!host) return wrong(text, host.error().context);
    url.host = *std::move(host);
    url.tls_name = url.host;
    url.preset = found->name;
    url.tenant = options->tenant;
    if (const auto chosen = choose_port(url, *found, *options); !chosen) return wrong(text, chosen.error().context);
    if (colon != std::string_view::npos) {
        auto user = net::percent_decode(rest.substr(colon + 1));
        if (!user) return wrong(text, user.error().context);
        url.user = *std::move(user);
    }
    if (!found->login && !url.user.empty()) return wrong(text, "this service takes no login");
    if (url.user.empty()) url.user = found->fixed_user;
    if (url.user.empty() && found->login && !found->login_optional) {
        return wrong(text, fmt::format("this service needs your user name: {}", found->example));
    }
    if (const auto checked = check_files(url); !checked) return wrong(text, checked.error().context);
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
    std::string options;
    const auto add = [&](std::string_view key, const std::string& value) {
        options += fmt::format("{}{}={}", options.empty() ? '?' : '&', key, percent_encode(value, "-._~+@/"));
    };
    if (tls_name != host) add("name", tls_name);
    if (!certificate_file.empty()) add("certificate", certificate_file);
    if (!certificate_file.empty() && key_file != certificate_file) add("key", key_file);
    return fmt::format("{}{}{}{}{}:{}{}", scheme->prefix, at, brackets ? "[" : "", host, brackets ? "]" : "", port,
                       options);
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
        const auto read = read_options(url, rest.substr(query + 1));
        if (!read) return wrong(text, read.error().context);
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
    if (auto checked = check_files(url); !checked) return wrong(text, checked.error().context);
    return url;
}

}  // namespace posthouse::smtp
