#pragma once
/// protocols/imap/search_source: which mailboxes an ESEARCH command looks at (RFC 7377 2.2, RFC 5465 6). Pure.
/// Mailbox names stay as they came on the wire.
#include <string>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/limits.h"

namespace posthouse::imap {

enum class SourceFilter { selected, inboxes, personal, subscribed, subtree, subtree_one, mailboxes };

struct SearchSource {
    SourceFilter filter = SourceFilter::selected;
    std::vector<std::string> names;  ///< of the last three
};

/// ["IN" SP "(" source-mbox ")" SP]; without it the selected mailbox alone.
Result<std::vector<SearchSource>> take_search_sources(Cursor& in, const Limits& limits = {});

}  // namespace posthouse::imap
