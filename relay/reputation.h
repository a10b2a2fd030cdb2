#pragma once
/// relay/reputation: the closed loop: what receivers and block lists say of our addresses decides which of them send.
///
///   score      100 - what the worst of these takes - half of what the others take; different recipients, in windows of
///              1, 7 and 30 days, the worst window; windows with too few say nothing:
///                refused for our address   a tenth: 60; of receivers that are judged together ("other") each network
///                                          counts once: no stranger speaks for all of them
///                complaints                watched at 0.1 % (two at least), drained at 0.3 % (three at least)
///                put off as too fast       watched at half, drained where it was half on three days of a week
///                nobody there              watched at a tenth, drained at three tenths (of kVolumeWindow at least)
///              - 25 for a listing
///   healthy -> watched (below 70) -> drained (40 and less; Spamhaus or two lists: everywhere) -> probation, when the
///              listing is over, or after a day (2, 4, 7 days where it falls again): 1, 5, 25, 100 % -> healthy
///   a step of probation takes six hours and three clean deliveries at least; the first refusal, anywhere, ends it
/// The first and the last of it are incidents (storage/incidents): told once each, by event, log, metric and mail.
/// Threads: the loop's; score_of and judge_standing are pure.   Limits: the constants below.
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "protocols/base/metrics.h"
#include "protocols/bounce/reply_class.h"
#include "protocols/net/task.h"
#include "relay/route.h"

namespace posthouse::relay {

struct Core;

inline constexpr int kScoreWatched = 70;
inline constexpr int kScoreDrained = 40;
inline constexpr int kScoreHealthy = 75;         ///< from watched back
inline constexpr std::uint64_t kVolumeDay = 20;  ///< different recipients below which a window says nothing
inline constexpr std::uint64_t kVolumeWindow = 100;
inline constexpr std::uint64_t kVolumeComplaints = 200;
inline constexpr std::uint64_t kComplaintsWatched = 2;  ///< one complaint is one person's
inline constexpr std::uint64_t kComplaintsStop = 3;
inline constexpr double kComplaintMark = 0.001;  ///< of those tried
inline constexpr double kComplaintStop = 0.003;
inline constexpr std::uint32_t kDeferredDays = 3;  ///< of seven, on which half were put off
inline constexpr std::uint64_t kBlockedAlone = 3;  ///< refusals that speak whatever the volume
inline constexpr std::chrono::hours kStepTime{6};
inline constexpr std::chrono::hours kLastStepTime{24};
inline constexpr std::uint64_t kStepClean = 3;
inline constexpr std::chrono::hours kRestFirst{24};
inline constexpr std::chrono::hours kRestMax{7 * 24};
inline constexpr Milliseconds kJudgeEvery{10 * 60'000};

/// Different recipients in a window.
struct Counts {
    std::uint64_t tried = 0;
    std::uint64_t blocked = 0;
    std::uint64_t deferred = 0;
    std::uint64_t bounced = 0;
    std::uint64_t complained = 0;
};
struct StandingFacts {
    Counts day, week, month;
    std::uint32_t deferred_days = 0;  ///< of the week, on which half or more were put off
    Counts fresh;                     ///< since the last judgement
    std::uint64_t fresh_clean = 0;
    std::vector<std::string> lists;  ///< that have the address; each once
    bool is_spamhaus = false;
};

/// What became of one recipient, as the receiver said it.
struct SaidClass {
    std::string address;
    bounce::ReplyClass what = bounce::ReplyClass::other;
    std::string network;  ///< of the server that said it
    SaidClass() = default;
    SaidClass(std::string whom, bounce::ReplyClass said, std::string by = "")
        : address(std::move(whom)), what(said), network(std::move(by)) {}
};

/// 100 where nothing is known. `why`: what weighs most, one sentence.
int score_of(const StandingFacts& facts, std::string& why);
/// Complaints of one day that make it no clean day for a warm-up.
bool is_spoilt(std::uint64_t complained, std::uint64_t tried);
storage::Reputation judge_standing(storage::Reputation before, const StandingFacts& facts, Time now);
/// How long it rests after so many falls.
Milliseconds rest_of_fall(std::uint32_t falls);

class ReputationBook {
 public:
    explicit ReputationBook(Metrics& metrics);

    /// Puts into a picture read from disk what disk does not know yet.
    void apply(storage::RoutePicture& picture, Time now);
    /// A recipient was given to an address: counted at once, in the picture too.
    void taken(const Target& target, storage::RoutePicture& picture, Time now);
    /// They were not tried after all.
    void untaken(const Target& target, std::size_t recipients);
    /// What one attempt's verdicts say of the address.
    void note(const Target& target, const std::vector<SaidClass>& said, Time now);
    /// A list or the administrator has changed something: judged at the next step.
    void hurry() { is_urgent_ = true; }

    /// Writes down, and judges where it is time.
    net::Task<void> step(Core& core);
    /// True where an address is drained that was not at the last look: what waits in lanes is routed anew.
    bool sees(const storage::AddressBook& book);

    using Key = std::pair<std::string, std::string>;  ///< source and provider
    using DayKey = std::pair<std::int64_t, Key>;      ///< on that day
    /// What was said since the last judgement, on one day.
    struct Tally {
        storage::EvidenceDay day;
        std::uint64_t clean = 0;
    };
    /// Taken in an hour, and not written down yet.
    struct Used {
        Key key;
        std::int64_t hour = 0;
        std::uint64_t count = 0;
    };

 private:
    struct Hour {
        std::int64_t hour = 0;
        std::uint64_t used = 0;
        std::uint64_t unwritten = 0;
    };
    net::Task<void> recover(Core& core);
    Hour& hour_of(const Key& key, const storage::RoutePicture& picture, Time now);
    Tally& tally_of(const Key& key, Time now);

    Metrics& metrics_;
    Metrics::Value& drained_;
    std::map<DayKey, Tally> tallies_;
    std::set<DayKey> bad_days_;  // not written yet
    std::vector<storage::EvidenceDay> lost_;
    std::vector<Used> used_;
    std::map<Key, Hour> hours_;      // of addresses that are warmed up
    std::map<Key, Time> last_uses_;  // of addresses on probation
    std::set<Key> drained_keys_;
    std::set<Key> known_;  // that a gauge tells of
    bool is_urgent_ = true;
    bool has_recovered_ = false;  ///< what a crash lost was made anew from the events
    Time judge_at_{};
};

}  // namespace posthouse::relay
