#pragma once
/// server/imap/names: mailbox names as arguments of commands. Pure.
#include <string>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"

namespace posthouse::server::imap {

/// mailbox = "INBOX" / astring, as UTF-8. Errc::invalid: the grammar is broken (BAD). Errc::denied: a well-formed word
/// that is no mailbox name (NO).
Result<std::string> take_mailbox(Cursor& args);
/// The same, after an SP.
Result<std::string> take_space_mailbox(Cursor& args);

}  // namespace posthouse::server::imap
