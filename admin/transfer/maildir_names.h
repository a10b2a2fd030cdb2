#pragma once
/// admin/transfer/maildir_names: what the names in a Maildir say. Pure.
///   message:  <time>.<unique>.<host>[,S=n,W=n]:2,<letters>   in cur; without the part behind ':' in new
///   folder:   .Folder.Sub (Maildir++), levels in modified UTF-7
/// Letters: D draft, F flagged, P passed on ($Forwarded), R replied, S seen, T trashed (\Deleted), a-z keywords, whose
/// names stand in the file dovecot-keywords of the folder.
#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "storage/types.h"

namespace posthouse::transfer {

inline constexpr std::string_view kForwardedKeyword = "$Forwarded";  // RFC 9051 2.3.2
inline constexpr std::size_t kLetterKeywordsMax = 26;

struct MaildirName {
    std::string base;  ///< what never changes: names the message
    storage::FlagBits flags = 0;
    bool forwarded = false;
    std::string letters;                 ///< a-z, as they stand
    std::optional<std::int64_t> time_s;  ///< the number before the first dot, where it can be a time
};
/// ';' and '!' are taken for ':' too: some file systems do not know it.
MaildirName parse_maildir_name(std::string_view name);

/// The letters D to T for these flags, in the order of the alphabet as all programs write them.
std::string format_maildir_flags(storage::FlagBits flags, bool forwarded);

/// Names of the keywords a-z; an empty name is no keyword. Lines: "0 $Label1".
using LetterKeywords = std::array<std::string, kLetterKeywordsMax>;
LetterKeywords parse_letter_keywords(std::string_view text);
std::string format_letter_keywords(const LetterKeywords& keywords);

/// "Folder/Sub" of ".Folder.Sub": UTF-8 with '/' between the levels. "" where it is no folder's name.
std::string parse_maildir_folder(std::string_view directory);
/// The reverse. A dot within a level is "&AC4-".
std::string format_maildir_folder(std::string_view mailbox);

/// The folders of a file "subscriptions" (both formats of Dovecot, '.' or '/' between the levels) or
/// "courierimapsubscribed" (all below INBOX), each in every reading that its separator allows.
std::set<std::string> parse_subscriptions(std::string_view text);

}  // namespace posthouse::transfer
