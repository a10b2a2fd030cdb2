#include "server/config/config.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <span>
#include <sstream>

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <toml++/toml.h>
#pragma clang diagnostic pop

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/base/nearest.h"

namespace posthouse::server {
namespace {

constexpr std::uint64_t kOctetsMax = 1ULL << 60U;
constexpr std::uint64_t kCacheOctetsMin = 1024UL * 1024;  // less than this and one large write thrashes
constexpr std::int64_t kReadersMax = 64;                  // each holds descriptors and 2 MiB of pages

// What a setter needs to say where and what went wrong.
struct Place {
    const std::string& file;
    std::int64_t line;
    std::string key;  // "listen.smtp"

    Error error(std::string_view sentence) const {
        return Error(Errc::invalid, fmt::format("{}:{}: {}: {}", file, line, key, sentence));
    }
};

Result<std::string> take_string(const toml::node& node, const Place& place, std::string_view example) {
    if (const auto* text = node.as_string()) return text->get();
    return place.error(
        fmt::format("must be a text in quotes; write {} = {}", place.key.substr(place.key.rfind('.') + 1), example));
}

Result<std::vector<std::string>> take_strings(const toml::node& node, const Place& place, std::string_view example) {
    const auto* array = node.as_array();
    if (array == nullptr) return place.error(fmt::format("must be a list; write [{}]", example));
    std::vector<std::string> out;
    for (const toml::node& element : *array) {
        const auto* text = element.as_string();
        if (text == nullptr) return place.error(fmt::format("must list texts in quotes; write [{}]", example));
        out.push_back(text->get());
    }
    return out;
}

bool is_host_name(std::string_view name) {
    if (name.empty() || name.size() > 253) return false;  // RFC 1035 2.3.4
    std::size_t label = 0;
    bool dot = false;
    char before = '.';
    for (const char c : name) {
        if (c == '.') {
            if (label == 0 || before == '-') return false;
            dot = true;
            label = 0;
        } else if (ascii::is_alnum(c) || (c == '-' && label > 0)) {
            if (++label > 63) return false;
        } else {
            return false;
        }
        before = c;
    }
    return dot && label > 0 && before != '-';
}

Result<std::string> take_path(const toml::node& node, const Place& place, std::string_view example) {
    TRY(std::string path, take_string(node, place, example));
    if (!path.starts_with('/')) {
        return place.error(
            fmt::format("\"{}\" is no absolute path; write one that starts with a slash, such as {}", path, example));
    }
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    return path;
}

// An absolute path or "".
Result<std::string> take_optional_path(const toml::node& node, const Place& place, std::string_view example) {
    if (const auto* text = node.as_string(); text != nullptr && text->get().empty()) return std::string();
    return take_path(node, place, example);
}

Result<> set_hostname(Config& config, const toml::node& node, const Place& place) {
    TRY(const std::string name, take_string(node, place, "\"mail.example.org\""));
    if (!is_host_name(name)) {
        return place.error(fmt::format("\"{}\" is no full host name; write one such as \"mail.example.org\"", name));
    }
    config.hostname = ascii::to_lower(name);
    return {};
}

Result<> set_listen(Config& config, const toml::node& node, const Place& place) {
    const std::string service = place.key.substr(place.key.find('.') + 1);
    const auto* const row = std::ranges::find(kListenRows, service, &ListenRow::service);
    const bool http = service == "http";
    const std::string example = http ? "\"127.0.0.1:8025\"" : fmt::format("\"0.0.0.0:{0}\", \"[::]:{0}\"", row->port);
    TRY(const std::vector<std::string> texts, take_strings(node, place, example));
    for (const std::string& text : texts) {
        const auto endpoint = net::Endpoint::parse(text);
        if (!endpoint) {
            return place.error(fmt::format("\"{}\" is no address with a port; write [{}]", text, example));
        }
        if (http && !endpoint->address.is_loopback()) {
            return place.error(fmt::format("\"{}\" can be reached from outside; write [{}]", text, example));
        }
        (config.listen.*(row->list)).push_back(*endpoint);
    }
    return {};
}

Result<> set_dns_servers(Config& config, const toml::node& node, const Place& place) {
    TRY(config.dns_servers, take_strings(node, place, "\"192.0.2.53\""));
    for (const std::string& server : config.dns_servers) {
        const std::size_t at = server.find('@');
        const auto address = net::IpAddress::parse(server.substr(0, at));
        const auto port = at == std::string::npos ? std::optional<std::uint64_t>(53)
                                                  : ascii::parse_number(std::string_view(server).substr(at + 1));
        if (!address || !port || *port == 0 || *port > 65535) {
            return place.error(
                fmt::format("\"{}\" is no address; write [\"192.0.2.53\"] or [\"192.0.2.53@5353\"]", server));
        }
        config.dns_ask_loopback |= address->is_loopback();
    }
    return {};
}

Result<> set_log_level(Config& config, const toml::node& node, const Place& place) {
    TRY(const std::string name, take_string(node, place, "\"info\""));
    const auto level = log::parse_level(name);
    if (!level) {
        return place.error(fmt::format("\"{}\" is no level; write \"debug\", \"info\", \"warn\" or \"error\"", name));
    }
    config.log_level = *level;
    return {};
}

/// "512M": a whole number of octets, or of KiB, MiB or GiB behind K, M or G.
std::optional<std::uint64_t> parse_octets(std::string_view text) {
    unsigned shift = 0;
    if (text.ends_with('K')) shift = 10;
    if (text.ends_with('M')) shift = 20;
    if (text.ends_with('G')) shift = 30;
    if (shift != 0) text.remove_suffix(1);
    const auto number = ascii::parse_number(text);
    if (!number || *number > (kOctetsMax >> shift)) return std::nullopt;
    return *number << shift;
}

Result<std::uint64_t> take_octets(const toml::node& node, const Place& place, std::uint64_t min,
                                  std::string_view example) {
    TRY(const std::string text, take_string(node, place, example));
    const auto octets = parse_octets(text);
    if (!octets || *octets < min) {
        const std::string least = min == 0 ? std::string() : fmt::format(" of at least {}K", min >> 10U);
        return place.error(fmt::format("\"{}\" is no amount{}; write {}", text, least, example));
    }
    return *octets;
}

Result<> set_free_min(Config& config, const toml::node& node, const Place& place) {
    TRY(config.store_free_octets_min, take_octets(node, place, 0, "\"512M\""));
    return {};
}

Result<> set_cache(Config& config, const toml::node& node, const Place& place) {
    TRY(config.store_cache_octets, take_octets(node, place, kCacheOctetsMin, "\"64M\""));
    return {};
}

Result<> set_mailbox_cache(Config& config, const toml::node& node, const Place& place) {
    TRY(config.imap_cache_octets, take_octets(node, place, 0, "\"64M\""));
    return {};
}

Result<> set_fetch_cache(Config& config, const toml::node& node, const Place& place) {
    TRY(config.imap_fetch_cache_octets, take_octets(node, place, 0, "\"32M\""));
    return {};
}

Result<> set_clear_login(Config& config, const toml::node& node, const Place& place) {
    TRY(const std::string from, take_string(node, place, "\"refused\""));
    if (from != "refused" && from != "loopback") {
        return place.error(fmt::format("\"{}\" is no choice; write \"refused\" or \"loopback\"", from));
    }
    config.imap_clear_login = from == "loopback";
    return {};
}

Result<> set_announce_uidonly(Config& config, const toml::node& node, const Place& place) {
    const auto* flag = node.as_boolean();
    if (flag == nullptr) return place.error("must be true or false, without quotes; write announce_uidonly = false");
    config.imap_announce_uidonly = true;  // capabilities are switched in the store now
    return {};
}

Result<> set_readers(Config& config, const toml::node& node, const Place& place) {
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < 1 || number->get() > kReadersMax) {
        return place.error(fmt::format("must be a number from 1 to {}; write readers = 4", kReadersMax));
    }
    config.store_readers_max = static_cast<unsigned>(number->get());
    return {};
}

Result<> set_mx_port(Config& config, const toml::node& node, const Place& place) {
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < 1 || number->get() > 65535) {
        return place.error("must be a port from 1 to 65535; write mx_port = 25");
    }
    config.relay_mx_port = static_cast<std::uint16_t>(number->get());
    return {};
}

