#pragma once
/// storage/reputation: what each of our addresses is worth at each provider, what the block lists say of it, and how
/// far it is warmed up. The verdicts are made by relay/reputation; here they are kept, and read by whoever chooses.
///
///   provider   a big one by its name; all others together are "other"; "" is everywhere (listings, by hand)
///   standing   healthy -> watched -> drained -> probation (1, 5, 25, 100 %) -> healthy
///   evidence   a row a day: sketches of the different recipients that were tried, refused, put off, complained ...
///   warm-up    recipients an hour: 20 at first, x 1.4 after each clean day in which that was used
/// Invariants  1. A row that is not there says: healthy, warm.
///             2. Recipients are counted once a window, however often they are written to.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: kEvidenceDays.
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/distinct.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::int64_t kEvidenceDays = 30;
inline constexpr std::array<std::uint32_t, 4> kProbationPercent = {1, 5, 25, 100};
inline constexpr std::string_view kOtherProviders = "other";
inline constexpr double kWarmUpFirst = 20;  ///< recipients an hour
inline constexpr double kWarmUpGrowth = 1.4;
inline constexpr std::uint32_t kWarmUpLevels = 28;  ///< clean days; 247,000 an hour is no limit any more

enum class Standing : std::uint8_t { healthy, watched, drained, probation };
std::string_view to_string(Standing standing);

struct Reputation {
    std::string source;    ///< local address; "" where the system chooses
    std::string provider;  ///< "google", "other"; "" everywhere
    Standing standing = Standing::healthy;
    std::uint32_t step = 0;     ///< of the probation
    Time since{};               ///< of this standing and step
    int score = 100;            ///< 0..100
    std::string why;            ///< one plain sentence
    bool by_hand = false;       ///< drained by hand: comes back by hand
    std::uint32_t falls = 0;    ///< times drained since it was healthy
    Time last_use{};            ///< probation: when a message was let through last
    std::uint64_t clean = 0;    ///< probation: recipients that were taken in this step
    std::int64_t from_day = 0;  ///< evidence of earlier days was answered by a fall: it counts no more
    bool operator==(const Reputation&) const = default;
};

struct WarmUp {
    std::string source;
    std::string provider;
    std::uint32_t level = 0;
    std::int64_t day = 0;  ///< since 1970, that the counts below are of
    std::uint64_t day_used = 0;
    bool is_bad = false;    ///< it was told to slow down, refused, not believed, or complained of, on that day
    std::int64_t hour = 0;  ///< since 1970
    std::uint64_t hour_used = 0;
};
/// Recipients an hour at a level.
std::uint64_t warm_up_allowance(std::uint32_t level);
std::int64_t hour_number(Time now);
/// The same on the day of `now`: a clean day that used half an hour's allowance at least is a level more.
WarmUp turn_day(WarmUp warm_up, Time now);
/// What is left this hour.
std::uint64_t warm_up_left(const WarmUp& warm_up, Time now);

/// One day of an address at a provider.
struct EvidenceDay {
    std::string source;
    std::string provider;
    std::int64_t day = 0;
    Distinct tried;
    Distinct blocked;   ///< refused for our address
    Distinct deferred;  ///< put off as too fast, for now
    Distinct bounced;   ///< nobody there
    Distinct complained;
    void merge(const EvidenceDay& other);
};

/// An answer of a block list, or of the reverse DNS (list "ptr").
struct AddressCheck {
    std::string source;
    std::string list;  ///< "zen.spamhaus.org"; "ptr"
    enum class Found : std::uint8_t { clear, bad, unknown } found = Found::unknown;
    std::string detail;  ///< codes, or what is wrong
    Time since{};        ///< of this finding
    Time checked{};
};

/// What there is to say of a source address and a provider.
std::string_view provider_key(std::string_view provider);

struct AddressBook {
    std::vector<Reputation> standings;
    std::vector<WarmUp> warm_ups;
    /// At that provider, or everywhere; the worse of both. Null where both are healthy.
    const Reputation* standing(std::string_view source, std::string_view provider) const;
    const Reputation* find(std::string_view source, std::string_view provider) const;
    const WarmUp* warm_up(std::string_view source, std::string_view provider) const;
};
Result<AddressBook> read_address_book(Connection& db);

/// What events say behind the last mark: what a crash took from the relay's memory before it was written down. Sketches
/// may be added twice: nothing counts double.
struct UnmarkedEvidence {
    std::vector<EvidenceDay> days;
    std::int64_t seen = 0;  ///< the last event
};
inline constexpr std::int64_t kUnmarkedMax = 2'000'000;  ///< events that are looked at

class ReputationView {
 public:
    explicit ReputationView(const Snapshot& snapshot);
    explicit ReputationView(Tx& tx);
    Result<AddressBook> book() const;
    /// Days from `day` on, of all addresses.
    Result<std::vector<EvidenceDay>> evidence(std::int64_t day) const;
    Result<std::vector<AddressCheck>> checks() const;
    /// Nothing where no mark was ever set.
    Result<UnmarkedEvidence> unmarked() const;

 protected:
    Connection& db_;
};

class ReputationTx final : public ReputationView {
 public:
    explicit ReputationTx(Tx& tx);
    /// Inserts or replaces; a healthy row at 100 goes.
    Result<> save(const Reputation& reputation);
    Result<> save(const WarmUp& warm_up);
    /// Adds to what the day has.
    Result<> add(const EvidenceDay& day);
    Result<> save(const AddressCheck& check);
    /// The list ("": all that know it, the reverse DNS too) is asked anew at once: its `checked` is none until then.
    Result<> ask_again(std::string_view source, std::string_view list);
    Result<> drop_check(std::string_view source, std::string_view list);
    Result<> drop_evidence_before(std::int64_t day);
    /// All events so far are in the evidence.
    Result<> set_mark();
    /// All that is known of an address.
    Result<> forget(std::string_view source);

 private:
    Tx& tx_;
};

/// Saves a standing; that an address is drained, and that it is healthy again, is an incident that begins and ends.
/// `besides` is told with its reason.
Result<> save_standing(Tx& tx, const Reputation& before, const Reputation& after, const std::string& besides);
/// By hand: until restore_address.
Result<> drain_address(Tx& tx, const Reputation& reputation, std::string_view why);
Result<> restore_address(Tx& tx, const Reputation& reputation, std::string_view why);
/// Somebody says that what a provider had against the address is mended. Drained for that, it takes its whole share at
/// once, on the last step of the probation: the first refusal ends it. What lists say, or a hand, stays as it is.
Result<> trust_address(Tx& tx, std::string_view source, std::string_view provider);

}  // namespace posthouse::storage
