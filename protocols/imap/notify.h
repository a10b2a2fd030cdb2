#pragma once
/// protocols/imap/notify: the NOTIFY program (RFC 5465 8): which events of which mailboxes a client wants told. Pure.
/// Mailbox names stay as they came on the wire: how they are spelt depends on what the session has enabled.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/fetch.h"
#include "protocols/imap/limits.h"

namespace posthouse::imap {

/// RFC 5465 5; bits of NotifyGroup::events.
enum NotifyEvent : std::uint8_t {
    kMessageNew = 1,
    kMessageExpunge = 2,
    kFlagChange = 4,
    kMailboxName = 8,
    kSubscriptionChange = 16,
    kMailboxMetadataChange = 32,
    kServerMetadataChange = 64,
};
inline constexpr std::uint8_t kMessageEvents = kMessageNew | kMessageExpunge | kFlagChange;
inline constexpr std::uint8_t kMetadataEvents = kMailboxMetadataChange | kServerMetadataChange;

/// RFC 5465 6, RFC 7377 3 (subtree-one).
enum class NotifyFilter {
    selected,
    selected_delayed,
    inboxes,
    personal,
    subscribed,
    subtree,
    subtree_one,
    mailboxes
};

struct NotifyGroup {
    NotifyFilter filter = NotifyFilter::personal;
    std::vector<std::string> names;     ///< of subtree, subtree_one and mailboxes
    std::uint8_t events = 0;            ///< 0: NONE
    std::optional<FetchProgram> fetch;  ///< what is told of a new message in the selected mailbox
};

struct NotifyProgram {
    bool status = false;  ///< STATUS of each watched mailbox is wanted first
    std::vector<NotifyGroup> groups;

    /// The group of the selected mailbox; null where the client wants nothing told of it.
    const NotifyGroup* selected() const;
};

/// What stands in BADEVENT: all events there are here but those of `without`, bits of NotifyEvent.
std::string notify_event_names(std::uint8_t without = 0);

/// What follows "NOTIFY" and its SP; NONE is a program without groups. Errc::invalid: BAD. Errc::unsupported: an event
/// that is not offered, NO [BADEVENT (...)].
Result<NotifyProgram> take_notify(Cursor& in, const Limits& limits = {});

}  // namespace posthouse::imap
