#pragma once
/// admin/transfer/imap_folders: which folders of an IMAP account are taken, in which order, and where they go. Pure.
///   - hierarchy delimiters become '/', a '/' or control within a level '_'; a prefix that all personal folders share
///     ("INBOX." of Courier and Cyrus, or what NAMESPACE says) goes (RFC 2342);
///   - \Noselect and \NonExistent hold nothing; views of other folders (\All, \Flagged, \Important; RFC 6154 2,
///     RFC 8457) are left out, but see FolderPlan::all_mail; what others share is left out;
///   - special uses by attribute (RFC 6154), else by the usual names (folder_names.h).
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admin/transfer/folder_names.h"
#include "protocols/imap/client_response.h"

namespace posthouse::transfer {

struct ImapFolder {
    std::string wire;   ///< the name as the server spells it
    std::string path;   ///< UTF-8, '/' between the levels, prefix taken off: for people
    FolderPlace place;  ///< where it goes here
    bool subscribed = false;
    bool all_mail = false;  ///< \All of Gmail: only what lies in no other folder is taken from it
};

struct FolderWishes {
    std::string into;                  ///< PREFIX, "" for the account's own places
    std::vector<std::string> only;     ///< --folder: paths or wire names, without regard to ASCII case; empty: all
    std::vector<std::string> exclude;  ///< --exclude; "Name/*" takes what lies beneath, too
    /// The account's own mailboxes with a use, and their names.
    std::vector<std::pair<storage::SpecialUse, std::string>> own;
};

struct FolderPlan {
    std::vector<ImapFolder> folders;  ///< INBOX first, \All last
    std::vector<std::string> notes;   ///< what is left out and why
};

/// `listed` are the LIST responses, `subscribed` the names of LSUB where LIST did not tell (RETURN (SUBSCRIBED)).
/// `message_ids`: the server names each message for ever (X-GM-MSGID), so that \All can be taken.
/// Errc::not_found where --folder names what is not there.
Result<FolderPlan> plan_folders(const std::vector<imap::ListEntry>& listed, const std::vector<std::string>& subscribed,
                                const imap::Namespaces& namespaces, const FolderWishes& wishes, bool message_ids);

}  // namespace posthouse::transfer
