#pragma once
/// protocols/imap: the IMAP wire language. No sockets, no accounts, no storage.
///   in:  the octets of one command, literals standing in it as "{n}" CRLF octets  -> values  (RFC 3501 9)
///   out: values -> response text                                                            (RFC 3501 7, 9)
/// It leaves to others: reading literals off the wire and granting them (server/imap/reader.h), mail itself.
/// Rooms: grammar.h words, strings, dates and flags; sequence_set.h; mailbox_name.h names and LIST patterns;
/// fetch.h and search.h programs made of rows; response.h what is sent.
/// Invariants  1. Every take_ either advances or fails with Errc::invalid and one sentence fit for a tagged BAD.
///             2. Parsed values own their octets.
///             3. No octet NUL passes: CHAR8 is %x01-ff (RFC 3501 9).
/// Threads: all functions are pure.   Limits: limits.h.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/limits.h"

namespace posthouse::imap {

/// Why a line is refused: one sentence fit for a tagged BAD.
inline Error bad(std::string what) { return Error(Errc::invalid, std::move(what)); }

/// ATOM-CHAR: any CHAR but "(" ")" "{" SP CTL "%" "*" quoted-specials "]" (RFC 3501 9).
bool is_atom_char(char c);
/// ASTRING-CHAR = ATOM-CHAR / resp-specials.
bool is_astring_char(char c);

/// tag = 1*<any ASTRING-CHAR except "+">
Result<std::string> take_tag(Cursor& in, const Limits& limits = {});
Result<std::string> take_atom(Cursor& in);
/// string = quoted / literal. Quoted strings may hold UTF-8, as several clients send it in passwords.
Result<std::string> take_string(Cursor& in);
Result<std::string> take_astring(Cursor& in);
/// literal8 = "~{" number ["+"] "}" CRLF *OCTET (RFC 3516 4.4): the only one that may hold NUL.
Result<std::string> take_literal8(Cursor& in);
/// nstring; nothing for NIL.
Result<std::optional<std::string>> take_nstring(Cursor& in);
/// number = 1*DIGIT, (0 <= n < 4,294,967,296)
Result<std::uint32_t> take_number(Cursor& in);
/// number64: 0 to 2^63 - 1 (RFC 9051 9); taken from every client, since no rev1 client means another by so many digits.
Result<std::uint64_t> take_number64(Cursor& in);
Result<std::uint32_t> take_nz_number(Cursor& in);
/// One SP; some clients send more, which is let through.
Result<> take_space(Cursor& in);
/// Nothing may follow but blanks.
Result<> take_end(Cursor& in);

/// "{n}" or "{n+}" (RFC 7888), or with "~" before it (RFC 3516 4.4), at the very end of a line.
struct LiteralMark {
    std::uint64_t octets = 0;
    bool synchronising = true;
    bool literal8 = false;        ///< "~{n}": may hold NUL
    std::size_t mark_octets = 0;  ///< length of the mark itself
};
std::optional<LiteralMark> literal_at_end(std::string_view line);

/// System flags as bits, the same as the store's.
enum SystemFlag : std::uint8_t { kSeen = 1, kAnswered = 2, kFlagged = 4, kDeleted = 8, kDraft = 16 };
struct FlagList {
    std::uint8_t system = 0;
    std::vector<std::string> keywords;
};
/// flag-list = "(" [flag *(SP flag)] ")". \Recent and unknown system flags are refused (RFC 3501 2.3.2, 9).
Result<FlagList> take_flag_list(Cursor& in, const Limits& limits = {});
/// STORE also takes flags without parentheses: (flag-list / (flag *(SP flag))).
Result<FlagList> take_store_flags(Cursor& in, const Limits& limits = {});

/// date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE, as Unix seconds.
Result<std::int64_t> take_date_time(Cursor& in);
/// date = date-text / DQUOTE date-text DQUOTE, as days since 1970-01-01.
Result<std::int32_t> take_date(Cursor& in);

}  // namespace posthouse::imap
