// LIST, LSUB, STATUS (RFC 3501 6.3.8 to 6.3.10), CHILDREN (RFC 3348), SPECIAL-USE (RFC 6154).
#include <algorithm>
#include <array>
#include <map>

#include "protocols/imap/grammar.h"
#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/response.h"
#include "server/imap/names.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

struct ListArguments {
    std::string reference;
    std::string pattern;
};

// mailbox SP list-mailbox; list-mailbox = 1*list-char / string, list-char = ATOM-CHAR / "%" / "*" / "]"
Result<ListArguments> take_list_arguments(Cursor args) {
    ListArguments out;
    TRY(out.reference, wire::take_astring(args));
    TRY_VOID(wire::take_space(args));
    if (args.peek() == '"' || args.peek() == '{') {
        TRY(out.pattern, wire::take_string(args));
    } else {
        out.pattern = args.take_while([](char c) { return c == '%' || c == '*' || wire::is_astring_char(c); });
        if (out.pattern.empty()) return Error(Errc::invalid, "Mailbox pattern expected");
    }
    TRY_VOID(wire::take_end(args));
    return out;
}

// One line of LIST or LSUB in the making. Levels above a mailbox that do not exist themselves are lines too.
struct Line {
    bool exists = false;  ///< else \Noselect
    bool children = false;
    storage::SpecialUse use = storage::SpecialUse::none;
};
using Lines = std::map<std::string, Line>;  // by UTF-8 name

void add_line(Lines& lines, const std::string& name, storage::SpecialUse use) {
    Line& line = lines[name];
    line.exists = true;
    line.use = use;
    for (std::size_t at = name.find(wire::kDelimiter); at != std::string::npos;
         at = name.find(wire::kDelimiter, at + 1)) {
        lines[name.substr(0, at)].children = true;
    }
}

void put_line(Session& session, std::string_view verb, const std::string& name, const Line& line,
              std::string_view attributes) {
    std::string out(verb);
    out += " (";
    out += attributes;
    const std::string_view use = special_use_attribute(line.use);
    if (!use.empty() && !attributes.empty()) out += ' ';
    out += use;
    out += ") \"/\" ";
    wire::append_mailbox(out, name);
    session.untagged(out);
}

// The canonical pattern is reference and pattern joined (RFC 3501 6.3.8).
std::string full_pattern(const ListArguments& arguments) {
    if (arguments.pattern.starts_with(wire::kDelimiter)) return arguments.pattern.substr(1);
    return arguments.reference + arguments.pattern;
}

net::Task<Reply> on_list(Session& session, Cursor args) {
    const auto arguments = take_list_arguments(args);
    if (!arguments) co_return syntax(arguments.error());
    if (arguments->pattern.empty()) {  // asks for the delimiter
        session.untagged("LIST (\\Noselect) \"/\" \"\"");
        co_return Reply::ok("List completed");
    }
    const std::string pattern = full_pattern(*arguments);
    if (pattern.size() > session.limits().mailbox_octets_max) co_return Reply::no("LIMIT", "Pattern is too long");
    const auto mailboxes = co_await session.access().mailboxes();
    if (!mailboxes) co_return reply_for(mailboxes.error());
    Lines lines;
    for (const Mailbox& mailbox : *mailboxes) add_line(lines, mailbox.name, mailbox.special_use);
    for (const auto& [name, line] : lines) {
        if (!wire::matches_pattern(wire::encode_mailbox(name), pattern)) continue;
        std::string attributes = line.exists ? "" : "\\Noselect ";
        attributes += line.children ? "\\HasChildren" : "\\HasNoChildren";
        put_line(session, "LIST", name, line, attributes);
    }
    co_return Reply::ok("List completed");
}

