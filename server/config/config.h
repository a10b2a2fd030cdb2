#pragma once
/// server/config: the configuration file: only what must be known before the store opens.
///
///   in:  TOML 1.0 (toml++, only in config.cpp)  ->  Config, or one sentence that says what to write instead
/// Everything else (domains, accounts, routes, policy) lives in the store.
/// Invariants  1. An error names file, line and key, and what to write instead; the first one found is told.
///             2. An unknown key is refused, with the nearest known one: a typing error is never a silent default.
///             3. A Config that was given out is whole: every required key was there and every value checked.
///             4. Nothing is opened but the file itself: whether the certificate can be read is for serve and doctor.
/// Threads: pure functions.  Limits: kConfigOctetsMax.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/log.h"
#include "protocols/base/result.h"
#include "protocols/net/address.h"

namespace posthouse::server {

inline constexpr std::size_t kConfigOctetsMax = 256UL * 1024;

/// Each service and where it is offered; an empty list: not at all. Port 0: any free one (tests; see RUN/ports.json).
struct ListenConfig {
    std::vector<net::Endpoint> smtp;         ///< mail from other servers, RFC 5321; port 25
    std::vector<net::Endpoint> submission;   ///< mail from users, STARTTLS, RFC 6409; port 587
    std::vector<net::Endpoint> submissions;  ///< the same with TLS from the start, RFC 8314 3.3; port 465
    std::vector<net::Endpoint> imap;         ///< reading, STARTTLS, RFC 3501; port 143
    std::vector<net::Endpoint> imaps;        ///< the same with TLS from the start, RFC 8314 3.2; port 993
    std::vector<net::Endpoint> http;         ///< health and metrics; loopback only
    std::vector<net::Endpoint> https;        ///< MTA-STS policies of the domains at home, for everybody; port 443
};

struct Config {
    std::string file;      ///< where it was read from
    std::string hostname;  ///< the name this server gives itself, lower case
    std::string data;      ///< absolute path of the data directory
    ListenConfig listen;
    std::string tls_certificate;  ///< PEM chain, absolute path
    std::string tls_key;
    std::vector<std::string> dns_servers;  ///< "192.0.2.53" or "192.0.2.53@5353"; empty: ask the root ourselves
    std::string dns_trust_anchor;          ///< root key file; empty: no DNSSEC
    std::string log_file;                  ///< empty: standard error
    log::Level log_level = log::Level::info;
    std::uint64_t store_free_octets_min = 512ULL * 1024 * 1024;  ///< nothing is added below this much free disk
    std::uint64_t store_cache_octets = 64ULL * 1024 * 1024;      ///< pages of mail.db that the writer keeps
    unsigned store_readers_max = 4;                              ///< reading connections at a time
    std::uint64_t imap_fetch_cache_octets = 32ULL * 1024 * 1024;  ///< what FETCH has answered
    std::uint64_t imap_cache_octets = 64ULL * 1024 * 1024;       ///< mailboxes that stay open for the next SELECT
    bool imap_clear_login = false;                               ///< from loopback: LOGIN without TLS is taken
    bool imap_announce_uidonly = false;                          ///< it stands there; of no effect any more
    std::string relay_ca_file;                                   ///< trust anchors besides the system's
    std::uint16_t relay_mx_port = 25;                            ///< another one only in tests
    std::uint16_t relay_sts_port = 443;                          ///< of MTA-STS policies; another one only in tests
    bool relay_allow_loopback_mx = false;                        ///< deliver to MX hosts on loopback: only in tests
    bool dns_ask_loopback = false;                               ///< one of dns_servers is on loopback
};

/// A service, its key in [listen] and its list.
struct ListenRow {
    std::string_view service;
    std::vector<net::Endpoint> ListenConfig::*list;
    bool implicit_tls;
    std::uint16_t port;  ///< the usual one
};
inline constexpr ListenRow kListenRows[] = {
    {"smtp", &ListenConfig::smtp, false, 25},
    {"submission", &ListenConfig::submission, false, 587},
    {"submissions", &ListenConfig::submissions, true, 465},
    {"imap", &ListenConfig::imap, false, 143},
    {"imaps", &ListenConfig::imaps, true, 993},
    {"http", &ListenConfig::http, false, 8025},
    {"https", &ListenConfig::https, true, 443},
};

/// Errc::not_found, io or invalid; the context is the whole sentence to show.
Result<Config> load_config(const std::string& path);
/// The same for text; `name` stands for the file in messages.
Result<Config> parse_config(std::string_view text, const std::string& name);
/// Tells the log of lines in it that have no effect any more.
void warn_of(const Config& config);

}  // namespace posthouse::server