Result<> set_sts_port(Config& config, const toml::node& node, const Place& place) {
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < 1 || number->get() > 65535) {
        return place.error("must be a port from 1 to 65535; write sts_port = 443");
    }
    config.relay_sts_port = static_cast<std::uint16_t>(number->get());
    return {};
}

Result<> set_loopback_mx(Config& config, const toml::node& node, const Place& place) {
    const auto* flag = node.as_boolean();
    if (flag == nullptr) return place.error("must be true or false, without quotes; write allow_loopback_mx = false");
    config.relay_allow_loopback_mx = flag->get();
    return {};
}

template <std::string Config::*member>
Result<> set_path(Config& config, const toml::node& node, const Place& place) {
    TRY(config.*member, take_path(node, place, "\"/etc/posthouse/file.pem\""));
    return {};
}
template <std::string Config::*member>
Result<> set_optional_path(Config& config, const toml::node& node, const Place& place) {
    TRY(config.*member, take_optional_path(node, place, "\"/etc/posthouse/file.pem\""));
    return {};
}
Result<> set_data(Config& config, const toml::node& node, const Place& place) {
    TRY(config.data, take_path(node, place, "\"/var/lib/posthouse\""));
    return {};
}

enum class Presence { required, optional };

// One key of the file: nothing else in this room names it.
struct Key {
    std::string_view section;  // "" is the top level
    std::string_view name;
    Presence presence;
    std::string_view example;  // what to write where it is missing
    Result<> (*set)(Config&, const toml::node&, const Place&);
};

