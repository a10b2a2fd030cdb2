#pragma once
/// storage/routes: which way mail goes out, as the administrator set it and as experience shows.
///
///   way      a named manner of sending: directly (from a pool of addresses), by a smarthost, hold, fail. "direct",
///            "hold" and "fail" are always there; the others are rows.
///   route    a rule: which mail, and the ways it takes, in order. What no rule fits goes directly.
///   address  a local address that direct ways send from, in a pool
///   memory   where a way was refused for our address's fault, or did not work at all, and when it is tried again
/// Invariants  1. A way that a route names exists: it cannot be removed before.
///             2. Mail takes no way that its route does not name.
///             3. Secrets are kept sealed (crypto::seal, purpose "route").
/// Errors: already_exists, not_found, conflict, invalid (with the sentence to show).
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: below.
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/incidents.h"
#include "storage/lane_limits.h"
#include "storage/reputation.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

enum class WayId : std::int64_t {};

inline constexpr std::size_t kStepsMax = 16;  ///< ways of one route
inline constexpr std::size_t kNameOctetsMax = 64;
inline constexpr std::uint32_t kWeightMax = 1000;

enum class WayKind : std::uint8_t { direct, smarthost, hold, fail };
std::string_view to_string(WayKind kind);

/// 0: no limit of its own.
struct WayLimits {
    std::uint32_t connections_max = 0;
    std::uint32_t minute_max = 0;  ///< recipients
    std::uint32_t day_max = 0;     ///< recipients, UTC days
    std::uint64_t message_octets_max = 0;
    std::uint32_t recipients_max = 0;  ///< a transaction
    bool operator==(const WayLimits&) const = default;
};

/// XOAUTH2: with a refresh token where one is there, else by client credentials (RFC 6749 6 and 4.4).
struct WayOauth {
    std::string token_url;  ///< "" where the login is made with a password
    std::string client_id;
    std::string scope;
    std::string sealed_refresh;  ///< sealed; "" for client credentials
    bool operator==(const WayOauth&) const = default;
};

struct Way {
    WayId id{};  ///< 0 for those that are always there
    std::string name;
    WayKind kind = WayKind::direct;
    std::string pool;           ///< direct: the source addresses; "" leaves it to the system
    std::string url;            ///< smarthost: "smtp://user@host:587"
    std::string preset;         ///< the service it came from, or ""
    std::string sealed_secret;  ///< password, or the client's secret of XOAUTH2
    std::string ca_file;        ///< trust anchors; "" for the system's
    std::string headers;        ///< "Name: value" lines set on what goes this way
    std::string return_path;    ///< domain of the reverse-path of what goes this way; "" leaves the sender's
    WayOauth oauth;
    WayLimits limits;
    bool operator==(const Way&) const = default;
};

/// Some ways of equal rank, shared by weight: a step of a route.
struct Step {
    struct Share {
        std::string way;
        std::uint32_t weight = 1;
        bool operator==(const Share&) const = default;
    };
    std::vector<Share> shares;
    bool operator==(const Step&) const = default;
};
/// "direct,eu*3+us*1,hold". Errc::invalid.
Result<std::vector<Step>> parse_steps(std::string_view text);
std::string format_steps(std::span<const Step> steps);

/// Which mail: every condition that is set must hold; the first route by (priority, id) that fits counts.
struct Route {
    RouteId id{};
    std::string name;
    std::int64_t priority = 100;             ///< lower is tried first
    std::string sender;                      ///< "" any; address, domain, or "*.example.org"
    std::string recipient;                   ///< likewise
    std::string provider;                    ///< "google": by the mail servers of the recipient's domain; "" any
    std::uint64_t octets_min = 0;            ///< of the message
    std::uint64_t octets_max = 0;            ///< 0: no limit
    std::optional<std::uint8_t> mail_class;  ///< 0 interactive 1 transactional 2 bulk
    std::string client;                      ///< name of the relay client that handed it in; "" any
    std::vector<Step> steps;
    bool operator==(const Route&) const = default;
};

struct SourceAddress {
    std::string address;  ///< in its usual spelling
    std::string pool;
    std::string ehlo;          ///< what it calls itself; "" for the server's name
    std::uint32_t weight = 1;  ///< its share of what its pool sends
    Time warm_since{};         ///< since when it is warmed up; none: it is warm
    bool operator==(const SourceAddress&) const = default;
};

/// One thing learned about a way.
struct Memory {
    std::string way;
    std::string source;  ///< local address; "" where the system chose
    std::string site;    ///< where it was refused; "" where the way as a whole does not work
    Time since{};
    Time probe{};             ///< when one message may try it again
    std::uint32_t tries = 0;  ///< refusals without a success between
    std::string reply;        ///< what was said last
};

/// All of it, for whoever chooses.
struct RoutePicture {
    std::vector<Way> ways;      ///< by name, without the three
    std::vector<Route> routes;  ///< in the order they are tried
    std::vector<SourceAddress> addresses;
    std::vector<Memory> memory;
    std::map<std::string, std::uint64_t, std::less<>> used_today;  ///< recipients by way
    std::vector<Incident> incidents;                               ///< that are open
    AddressBook book;                                              ///< what the addresses are worth
    std::vector<LaneLimit> lane_limits;                            ///< set by hand
};

class RouteView {
 public:
    explicit RouteView(const Snapshot& snapshot);
    explicit RouteView(Tx& tx);
    Result<std::vector<Way>> ways() const;
    Result<std::vector<Route>> routes() const;
    Result<std::vector<SourceAddress>> addresses() const;
    Result<std::vector<LaneLimit>> lane_limits() const;
    Result<std::vector<Memory>> memory() const;
    /// `day` since 1970, UTC: of which the allowances are counted.
    Result<RoutePicture> picture(std::int64_t day) const;

 protected:
    Connection& db_;
};

class RouteTx final : public RouteView {
 public:
    explicit RouteTx(Tx& tx);
    Result<> add_way(const Way& way);
    /// Replaces the way of this name.
    Result<> set_way(const Way& way);
    /// A new refresh token of a way, sealed.
    Result<> set_refresh(std::string_view way, std::string_view sealed);
    /// Errc::conflict while a route names it.
    Result<> remove_way(std::string_view name);
    Result<> add_route(const Route& route);
    /// The way of the same name goes with its route, where no other names it.
    Result<> remove_route(std::string_view name);
    Result<> add_address(const SourceAddress& address);
    Result<> remove_address(std::string_view address);
    /// Inserts or replaces, by way, source and site.
    Result<> remember(const Memory& memory);
    Result<> forget(std::string_view way, std::string_view source, std::string_view site);
    Result<> add_use(std::string_view way, std::int64_t day, std::uint64_t recipients);

 private:
    Result<> write_way(const Way& way);
    void changed();
    Tx& tx_;
};

/// The way of that name among the rows and the three that are always there.
std::optional<Way> find_way(std::span<const Way> ways, std::string_view name);
bool is_built_in_way(std::string_view name);
/// 0 interactive, 1 transactional, 2 bulk; nothing for another word.
std::optional<std::uint8_t> parse_class(std::string_view text);
std::string_view class_name(std::uint8_t mail_class);

}  // namespace posthouse::storage
