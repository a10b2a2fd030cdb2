#pragma once
/// protocols/imap/limits: every bound of the IMAP side in one place, units last. Figures: reference table of limits.
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace posthouse::imap {

struct Limits {
    // One command. A literal is granted only where it fits (no memory is promised before the check).
    std::size_t line_octets_max = 64UL * 1024;
    std::size_t literal_octets_max = 128UL * 1024;
    std::size_t command_octets_max = 1024UL * 1024;
    std::uint64_t message_octets_max = 50ULL * 1024 * 1024;   ///< APPEND
    std::uint64_t swallow_octets_max = 100ULL * 1024 * 1024;  ///< a refused {n+} up to this is read and dropped
    std::size_t tag_octets_max = 256;
    // Before login: in all, so that a thousand strangers hold little.
    std::size_t before_login_octets_max = 8UL * 1024;
    std::size_t before_login_literal_octets_max = 1024;
    unsigned before_login_bad_commands_max = 10;
    unsigned login_failures_max = 3;
    std::size_t strangers_max = 5000;  ///< connections without a login, of all listeners together
    std::size_t sessions_per_account_max = 100;
    // Grammar.
    std::size_t sequence_ranges_max = 20'000;
    std::size_t fetch_items_max = 256;
    std::size_t section_depth_max = 100;
    std::size_t section_fields_max = 256;
    std::size_t search_depth_max = 32;
    std::size_t search_keys_max = 1000;
    std::size_t order_octets_max = 128UL * 1024 * 1024;  ///< what one SORT or THREAD may hold: over a million messages
    std::size_t search_contexts_max = 16;                ///< searches of one session that are kept up to date
    std::size_t search_sources_max = 256;                ///< mailbox names in one ESEARCH
    std::size_t uid_batches_max = 10'000;                ///< in one answer
    std::size_t flags_max = 256;
    std::size_t keyword_octets_max = 255;
    std::size_t mailbox_octets_max = 1024;
    std::size_t append_parts_max = 1000;                     ///< messages of one APPEND and their parts, together
    std::uint64_t append_octets_max = 128ULL * 1024 * 1024;  ///< of all messages of one APPEND
    std::size_t list_patterns_max = 256;
    std::size_t status_items_max = 64;
    std::size_t metadata_entries_max = 256;
    std::size_t notify_groups_max = 32;
    std::size_t notify_names_max = 256;         ///< of one group
    std::size_t notify_mailboxes_max = 10'000;  ///< of an account; beyond it NOTIFY is refused
    // Time.
    std::chrono::milliseconds before_login_max{60'000};
    std::chrono::milliseconds inactivity_max{31 * 60'000};  ///< RFC 3501 5.4: at least 30 minutes
    std::chrono::milliseconds output_stall_max{5 * 60'000};
    std::chrono::milliseconds literal_stall_max{60'000};
    std::chrono::milliseconds progress_interval{12'000};   ///< RFC 9585 4: 10 to 15 seconds
    std::chrono::milliseconds idle_keepalive{2 * 60'000};  ///< some clients and many NATs want to hear something

    Limits() = default;
};
inline constexpr std::size_t kStreamPieceOctets = 256UL * 1024;  ///< of a large body at a time

}  // namespace posthouse::imap
