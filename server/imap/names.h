#pragma once
/// server/imap/names: mailbox names as arguments of commands. Pure.
#include <string>
#include <string_view>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::server::imap {

/// mailbox = "INBOX" / astring, as UTF-8. Errc::invalid: the grammar is broken (BAD). Errc::denied: a well-formed word
/// that is no mailbox name (NO).
Result<std::string> take_mailbox(Cursor& args);
/// The same, after an SP.
Result<std::string> take_space_mailbox(Cursor& args);

/// The attribute of RFC 6154 2; "" for none.
std::string_view special_use_attribute(storage::SpecialUse use);

}  // namespace posthouse::server::imap
