#include "protocols/imap/list.h"

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/imap/grammar.h"
#include "protocols/imap/metadata.h"

namespace posthouse::imap {

namespace {

struct SelectRow {
    std::string_view name;
    ListSelect option;
    std::uint8_t implies;  // return options
    std::string_view rfc;
};
constexpr std::array<SelectRow, 4> kSelectOptions = {{
    {"SUBSCRIBED", kSelectSubscribed, kReturnSubscribed, "5258 3.1"},
    {"REMOTE", kSelectRemote, 0, "5258 3.1"},
    {"RECURSIVEMATCH", kSelectRecursive, 0, "5258 3.1"},
    {"SPECIAL-USE", kSelectSpecialUse, kReturnSpecialUse, "6154 2"},
}};

struct ReturnRow {
    std::string_view name;
    ListReturn option;
    Result<> (*take_value)(Cursor& in, ListProgram& program, const Limits& limits);  // may be null
    std::string_view rfc;
};

Result<> take_status_option(Cursor& in, ListProgram& program, const Limits& limits) {
    TRY_VOID(take_space(in));
    TRY(program.status, take_status_names(in, limits));
    return {};
}

Result<> take_metadata_option(Cursor& in, ListProgram& program, const Limits& limits) {
    TRY_VOID(take_space(in));
    TRY(program.metadata, take_metadata_entries(in, limits));
    return {};
}

constexpr std::array<ReturnRow, 6> kReturnOptions = {{
    {"SUBSCRIBED", kReturnSubscribed, nullptr, "5258 3.2"},
    {"CHILDREN", kReturnChildren, nullptr, "5258 3.2"},
    {"SPECIAL-USE", kReturnSpecialUse, nullptr, "6154 2"},
    {"STATUS", kReturnStatus, take_status_option, "5819 2"},
    {"METADATA", kReturnMetadata, take_metadata_option, "9590 3"},
    {"MYRIGHTS", kReturnMyRights, nullptr, "8440 3"},
}};

template <class Rows>
auto find_row(const Rows& rows, std::string_view name) {
    return std::ranges::find_if(rows, [&](const auto& row) { return ascii::equals_ci(row.name, name); });
}

// "(" [list-select-opt *(SP list-select-opt)] ")"
Result<> take_select_options(Cursor& in, ListProgram& program) {
    if (in.take(')')) return {};
    do {
        TRY(const std::string name, take_atom(in));
        const auto row = find_row(kSelectOptions, name);
        if (row == kSelectOptions.end()) return bad("Unknown selection option");
        program.select |= row->option;
        program.returns |= row->implies;
    } while (in.take(' '));
    if (!in.take(')')) return bad("Selection options are not closed");
    // RFC 5258 3.1: by itself, or with REMOTE only, it says nothing.
    if ((program.select & kSelectRecursive) != 0 && (program.select & kSelectCriteria) == 0) {
        return bad("RECURSIVEMATCH needs another selection option");
    }
    return {};
}

// "RETURN" SP "(" [return-option *(SP return-option)] ")"
Result<> take_return_options(Cursor& in, ListProgram& program, const Limits& limits) {
    if (!in.take_word("RETURN")) return bad("Return options expected");
    TRY_VOID(take_space(in));
    if (!in.take('(')) return bad("Return options expected");
    if (in.take(')')) return {};
    do {
        TRY(const std::string name, take_atom(in));
        const auto row = find_row(kReturnOptions, name);
        if (row == kReturnOptions.end()) return bad("Unknown return option");
        program.returns |= row->option;
        if (row->take_value != nullptr) TRY_VOID(row->take_value(in, program, limits));
    } while (in.take(' '));
    if (!in.take(')')) return bad("Return options are not closed");
    return {};
}

// list-mailbox = 1*list-char / string, list-char = ATOM-CHAR / list-wildcards / resp-specials
Result<std::string> take_list_mailbox(Cursor& in) {
    if (in.peek() == '"' || in.peek() == '{') return take_string(in);
    std::string out(in.take_while([](char c) { return c == '%' || c == '*' || is_astring_char(c); }));
    if (out.empty()) return bad("Mailbox pattern expected");
    return out;
}

}  // namespace

Result<ListProgram> take_list(Cursor& in, const Limits& limits) {
    ListProgram out;
    if (in.take('(')) {
        out.extended = true;
        TRY_VOID(take_select_options(in, out));
        TRY_VOID(take_space(in));
    }
    TRY(out.reference, take_astring(in));
    TRY_VOID(take_space(in));
    // mbox-or-pat = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"
    const bool many = in.take('(');
    out.extended = out.extended || many;
    do {
        if (out.patterns.size() >= limits.list_patterns_max) return bad("Too many patterns");
        TRY(std::string pattern, take_list_mailbox(in));
        out.patterns.push_back(std::move(pattern));
    } while (many && in.take(' '));
    if (many && !in.take(')')) return bad("Patterns are not closed");
    if (ascii::trim(in.rest()).empty()) return out;
    TRY_VOID(take_space(in));
    out.extended = true;
    TRY_VOID(take_return_options(in, out, limits));
    TRY_VOID(take_end(in));
    return out;
}

Result<ListProgram> take_lsub(Cursor& in) {
    ListProgram out;
    TRY(out.reference, take_astring(in));
    TRY_VOID(take_space(in));
    TRY(std::string pattern, take_list_mailbox(in));
    out.patterns.push_back(std::move(pattern));
    TRY_VOID(take_end(in));
    return out;
}

Result<std::vector<std::string>> take_status_names(Cursor& in, const Limits& limits) {
    std::vector<std::string> out;
    if (!in.take('(')) return bad("Status item list expected");
    do {
        if (out.size() >= limits.status_items_max) return bad("Too many status items");
        TRY(std::string name, take_atom(in));
        out.push_back(std::move(name));
    } while (in.take(' '));
    if (!in.take(')')) return bad("Status item list is not closed");
    return out;
}

std::string format_criteria(std::uint8_t select) {
    std::string out;
    for (const SelectRow& row : kSelectOptions) {
        if ((select & kSelectCriteria & row.option) == 0) continue;
        if (!out.empty()) out += ' ';
        out += '"';
        out += row.name;
        out += '"';
    }
    return out;
}

}  // namespace posthouse::imap
