#pragma once
/// admin/cli: what the operator types. One row a command (command.h); CLI11 only in parser.cpp.
///
///   posthouse GROUP VERB ARGUMENTS [--json] [--config FILE]
/// Exit status: 0 done; 1 refused, one plain sentence on standard error that says what to do; 2 wrong usage.
/// What needs the rooms of server (configuration, serving, resolving addresses) comes in through CliHooks,
/// which server/main.cpp fills: this room includes neither.
/// Invariants  1. A secret comes from a file, the environment or a prompt without echo; never from an argument.
///             2. With --json standard output holds one JSON value and nothing else.
///             3. Text of others (subjects, replies) is escaped before it reaches a terminal.
/// Threads: one; the store may be open in a server at the same time.  Limits: kMessageOctetsMax for sendmail.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "storage/routes.h"
#include "storage/store.h"

namespace posthouse::admin {

inline constexpr std::string_view kDefaultConfigFile = "/etc/posthouse/posthouse.toml";
inline constexpr std::size_t kMessageOctetsMax = 64UL * 1024 * 1024;

/// What commands need of the configuration file.
struct Settings {
    std::string file;
    std::string hostname;
    std::string data;
    std::uint64_t free_octets_min = 512ULL * 1024 * 1024;  ///< see storage::StoreOptions
    std::string tls_certificate;
    std::string tls_key;
    std::vector<std::string> dns_servers;
    std::string dns_trust_anchor;
    bool dns_ask_loopback = false;
    struct Listen {
        std::string service;   ///< "smtp", ...
        std::string endpoint;  ///< "0.0.0.0:25"
    };
    std::vector<Listen> listen;
};

/// A message for sendmail to hand in: CRLF line ends, Bcc still in it.
struct Submission {
    std::string sender;  ///< reverse-path; "" is the null sender
    std::vector<std::string> recipients;
    std::string message;
};

/// How a way out is tried.
struct WayTrialWish {
    storage::Way way;
    std::string source;           ///< of a pool: from this address; "" one that mail would leave from
    std::string from;
    std::string to;               ///< "" sends nothing
    std::chrono::seconds wait{};  ///< for its arrival, where `to` is at home here
};

/// What was found when a way out was tried.
struct WayTrial {
    std::vector<std::string> sentences;
    bool good = false;
    std::string dialogue;    ///< what was said with the other server, secrets masked
    std::string message_id;  ///< of what was sent; "" where nothing was
};

/// What a destination asks of TLS, and why.
struct TlsExplanation {
    std::string dnssec;   ///< whether DANE can be had here at all
    std::string refusal;  ///< why nothing could be sent there; "" where it could
    bool mx_secure = false;
    std::string sts;
    struct Host {
        std::string name;
        std::string policy;  ///< "dane", "mta-sts", "opportunistic", "unusable"
        std::string why;
        std::vector<std::string> records;
    };
    std::vector<Host> hosts;
};

struct CliHooks {
    /// Reads and checks the configuration file.
    std::function<Result<Settings>(const std::string& file)> load_config;
    /// Runs the server until it is told to stop; the exit status.
    std::function<int(const std::string& config_file)> serve;
    /// Puts a message into local mailboxes and the queue; what became of it, one sentence.
    std::function<Result<std::string>(storage::Store&, const Settings&, const Submission&)> submit;
    /// Connects and logs in by a way; with an address in `to` hands a short message from `from` over, and follows it.
    std::function<Result<WayTrial>(storage::Store&, const std::string& config_file, const WayTrialWish&)> try_way;
    /// Asks the DNS, and for the MTA-STS policy, what mail to `domain` would have to meet.
    std::function<Result<TlsExplanation>(storage::Store&, const Settings&, const std::string& domain)> explain_tls;
};

/// The whole program behind main(). Never throws.
int run_cli(int argc, const char* const* argv, const CliHooks& hooks);

}  // namespace posthouse::admin
