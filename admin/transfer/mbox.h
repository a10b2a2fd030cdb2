#pragma once
/// admin/transfer/mbox: an mbox file, or a directory of them, into an account.
///
/// Directories: plain ones ("Mail/lists"), Thunderbird's ("Work" beside "Work.sbd/"), Apple Mail's
/// ("Work.mbox/mbox").
/// Messages with Gmail labels (Takeout) go where the labels say. A message is known by its octets (see
/// mbox_marks.h) and by how often they came before in the file, so a repeated run takes what is new and brings flags up
/// to date; one whose octets differ is another message. Memory: 40 octets or so a message for that count.
/// INTERNALDATE is the date of the "From " line, else of the Date field. What Thunderbird has removed is not taken.
#include <string>

#include "admin/transfer/maildir.h"

namespace posthouse::transfer {

/// `path` names a file or a directory. Errors as import_maildir().
Result<> import_mbox(Taker& taker, const std::string& path, const ImportOptions& options, const Watch& watch);

}  // namespace posthouse::transfer
