#pragma once
/// protocols/imap/response: the small pieces of responses (RFC 3501 7, 9). All append; nothing here fails. Pure.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "protocols/imap/mailbox_name.h"

namespace posthouse::imap {

/// A mailbox name (UTF-8) as an astring: an atom where it can be one, in UTF-8 a quoted string where it must.
void append_mailbox(std::string& out, std::string_view utf8_name, NameForm form);
/// An astring: atom, quoted string or literal, the first that fits.
void append_astring(std::string& out, std::string_view text);
/// A string, never an atom: quoted where it is short printable ASCII, else a literal.
void append_string(std::string& out, std::string_view text);
/// "~{n}" and the octets, or an ordinary literal where there is no NUL among them (RFC 3516 4.3).
void append_literal8(std::string& out, std::string_view octets);
/// "(\Answered $Forwarded \Recent)".
enum class Recent { no, yes };
void append_flags(std::string& out, std::uint8_t system, std::span<const std::string> keywords, Recent recent);
/// "\" 1-Feb-2026 10:11:12 +0000\"", always UTC. Years outside 1..9999 are brought to the nearest end.
void append_internal_date(std::string& out, std::int64_t unix_s);
void append_number(std::string& out, std::uint64_t number);

/// Response text for a peer: printable ASCII only, at most 200 octets (RFC 3501 9 resp-text).
std::string clean_text(std::string_view text);

}  // namespace posthouse::imap
