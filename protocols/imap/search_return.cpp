#include "protocols/imap/search_return.h"

#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/response.h"

namespace posthouse::imap {

namespace {

using Return = SearchReturn;

constexpr std::array<SearchReturnOption, 8> kOptions = {{
    {"MIN", Return::kMin, "4731 3.1", ""},
    {"MAX", Return::kMax, "4731 3.1", ""},
    {"ALL", Return::kAll, "4731 3.1", ""},
    {"COUNT", Return::kCount, "4731 3.1", ""},
    {"SAVE", Return::kSave, "5182 2.1", "SEARCHRES"},
    {"PARTIAL", Return::kPartial, "9394 3.1", "PARTIAL"},
    {"UPDATE", Return::kUpdate, "5267 4.3", "CONTEXT=SEARCH"},
    {"CONTEXT", Return::kContext, "5267 4.2", "CONTEXT=SEARCH"},  // a hint that is not needed
}};

Result<> take_option(Cursor& in, SearchReturn& into, const Limits& limits) {
    TRY(const std::string name, take_atom(in));
    const auto row =
        std::ranges::find_if(kOptions, [&](const auto& option) { return ascii::equals_ci(option.name, name); });
    if (row == kOptions.end()) return Error(Errc::invalid, "Unknown SEARCH return option");
    if (row->option == Return::kPartial) {
        if (into.has(Return::kPartial)) return Error(Errc::invalid, "PARTIAL is given twice");
        TRY_VOID(take_space(in));
        TRY(into.partial, take_partial_range(in));
    }
    into.options |= row->option;
    // modifier-update = "UPDATE" [ "(" fetch-att *(SP fetch-att) ")" ]; the example of RFC 5465 7 has an SP there.
    const bool items = in.rest().starts_with('(') || in.rest().starts_with(" (");
    if (row->option != Return::kUpdate || !items) return {};
    in.take(' ');
    TRY(into.update_fetch, take_fetch_program(in, limits));
    return {};
}

}  // namespace

Result<PartialRange> take_partial_range(Cursor& in) {
    const Cursor begin = in;
    PartialRange out;
    out.from_end = in.take('-');
    TRY(out.first, take_nz_number(in));
    if (!in.take(':') || in.take('-') != out.from_end) return Error(Errc::invalid, "Invalid PARTIAL range");
    TRY(out.last, take_nz_number(in));
    out.text = begin.rest().substr(0, in.position() - begin.position());
    if (out.first > out.last) std::swap(out.first, out.last);
    return out;
}

std::span<const std::uint32_t> part_of(std::span<const std::uint32_t> all, const PartialRange& range) {
    if (range.first > all.size()) return {};
    const std::size_t last = std::min<std::size_t>(range.last, all.size());
    const std::size_t count = last - range.first + 1;
    return all.subspan(range.from_end ? all.size() - last : range.first - 1, count);
}

std::span<const SearchReturnOption> search_return_options() { return kOptions; }

Result<SearchReturn> take_search_return(Cursor& in, const Limits& limits) {
    SearchReturn out;
    if (!in.take_word("RETURN ")) return out;
    out.extended = true;
    if (!in.take('(')) return Error(Errc::invalid, "RETURN takes a list of options");
    while (!in.take(')')) {
        if (out.options != 0) TRY_VOID(take_space(in));
        TRY_VOID(take_option(in, out, limits));
    }
    TRY_VOID(take_space(in));
    if (out.has(Return::kAll) && out.has(Return::kPartial)) {
        return Error(Errc::invalid, "ALL and PARTIAL exclude each other");  // RFC 9394 3.1
    }
    if (!out.answers() && !out.has(Return::kSave) && !out.has(Return::kUpdate)) out.options |= Return::kAll;
    return out;
}

std::vector<std::uint32_t> kept_of(std::span<const std::uint32_t> found, const SearchReturn& wanted) {
    const bool some = wanted.has(Return::kMin) || wanted.has(Return::kMax) || wanted.has(Return::kPartial);
    const bool all = wanted.has(Return::kAll) || wanted.has(Return::kCount);
    std::vector<std::uint32_t> out;
    if (found.empty()) return out;
    if (all || !some) out.assign(found.begin(), found.end());
    if (!all && wanted.has(Return::kPartial)) {
        const auto part = part_of(found, wanted.partial);
        out.assign(part.begin(), part.end());
    }
    if (wanted.has(Return::kMin)) out.push_back(found.front());
    if (wanted.has(Return::kMax)) out.push_back(found.back());
    std::ranges::sort(out);
    const auto [first, last] = std::ranges::unique(out);
    out.erase(first, last);
    return out;
}

void append_esearch_head(std::string& out, const SearchCorrelator& correlator) {
    // A tag holds neither quote nor backslash (RFC 3501 9 tag).
    out += "ESEARCH (TAG \"";
    out += correlator.tag;
    out += '"';
    if (!correlator.mailbox.empty()) {
        out += " MAILBOX ";
        append_mailbox(out, correlator.mailbox, correlator.names);
        out += " UIDVALIDITY ";
        append_number(out, correlator.uid_validity);
    }
    out += ')';
    if (correlator.uids) out += " UID";
}

void append_esearch_change(std::string& out, SearchChange change, std::span<const std::uint32_t> numbers) {
    out += change == SearchChange::add ? " ADDTO (0 " : " REMOVEFROM (0 ";
    append_set(out, numbers);
    out += ')';
}

void append_esearch_results(std::string& out, std::span<const std::uint32_t> results, const SearchReturn& wanted) {
    const auto number = [&](std::string_view name, std::uint64_t value) {
        out += name;
        append_number(out, value);
    };
    if (wanted.has(Return::kMin) && !results.empty()) number(" MIN ", results.front());
    if (wanted.has(Return::kMax) && !results.empty()) number(" MAX ", results.back());
    if (wanted.has(Return::kCount)) number(" COUNT ", results.size());
    if (wanted.has(Return::kAll) && !results.empty()) {
        out += " ALL ";
        append_set(out, results);
    }
    if (wanted.has(Return::kPartial)) {
        out += " PARTIAL (" + wanted.partial.text + ' ';
        const auto part = part_of(results, wanted.partial);
        if (part.empty())
            out += "NIL";
        else
            append_set(out, part);
        out += ')';
    }
}

}  // namespace posthouse::imap
