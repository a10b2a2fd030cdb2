#include "protocols/imap/sort.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "protocols/imap/envelope_text.h"
#include "protocols/imap/grammar.h"
#include "protocols/mime/text.h"

namespace posthouse::imap {

namespace {

// Negative times come before all others.
std::uint64_t ordered(std::int64_t value) { return static_cast<std::uint64_t>(value) ^ (std::uint64_t{1} << 63); }

std::uint64_t arrival(const SortMessage& message) { return ordered(message.arrival_s); }
std::uint64_t sent(const SortMessage& message) { return ordered(message.sent_ms); }
std::uint64_t size(const SortMessage& message) { return message.size_octets; }

std::string subject(std::string_view envelope) { return mime::base_subject(envelope_subject(envelope)); }
template <EnvelopeList list>
std::string mailbox(std::string_view envelope) {
    return first_address(envelope, list).mailbox;
}
template <EnvelopeList list>
std::string display(std::string_view envelope) {
    return display_name(first_address(envelope, list));
}

using Needs = SortNeeds;
constexpr std::array<SortKey, 9> kKeys = {{
    {"ARRIVAL", Needs::memory, arrival, nullptr, "5256 3", ""},
    {"CC", Needs::envelope, nullptr, mailbox<EnvelopeList::cc>, "5256 3", ""},
    {"DATE", Needs::date, sent, nullptr, "5256 2.2", ""},
    {"DISPLAYFROM", Needs::envelope, nullptr, display<EnvelopeList::from>, "5957 4", "SORT=DISPLAY"},
    {"DISPLAYTO", Needs::envelope, nullptr, display<EnvelopeList::to>, "5957 4", "SORT=DISPLAY"},
    {"FROM", Needs::envelope, nullptr, mailbox<EnvelopeList::from>, "5256 3", ""},
    {"SIZE", Needs::memory, size, nullptr, "5256 3", ""},
    {"SUBJECT", Needs::envelope, nullptr, subject, "5256 2.1", ""},
    {"TO", Needs::envelope, nullptr, mailbox<EnvelopeList::to>, "5256 3", ""},
}};

// The first octets as a number that compares alike: most texts differ there.
std::uint64_t beginning(std::string_view text) {
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < 8; ++i) out = out << 8 | (i < text.size() ? static_cast<unsigned char>(text[i]) : 0U);
    return out;
}

}  // namespace

std::span<const SortKey> sort_keys() { return kKeys; }

Result<std::vector<SortCriterion>> take_sort_criteria(Cursor& in) {
    std::vector<SortCriterion> out;
    if (!in.take('(')) return Error(Errc::invalid, "SORT takes a list of criteria");
    do {
        if (out.size() >= kSortCriteriaMax) return Error(Errc::invalid, "Too many SORT criteria");
        SortCriterion criterion;
        criterion.reverse = in.take_word("REVERSE ");
        TRY(const std::string name, take_atom(in));
        const auto key =
            std::ranges::find_if(kKeys, [&](const SortKey& row) { return ascii::equals_ci(row.name, name); });
        if (key == kKeys.end()) return Error(Errc::invalid, "Unknown SORT criterion");
        criterion.key = &*key;
        out.push_back(criterion);
    } while (take_space(in));
    if (!in.take(')')) return Error(Errc::invalid, "Missing )");
    return out;
}

SortNeeds needs_of(std::span<const SortCriterion> criteria) {
    SortNeeds out = SortNeeds::memory;
    for (const SortCriterion& criterion : criteria) out = std::max(out, criterion.key->needs);
    return out;
}

Sorter::Sorter(std::vector<SortCriterion> criteria)
    : criteria_(std::move(criteria)), columns_(criteria_.size()), texts_(criteria_.size()) {
    for (Column& column : columns_) column.offsets.push_back(0);
}

void Sorter::add(const SortMessage& message) {
    numbers_.push_back(message.number);
    for (std::size_t i = 0; i < criteria_.size(); ++i) {
        const SortKey& key = *criteria_[i].key;
        if (key.value != nullptr) {
            columns_[i].values.push_back(key.value(message));
            continue;
        }
        const std::string folded = mime::collation_key(key.text(message.envelope));
        columns_[i].values.push_back(beginning(folded));
        texts_[i] += folded;
        columns_[i].offsets.push_back(texts_[i].size());
    }
}

std::size_t Sorter::octets() const {
    std::size_t out = numbers_.size() * sizeof(std::uint32_t) * 2;
    for (std::size_t i = 0; i < criteria_.size(); ++i) {
        out += (columns_[i].values.size() + columns_[i].offsets.size()) * sizeof(std::uint64_t) + texts_[i].size();
    }
    return out;
}

std::string_view Sorter::text(const Column& column, std::uint32_t index) const {
    const std::string& all = texts_[static_cast<std::size_t>(&column - columns_.data())];
    return std::string_view(all).substr(column.offsets[index], column.offsets[index + 1] - column.offsets[index]);
}

bool Sorter::less(std::uint32_t a, std::uint32_t b) const {
    for (std::size_t i = 0; i < criteria_.size(); ++i) {
        const Column& column = columns_[i];
        const bool reverse = criteria_[i].reverse;
        if (column.values[a] != column.values[b]) return (column.values[a] < column.values[b]) != reverse;
        if (criteria_[i].key->value != nullptr) continue;
        const int order = text(column, a).compare(text(column, b));
        if (order != 0) return (order < 0) != reverse;
    }
    return a < b;
}

std::vector<std::uint32_t> Sorter::finish() {
    std::vector<std::uint32_t> order(numbers_.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, [this](std::uint32_t a, std::uint32_t b) { return less(a, b); });
    for (std::uint32_t& index : order) index = numbers_[index];
    return order;
}

}  // namespace posthouse::imap