constexpr Key kKeys[] = {
    {"", "hostname", Presence::required, "\"mail.example.org\"", set_hostname},
    {"", "data", Presence::required, "\"/var/lib/posthouse\"", set_data},
    {"listen", "smtp", Presence::optional, "", set_listen},
    {"listen", "submission", Presence::optional, "", set_listen},
    {"listen", "submissions", Presence::optional, "", set_listen},
    {"listen", "imap", Presence::optional, "", set_listen},
    {"listen", "imaps", Presence::optional, "", set_listen},
    {"listen", "http", Presence::optional, "", set_listen},
    {"listen", "https", Presence::optional, "", set_listen},
    {"tls", "certificate", Presence::required, "\"/etc/posthouse/certificate.pem\"",
     set_path<&Config::tls_certificate>},
    {"tls", "key", Presence::required, "\"/etc/posthouse/key.pem\"", set_path<&Config::tls_key>},
    {"dns", "servers", Presence::optional, "", set_dns_servers},
    {"dns", "trust_anchor", Presence::optional, "", set_optional_path<&Config::dns_trust_anchor>},
    {"log", "file", Presence::optional, "", set_optional_path<&Config::log_file>},
    {"log", "level", Presence::optional, "", set_log_level},
    {"store", "free_min", Presence::optional, "", set_free_min},
    {"store", "cache", Presence::optional, "", set_cache},
    {"store", "readers", Presence::optional, "", set_readers},
    {"imap", "mailbox_cache", Presence::optional, "", set_mailbox_cache},
    {"imap", "fetch_cache", Presence::optional, "", set_fetch_cache},
    {"imap", "clear_login", Presence::optional, "", set_clear_login},
    {"imap", "announce_uidonly", Presence::optional, "", set_announce_uidonly},
    {"relay", "ca_file", Presence::optional, "", set_optional_path<&Config::relay_ca_file>},
    {"relay", "mx_port", Presence::optional, "", set_mx_port},
    {"relay", "sts_port", Presence::optional, "", set_sts_port},
    {"relay", "allow_loopback_mx", Presence::optional, "", set_loopback_mx},
};

std::vector<std::string_view> known_names(std::string_view section) {
    std::vector<std::string_view> out;
    for (const Key& key : kKeys) {
        if (key.section == section) out.push_back(key.name);
        if (section.empty() && !key.section.empty() && std::ranges::find(out, key.section) == out.end()) {
            out.push_back(key.section);
        }
    }
    return out;
}

bool is_section(std::string_view name) {
    return std::ranges::any_of(kKeys, [&](const Key& key) { return !key.section.empty() && key.section == name; });
}

