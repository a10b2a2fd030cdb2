#pragma once
/// protocols/imap/sequence_set: "1:4,7,9:*" (RFC 3501 9 sequence-set). Pure.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/limits.h"

namespace posthouse::imap {

/// The set as written; "*" is not known yet.
struct SequenceSet {
    static constexpr std::uint32_t kStar = 0;
    struct Range {
        std::uint32_t first = 0;
        std::uint32_t last = 0;
        bool operator==(const Range&) const = default;
    };
    std::vector<Range> ranges;
    bool last_result = false;  ///< "$": what the last SEARCH saved (RFC 5182 3), in place of ranges
    bool has_star() const;
};

/// sequence-set = (seq-number / seq-range) *("," sequence-set), without recursion; or seq-last-command = "$", which
/// only its asker can resolve (server/imap/selected.h).
Result<SequenceSet> take_sequence_set(Cursor& in, const Limits& limits = {});

/// "*" replaced by `star` (0: the mailbox is empty and ranges with "*" name nothing), ends put in order, sorted and
/// merged. "999:*" with star 4 is 4:999 (RFC 3501 6.4.8).
std::vector<SequenceSet::Range> resolve(const SequenceSet& set, std::uint32_t star);
/// As resolve(), for message numbers: a number above `exists` is Errc::invalid (RFC 3501 9, seq-number). With no
/// message at all a set with "*" is simply empty, since clients ask for 1:* without looking.
Result<std::vector<SequenceSet::Range>> resolve_numbers(const SequenceSet& set, std::uint32_t exists);
/// Whether resolved ranges hold `number`.
bool contains(std::span<const SequenceSet::Range> ranges, std::uint32_t number);

/// Numbers in the order given, runs written as ranges: "3:5,9,2" (uid-set of RFC 4315).
std::string format_set(std::span<const std::uint32_t> numbers);
/// The same behind what is in `out`.
void append_set(std::string& out, std::span<const std::uint32_t> numbers);

}  // namespace posthouse::imap
