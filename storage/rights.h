#pragma once
/// storage/rights: what accounts may do with a mailbox that is another's (RFC 4314 2.1), as bits. Pure.
/// An identifier is the address of an account, or "anyone" for all accounts of the owner's domain; behind '-' it takes
/// rights away. The owner has all rights, and no row says so.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::storage {

enum class Right : std::uint16_t {
    lookup = 1,          ///< l: LIST shows it
    read = 2,            ///< r
    seen = 4,            ///< s: \Seen
    write = 8,           ///< w: flags but \Seen and \Deleted
    insert = 16,         ///< i: APPEND, COPY into
    post = 32,           ///< p: kept, and of no effect
    create = 64,         ///< k: mailboxes below
    remove = 128,        ///< x: DELETE, RENAME
    mark_deleted = 256,  ///< t: \Deleted
    expunge = 512,       ///< e
    administer = 1024,   ///< a: SETACL
};
using Rights = std::uint16_t;
template <class... Some>
constexpr Rights any_of(Some... rights) {
    return static_cast<Rights>((static_cast<unsigned>(rights) | ...));
}
constexpr bool has(Rights rights, Right right) { return (rights & static_cast<Rights>(right)) != 0; }
inline constexpr Rights kAllRights = 2047;
/// Without any of these the mailbox does not exist: MYRIGHTS asks for one of them (RFC 4314 4).
inline constexpr Rights kRevealingRights =
    any_of(Right::lookup, Right::read, Right::insert, Right::create, Right::remove, Right::administer);
inline constexpr std::size_t kRightsRowsMax = 1000;  ///< of a mailbox

/// What SETACL does with the rights that stand there.
enum class RightsChange { replace, add, remove };

struct RightsRow {
    std::string identifier;
    Rights rights = 0;
};

/// Letters of RFC 4314 2.1 in any order, the old "c" (k and x) and "d" (e and t) among them (2.1.1). Errc::invalid for
/// any other.
Result<Rights> parse_rights(std::string_view letters);
/// "lrswipkxtea" of those that are there.
std::string format_rights(Rights rights);
/// The same with "c" and "d" for old clients, where any of their members is there (RFC 4314 2.1.1).
std::string format_rights_for_clients(Rights rights);

}  // namespace posthouse::storage
