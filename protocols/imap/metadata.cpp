#include "protocols/imap/metadata.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/imap/grammar.h"

namespace posthouse::imap {

namespace {

// RFC 5464 3.2: below /private or /shared; no empty level, no "*" and "%", no controls, ASCII.
Result<std::string> take_entry(Cursor& in) {
    constexpr std::size_t kEntryOctetsMax = 1000;
    TRY(const std::string given, take_astring(in));
    std::string name = ascii::to_lower(given);
    std::string_view rest = name;
    if (rest.starts_with("/private"))
        rest.remove_prefix(8);
    else if (rest.starts_with("/shared"))
        rest.remove_prefix(7);
    else
        return bad("An entry begins with /private or /shared");
    const bool whole = rest.empty() || rest.starts_with('/');
    const bool clean = std::ranges::all_of(rest, [](char c) { return c > 0x19 && c < 0x7f && c != '*' && c != '%'; });
    if (!whole || !clean || name.ends_with('/') || name.find("//") != std::string::npos) return bad("Invalid entry");
    if (name.size() > kEntryOctetsMax) return bad("Entry is too long");
    return name;
}

// getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")", behind its "("
Result<> take_options(Cursor& in, GetMetadata& out) {
    do {
        if (in.take_word("MAXSIZE ")) {
            TRY(out.octets_max, take_number(in));
        } else if (in.take_word("DEPTH ")) {
            if (in.take('0'))
                out.depth = GetMetadata::Depth::self;
            else if (in.take('1'))
                out.depth = GetMetadata::Depth::children;
            else if (in.take_word("INFINITY"))
                out.depth = GetMetadata::Depth::all;
            else
                return bad("DEPTH is 0, 1 or infinity");
        } else {
            return bad("Unknown GETMETADATA option");
        }
    } while (in.take(' '));
    if (!in.take(')')) return bad("GETMETADATA options are not closed");
    return {};
}

// value = nstring / literal8
Result<std::optional<std::string>> take_value(Cursor& in) {
    if (in.peek() != '~') return take_nstring(in);
    TRY(std::string octets, take_literal8(in));
    return std::optional<std::string>(std::move(octets));
}

bool options_follow(const Cursor& in) {
    return in.peek() == '(' && in.peek(1) != '/' && in.peek(1) != '"' && in.peek(1) != '{';
}

}  // namespace

Result<std::vector<std::string>> take_metadata_entries(Cursor& in, const Limits& limits) {
    std::vector<std::string> out;
    if (!in.take('(')) return bad("Entry list expected");
    do {
        if (out.size() >= limits.metadata_entries_max) return bad("Too many entries");
        TRY(std::string entry, take_entry(in));
        out.push_back(std::move(entry));
    } while (in.take(' '));
    if (!in.take(')')) return bad("Entry list is not closed");
    return out;
}

Result<GetMetadata> take_get_metadata(Cursor& in, const Limits& limits) {
    GetMetadata out;
    if (in.take('(')) {
        TRY_VOID(take_options(in, out));
        TRY_VOID(take_space(in));
    }
    TRY(out.mailbox_wire, take_astring(in));
    TRY_VOID(take_space(in));
    if (options_follow(in)) {
        in.take('(');
        TRY_VOID(take_options(in, out));
        TRY_VOID(take_space(in));
    }
    if (in.peek() == '(') {
        TRY(out.entries, take_metadata_entries(in, limits));
        TRY_VOID(take_end(in));
        return out;
    }
    // One entry; several without a list are let through, as in the examples of RFC 5464 4.4.1.
    do {
        if (out.entries.size() >= limits.metadata_entries_max) return bad("Too many entries");
        TRY(std::string entry, take_entry(in));
        out.entries.push_back(std::move(entry));
    } while (in.take(' '));
    TRY_VOID(take_end(in));
    return out;
}

// setmetadata = "SETMETADATA" SP mailbox SP "(" entry SP value *(SP entry SP value) ")", value = nstring / literal8
Result<SetMetadata> take_set_metadata(Cursor& in, const Limits& limits) {
    SetMetadata out;
    TRY(out.mailbox_wire, take_astring(in));
    TRY_VOID(take_space(in));
    if (!in.take('(')) return bad("Entries and values expected");
    do {
        if (out.values.size() >= limits.metadata_entries_max) return bad("Too many entries");
        TRY(std::string entry, take_entry(in));
        if (std::ranges::count(entry, '/') < 2) return bad("Invalid entry");
        TRY_VOID(take_space(in));
        TRY(auto value, take_value(in));
        out.values.emplace_back(std::move(entry), std::move(value));
    } while (in.take(' '));
    if (!in.take(')')) return bad("Entries are not closed");
    TRY_VOID(take_end(in));
    return out;
}

bool names_entry(std::string_view wanted, GetMetadata::Depth depth, std::string_view entry) {
    if (!entry.starts_with(wanted)) return false;
    const std::string_view below = entry.substr(wanted.size());
    if (below.empty()) return true;
    if (depth == GetMetadata::Depth::self || below.front() != '/') return false;
    return depth == GetMetadata::Depth::all || below.find('/', 1) == std::string_view::npos;
}

}  // namespace posthouse::imap
