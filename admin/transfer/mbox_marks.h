#pragma once
/// admin/transfer/mbox_marks: what mail programs write into the header of a message in an mbox file about its state.
/// Pure.
///   Status: RO, X-Status: AFDT, X-Keywords: a b     mutt, Dovecot, c-client, and ours
///   X-Mozilla-Status: 0013, X-Mozilla-Keys: a b      Thunderbird
///   X-Gmail-Labels: Inbox,Unread,Work                Google Takeout
/// These fields are no part of the message: the key of a message leaves them out, so that reading it does not make it
/// another. Those at its very top are taken off again: there ours and Thunderbird's stand, each at most once.
#include <string>
#include <string_view>
#include <vector>

#include "storage/types.h"

namespace posthouse::transfer {

/// First line of each message in a file of ours: all lines, the header's too, are quoted as mboxrd has it and no length
/// is to be believed. With kOpenEnd the message does not end with a line end, which a file cannot show otherwise.
inline constexpr std::string_view kOwnField = "X-Posthouse-Mbox";
inline constexpr std::string_view kOpenEnd = "open-end";

/// Octets of the fields at the top of `message` that speak of its state. `open_end`: kOpenEnd was said there.
std::size_t measure_top_marks(std::string_view message, bool& open_end);

struct MboxMarks {
    storage::FlagBits flags = 0;
    std::vector<std::string> keywords;
    bool expunged = false;            ///< removed in Thunderbird, the file not yet compacted
    bool labelled = false;            ///< has Gmail labels
    std::string folder;               ///< that the labels put it into, UTF-8: "INBOX", "Sent", "Work/2020", "Archive"
    std::vector<std::string> labels;  ///< further labels of the user that can be keywords
};
/// `top` are the marks taken off, `header` the header that stayed.
MboxMarks parse_marks(std::string_view top, std::string_view header);

/// What names the message in its file: a digest of all but the marks, 40 hexadecimal digits.
std::string digest_without_marks(std::string_view message);

}  // namespace posthouse::transfer
