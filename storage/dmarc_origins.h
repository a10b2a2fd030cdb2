#pragma once
/// storage/dmarc_origins: which of the hosts that others report (DMARC aggregate reports, RFC 7489 7.2) sent for us,
/// and by which way; and the alarm where what they sent does not pass.
///
///   own address   one of source_addresses, or the host of a relay that is named by its address
///   listed        the domain's SPF names it: some report says that SPF passed, aligned
///   signed        the mail bears one of our selectors: ours, or ours that somebody passed on
///   way           MAIL FROM or the signature is of a relay service that a way of ours leads to
/// Everything else sends in our name without being known here. What is known by its signature alone may have been
/// broken by a list that passed it on: it counts for the alarm only where nothing else is known.
/// Invariants  1. Nothing is asked of the DNS: it is told from what was reported and what is set up.
/// Threads: as Tx and Snapshot.   Limits: kDmarcGroupsMax.
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/result.h"
#include "storage/role_mail.h"

namespace posthouse::storage {

inline constexpr std::uint64_t kDmarcAlarmMessages = 50;  ///< of ours on one day, at least
inline constexpr std::uint64_t kDmarcAlarmPercent = 10;   ///< of them that did not pass: more than this
inline constexpr std::int64_t kDmarcGroupsMax = 100'000;  ///< of rows that are looked at

struct DmarcOrigin {
    enum class Kind : std::uint8_t { unknown, own_address, listed, way, signed_by_us };
    Kind kind = Kind::unknown;
    std::string way;       ///< "" where it is not known
    std::string selector;  ///< of ours that signed, whether or not it passed; ""
    bool is_ours() const { return kind != Kind::unknown; }
};
std::string_view to_string(DmarcOrigin::Kind kind);  ///< "own address", "listed by SPF", ..., "not known"

/// What a service asks its customers to include in SPF, by the name of its preset; "" for nothing.
using IncludeOf = std::function<std::string(const std::string& preset)>;

/// Who sends for us, as of one look.
class DmarcOrigins {
 public:
    /// `domain` "": all; `since_s`: of reports that end after it.
    static Result<DmarcOrigins> load(Connection& db, const IncludeOf& include_of, std::string_view domain,
                                     std::int64_t since_s);
    /// `dkim_domain` as in DmarcRow: "home.example/s1".
    DmarcOrigin of(std::string_view domain, const std::string& source_ip, std::string_view dkim_domain,
                   std::string_view spf_domain) const;

 private:
    struct Relay {
        std::string way;
        std::vector<std::string> domains;
    };
    std::map<std::string, std::string> addresses_;  ///< and the way that sends from it
    std::vector<Relay> relays_;
    std::set<std::string, std::less<>> selectors_;          ///< "home.example/s1"
    std::set<std::pair<std::string, std::string>> listed_;  ///< domain and address
};

/// A source as RoleMailView::dmarc_sources gives it, and whose it is.
struct DmarcKnownSource {
    DmarcSource source;
    DmarcOrigin origin;
};
/// Of reports that end after `since_s`, by messages, most first.
Result<std::vector<DmarcKnownSource>> dmarc_known_sources(const Snapshot& snapshot, const IncludeOf& include_of,
                                                          std::string_view domain, std::int64_t since_s,
                                                          std::size_t count_max);

/// After a report was kept: opens the incident of its domain where on that day more of our own mail failed than the
/// alarm allows, and ends it where on a later one it passes again.
Result<> judge_dmarc_day(Tx& tx, const IncludeOf& include_of, const DmarcEntry& report);

}  // namespace posthouse::storage