Result<> read_table(Config& config, const toml::table& table, std::string_view section) {
    // toml++ orders by key; people read from the top, so the first line that is wrong is told.
    std::vector<std::pair<std::string_view, const toml::node*>> nodes;
    for (const auto& [key, node] : table) nodes.emplace_back(key.str(), &node);
    std::ranges::sort(nodes, {}, [](const auto& entry) {
        const auto at = entry.second->source().begin;
        return std::pair(at.line, at.column);
    });
    for (const auto& [name, node] : nodes) {
        const std::string full = section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
        const Place place{config.file, node->source().begin.line, full};
        if (section.empty() && is_section(name)) {
            const auto* inner = node->as_table();
            if (inner == nullptr)
                return place.error(fmt::format("is a section; write [{}] on a line of its own", name));
            TRY_VOID(read_table(config, *inner, name));
            continue;
        }
        const auto* const key =
            std::ranges::find_if(kKeys, [&](const Key& row) { return row.section == section && row.name == name; });
        if (key == std::end(kKeys)) {
            const auto names = known_names(section);
            return place.error(fmt::format("there is no such key; {}", suggest(name, names)));
        }
        TRY_VOID(key->set(config, *node, place));
    }
    return {};
}

Result<> check_required(const Config& config, const toml::table& table) {
    for (const Key& key : kKeys) {
        if (key.presence == Presence::optional) continue;
        const toml::table* const holder = key.section.empty() ? &table : table[key.section].as_table();
        if (holder != nullptr && holder->contains(key.name)) continue;
        const std::string full =
            key.section.empty() ? std::string(key.name) : fmt::format("{}.{}", key.section, key.name);
        const std::string where = key.section.empty() ? "at the top" : fmt::format("under [{}]", key.section);
        const auto line = holder != nullptr && !key.section.empty() ? holder->source().begin.line : 1U;
        return Place{config.file, line, full}.error(
            fmt::format("is missing; write {} = {} {}", key.name, key.example, where));
    }
    return {};
}

// Two services cannot have one port, and a server without any is a mistake.
Result<> check_listen(const Config& config, const toml::table& table) {
    const toml::table* const section = table["listen"].as_table();
    const auto line = section != nullptr ? section->source().begin.line : 1U;
    std::vector<std::pair<net::Endpoint, std::string_view>> seen;
    for (const ListenRow& row : kListenRows) {
        for (const net::Endpoint& endpoint : config.listen.*(row.list)) {
            const auto other = std::ranges::find(seen, endpoint, &std::pair<net::Endpoint, std::string_view>::first);
            if (endpoint.port != 0 && other != seen.end()) {
                return Place{config.file, line, fmt::format("listen.{}", row.service)}.error(
                    fmt::format("{} is listen.{}'s already; write another port", endpoint.to_string(), other->second));
            }
            seen.emplace_back(endpoint, row.service);
        }
    }
    if (seen.empty()) {
        return Place{config.file, line, "listen"}.error("nothing would be listened to; write smtp = [\"0.0.0.0:25\"]");
    }
    return {};
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& name) {
    Config config;
    config.file = name;
    if (text.size() > kConfigOctetsMax) {
        return Error(Errc::too_large,
                     fmt::format("{}: is larger than {} octets; is it the right file?", name, kConfigOctetsMax));
    }
    toml::parse_result parsed = toml::parse(text, name);
    if (!parsed) {
        const toml::parse_error& error = parsed.error();
        return Error(Errc::invalid, fmt::format("{}:{}: {}; write lines such as key = \"value\" below a [section]",
                                                name, error.source().begin.line, error.description()));
    }
    const toml::table& table = parsed.table();
    TRY_VOID(read_table(config, table, ""));
    TRY_VOID(check_required(config, table));
    TRY_VOID(check_listen(config, table));
    return config;
}

void warn_of(const Config& config) {
    if (!config.imap_announce_uidonly) return;
    log::warn(
        "serve",
        "imap.announce_uidonly in {} has no effect any more: posthouse capability on UIDONLY announces it; remove "
        "the line",
        config.file);
}

Result<Config> load_config(const std::string& path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) {
        if (errno == ENOENT) {
            return Error(
                Errc::not_found,
                fmt::format("{}: there is no such file; name it with --config, or make one with posthouse init", path));
        }
        return Error(Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
    }
    if (!S_ISREG(info.st_mode)) return Error(Errc::io, fmt::format("{}: is no file; name the file itself", path));
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    if (!in) return Error(Errc::io, fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
    return parse_config(text.str(), path);
}

}  // namespace posthouse::server
