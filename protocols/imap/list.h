#pragma once
/// protocols/imap/list: the arguments of LIST with its selection and return options (RFC 3501 6.3.8, RFC 5258), and the
/// item list of STATUS. Options are rows in list.cpp. Pure.
/// Names and patterns stay as they came on the wire: how they are spelt depends on what the session has enabled.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/limits.h"

namespace posthouse::imap {

/// Selection options: which names are listed; bits of ListProgram::select.
enum ListSelect : std::uint8_t {
    kSelectSubscribed = 1,
    kSelectRemote = 2,  ///< names on other servers too; there are none
    kSelectRecursive = 4,
    kSelectSpecialUse = 8,  ///< RFC 6154 2
};
/// Those that leave names out.
inline constexpr std::uint8_t kSelectCriteria = kSelectSubscribed | kSelectSpecialUse;

/// Return options: what is told of them; bits of ListProgram::returns.
enum ListReturn : std::uint8_t {
    kReturnSubscribed = 1,
    kReturnChildren = 2,
    kReturnSpecialUse = 4,  ///< RFC 6154 2
    kReturnStatus = 8,      ///< RFC 5819
    kReturnMetadata = 16,   ///< RFC 9590
    kReturnMyRights = 32,   ///< RFC 8440
};

struct ListProgram {
    bool extended = false;  ///< has options or several patterns (RFC 5258 3)
    std::uint8_t select = 0;
    std::uint8_t returns = 0;
    std::string reference;
    std::vector<std::string> patterns;
    std::vector<std::string> status;    ///< items as they came
    std::vector<std::string> metadata;  ///< entries, in lower case
};

/// list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts] (RFC 5258 6), behind the verb
/// and its SP, to the end. Errc::invalid: BAD, for options that are not known too.
Result<ListProgram> take_list(Cursor& in, const Limits& limits = {});

/// Reference and pattern of LSUB, to the end.
Result<ListProgram> take_lsub(Cursor& in);

/// "(" status-att *(SP status-att) ")" (RFC 3501 9); the names as they came.
Result<std::vector<std::string>> take_status_names(Cursor& in, const Limits& limits = {});

/// What stands in CHILDINFO: the criteria as quoted strings (RFC 5258 3.5).
std::string format_criteria(std::uint8_t select);

}  // namespace posthouse::imap
