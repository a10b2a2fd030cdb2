#include "protocols/imap/modseq.h"

#include <limits>

#include "protocols/base/ascii.h"
#include "protocols/imap/grammar.h"

namespace posthouse::imap {

namespace {

// All numbers of a set in their order, at most `most`.
Result<std::vector<std::uint32_t>> numbers_of(const SequenceSet& set, std::size_t most) {
    std::vector<std::uint32_t> out;
    for (const SequenceSet::Range& range : set.ranges) {
        if (range.first > range.last) return bad("Sequence match data must ascend");
        if (std::uint64_t{range.last} - range.first >= most - out.size()) return bad("Too much sequence match data");
        for (std::uint64_t n = range.first; n <= range.last; ++n) out.push_back(static_cast<std::uint32_t>(n));
    }
    return out;
}

// known-sequence-set and known-uid-set: no "*" (RFC 7162 7), and what a client knew before is no result of a search.
Result<SequenceSet> take_known_set(Cursor& in, const Limits& limits) {
    TRY(SequenceSet set, take_sequence_set(in, limits));
    if (set.has_star() || set.last_result) return bad("Numbers expected");
    return set;
}

// seq-match-data = "(" known-sequence-set SP known-uid-set ")"; the "(" is taken.
Result<> take_matches(Cursor& in, Resync& out, const Limits& limits) {
    TRY(const SequenceSet numbers, take_known_set(in, limits));
    TRY_VOID(take_space(in));
    TRY(const SequenceSet uids, take_known_set(in, limits));
    if (!in.take(')')) return bad("Sequence match data is not closed");
    TRY(const auto left, numbers_of(numbers, limits.sequence_ranges_max));
    TRY(const auto right, numbers_of(uids, limits.sequence_ranges_max));
    if (left.size() != right.size()) return bad("Sequence match data has sets of two lengths");
    for (std::size_t i = 0; i < left.size(); ++i) out.matches.emplace_back(left[i], right[i]);
    return {};
}

// "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"
Result<Resync> take_resync(Cursor& in, const Limits& limits) {
    Resync out;
    if (!in.take('(')) return bad("QRESYNC parameters expected");
    TRY(out.uid_validity, take_nz_number(in));
    TRY_VOID(take_space(in));
    TRY(out.modseq, take_modseq(in));
    if (in.take(')')) return out;
    TRY_VOID(take_space(in));
    if (in.peek() != '(') {
        TRY(out.known_uids, take_known_set(in, limits));
        if (in.take(')')) return out;
        TRY_VOID(take_space(in));
    }
    if (!in.take('(')) return bad("Sequence match data expected");
    TRY_VOID(take_matches(in, out, limits));
    if (!in.take(')')) return bad("QRESYNC is not closed");
    return out;
}

}  // namespace

Result<std::uint64_t> take_modseq(Cursor& in) {
    constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
    const std::string_view digits = in.take_while(ascii::is_digit);
    if (digits.empty()) return bad("Mod-sequence expected");
    std::uint64_t out = 0;
    for (const char c : digits) {
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (out > (kMax - digit) / 10) return bad("Mod-sequence is too large");
        out = out * 10 + digit;
    }
    return out;
}

Result<SelectParameters> take_select_parameters(Cursor& in, const Limits& limits) {
    SelectParameters out;
    if (in.at_end()) return out;
    TRY_VOID(take_space(in));
    if (in.at_end()) return out;
    if (!in.take('(')) return bad("Parameters expected");
    do {
        TRY(const std::string name, take_atom(in));
        if (ascii::equals_ci(name, "CONDSTORE")) {
            out.condstore = true;
        } else if (ascii::equals_ci(name, "QRESYNC") && !out.resync) {
            TRY_VOID(take_space(in));
            TRY(out.resync, take_resync(in, limits));
        } else {
            return bad("Unknown parameter");
        }
    } while (in.take(' '));
    if (!in.take(')')) return bad("Parameters are not closed");
    return out;
}

Result<FetchModifiers> take_fetch_modifiers(Cursor& in) {
    FetchModifiers out;
    if (in.at_end()) return out;
    TRY_VOID(take_space(in));
    if (in.at_end()) return out;
    if (!in.take('(')) return bad("FETCH modifiers expected");
    do {
        TRY(const std::string name, take_atom(in));
        if (ascii::equals_ci(name, "CHANGEDSINCE") && !out.changed_since) {
            TRY_VOID(take_space(in));
            TRY(out.changed_since, take_modseq(in));
        } else if (ascii::equals_ci(name, "VANISHED") && !out.vanished) {
            out.vanished = true;
        } else if (ascii::equals_ci(name, "PARTIAL") && !out.partial) {
            TRY_VOID(take_space(in));
            TRY(out.partial, take_partial_range(in));
        } else {
            return bad("Unknown FETCH modifier");
        }
    } while (in.take(' '));
    if (!in.take(')')) return bad("FETCH modifiers are not closed");
    if (out.vanished && !out.changed_since) return bad("VANISHED goes with CHANGEDSINCE");  // RFC 7162 3.2.6
    return out;
}

Result<std::optional<std::uint64_t>> take_store_modifiers(Cursor& in) {
    std::optional<std::uint64_t> out;
    if (!in.take('(')) return out;
    if (!in.take_word("UNCHANGEDSINCE")) return bad("Unknown STORE modifier");
    TRY_VOID(take_space(in));
    TRY(out, take_modseq(in));
    if (!in.take(')')) return bad("STORE modifier is not closed");
    TRY_VOID(take_space(in));
    return out;
}

}  // namespace posthouse::imap
