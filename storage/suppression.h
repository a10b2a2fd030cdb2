#pragma once
/// storage/suppression: addresses that get no mail for a while, because the receiver's own words say that nobody is
/// there, or because somebody wants none.
///
///   evidence   recipient-unknown, recipient-disabled: 7 days; where it is said again after that 30, 90, then for good;
///              a delivery forgets it. What is said while it lasts is counted, and does not climb
///   wishes     complaint, unsubscribed; by-hand: for good, or until a time that is given
/// A scope is whose mail it is about: the domain of the sender, the name of a stream, or "" for everybody's.
/// Invariants  1. Only these reasons suppress: never a fault of our address or domain, throttling, a full mailbox,
///                content or policy. Whoever adds a row answers for that.
///             2. A row keeps the words that it came from. Undone, it stays as history; the ladder begins anew.
///             3. A complaint never makes an earlier one shorter.
///             4. A wish is not forgotten by a delivery, nor by evidence: each reason is a row of its own.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: below.
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::array<int, 3> kSuppressionDays = {7, 30, 90};  ///< of the ladder; after them for good
/// What is over for so long is forgotten, and with it how far it had climbed.
inline constexpr std::chrono::hours kSuppressionMemory{365 * 24};
inline constexpr std::size_t kSuppressionReplyMax = 2000;  ///< octets of a reply that are kept

enum class SuppressionReason : std::uint8_t { recipient_unknown, recipient_disabled, complaint, unsubscribed, by_hand };
std::string_view to_string(SuppressionReason reason);  ///< "recipient-unknown", as protocols/bounce calls it
std::optional<SuppressionReason> parse_suppression_reason(std::string_view text);
/// Climbs the ladder and ends by itself or with a delivery; the others are wishes.
bool is_evidence(SuppressionReason reason);

struct Suppression {
    std::string scope;
    std::string address;  ///< lower case
    SuppressionReason reason = SuppressionReason::recipient_unknown;
    std::string reply;        ///< word for word
    std::string remote;       ///< who said it
    std::uint32_t step = 0;   ///< of the ladder
    std::uint64_t times = 1;  ///< that it was said
    Time since{};             ///< this step began
    Time last{};              ///< when it was said last
    Time until{};             ///< none: for good
    Time undone{};            ///< removed by hand at that time; none: it was not

    bool in_force(Time now) const { return undone == Time{} && (until == Time{} || now < until); }
    bool operator==(const Suppression&) const = default;
};

/// Which mail is kept from suppressed addresses: the setting "suppression.apply".
enum class SuppressionRule : std::uint8_t {
    programs,  ///< what programs send, and mail to many; a letter that a person writes goes out
    all,       ///< letters too, but of complaints: whoever knows a Message-ID can make one
    off,       ///< none, but for those who unsubscribed from what it is about
};
/// An unknown word is `programs`.
SuppressionRule parse_suppression_rule(std::string_view text);
/// Whether it stops a message of this class (QueueClass as a number). A complaint in the scope of a stream stops that
/// stream; in any other it stops mail to many alone: nobody loses the way to a new password by it.
bool stops(const Suppression& suppression, SuppressionRule rule, std::uint8_t mail_class);

/// Whether it can stop any message of this class: where not, nobody need look.
bool may_stop(SuppressionRule rule, std::uint8_t mail_class);
/// Those that mail of this sender is asked about: everybody's, and his domain's.
std::vector<std::string> suppression_scopes(std::string_view sender);
/// Two plain sentences for whoever sends: why, since when, in which words; until when, and how it is undone.
struct SuppressionSentence {
    std::string why;
    std::string what_to_do;
};
SuppressionSentence describe(const Suppression& suppression);
/// RFC 3463 code of such a refusal: "5.1.1", "5.2.1", "5.7.1".
std::string_view status_of(SuppressionReason reason);

class SuppressionView {
 public:
    explicit SuppressionView(const Snapshot& snapshot);
    explicit SuppressionView(Tx& tx);
    /// Those in force of these addresses within these scopes (any case): one statement, a key look-up for each pair.
    Result<std::vector<Suppression>> find(std::span<const std::string> scopes, std::span<const std::string> addresses,
                                          Time now) const;
    /// All that is known of an address, past and undone too.
    Result<std::vector<Suppression>> of_address(std::string_view address) const;
    /// By address, behind (`after`); `scope` none: any. Those in force only, or all.
    struct Wanted {
        std::optional<std::string> scope;
        std::string domain;  ///< of the address; "" any
        bool with_past = false;
        Time now{};
        std::size_t count_max = 1000;
        Wanted() = default;
    };
    Result<std::vector<Suppression>> list(const Wanted& wanted) const;

 protected:
    Connection& db_;
};

/// What is known to be so, and from whom.
struct SuppressionProof {
    SuppressionReason reason = SuppressionReason::recipient_unknown;
    std::string reply;
    std::string remote;
    std::optional<Time> until;  ///< for a wish: its end; none: for good
    SuppressionProof() = default;
    SuppressionProof(SuppressionReason what, std::string words, std::string whose)
        : reason(what), reply(std::move(words)), remote(std::move(whose)) {}
};

class SuppressionTx final : public SuppressionView {
 public:
    explicit SuppressionTx(Tx& tx);
    /// Begins it, climbs, or counts. Gives back how it stands now. Errc::invalid for what is no address.
    Result<Suppression> add(std::string_view scope, std::string_view address, const SuppressionProof& proof);
    /// It took a message: evidence against it is forgotten, wishes are not.
    Result<> delivered(std::string_view scope, std::string_view address);
    /// Undoes what is in force, in one scope or (none) in all. Errc::not_found where nothing is.
    Result<std::vector<Suppression>> remove(std::optional<std::string_view> scope, std::string_view address);
    /// What has been over for kSuppressionMemory.
    Result<> forget_old();

 private:
    Tx& tx_;
};

}  // namespace posthouse::storage
