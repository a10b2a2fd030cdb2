#pragma once
/// protocols/imap/modseq: the words of CONDSTORE and QRESYNC (RFC 7162 7). Pure.
/// Mod-sequences are 63 bits wide; 0 is allowed where a client may say "from the beginning", as some do.
#include <cstdint>
#include <optional>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/limits.h"
#include "protocols/imap/search_return.h"
#include "protocols/imap/sequence_set.h"

namespace posthouse::imap {

/// mod-sequence-valzer: 0 to 2^63 - 1.
Result<std::uint64_t> take_modseq(Cursor& in);

/// What the client knew of a mailbox (RFC 7162 3.2.5).
struct Resync {
    std::uint32_t uid_validity = 0;
    std::uint64_t modseq = 0;
    std::optional<SequenceSet> known_uids;
    /// Pairs of message numbers and UIDs, both resolved and of one length.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> matches;
};
/// [SP "(" select-param *(SP select-param) ")"] of SELECT and EXAMINE (RFC 4466 2.1).
struct SelectParameters {
    bool condstore = false;
    std::optional<Resync> resync;
};
Result<SelectParameters> take_select_parameters(Cursor& in, const Limits& limits = {});

/// [SP "(" fetch-modifier *(SP fetch-modifier) ")"] (RFC 4466 2.4).
struct FetchModifiers {
    std::optional<std::uint64_t> changed_since;
    bool vanished = false;
    std::optional<PartialRange> partial;  ///< RFC 9394 3.3
};
Result<FetchModifiers> take_fetch_modifiers(Cursor& in);

/// ["(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")" SP] of STORE (RFC 7162 3.1.3).
Result<std::optional<std::uint64_t>> take_store_modifiers(Cursor& in);

}  // namespace posthouse::imap
