#pragma once
/// protocols/imap/mailbox_name: mailbox names on the wire (modified UTF-7, RFC 3501 5.1.3, or UTF-8, RFC 9051 5.1) and
/// LIST patterns. Pure. Inside, a name is UTF-8 with '/' between its levels, and INBOX is spelt so (RFC 3501 5.1).
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::imap {

inline constexpr char kDelimiter = '/';

/// How names are on the wire: plain from ENABLE IMAP4rev2 or UTF8=ACCEPT on (RFC 9051 A, RFC 9755 3). There "&" is a
/// character as any other.
enum class NameForm { modified_utf7, utf8 };

/// Errc::invalid unless `wire` is exactly the modified UTF-7 that encoding its meaning would give: open or empty
/// shifts, "&" unescaped, printable ASCII in base64, adjoining shifts and lone surrogates are all refused.
/// As UTF-8 it must be valid, without control characters and separators of lines (RFC 9755 3).
/// The first level "inbox" in any case becomes "INBOX".
Result<std::string> decode_mailbox(std::string_view wire, NameForm form = NameForm::modified_utf7);
std::string encode_mailbox(std::string_view utf8, NameForm form = NameForm::modified_utf7);

/// Whether a name (as on the wire) matches a LIST pattern: '*' is anything, '%' anything but the delimiter
/// (RFC 3501 6.3.8). INBOX matches without regard to case. Time: name times pattern.
bool matches_pattern(std::string_view name, std::string_view pattern);

}  // namespace posthouse::imap
