#pragma once
/// tests/support/stand_in: a remote site as one meets it on the internet, in virtual time: it caps connections and
/// rates, greylists, tarpits, has one bad MX of several, blocks, drops connections inside the message, takes a message
/// and says nothing more. The words are those of real servers. Seeded; nothing waits.
///
///   the scheduler's tests call it event by event; tests/support/stand_in_server speaks SMTP for it over a Stream
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/base/random.h"

namespace posthouse::test {

/// Repeats itself for a seed (splitmix64).
class SeededRandom final : public Random {
 public:
    explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
    void fill(std::span<unsigned char> out) override;
    std::uint64_t next();
    /// True once in a while: `share` in [0, 1].
    bool chance(double share) { return static_cast<double>(next() >> 11U) < share * 9007199254740992.0; }

 private:
    std::uint64_t state_;
};

/// What is wrong with the bad hosts of a site.
enum class BadHost : std::uint8_t {
    dead,          ///< nobody answers
    turns_away,    ///< 421 in the greeting
    breaks_off,    ///< 421 to MAIL
    drops,         ///< the connection, inside the message
    goes_silent,   ///< behind the final dot; nothing is taken
    silent_reuse,  ///< after a message was taken: not a word to the next MAIL
};

struct StandInTraits {
    std::size_t connections_max = 0;  ///< 0: as many as come
    bool refuses_at_banner = true;    ///< over the cap: 421 instead of a banner; else the connection is refused
    double rate = 0;                  ///< transactions a second (GCRA); 0: as they come
    double burst = 5;
    bool names_a_time = false;  ///< "try again in N seconds"
    Milliseconds greylist{0};   ///< a new recipient is turned away for so long
    Milliseconds service{100};  ///< what a transaction takes
    Milliseconds tarpit{0};     ///< before the banner
    std::size_t hosts = 1;
    std::size_t bad_hosts = 0;     ///< of them, the first ones
    BadHost bad = BadHost::dead;
    double drop_in_data = 0;       ///< share of transactions in which the connection breaks inside the message
    double silent_after_data = 0;  ///< share taken, and not a word said
    double drop_after_data = 0;    ///< share taken, and the connection breaks before the reply
    double unknown = 0;            ///< share of recipients that do not exist
    double full = 0;               ///< share whose mailbox is full at a given hour
    std::string block;             ///< said to every MAIL, where not empty
    bool lf_only = false;          ///< lines end with LF alone (stand_in_server)
    std::size_t messages_max = 0;  ///< a connection; 0: as many as come
    std::string full_reply;        ///< to MAIL behind the last; "" drops the connection without a word
    Milliseconds reuse_tarpit{0};  ///< each transaction behind the first of a connection takes so much longer
    std::string cap_reply = "421 4.7.0 Too many concurrent SMTP connections; please try again later.";
    /// "{}" is the number of seconds, where names_a_time.
    std::string rate_reply =
        "421 4.7.28 Our system has detected an unusual rate of mail from your address; it has been temporarily rate "
        "limited.";
    std::string greylist_reply = "450 4.2.0 Greylisted, please try again later";
    StandInTraits() = default;
};

class StandInSite {
 public:
    StandInSite(StandInTraits traits, std::uint64_t seed) : traits(std::move(traits)), random_(seed) {}

    StandInTraits traits;  ///< may be changed on the way: limits rise and fall

    /// "" is no answer at all; else the first line, 220 or a refusal.
    std::string connect(std::size_t host);
    void disconnect() { --connections_; }
    /// To MAIL, when `sent` messages went over the connection; "" drops it.
    std::string mail(Time now, std::size_t sent = 0);
    /// What is wrong with this host; nothing where it is none of the bad ones.
    std::optional<BadHost> fault(std::size_t host) const {
        return host < traits.bad_hosts ? std::optional(traits.bad) : std::nullopt;
    }
    std::string rcpt(std::string_view address, Time now);
    /// To the final dot. "" breaks the connection; whether the message was taken all the same: taken().
    std::string dot(std::string_view address);

    std::size_t connections() const { return connections_; }
    /// Copies that reached the mailbox of `address`.
    std::size_t taken(std::string_view address) const;
    /// A copy for `address` whose reply never left; and how many there were.
    void leave_unsaid(std::string_view address) { ++unsaid_[std::string(address)]; }
    std::size_t unsaid(std::string_view address) const;
    std::uint64_t taken_total() const { return taken_total_; }
    std::uint64_t refused_total() const { return refused_; }  ///< connections and transactions turned away for speed
    std::uint64_t asked_total() const { return asked_; }

 private:
    SeededRandom random_;
    std::size_t connections_ = 0;
    double tat_ms_ = 0;
    std::map<std::string, Time, std::less<>> first_seen_;
    std::map<std::string, std::size_t, std::less<>> taken_;
    std::map<std::string, std::size_t, std::less<>> unsaid_;
    std::uint64_t taken_total_ = 0;
    std::uint64_t refused_ = 0;
    std::uint64_t asked_ = 0;
};

}  // namespace posthouse::test
