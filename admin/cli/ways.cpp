#include "admin/cli/ways.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "admin/cli/keys.h"
#include "admin/cli/secret.h"
#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "protocols/net/tls.h"
#include "protocols/smtp/presets.h"

namespace posthouse::admin {
namespace {

constexpr std::uint32_t kConnectionsMax = 1000;
constexpr std::uint32_t kCountMax = 1'000'000'000;
constexpr std::size_t kHeaderLineMax = 900;

// "Name: value" (RFC 5322 2.2), one line.
Result<std::string> check_header(std::string_view text) {
    const std::size_t colon = text.find(':');
    const auto is_name = [](char c) { return c > ' ' && c < 0x7f && c != ':'; };
    const std::string_view name = text.substr(0, colon);
    const bool shaped = colon != std::string_view::npos && !name.empty() && text.size() <= kHeaderLineMax &&
                        std::ranges::all_of(name, is_name) && std::ranges::none_of(text, ascii::is_control);
    if (!shaped) return Error(Errc::invalid, fmt::format("\"{}\" is no header field; write \"Name: value\"", text));
    return fmt::format("{}: {}\n", name, ascii::trim(text.substr(colon + 1)));
}

// What is typed takes the place of what the preset sets: two fields of a kind would be read either way.
Result<> read_headers(const Invocation& call, std::string& headers) {
    std::string own;
    std::vector<std::string> names;
    for (const std::string& line : call.all("--header")) {
        TRY(const std::string header, check_header(line));
        names.push_back(header.substr(0, header.find(':')));
        own += header;
    }
    std::string kept;
    std::string_view rest = headers;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\n') + 1, rest.size());
        const std::string_view line = rest.substr(0, end == 0 ? rest.size() : end);
        const std::string_view name = line.substr(0, line.find(':'));
        const auto is_it = [&](const std::string& one) { return ascii::equals_ci(one, name); };
        if (std::ranges::none_of(names, is_it)) kept += line;
        rest.remove_prefix(line.size());
    }
    headers = kept + own;
    return {};
}

Result<> read_limits(const Invocation& call, storage::WayLimits& limits) {
    TRY(const std::uint32_t connections, read_count(call, "--connections", kConnectionsMax));
    TRY(const std::uint32_t minute, read_count(call, "--rate", kCountMax));
    TRY(const std::uint32_t day, read_count(call, "--per-day", kCountMax));
    TRY(const std::uint32_t recipients, read_count(call, "--max-recipients", kCountMax));
    if (connections != 0) limits.connections_max = connections;
    if (minute != 0) limits.minute_max = minute;
    if (day != 0) limits.day_max = day;
    if (recipients != 0) limits.recipients_max = recipients;
    if (call.has("--max-size") && !parse_octets(call.get("--max-size"), limits.message_octets_max)) {
        return Error(Errc::invalid, fmt::format("\"{}\" is no size; write for example 25M", call.get("--max-size")));
    }
    return {};
}

std::string with_tenant(std::string_view text, std::string_view tenant) {
    std::string out(text);
    if (const auto at = out.find("{tenant}"); at != std::string::npos) out.replace(at, 8, tenant);
    return out;
}

// XOAUTH2: --oauth-client names the application; where tokens are had is known for Microsoft and Google.
Result<> read_oauth(Invocation& call, const smtp::RelayUrl& url, storage::Store& store, storage::Way& way) {
    if (!call.has("--oauth-client")) {
        if (call.has("--oauth-refresh-file") || call.has("--oauth-url") || call.has("--oauth-scope")) {
            return Error(Errc::invalid, "--oauth-client is missing: the id of the application that logs in");
        }
        return {};
    }
    const smtp::Preset* const preset = smtp::find_preset(way.preset);
    way.oauth.client_id = call.get("--oauth-client");
    way.oauth.token_url = call.get("--oauth-url");
    way.oauth.scope = call.get("--oauth-scope");
    if (way.oauth.token_url.empty() && preset != nullptr) {
        way.oauth.token_url = with_tenant(preset->token_url, url.tenant.empty() ? "common" : url.tenant);
    }
    if (way.oauth.scope.empty() && preset != nullptr) way.oauth.scope = preset->scope;
    if (way.oauth.token_url.empty()) {
        return Error(Errc::invalid, "--oauth-url is missing: where tokens for this relay are had");
    }
    if (!way.oauth.token_url.starts_with("https://")) {
        return Error(Errc::invalid, "--oauth-url must be an https:// URL: the secret goes there");
    }
    if (call.has("--oauth-refresh-file")) {
        TRY(const std::string refresh, read_given_secret(call.get("--oauth-refresh-file"), ""));
        way.oauth.sealed_refresh = crypto::seal(store.sealing_key(), kRouteSealPurpose, refresh);
    } else if (way.oauth.token_url.contains("googleapis.com")) {
        return Error(Errc::invalid, "Google gives tokens for a refresh token only: --oauth-refresh-file FILE");
    } else if (preset != nullptr && preset->token_url.contains("{tenant}") && url.tenant.empty() &&
               !call.has("--oauth-url")) {
        return Error(Errc::invalid,
                     fmt::format("for an application's secret alone {} gives tokens of a named tenant only: write "
                                 "preset:{}:{}?tenant=TENANT, or give --oauth-refresh-file",
                                 preset->title, preset->name, url.user));
    }
    return {};
}

}  // namespace

