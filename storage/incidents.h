#pragma once
/// storage/incidents: what is wrong on our side, and the mail that is held until it is put right.
///
///   refused for our fault, no other way left -> held under an incident -> put right (by hand, by a try that gets
///   through, by another way) -> released at once;   or the time is over -> bounced with that reason
///
/// Invariants  1. One open incident a key: the next refusal of its kind is counted there.
///             2. Opening it and holding mail under it are one commit; closing it and releasing that mail are one too.
///             3. Each beginning and each end is told once: as an event in the same commit, and by a mail (told).
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: kIncidentsKept.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::size_t kIncidentsKept = 10'000;  ///< that are over; the oldest go
/// One that comes back so soon is the same one, and is not mailed about again.
inline constexpr std::chrono::hours kIncidentReopens{6};

/// The last reply of what an incident holds begins so; of what tries again on its behalf, so.
inline constexpr std::string_view kHeldByIncident = "Held by incident";
inline constexpr std::string_view kTriedForIncident = "Tried again for incident";

enum class IncidentKind : std::uint8_t {
    ip_blocked,   ///< a site, or a relay, refuses our address
    sender_auth,  ///< a site does not believe that mail of a domain of ours is ours
    credentials,  ///< a relay refuses our login
    listing,      ///< a block list has our address
    address,      ///< an address of ours is drained at a provider
    account,      ///< an account behaves like a stolen one
    destination,  ///< nothing arrives any more at a provider or domain (site)
    webhook,      ///< whoever listens at a webhook (domain: its name) does not take what it is told
    dmarc,        ///< others report that our own mail in the name of a domain does not pass DMARC
    allowance,    ///< a relay takes no more of us for now: the account's hour, day or month is used up
    directory,    ///< a site calls many unknown who took mail before: what it says of its users is not believed
    warning,      ///< a site finds fault with an address, or a domain, of ours, and puts mail off
};
std::string_view to_string(IncidentKind kind);  ///< "ip-blocked"
/// False where it only tells of something: no mail is held under it.
constexpr bool holds_mail(IncidentKind kind) {
    return kind != IncidentKind::destination && kind != IncidentKind::webhook && kind != IncidentKind::dmarc &&
           kind != IncidentKind::allowance && kind != IncidentKind::directory && kind != IncidentKind::warning;
}
std::optional<IncidentKind> parse_incident_kind(std::string_view text);

struct IncidentKey {
    IncidentKind kind = IncidentKind::ip_blocked;
    std::string way;
    std::string source;
    std::string site;
    std::string domain;
    auto operator<=>(const IncidentKey&) const = default;
};

struct Incident {
    IncidentId id{};
    IncidentKey key;
    Time since{};
    Time last{};
    std::uint64_t refusals = 0;
    std::string reply;
    std::string remote;
    bool open = true;
    Time cleared{};
    std::string cleared_why;
    Time probe{};  ///< none: no message tries by itself
    std::uint32_t probes = 0;
    int told = 0;  ///< by mail: 1 its beginning, 2 its end, too, 3 its end alone
};

/// "google refuses mail from 192.0.2.7"
std::string describe(const Incident& incident);
/// What to do: one plain sentence.
std::string advice(const Incident& incident);

/// Whether mail that would take this way from this address meets it.
bool stops(const Incident& incident, std::string_view way, std::string_view source, std::string_view site,
           std::string_view sender_domain);
/// The wait until a message tries again, after so many tries.
Milliseconds probe_wait(IncidentKind kind, std::uint32_t probes);

class IncidentView {
 public:
    explicit IncidentView(const Snapshot& snapshot);
    explicit IncidentView(Tx& tx);
    Result<std::vector<Incident>> open() const;
    /// Newest first.
    Result<std::vector<Incident>> list(bool with_cleared, std::size_t count_max) const;
    Result<Incident> by_id(IncidentId id) const;
    Result<std::uint64_t> held_count(IncidentId id) const;
    /// Recipients that it holds, the oldest first, behind `after`.
    Result<std::vector<RecipientId>> held(IncidentId id, RecipientId after, std::size_t count_max) const;
    /// Who tries next whether it is over: another each time, so that one who is refused for his own sake does not keep
    /// the others. At most one; empty where nobody is held.
    Result<std::vector<RecipientId>> next_probe(const Incident& incident) const;
    /// Held since `before` or longer; whose sender hears of a delay now (accepted before `told_before`, not told);
    /// whose incident is not open any more.
    Result<std::vector<RecipientId>> overdue(Time before, std::size_t count_max) const;
    Result<std::vector<RecipientId>> untold(Time told_before, std::size_t count_max) const;
    Result<std::vector<RecipientId>> stranded(std::size_t count_max) const;
    /// Beginnings and ends of which no mail has gone out.
    Result<std::vector<Incident>> to_tell(std::size_t count_max) const;

 protected:
    Connection& db_;
};

/// What follows where somebody says that it is mended.
struct Mended {
    std::uint64_t released = 0;
    bool is_over = true;
    std::string why;  ///< where it is not over: what is still so, and what ends it; one sentence
    Mended() = default;
};

/// What was said against us.
struct Refusal {
    std::string reply;
    std::string remote;
    std::uint64_t count = 1;
    Refusal() = default;
};

class IncidentTx final : public IncidentView {
 public:
    explicit IncidentTx(Tx& tx);
    /// Opens it, or counts another refusal.
    Result<Incident> note(const IncidentKey& key, const Refusal& refusal);
    /// waiting or sending -> held under it, without an attempt counted. False where it was closed meanwhile: nobody
    /// would release what it held, and nothing is changed.
    Result<bool> hold(std::span<const RecipientId> recipients, const Incident& incident);
    /// It is over: what it holds, and what waits for its end, is due at once. Gives back how many; Errc::not_found,
    /// conflict where it is over.
    Result<std::uint64_t> clear(IncidentId id, std::string_view why);
    /// Somebody says that it is mended. What is believed is cleared, and a webhook that was given up goes on; what is
    /// measured (a listing, the reverse DNS, a drained address, a destination) is looked at anew and stays open as long
    /// as it is so.
    Result<Mended> mended(IncidentId id, std::string_view who);
    /// It was looked at anew, and is still so: told as an event and counted.
    Result<> stays(IncidentId id, std::string_view why);
    /// held -> waiting, due at once; it stays open. `why` is shown as the last reply.
    Result<> release(std::span<const RecipientId> recipients, std::string_view why);
    Result<> set_probe(IncidentId id, Time probe, std::uint32_t probes);
    /// A mail has told that it is open, or over; as it was read for that.
    Result<> set_told(const Incident& as_told);
    /// Those that are over, but for the newest kIncidentsKept.
    Result<> forget_old();

 private:
    Result<> tell(const std::string& sentence);
    Result<std::uint64_t> hurry(IncidentId id);
    Tx& tx_;
};

/// All that are open, for what is built over a connection (storage/routes).
Result<std::vector<Incident>> open_incidents(Connection& db);

}  // namespace posthouse::storage
