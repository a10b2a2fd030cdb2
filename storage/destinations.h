#pragma once
/// storage/destinations: "mail to X has stopped": which places nothing gets through to any more, measured by
/// themselves.
///
///   place      a big provider by its name, else the domain; by a relay host "way NAME"; "" is everywhere
///   stopped    tries for some different recipients were all put off, or refused for no fault of theirs, for some
///              hours, where by the last four weeks that is no accident: kStoppedChance, and at least as long as three
///              usual deliveries lie apart. Where nobody writes, as at night and on Sunday, nothing stops.
///              Where no host answers at all one message tries for all (relay/lane): who waits behind it counts as
///              tried, and fewer different recipients are enough.
///   over       something arrives there again
/// The beginning and the end are incidents (storage/incidents, told once each) and events (stopped, resumed).
/// A place that the figures of a full day count among the others (storage/report_tally.h) keeps a baseline of its own.
/// Threads: as Tx.   Limits: places not written to for kPlaceDays are forgotten; beyond kPlacesMax those that were
///                   written to least lately.
#include <cstdint>
#include <string>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/events.h"

namespace posthouse::storage {

class Store;
class Tx;

inline constexpr std::int64_t kPlaceDays = 35;
inline constexpr std::int64_t kPlacesMax = 20'000;
inline constexpr std::int64_t kBaselineDays = 28;
inline constexpr std::uint64_t kStoppedRecipients = 3;  ///< different ones, at least
inline constexpr double kStoppedChance = 0.01;          ///< that so many tries fail by themselves
inline constexpr Milliseconds kStoppedLeast{2 * 3'600'000};
inline constexpr Milliseconds kStoppedMost{48 * 3'600'000};

/// Where mail of these facts goes.
std::string place_of(const EventFacts& facts, const std::string& destination);

/// What a place is usually like.
struct Baseline {
    std::uint64_t days = 0;       ///< of the last kBaselineDays on which something arrived
    std::uint64_t delivered = 0;  ///< on them
    std::uint64_t tried = 0;      ///< likewise, deliveries included
};
/// Whether tries that failed for so long, for so many, mean that it has stopped. Pure.
bool has_stopped(const Baseline& usual, Milliseconds failing_for, std::uint64_t tries, std::uint64_t recipients);

/// What has stopped, and what is over, since it was looked at last, is written down.
struct DestinationsSeen {
    std::uint64_t stopped = 0;
    std::uint64_t resumed = 0;
};
/// What there is to write: worked out of a snapshot, since a baseline costs a look at four weeks of figures, and a
/// domain that has died is looked at again and again.
struct DestinationsDue {
    struct Stopped {
        std::string place;
        std::uint64_t waiting = 0;  ///< recipients who wait since no host there can be reached
    };
    std::vector<Stopped> stopped;
    bool others = false;    ///< some are over, or to be forgotten
    std::int64_t rows = 0;  ///< figures of today that are told apart
    bool any() const { return others || !stopped.empty(); }
};
Result<DestinationsDue> destinations_due(Store& store, Time now);
/// Of what was due; what has changed since is left alone.
Result<DestinationsSeen> watch_destinations(Tx& tx, const DestinationsDue& due);

}  // namespace posthouse::storage