Result<std::uint32_t> read_count(const Invocation& call, const char* option, std::uint32_t most) {
    if (!call.has(option)) return 0U;
    std::string text = call.get(option);
    if (text.ends_with("/min")) text.resize(text.size() - 4);
    const auto number = ascii::parse_number(text);
    if (!number || *number == 0 || *number > most) {
        return Error(Errc::invalid,
                     fmt::format("{} takes a number from 1 to {}, not \"{}\"", option, most, call.get(option)));
    }
    return static_cast<std::uint32_t>(*number);
}

bool is_relay_url(std::string_view text) { return text.contains("://") || ascii::starts_with_ci(text, "preset:"); }

Result<> read_client_certificate(const Invocation& call, smtp::RelayUrl& url) {
    const auto absolute = [](const std::string& file) { return std::filesystem::absolute(file).string(); };
    if (call.has("--client-key") && !call.has("--client-cert")) {
        return Error(Errc::invalid, "--client-key belongs to a --client-cert");
    }
    if (call.has("--client-cert")) {
        const std::string file = call.get("--client-cert");
        url.certificate_file = file.empty() ? "" : absolute(file);
        url.key_file = call.has("--client-key") ? absolute(call.get("--client-key")) : url.certificate_file;
    }
    if (url.certificate_file.empty()) return {};
    if (url.security == smtp::RelayUrl::Security::plain) {
        return Error(Errc::invalid, "a certificate is shown over TLS only: use smtp:// or smtps://");
    }
    net::TlsIdentity identity;
    identity.certificate_file = url.certificate_file;
    identity.key_file = url.key_file;
    const auto tried =
        net::TlsClientContext::make(net::Verify::required, "", net::Anchors::instead, std::move(identity));
    if (!tried) return Error(Errc::invalid, tried.error().context);
    return {};
}

std::string limits_text(const storage::WayLimits& limits) {
    std::string out;
    const auto add = [&](std::uint64_t value, std::string text) {
        if (value != 0) out += (out.empty() ? "" : ", ") + std::move(text);
    };
    add(limits.connections_max, fmt::format("{} connections", limits.connections_max));
    add(limits.minute_max, fmt::format("{} recipients a minute", limits.minute_max));
    add(limits.day_max, fmt::format("{} recipients a day", limits.day_max));
    add(limits.message_octets_max, format_octets(limits.message_octets_max) + " a message");
    add(limits.recipients_max, fmt::format("{} recipients a message", limits.recipients_max));
    return out.empty() ? "no limit" : out;
}

void take_preset(storage::Way& way) {
    const smtp::Preset* const preset = smtp::find_preset(way.preset);
    if (preset == nullptr) return;
    way.limits.connections_max = preset->connections_max;
    way.limits.minute_max = preset->minute_max;
    way.limits.day_max = preset->day_max;
    way.limits.message_octets_max = preset->message_octets_max;
    way.limits.recipients_max = preset->recipients_max;
    for (const smtp::PresetHeader& header : preset->headers) {
        way.headers += fmt::format("{}: {}\n", header.name, header.value);
    }
}

Result<storage::Way> read_way(Invocation& call, const std::string& name, const std::string& text) {
    TRY(smtp::RelayUrl url, smtp::parse_relay_url(text));
    TRY_VOID(read_client_certificate(call, url));
    storage::Way way;
    way.name = name;
    way.kind = storage::WayKind::smarthost;
    way.url = url.to_string();
    way.preset = url.preset;
    if (call.has("--preset")) {
        const smtp::Preset* const preset = smtp::find_preset(call.get("--preset"));
        if (preset == nullptr) {
            return Error(Errc::not_found, fmt::format("there is no preset {}; posthouse route presets lists them",
                                                      call.get("--preset")));
        }
        way.preset = preset->name;
    }
    take_preset(way);
    TRY_VOID(read_limits(call, way.limits));
    TRY_VOID(read_headers(call, way.headers));
    if (call.has("--ca-file")) way.ca_file = std::filesystem::absolute(call.get("--ca-file")).string();
    TRY(storage::Store* const store, call.store());
    TRY_VOID(read_oauth(call, url, *store, way));
    if (url.needs_password()) {
        const bool refreshed = !way.oauth.sealed_refresh.empty();
        const std::string what = way.oauth.token_url.empty() ? fmt::format("password of {} at {}", url.user, url.host)
                                                             : fmt::format("secret of {}", way.oauth.client_id);
        const auto secret = read_secret(call.get("--password-file"), "POSTHOUSE_RELAY_PASSWORD", what);
        // A public application has a refresh token and no secret.
        if (!secret && !(refreshed && secret.error().code == Errc::not_found)) return Error(secret.error());
        if (secret) way.sealed_secret = crypto::seal(store->sealing_key(), kRouteSealPurpose, *secret);
    }
    return way;
}

}  // namespace posthouse::admin
