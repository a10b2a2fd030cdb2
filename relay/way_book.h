#pragma once
/// relay/way_book: what attempts teach about ways, and what is under way on each.
///
///   refused here   our address has a bad name at that site: the way rests there for a day, then one message probes
///   down           nobody answers, TLS or the login fails, the account may not send: the whole way rests, longer each
///                  time; by MX only where kSilentSites sites in a row did not answer (port 25 is blocked)
///   silent here    by MX, where fewer sites are written to: nobody has answered anywhere for kSilentFor, and not once
///                  since the start. The way rests for this destination; a restart forgets none of it
///   too fast       an account-level rate reply: the whole way rests a little, or until its allowance is new; what was
///                  refused for good for it waits too, though the route names no other way
///   sender         the service does not know this sender's domain: it rests for that domain
/// Where the route names another way, the message takes it at once; where not, the usual schedule holds. "hold" and
/// "fail" behind a way are such another for the first and the last of these only.
/// Invariants  1. What is learned is on disk before the outcome of the attempt: the next choice knows it.
///             2. A probe is one message: it is claimed when it is chosen, not when it has failed.
///             3. One message a day probes a site that refused us, whatever comes of it: an answer that is not about
///                us ends the refusal, one that says nothing puts the next probe off; who was greylisted as a probe
///                comes back the same way, over a restart too.
/// Threads: the loop's; learn() is pure.
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "relay/client.h"
#include "relay/route.h"

namespace posthouse::relay {

struct Core;

inline constexpr std::size_t kSilentSites = 3;
inline constexpr std::chrono::minutes kSilentFor{10};
inline constexpr std::size_t kProbedMax = 10'000;  ///< recipients whose probe is remembered
inline constexpr std::chrono::hours kRefusedRest{24};
inline constexpr std::chrono::minutes kProbeClaim{10};  ///< so long a probe that is under way keeps others from it

struct Lesson {
    enum class Kind : std::uint8_t {
        nothing,
        works,
        refused_here,
        silent_here,
        down,
        too_fast,
        allowance,
        login,
        sender,
    };
    Kind kind = Kind::nothing;
    std::string reason;                ///< what was said, for people
    std::optional<Milliseconds> wait;  ///< what the remote asked for
    /// Another way may do better; this message need not be lost for it.
    bool is_trouble() const { return kind != Kind::nothing && kind != Kind::works; }
    /// It would say so tomorrow, too: what "hold" and "fail" behind a way are for.
    bool is_refusal() const { return kind == Kind::refused_here || kind == Kind::sender; }
};

/// What one verdict says about the way it came by.
Lesson learn(const Target& target, const Verdict& verdict, bool first_contact);

class WayBook {
 public:
    /// Puts into a picture read from disk what disk does not know yet: probes that are claimed, recipients under way.
    void apply(storage::RoutePicture& picture, Time now);
    /// The claims alone: a probe was chosen from this picture.
    void apply_claims(storage::RoutePicture& picture) const;
    /// Counts recipients that were given to a way; and that it is done with them.
    void taken(const Target& target, std::size_t recipients);
    void released(const Target& target, std::size_t recipients);
    /// Whether anything is held against the way, so that a success is news.
    bool is_suspect(const Target& target) const;
    void suspect(const Target& target);
    /// One message probes; others go on by the other ways until `until`.
    void claim(const Target& target, std::string_view site, Time until);
    /// When recipients may go by this way again (WayLimits::minute_max); at most `now` where at once.
    Time turn(const storage::Way& way, Time now) const;
    /// So many go. A second's worth may go at once, so that a short letter never waits for nothing.
    void take_turn(const storage::Way& way, std::size_t recipients, Time now);
    /// By MX: nobody answered at `site`. What that says: nothing yet, silent_here, or down for the way as a whole.
    Lesson::Kind silent(const Target& target, std::string_view site, Time now);
    bool has_answered(const Target& target) const;
    /// Somebody did. True where silence was written down, which has to be forgotten.
    bool answered(const Target& target);
    /// This recipient was greylisted as a probe: until then it goes the same way again.
    void keep_probing(storage::RecipientId recipient, const Target& target, Time until);
    /// The way and the address that it is kept to; null: none.
    const std::pair<std::string, std::string>* probing(storage::RecipientId recipient, Time now) const;
    /// Mail went out well by it; and when that was last, since the start.
    void took(std::string_view way, Time now) { last_good_.insert_or_assign(std::string(way), now); }
    std::optional<Time> last_good(std::string_view way) const;
    /// Sites that refuse us over IPv6 (relay/family).
    bool keeps_off_ipv6(std::string_view way, std::string_view site) const;
    void keep_off_ipv6(const storage::Memory& memory) { off_ipv6_.emplace(memory.way, memory.site); }

 private:
    void recall_probe(const storage::Memory& memory);
    using Key = std::tuple<std::string, std::string, std::string>;  // way, source, site
    std::map<Key, Time> claims_;
    std::set<std::pair<std::string, std::string>> suspects_;  // way and source
    std::map<std::string, std::uint64_t, std::less<>> under_way_;
    std::map<std::string, Time, std::less<>> next_turn_;      // GCRA: theoretical arrival time
    std::set<std::pair<std::string, std::string>> off_ipv6_;  // way and site
    struct Probed {
        std::pair<std::string, std::string> by;  // way and source
        Time until{};
    };
    std::map<std::string, std::map<std::string, Time, std::less<>>, std::less<>> silent_;  // sites by way and source
    std::set<std::string, std::less<>> has_answered_;                                      // since the start
    std::map<storage::RecipientId, Probed> probed_;
    std::map<std::string, Time, std::less<>> last_good_;  // by way
    bool knows_past_ = false;                             // what was written down before the start was read
};

/// One recipient of an attempt.
struct Tried {
    storage::RecipientId recipient{};
    Verdict verdict;
};
/// Writes down what the verdicts of one attempt teach. True for those recipients that another way shall take at once,
/// in their order; their verdicts are put off, whatever they were.
net::Task<std::vector<bool>> keep_lessons(Core& core, Target target, std::string site, std::string sender,
                                          std::vector<Tried> tried);

}  // namespace posthouse::relay
