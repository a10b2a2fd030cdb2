#pragma once
/// storage/role_mail: mailboxes that collect reports of others: how far they were read, and the DMARC aggregate reports
/// that were in them (RFC 7489 7.2); storage/dmarc_origins adds them up by the address that sent.
/// Invariants  1. A report is kept once, by who made it, its own name and the domain.
///             2. A mailbox is read onwards only, by UID; nothing here changes it.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: below.
#include <cstdint>
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

inline constexpr std::size_t kDmarcReportsMax = 10'000;  ///< the oldest go
inline constexpr std::size_t kDmarcRowsMax = 1'000;      ///< of one report; its sums count all of them

struct DmarcRow {
    std::string source_ip;
    std::uint64_t messages = 0;
    std::string disposition;  ///< "none", "quarantine", "reject"
    bool dkim = false;        ///< aligned
    bool spf = false;
    std::string header_from;
    std::string dkim_domain;  ///< that signed, with its selector: "home.example/s1"
    std::string spf_domain;
};

struct DmarcEntry {
    std::int64_t id = 0;
    Time received{};
    std::string organization;
    std::string report_id;
    std::string domain;
    std::int64_t begin_s = 0;
    std::int64_t end_s = 0;
    std::string policy;
    std::uint64_t messages = 0;
    std::uint64_t passed = 0;  ///< aligned by DKIM or SPF
    std::vector<DmarcRow> rows;
};

/// What one address sent in the name of a domain.
struct DmarcSource {
    std::string domain;
    std::string source_ip;
    std::uint64_t messages = 0;
    std::uint64_t dkim = 0;  ///< of them aligned so
    std::uint64_t spf = 0;
    std::uint64_t passed = 0;
    std::uint64_t refused = 0;  ///< quarantined or rejected
    std::string example;        ///< a domain that signed, else one of SPF
};

class RoleMailView {
 public:
    explicit RoleMailView(const Snapshot& snapshot);
    explicit RoleMailView(Tx& tx);
    /// The last UID that was read; 0: none.
    Result<Uid> read_up_to(MailboxId mailbox) const;
    /// Newest first, without their rows; `domain` "": any.
    Result<std::vector<DmarcEntry>> dmarc_reports(std::string_view domain, std::size_t count_max) const;
    /// With its rows. Errc::not_found.
    Result<DmarcEntry> dmarc_report(std::int64_t id) const;

 protected:
    Connection& db_;
};

class RoleMailTx final : public RoleMailView {
 public:
    explicit RoleMailTx(Tx& tx);
    /// Only onwards.
    Result<> set_read(MailboxId mailbox, Uid uid);
    /// False where it is known already.
    Result<bool> add_dmarc_report(const DmarcEntry& report);
    /// Marks of mailboxes that are gone.
    Result<> forget_gone();

 private:
    Tx& tx_;
};

}  // namespace posthouse::storage
