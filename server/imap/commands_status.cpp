// STATUS (RFC 3501 6.3.10) and its items.
#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/list.h"
#include "protocols/imap/response.h"
#include "server/imap/names.h"
#include "server/imap/offered.h"
#include "server/imap/session.h"
#include "server/imap/status.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

void append_messages(std::string& out, const StatusSource& source) {
    wire::append_number(out, source.status.mailbox.messages);
}
void append_recent(std::string& out, const StatusSource& source) { wire::append_number(out, source.status.recent); }
void append_uid_next(std::string& out, const StatusSource& source) {
    wire::append_number(out, source.status.mailbox.uid_next);
}
void append_uid_validity(std::string& out, const StatusSource& source) {
    wire::append_number(out, source.status.mailbox.uid_validity);
}
void append_unseen(std::string& out, const StatusSource& source) {
    wire::append_number(out, source.status.mailbox.unseen);
}
void append_deleted(std::string& out, const StatusSource& source) {
    wire::append_number(out, source.status.deleted.messages);
}
void append_deleted_storage(std::string& out, const StatusSource& source) {
    wire::append_number(out, source.status.deleted.octets);
}
void append_size(std::string& out, const StatusSource& source) {
    wire::append_number(out, source.status.mailbox.octets);
}
void append_limit(std::string& out, const StatusSource& source) {
    wire::append_number(out, source.limits.message_octets_max);
}
void append_object_id(std::string& out, const StatusSource& source) {
    out += "(" + mailbox_object_id(source.status.mailbox.id) + ")";
}

void append_modseq(std::string& out, const StatusSource& source) {
    wire::append_number(out, source.status.mailbox.highest_modseq);
}

constexpr auto kStatusItems = std::to_array<StatusItem>({
    {"MESSAGES", 0, append_messages, "3501 6.3.10", ""},
    {"RECENT", kReadRecent, append_recent, "3501 6.3.10", ""},
    {"UIDNEXT", 0, append_uid_next, "3501 6.3.10", ""},
    {"UIDVALIDITY", 0, append_uid_validity, "3501 6.3.10", ""},
    {"UNSEEN", 0, append_unseen, "3501 6.3.10", ""},
    {"HIGHESTMODSEQ", 0, append_modseq, "7162 3.1.7", "CONDSTORE"},
    {"DELETED", kReadDeleted, append_deleted, "9051 6.3.11", "QUOTA=RES-MESSAGE IMAP4rev2"},
    {"DELETED-STORAGE", kReadDeleted, append_deleted_storage, "9208 4.1.4", "QUOTA=RES-STORAGE"},
    {"SIZE", 0, append_size, "8438 3", "STATUS=SIZE"},
    {"APPENDLIMIT", 0, append_limit, "7889 3.1", "APPENDLIMIT"},
    {"MAILBOXID", 0, append_object_id, "8474 4.3", "OBJECTID"},
});

net::Task<Reply> on_status(Session& session, Cursor args) {
    auto name = take_mailbox(args, session.names());
    if (!name) co_return syntax(name.error());
    const auto space = wire::take_space(args);
    if (!space) co_return syntax(space.error());
    const auto names = wire::take_status_names(args, session.limits());
    if (!names) co_return syntax(names.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    const auto items = find_status_items(*names);
    if (!items) co_return syntax(items.error());
    const auto offered = check_offered(session, *items);
    if (!offered) co_return syntax(offered.error());
    const auto reads = static_cast<std::uint8_t>(reads_of(*items) | kMustRead);
    const auto status = co_await session.access().status(*name, reads);
    if (!status) co_return reply_for(status.error());
    if (tells_modseq(*items)) session.enable(Enabled::condstore);
    std::string out;
    append_status(out, *name, *items, StatusSource{*status, session.limits(), session.names()});
    session.untagged(out);
    co_return Reply::ok("Status completed");
}

constexpr std::array<Command, 1> kCommands = {{
    {"STATUS", kLoggedIn, Expunges::told, "", on_status, "3501 6.3.10"},
}};

}  // namespace

std::span<const Command> status_commands() { return kCommands; }
std::span<const StatusItem> status_items() { return kStatusItems; }

Result<std::vector<const StatusItem*>> find_status_items(std::span<const std::string> names) {
    std::vector<const StatusItem*> out;
    for (const std::string& name : names) {
        const auto row = std::ranges::find_if(
            kStatusItems, [&](const StatusItem& item) { return ascii::equals_ci(item.name, name); });
        if (row == kStatusItems.end()) return Error(Errc::invalid, "Unknown status item");
        if (std::ranges::find(out, &*row) == out.end()) out.push_back(&*row);
    }
    return out;
}

std::uint8_t reads_of(std::span<const StatusItem* const> items) {
    unsigned out = 0;
    for (const StatusItem* item : items) out |= item->reads;
    return static_cast<std::uint8_t>(out);
}

bool tells_modseq(std::span<const StatusItem* const> items) {
    return std::ranges::any_of(items, [](const StatusItem* item) { return item->append == append_modseq; });
}

void append_status(std::string& out, std::string_view name, std::span<const StatusItem* const> items,
                   const StatusSource& source) {
    out += "STATUS ";
    wire::append_mailbox(out, name, source.names);
    out += " (";
    for (const StatusItem* item : items) {
        if (out.back() != '(') out += ' ';
        out += item->name;
        out += ' ';
        item->append(out, source);
    }
    out += ')';
}

}  // namespace posthouse::server::imap
