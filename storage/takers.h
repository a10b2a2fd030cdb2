#pragma once
/// storage/takers: who took mail of ours, and what a "there is no such user" about one of them is worth.
///
///   a stranger      is believed to be unknown at once
///   who took mail   within kTakerDays: two refusals kUnknownApart apart, without a delivery between. Of reports that
///                   come after the message was taken (server/returns) deliveries between do not count: the gateway
///                   takes all
///   a burst         a site calls kOutageKnown different ones of them unknown within an hour, that is a share of
///                   kOutageShare and kOutageFactor times its own usual one: its directory is out of order. Nothing of
///                   that hour and until kOutageCalm after the last of it suppresses anybody; an incident (directory)
///                   says so. Mail to who took some before waits for its end (relay/outcome); the last of it: where
///                   nobody was taken since, any one of them that is unknown; else as many as it began with.
///                   After kOutageMost it is believed: whoever is unknown still is a stranger until he takes mail again
/// Invariants  1. What a burst suppressed before it was seen to be one is undone in the commit that sees it.
///             2. All of it stands in the store: a restart changes nothing.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: below; who took nothing for
/// kTakerDays is forgotten (storage/upkeep).
#include <cstdint>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::int64_t kTakerDays = 180;
inline constexpr std::chrono::hours kUnknownApart{24};
inline constexpr std::uint64_t kOutageKnown = 8;    ///< different recipients that took mail before
inline constexpr std::uint64_t kOutageShare = 200;  ///< of a thousand that the site was given meanwhile
inline constexpr std::uint64_t kOutageFactor = 4;   ///< times its usual share; never more than kOutageShareMost
inline constexpr std::uint64_t kOutageShareMost = 900;
inline constexpr std::chrono::hours kOutageWindow{1};
inline constexpr std::chrono::hours kOutageCalm{6};
inline constexpr std::chrono::hours kOutageMost{72};  ///< since its incident began: no administrator is away for longer
inline constexpr std::chrono::hours kLateApart{30 *
                                               24};  ///< late refusals further apart have nothing to do with another

/// What "there is no such user" is worth.
enum class UnknownWorth : std::uint8_t {
    believed,  ///< enough to suppress the recipient
    doubted,   ///< not by itself, or it is a stranger whom a site in a burst does not know
    outage,    ///< the recipient took mail before and the site is in a burst
};
struct UnknownFound {
    UnknownWorth worth = UnknownWorth::doubted;
    IncidentId incident{};  ///< of the burst, for outage
    UnknownFound() = default;
    UnknownFound(UnknownWorth what, IncidentId which) : worth(what), incident(which) {}
};

/// Whose directory answers: the provider where it is known by name, else the domain of the address, lower case.
std::string directory_of_recipient(std::string_view provider, std::string_view address);

/// "There is no such user", about one recipient.
struct UnknownSaid {
    std::string site;     ///< directory_of_recipient()
    std::string scope;    ///< of the suppression that would follow
    std::string address;  ///< any case
    std::string reply;    ///< word for word
    std::string remote;
    Time taken{};  ///< of a late report: when that message was handed over; none: said at once
};

class TakerView {
 public:
    explicit TakerView(const Snapshot& snapshot);
    /// Whether a burst is over, or something is to be forgotten: then TakerTx::watch().
    Result<bool> is_due(Time now) const;
    /// Whether nothing that the site says of its users is believed now.
    Result<bool> in_burst(std::string_view site, Time now) const;
    /// For mail that proves nothing by itself, too: outage where the recipient took mail of ours and the site is in a
    /// burst that has not lasted for kOutageMost, else doubted.
    Result<UnknownFound> weigh(std::string_view site, std::string_view address, Time now) const;

 protected:
    explicit TakerView(Connection& db) : db_(db) {}
    Connection& db_;
};

class TakerTx final : public TakerView {
 public:
    explicit TakerTx(Tx& tx);
    /// It took a message.
    Result<> took(std::string_view site, std::string_view address);
    /// Notes it. Noted again within the hour, it changes nothing.
    Result<UnknownFound> note(const UnknownSaid& said);
    /// Bursts that are over: their incidents end. What is older than an hour goes.
    Result<> watch();

 private:
    struct Site;
    Result<Site> note_known(const UnknownSaid& said, bool is_new);
    Result<bool> speaks(const UnknownSaid& said, bool is_late);
    Result<bool> is_open(IncidentId id) const;
    Result<Site> site_now(const std::string& site);
    Result<> tell_burst(const UnknownSaid& said, Site& site);
    Result<> undo(const std::string& site);
    Tx& tx_;
};

}  // namespace posthouse::storage
