#pragma once
/// admin/transfer/folder_names: what the folders of other programs are called here. Pure.
///
/// Servers and clients never agreed on the names of the usual folders: "Sent Items", "Gesendet" and "Sent Messages" are
/// the account's own Sent. Only whole names count, without regard to ASCII case, with or without "INBOX/" before them.
#include <string>
#include <string_view>

#include "storage/types.h"

namespace posthouse::transfer {

/// The use that a folder of this path (UTF-8, '/' between the levels) has by custom; none for all others.
storage::SpecialUse use_by_name(std::string_view path);

/// The nearest name that the store takes: controls and what is not UTF-8 become '_', empty levels go, "." and ".." get
/// an underscore, levels are cut at 255 octets, what is deeper than 20 levels is joined to the last. "" for nothing.
std::string usable_mailbox_name(std::string_view path);

/// One level of a name in modified UTF-7 (RFC 3501 5.1.3) as UTF-8. What is none is taken as it is: many programs write
/// UTF-8. "&AC4-" is a dot, which Maildir++ cannot write otherwise.
std::string decode_folder_level(std::string_view level);

/// Where a folder goes: below `into` where that is given ("" else), or to the account's own mailbox of that use.
/// "INBOX" itself becomes `into`.
struct FolderPlace {
    std::string mailbox;
    storage::SpecialUse use = storage::SpecialUse::none;
};
FolderPlace place_folder(std::string_view path, std::string_view into);

}  // namespace posthouse::transfer
