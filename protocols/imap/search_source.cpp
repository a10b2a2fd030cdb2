#include "protocols/imap/search_source.h"

#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"

namespace posthouse::imap {

namespace {

enum class Names { none, some };
struct Row {
    std::string_view name;
    SourceFilter filter;
    Names names;
};
// selected-delayed is not valid here.
constexpr std::array<Row, 7> kRows = {{
    {"selected", SourceFilter::selected, Names::none},
    {"inboxes", SourceFilter::inboxes, Names::none},
    {"personal", SourceFilter::personal, Names::none},
    {"subscribed", SourceFilter::subscribed, Names::none},
    {"subtree", SourceFilter::subtree, Names::some},
    {"subtree-one", SourceFilter::subtree_one, Names::some},
    {"mailboxes", SourceFilter::mailboxes, Names::some},
}};

// one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"
Result<> take_names(Cursor& in, std::vector<std::string>& into, std::size_t names_max) {
    const bool many = in.take('(');
    do {
        if (into.size() >= names_max) return Error(Errc::invalid, "Too many mailboxes");
        TRY(std::string name, take_astring(in));
        into.push_back(std::move(name));
    } while (many && in.take(' '));
    if (many && !in.take(')')) return Error(Errc::invalid, "Mailbox list is not closed");
    return {};
}

}  // namespace

Result<std::vector<SearchSource>> take_search_sources(Cursor& in, const Limits& limits) {
    std::vector<SearchSource> out;
    if (!in.take_word("IN ")) {
        out.emplace_back();
        return out;
    }
    if (!in.take('(')) return Error(Errc::invalid, "IN takes a list of mailboxes");
    std::size_t names = 0;
    do {
        if (out.size() >= limits.search_sources_max) return Error(Errc::invalid, "Too many mailboxes");
        TRY(const std::string name, take_atom(in));
        const auto row = std::ranges::find_if(kRows, [&](const Row& r) { return ascii::equals_ci(r.name, name); });
        if (row == kRows.end()) return Error(Errc::invalid, "Unknown mailbox filter");
        SearchSource& source = out.emplace_back();
        source.filter = row->filter;
        if (row->names == Names::none) continue;
        TRY_VOID(take_space(in));
        TRY_VOID(take_names(in, source.names, limits.search_sources_max - std::min(names, limits.search_sources_max)));
        names += source.names.size();
    } while (in.take(' '));
    // Scope options have a syntax, but there are none.
    if (!in.take(')')) return Error(Errc::invalid, "Mailbox filters are not closed");
    TRY_VOID(take_space(in));
    return out;
}

}  // namespace posthouse::imap
