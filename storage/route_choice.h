#pragma once
/// storage/route_choice: of the ways that a message's route names, the one it takes now, from which address, and why
/// not the others. Pure: the relay acts on it, `route explain` prints it.
///
/// A way is passed over while it is remembered as refused at this site for our address's fault, as not working at all,
/// when its allowance of the day is used up, or when the message is too big for it. Once a day (route_memory.probe) one
/// message tries a refused way again. A route that names a single way knows no second choice: its memory is not asked,
/// but for an allowance that is used up (account_site): that is waited for, since asking again would only be refused.
/// "hold" and "fail" behind other ways are for what is refused: by the way for good (too big for it, no such way), by
/// the site for our address's fault, by the service for its sender. A way that is down for a while, too fast, or out of
/// its allowance is waited for instead: an outage of an hour neither bounces mail nor calls for an administrator.
///
/// Of the addresses of a pool one is drawn by weight and score among those that may send there now: not refused there,
/// not drained at that provider, with something left of their warm-up. Who was tried from one of them before stays with
/// it while it may send (RFC 6647 5: a greylist knows the address). The draw is rendezvous hashing over ticket and
/// address: a weight that changes moves no more than it must. One on probation takes its 1, 5, 25, 100 % of the mail,
/// never more than its weight's share, and one message each half hour where little is sent. Where none is left, the
/// next way takes it; where the route names no other, warm-up waits for the next hour, and the last drained address
/// goes on slowly (Choice::slow) rather than not at all.
/// A way that was found dead without mail (kCheckSite) is passed over where another is open; else it is tried.
/// A way that an open incident stops is passed over; where all that is left is such a way, the mail is held under it.
/// Invariants  1. No way is ever taken that the route does not name (fail closed).
///             2. The same ticket makes the same choice: a message does not wander between ways of equal rank.
///             3. No mail leaves by a drained address while another way or address may take it.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/route_match.h"

namespace posthouse::storage {

struct ChoiceInput {
    MailFacts mail;
    std::string_view site;  ///< of the recipient's domain; "" where it is not known
    Time now{};
    std::uint64_t ticket = 0;         ///< spreads messages over weights and addresses
    bool released = false;            ///< held by a route and let go since: what stands behind "hold" takes it
    bool asked = false;               ///< somebody wants it tried now: ways that rest are probed
    bool tried = false;               ///< held by an incident and let go since: it may try what the incident stops
    std::string_view probing_way;     ///< this very recipient was put off there as a probe: it goes there again
    std::string_view probing_source;  ///< and from this address; "" where the system chose
    std::string_view last_source;     ///< the local address of the attempt before; "": none, or the system chose
    ChoiceInput() = default;
};

struct Choice {
    enum class Kind : std::uint8_t {
        take,  ///< `way` (direct or smarthost)
        hold,
        fail,
        wait,      ///< none of them now; look again at `until`
        incident,  ///< none of them before `incident` is over: held under it
    };
    Kind kind = Kind::take;
    std::string route;  ///< name; "" where none fits
    Way way;
    std::optional<SourceAddress> source;  ///< direct, from a pool
    bool probe = false;                   ///< this message tries a way that was refused
    bool has_other = false;               ///< the route names other ways, or the pool has other addresses
    bool has_end = false;                 ///< behind its ways the route says "hold" or "fail"
    bool slow = false;                    ///< from the last address of its pool, which is drained: a little at a time
    std::optional<Incident> incident;
    Time until{};
    bool is_temporary = false;             ///< for wait: it only waits for its hour or its day
    std::vector<std::string> passed_over;  ///< why not the ways before: a sentence each
    std::string why;                       ///< "route \"all\" (priority 100): it takes all mail"
};

/// What a recipient that a route holds is told.
inline constexpr std::string_view kHeldByRoute = "Held by route";

Choice choose_way(const RoutePicture& picture, const ChoiceInput& input);
/// Whether the choice hangs on the site: by provider, or because a direct way is remembered as refused somewhere.
bool needs_site(const RoutePicture& picture, const ChoiceInput& input);

/// Days since 1970, UTC: how allowances are counted.
std::int64_t day_number(Time now);
/// The site under which a smarthost's refusal of a sender is remembered: "from:example.org".
std::string sender_site(std::string_view sender);
/// The site under which it is remembered that a smarthost's account may send no more for now.
inline constexpr std::string_view kAccountSite = "account:";
/// The site under which it is remembered since when `site` has been silent: "silent:mx.b.example ". With Memory::tries
/// at 0 it is not judged yet, and does not count.
std::string silent_site(std::string_view site);
inline constexpr std::string_view kSilentSite = "silent:";
/// The site under which it is written when a way was tried without mail (relay/way_check): with Memory::tries above 0
/// it was found dead, which counts until kCheckCounts after the next try was due.
inline constexpr std::string_view kCheckSite = "check:";
inline constexpr std::chrono::minutes kCheckCounts{20};
/// The site under which it is written that this recipient was put off as a probe, and goes the same way again until
/// Memory::probe: "probed:123". It says nothing against the way.
std::string probed_site(RecipientId recipient);
inline constexpr std::string_view kProbedSite = "probed:";
/// Whether it says something against its way: "" and the sites do, what is only kept in mind does not.
bool counts_against(const Memory& memory);
/// In words, what is remembered: "is refused at mx.b.example", "does not work".
std::string describe(const Memory& memory);

}  // namespace posthouse::storage
