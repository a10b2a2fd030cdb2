#pragma once
/// storage/check/rows (internal): the checks of rows against rows, all in one snapshot. Each streams its tables in key
/// order; what must be known of all of them at once lies in Picture.
/// Errors are those of the database: Errc::corrupt ends the checks of rows, and check_store says so.
/// Threads: one.
#include <cstdint>
#include <string>
#include <unordered_map>

#include "storage/check/check.h"
#include "storage/check/message_index.h"

namespace posthouse::storage {

inline constexpr std::int64_t kUidMax = 0xffff'ffff;  ///< of a UID and of a UIDVALIDITY (RFC 9051 2.3.1.1)

struct AccountRow {
    std::string address;
    std::int64_t domain = 0;
    std::int64_t used_octets = 0;
    std::int64_t used_messages = 0;
    std::int64_t modseq = 0;
    std::int64_t uid_validity_next = 0;
    // as seen
    std::int64_t seen_octets = 0;
    std::int64_t seen_messages = 0;
    std::int64_t modseq_max = 0;
    std::int64_t uid_validity_max = 0;
};

struct MailboxRow {
    std::int64_t account = 0;
    std::string name;
    std::int64_t uid_next = 0;
    std::int64_t highest_modseq = 0;
    std::int64_t messages = 0;
    std::int64_t unseen = 0;
    std::int64_t octets = 0;
    // as seen
    std::int64_t seen_messages = 0;
    std::int64_t seen_unseen = 0;
    std::int64_t seen_octets = 0;
    std::int64_t uid_max = 0;
    std::int64_t modseq_max = 0;
};

struct Picture {
    Connection& db;
    const CheckOptions& options;
    CheckReport& report;
    std::unordered_map<std::int64_t, AccountRow> accounts;
    std::unordered_map<std::int64_t, MailboxRow> mailboxes;
    std::unordered_map<std::int64_t, std::int64_t> keyword_sets;  ///< to their account
    MessageIndex messages;
    std::int64_t message_max = 0;

    Findings& findings() { return report.findings; }
    /// "alice@a.example, INBOX, UID 7", as far as it is known.
    std::string where(std::int64_t mailbox, std::int64_t uid = 0) const;
    Place place(std::int64_t mailbox, std::int64_t uid = 0, std::int64_t message = 0) const;
    std::string account_name(std::int64_t account) const;
};

/// Told of progress within the rows; false stops.
using RowObserver = std::function<bool(std::uint64_t done, std::string_view what)>;

Result<> load_catalog(Picture& picture);
Result<> check_catalog(Picture& picture);
Result<> check_entries(Picture& picture, const RowObserver& observer);
Result<> check_deleted(Picture& picture);
Result<> check_queue(Picture& picture);
/// After everything that refers to messages was seen.
void check_refs(Picture& picture);
void check_counted(Picture& picture);
/// Where messages lie, against the rows of segments. Sorts picture.messages by place.
Result<> check_places(Picture& picture);
/// Needs no snapshot of its own: the files against rows that it reads before and after.
Result<> check_files(Store& store, const CheckOptions& options, CheckReport& report);

}  // namespace posthouse::storage
