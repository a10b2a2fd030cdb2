#pragma once
/// protocols/imap/sort: SORT criteria as rows and the order they give (RFC 5256 3, RFC 5957 4). Pure.
/// Texts are compared by mime::collation_key() (i;unicode-casemap), dates by their instant; ties by message number.
/// Limits: kSortCriteriaMax; a Sorter tells its memory, its user bounds it.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"

namespace posthouse::imap {

inline constexpr std::size_t kSortCriteriaMax = 16;

/// What an order may ask of a message.
struct SortMessage {
    std::uint32_t number = 0;
    std::int64_t arrival_s = 0;  ///< INTERNALDATE
    std::int64_t sent_ms = 0;    ///< of the Date field, else INTERNALDATE (RFC 5256 2.2)
    std::uint64_t size_octets = 0;
    std::string_view envelope;  ///< as FETCH ENVELOPE tells it
};

/// Where a key comes from: what a session knows, or also what was kept at arrival.
enum class SortNeeds : std::uint8_t { memory, date, envelope };

struct SortKey {
    std::string_view name;
    SortNeeds needs = SortNeeds::memory;
    std::uint64_t (*value)(const SortMessage& message) = nullptr;  ///< null: a text
    std::string (*text)(std::string_view envelope) = nullptr;      ///< for collation, not folded yet
    std::string_view rfc;
    std::string_view capability;  ///< what brings it, beside SORT itself
};
std::span<const SortKey> sort_keys();

struct SortCriterion {
    const SortKey* key = nullptr;
    bool reverse = false;
};
/// sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"
Result<std::vector<SortCriterion>> take_sort_criteria(Cursor& in);
SortNeeds needs_of(std::span<const SortCriterion> criteria);

/// Takes messages by number and puts them in order.
class Sorter {
 public:
    explicit Sorter(std::vector<SortCriterion> criteria);
    SortNeeds needs() const { return needs_of(criteria_); }
    void add(const SortMessage& message);
    /// Memory held.
    std::size_t octets() const;
    /// Numbers in order. Once, at the end.
    std::vector<std::uint32_t> finish();

 private:
    struct Column {
        std::vector<std::uint64_t> values;   // what is compared first: a number, or how a text begins
        std::vector<std::uint64_t> offsets;  // of a text in texts_; one more than values
    };
    bool less(std::uint32_t a, std::uint32_t b) const;
    std::string_view text(const Column& column, std::uint32_t index) const;

    std::vector<SortCriterion> criteria_;
    std::vector<Column> columns_;  // parallel to criteria_
    std::vector<std::uint32_t> numbers_;
    std::vector<std::string> texts_;  // parallel to criteria_
};

}  // namespace posthouse::imap
