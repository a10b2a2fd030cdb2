#pragma once
/// server/imap/status: the items of STATUS and of LIST's STATUS return option (RFC 3501 6.3.10, RFC 5819). An item is a
/// row (commands_status.cpp). Pure.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/imap/limits.h"
#include "protocols/imap/mailbox_name.h"
#include "server/imap/access.h"

namespace posthouse::server::imap {

/// What an item's value is made of.
struct StatusSource {
    const MailboxStatus& status;
    const posthouse::imap::Limits& limits;
    posthouse::imap::NameForm names;
};

struct StatusItem {
    std::string_view name;
    std::uint8_t reads = 0;  ///< bits of StatusReads
    void (*append)(std::string& out, const StatusSource& source) = nullptr;
    std::string_view rfc;
    std::string_view capability;  ///< what brings it, any of several; empty: IMAP4rev1
};
std::span<const StatusItem> status_items();

/// The rows of these names, each once. Errc::invalid for a name that is none.
Result<std::vector<const StatusItem*>> find_status_items(std::span<const std::string> names);
/// Bits of StatusReads.
std::uint8_t reads_of(std::span<const StatusItem* const> items);
/// Whether they tell mod-sequences, which counts as asking for CONDSTORE (RFC 7162 3.1).
bool tells_modseq(std::span<const StatusItem* const> items);
/// "STATUS name (ITEM value ...)".
void append_status(std::string& out, std::string_view name, std::span<const StatusItem* const> items,
                   const StatusSource& source);

}  // namespace posthouse::server::imap