// Subscribed names, of mailboxes that are gone too; where "%" stops above a subscribed name that level is shown with
// \Noselect (RFC 3501 6.3.9).
net::Task<Reply> on_lsub(Session& session, Cursor args) {
    const auto arguments = take_list_arguments(args);
    if (!arguments) co_return syntax(arguments.error());
    if (arguments->pattern.empty()) {
        session.untagged("LSUB (\\Noselect) \"/\" \"\"");
        co_return Reply::ok("Lsub completed");
    }
    const std::string pattern = full_pattern(*arguments);
    if (pattern.size() > session.limits().mailbox_octets_max) co_return Reply::no("LIMIT", "Pattern is too long");
    const auto names = co_await session.access().subscriptions();
    if (!names) co_return reply_for(names.error());
    const auto mailboxes = co_await session.access().mailboxes();
    if (!mailboxes) co_return reply_for(mailboxes.error());
    std::map<std::string_view, storage::SpecialUse> uses;
    for (const Mailbox& mailbox : *mailboxes) uses.emplace(mailbox.name, mailbox.special_use);
    Lines lines;
    for (const std::string& name : *names) {
        const auto use = uses.find(name);
        add_line(lines, name, use == uses.end() ? storage::SpecialUse::none : use->second);
    }
    const bool levels = pattern.find('%') != std::string::npos;
    for (const auto& [name, line] : lines) {
        if (!line.exists && !levels) continue;
        if (!wire::matches_pattern(wire::encode_mailbox(name), pattern)) continue;
        put_line(session, "LSUB", name, line, line.exists ? "" : "\\Noselect");
    }
    co_return Reply::ok("Lsub completed");
}

std::uint64_t count_messages(const MailboxStatus& status) { return status.mailbox.messages; }
std::uint64_t count_recent(const MailboxStatus& status) { return status.recent; }
std::uint64_t next_uid(const MailboxStatus& status) { return status.mailbox.uid_next; }
std::uint64_t validity(const MailboxStatus& status) { return status.mailbox.uid_validity; }
std::uint64_t count_unseen(const MailboxStatus& status) { return status.mailbox.unseen; }

std::uint64_t highest_modseq(const MailboxStatus& status) { return status.mailbox.highest_modseq; }

constexpr std::array<StatusItem, 6> kStatusItems = {{
    {"MESSAGES", count_messages, "3501 6.3.10"},
    {"RECENT", count_recent, "3501 6.3.10"},
    {"UIDNEXT", next_uid, "3501 6.3.10"},
    {"UIDVALIDITY", validity, "3501 6.3.10"},
    {"UNSEEN", count_unseen, "3501 6.3.10"},
    {"HIGHESTMODSEQ", highest_modseq, "7162 3.1.7"},
}};

// "(" status-att *(SP status-att) ")"
Result<std::vector<const StatusItem*>> take_status_items(Cursor& args) {
    std::vector<const StatusItem*> out;
    if (!args.take('(')) return Error(Errc::invalid, "Status item list expected");
    do {
        TRY(const std::string name, wire::take_atom(args));
        const auto row = std::find_if(kStatusItems.begin(), kStatusItems.end(),
                                      [&](const StatusItem& item) { return ascii::equals_ci(item.name, name); });
        if (row == kStatusItems.end()) return Error(Errc::invalid, "Unknown status item");
        if (std::find(out.begin(), out.end(), &*row) == out.end()) out.push_back(&*row);
    } while (args.take(' '));
    if (!args.take(')')) return Error(Errc::invalid, "Status item list is not closed");
    return out;
}

net::Task<Reply> on_status(Session& session, Cursor args) {
    auto name = take_mailbox(args);
    if (!name) co_return syntax(name.error());
    const auto space = wire::take_space(args);
    if (!space) co_return syntax(space.error());
    const auto items = take_status_items(args);
    if (!items) co_return syntax(items.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    const auto status = co_await session.access().status(*name);
    if (!status) co_return reply_for(status.error());
    for (const StatusItem* item : *items) {
        if (item->value == highest_modseq) session.enable(Enabled::condstore);
    }
    std::string out = "STATUS ";
    wire::append_mailbox(out, *name);
    out += " (";
    for (const StatusItem* item : *items) {
        if (out.back() != '(') out += ' ';
        out += item->name;
        out += ' ';
        wire::append_number(out, item->value(*status));
    }
    out += ')';
    session.untagged(out);
    co_return Reply::ok("Status completed");
}

constexpr std::array<Command, 3> kCommands = {{
    {"LIST", kLoggedIn, Expunges::told, "", on_list, "3501 6.3.8"},
    {"LSUB", kLoggedIn, Expunges::told, "", on_lsub, "3501 6.3.9"},
    {"STATUS", kLoggedIn, Expunges::told, "", on_status, "3501 6.3.10"},
}};

}  // namespace

std::span<const Command> list_commands() { return kCommands; }
std::span<const StatusItem> status_items() { return kStatusItems; }

}  // namespace posthouse::server::imap
