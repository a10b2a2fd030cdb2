#pragma once
/// protocols/imap/search_return: what a SEARCH is to answer with, and the ESEARCH response (RFC 4466 2.6, 4731, 5182,
/// 5267, 9394). Pure: options and numbers in, text out.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/fetch.h"
#include "protocols/imap/limits.h"
#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/sequence_set.h"

namespace posthouse::imap {

/// partial-range: places in the list of results, from its start or ("-") from its end.
struct PartialRange {
    std::uint32_t first = 1;  ///< <= last
    std::uint32_t last = 1;
    bool from_end = false;
    std::string text;  ///< as it was asked for, to be repeated in the answer
};
/// partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number       RFC 9394 4
Result<PartialRange> take_partial_range(Cursor& in);
/// The part of `all` that `range` names; empty where it lies beyond.
std::span<const std::uint32_t> part_of(std::span<const std::uint32_t> all, const PartialRange& range);

struct SearchReturn {
    enum Option : std::uint8_t {
        kMin = 1,
        kMax = 2,
        kAll = 4,
        kCount = 8,
        kSave = 16,
        kPartial = 32,
        kUpdate = 64,
        kContext = 128
    };
    bool extended = false;  ///< RETURN was given: the answer is an ESEARCH response
    std::uint8_t options = 0;
    PartialRange partial;  ///< with kPartial
    std::optional<FetchProgram> update_fetch;  ///< with kUpdate: what is told of a new message that matches

    bool has(Option option) const { return (options & option) != 0; }
    /// Whether an ESEARCH response is due: SAVE or UPDATE alone want none (RFC 5182 2.2).
    bool answers() const { return (options & (kMin | kMax | kAll | kCount | kPartial)) != 0; }
};
/// One row an option.
struct SearchReturnOption {
    std::string_view name;
    SearchReturn::Option option;
    std::string_view rfc;
    std::string_view capability;  ///< what brings it, beside RETURN itself
};
std::span<const SearchReturnOption> search_return_options();

/// ["RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" SP]; no option means ALL (RFC 4731 3.1).
/// UPDATE may have FETCH items behind it, in parentheses (RFC 5465 7).
Result<SearchReturn> take_search_return(Cursor& in, const Limits& limits = {});

/// What "$" keeps of `found` (RFC 5182 2.4, RFC 9394 3.2), ascending.
std::vector<std::uint32_t> kept_of(std::span<const std::uint32_t> found, const SearchReturn& wanted);

/// What stands before the results of an ESEARCH response.
struct SearchCorrelator {
    std::string_view tag;
    std::string_view mailbox;  ///< UTF-8; empty: the selected one, untold (RFC 7377 2.1)
    NameForm names = NameForm::modified_utf7;
    std::uint32_t uid_validity = 0;  ///< with `mailbox`
    bool uids = false;
};
/// `ESEARCH (TAG "a") UID`, without "* ".
void append_esearch_head(std::string& out, const SearchCorrelator& correlator);
/// " ADDTO (0 2731:2733)" or " REMOVEFROM (...)": the place 0 leaves the order to the mailbox (RFC 5267 4.3.3).
enum class SearchChange { add, remove };
void append_esearch_change(std::string& out, SearchChange change, std::span<const std::uint32_t> numbers);
/// " MIN 2 COUNT 3 ..." of the numbers or UIDs in the order of the results.
void append_esearch_results(std::string& out, std::span<const std::uint32_t> results, const SearchReturn& wanted);

}  // namespace posthouse::imap
