#include "protocols/imap/notify.h"

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/imap/grammar.h"

namespace posthouse::imap {

namespace {

struct EventRow {
    std::string_view name;
    NotifyEvent event;
    std::string_view rfc;
};
constexpr std::array<EventRow, 7> kEvents = {{
    {"MessageNew", kMessageNew, "5465 5.2"},
    {"MessageExpunge", kMessageExpunge, "5465 5.3"},
    {"FlagChange", kFlagChange, "5465 5.1"},
    {"MailboxName", kMailboxName, "5465 5.4"},
    {"SubscriptionChange", kSubscriptionChange, "5465 5.5"},
    {"MailboxMetadataChange", kMailboxMetadataChange, "5465 5.6"},
    {"ServerMetadataChange", kServerMetadataChange, "5465 5.7"},
}};

enum class Names { none, some };
struct FilterRow {
    std::string_view name;
    NotifyFilter filter;
    Names names;
};
constexpr std::array<FilterRow, 8> kFilters = {{
    {"selected", NotifyFilter::selected, Names::none},
    {"selected-delayed", NotifyFilter::selected_delayed, Names::none},
    {"inboxes", NotifyFilter::inboxes, Names::none},
    {"personal", NotifyFilter::personal, Names::none},
    {"subscribed", NotifyFilter::subscribed, Names::none},
    {"subtree", NotifyFilter::subtree, Names::some},
    {"subtree-one", NotifyFilter::subtree_one, Names::some},
    {"mailboxes", NotifyFilter::mailboxes, Names::some},
}};

bool is_selected(NotifyFilter filter) {
    return filter == NotifyFilter::selected || filter == NotifyFilter::selected_delayed;
}

// one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"
Result<> take_names(Cursor& in, NotifyGroup& group, const Limits& limits) {
    const bool many = in.take('(');
    do {
        if (group.names.size() >= limits.notify_names_max) return bad("Too many mailboxes");
        TRY(std::string name, take_astring(in));
        if (name.size() > limits.mailbox_octets_max) return bad("Mailbox name is too long");
        group.names.push_back(std::move(name));
    } while (many && in.take(' '));
    if (many && !in.take(')')) return bad("Mailbox list is not closed");
    return {};
}

// event = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / ...
Result<> take_event(Cursor& in, NotifyGroup& group, const Limits& limits) {
    TRY(const std::string name, take_atom(in));
    const auto row = std::find_if(kEvents.begin(), kEvents.end(),
                                  [&](const EventRow& event) { return ascii::equals_ci(event.name, name); });
    if (row == kEvents.end()) return Error(Errc::unsupported, "There is no such event here");
    group.events |= row->event;
    if (row->event != kMessageNew || !in.rest().starts_with(" (")) return {};
    if (!is_selected(group.filter)) return bad("FETCH items are for the selected mailbox only");
    TRY_VOID(take_space(in));
    TRY(group.fetch, take_fetch_program(in, limits));
    return {};
}

// events = "(" event *(SP event) ")" / "NONE". The examples of RFC 5465 3.1 leave the parentheses out; so do clients.
Result<> take_events(Cursor& in, NotifyGroup& group, const Limits& limits) {
    if (in.take_word("NONE")) return {};
    const bool list = in.take('(');
    do {
        TRY_VOID(take_event(in, group, limits));
    } while (in.take(' '));
    if (list && !in.take(')')) return bad("Event list is not closed");
    // RFC 5465 5: new and expunged go together, and flags only with them.
    const std::uint8_t both = group.events & (kMessageNew | kMessageExpunge);
    if (both == kMessageNew || both == kMessageExpunge) return bad("MessageNew and MessageExpunge go together");
    if ((group.events & kFlagChange) != 0 && both == 0) {
        return bad("FlagChange goes with MessageNew and MessageExpunge");
    }
    // RFC 5465 6.1.
    if (is_selected(group.filter) && (group.events & ~kMessageEvents) != 0) {
        return bad("Only message events are told of the selected mailbox");
    }
    return {};
}

// event-group = "(" filter-mailboxes SP events ")"
Result<NotifyGroup> take_group(Cursor& in, const Limits& limits) {
    if (!in.take('(')) return bad("Event group expected");
    NotifyGroup group;
    TRY(const std::string name, take_atom(in));
    const auto row = std::find_if(kFilters.begin(), kFilters.end(),
                                  [&](const FilterRow& filter) { return ascii::equals_ci(filter.name, name); });
    if (row == kFilters.end()) return bad("Unknown mailbox filter");
    group.filter = row->filter;
    TRY_VOID(take_space(in));
    if (row->names == Names::some) {
        TRY_VOID(take_names(in, group, limits));
        TRY_VOID(take_space(in));
    }
    TRY_VOID(take_events(in, group, limits));
    if (!in.take(')')) return bad("Event group is not closed");
    return group;
}

}  // namespace

const NotifyGroup* NotifyProgram::selected() const {
    const auto at =
        std::find_if(groups.begin(), groups.end(), [](const NotifyGroup& group) { return is_selected(group.filter); });
    return at == groups.end() || at->events == 0 ? nullptr : &*at;
}

std::string notify_event_names(std::uint8_t without) {
    std::string out;
    for (const EventRow& row : kEvents) {
        if ((row.event & without) != 0) continue;
        if (!out.empty()) out += ' ';
        out += row.name;
    }
    return out;
}

Result<NotifyProgram> take_notify(Cursor& in, const Limits& limits) {
    NotifyProgram program;
    if (in.take_word("NONE")) {
        TRY_VOID(take_end(in));
        return program;
    }
    if (!in.take_word("SET")) return bad("NOTIFY takes SET or NONE");
    TRY_VOID(take_space(in));
    if (in.take_word("STATUS")) {
        program.status = true;
        TRY_VOID(take_space(in));
    }
    bool of_selected = false;
    do {
        if (program.groups.size() >= limits.notify_groups_max) return bad("Too many event groups");
        TRY(NotifyGroup group, take_group(in, limits));
        if (is_selected(group.filter) && std::exchange(of_selected, true)) {
            return bad("The selected mailbox may be named once");
        }
        program.groups.push_back(std::move(group));
    } while (in.take(' '));
    TRY_VOID(take_end(in));
    return program;
}

}  // namespace posthouse::imap
