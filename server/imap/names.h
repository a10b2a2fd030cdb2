#pragma once
/// server/imap/names: mailbox names as arguments of commands. Pure.
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/mailbox_name.h"
#include "storage/types.h"

namespace posthouse::server::imap {

/// mailbox = "INBOX" / astring, as UTF-8. Errc::invalid: the grammar is broken (BAD). Errc::denied: a well-formed word
/// that is no mailbox name (NO).
Result<std::string> take_mailbox(Cursor& args, posthouse::imap::NameForm form);
/// The same, after an SP.
Result<std::string> take_space_mailbox(Cursor& args, posthouse::imap::NameForm form);

/// The attribute of RFC 6154 2; "" for none.
std::string_view special_use_attribute(storage::SpecialUse use);
/// The same the other way round; nothing where it is none of ours.
std::optional<storage::SpecialUse> special_use_of(std::string_view attribute);

/// Whether the name lies where others' mailboxes are seen (RFC 2342): "Other Users/", "Shared/".
bool is_shared_name(std::string_view name);

/// "F7": the ObjectID of a mailbox (RFC 8474 4). It stays when the mailbox is renamed, and is never given again.
std::string mailbox_object_id(storage::MailboxId id);

}  // namespace posthouse::server::imap
