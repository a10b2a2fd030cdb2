// posthouse undelete ...: mail that was removed and what brings it back, for `undelete.days` after its removal.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "admin/cli/progress.h"
#include "admin/undelete/moment.h"
#include "admin/undelete/undelete.h"
#include "protocols/base/ascii.h"
#include "storage/settings.h"

namespace posthouse::admin {
namespace {

using storage::DeletedEntry;
using storage::DeletedMailbox;
using storage::DeletedQuery;
using storage::Snapshot;

Result<storage::AccountId> account_of(storage::Store& store, const std::string& address) {
    const auto found =
        store.read([&](const Snapshot& snapshot) { return snapshot.catalog().account(ascii::to_lower(address)); });
    if (found) return found->id;
    if (found.error().code != Errc::not_found) return Error(found.error());
    return Error(Errc::not_found, fmt::format("there is no account {}; posthouse account list shows them", address));
}

Result<DeletedQuery> query_of(Invocation& call) {
    DeletedQuery query;
    query.mailbox = call.get("--mailbox");
    if (call.has("--since")) {
        TRY(query.since, parse_moment(call.get("--since"), system_clock().now()));
    }
    return query;
}

// undelete list ACCOUNT
Result<> undelete_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const storage::AccountId account, account_of(*store, call.get("ACCOUNT")));
    TRY(const DeletedQuery query, query_of(call));
    TRY(const auto gone, store->read([&](const Snapshot& s) { return s.mail(account).deleted_mailboxes(); }));
    TRY(const std::int64_t days,
        store->read([](const Snapshot& s) { return storage::setting_number(s.catalog(), "undelete.days"); }));
    std::vector<Record> rows;
    for (const DeletedMailbox& box : gone) {
        if (!fits(box, query)) continue;
        Record row;
        row.add("id", "mailbox").add("removed", format_rfc3339(box.deleted)).add("mailbox", box.name);
        row.add("size", "").add("from", "").add("subject", "(the mailbox itself)");
        rows.push_back(std::move(row));
    }
    TRY_VOID(each_deleted(*store, account, query, [&](const DeletedEntry& entry) {
        Record row;
        row.add("id", removed_id(entry.key)).add("removed", format_rfc3339(entry.key.deleted));
        row.add("mailbox", entry.mailbox_name);
        if (call.out().json()) {
            row.add("size", entry.size_octets);
        } else {
            row.add("size", format_octets(entry.size_octets));
        }
        rows.push_back(std::move(row.add("from", entry.from).add("subject", entry.subject)));
    }));
    call.out().table(rows, fmt::format("Nothing is there to restore; removed mail is kept for {} days.", days));
    return {};
}

void tell(Invocation& call, const RestoreReport& report) {
    if (call.out().json()) {
        std::vector<std::string> names;
        for (const auto& [name, count] : report.places) names.push_back(name);
        call.out().record(Record().add("restored", report.messages).add("mailboxes", std::move(names)));
        return;
    }
    for (const auto& [name, count] : report.places) {
        call.out().say(fmt::format("{}: {} messages are back.", name, count));
    }
    if (report.places.empty()) call.out().say("There was nothing to restore.");
}

// undelete restore ACCOUNT ...
Result<> undelete_restore(Invocation& call) {
    if (!call.has("--all") && !call.has("--mailbox") && !call.has("--since") && !call.has("ID")) {
        return Error(Errc::invalid, "say what to restore: --all, --mailbox NAME, --since TIME, or ids from the list");
    }
    TRY(storage::Store* const store, call.store());
    TRY(const storage::AccountId account, account_of(*store, call.get("ACCOUNT")));
    RestoreRequest request;
    request.ids = call.all("ID");
    TRY(request.query, query_of(call));
    request.into = call.get("--into");
    Progress progress(call.out(), "messages", 0);
    RestoreReport report;
    const auto done = restore(
        *store, account, request,
        [&progress](std::uint64_t ready, std::uint64_t wanted) {
            progress.set_total(wanted);
            progress.show(ready, 0, "");
            return !Progress::interrupted();
        },
        report);
    progress.show(report.messages, 0, "");
    if (done || report.messages > 0) tell(call, report);
    if (!done && done.error().code == Errc::over_quota) {
        return Error(Errc::over_quota, fmt::format("{}; {} of {} messages were restored: raise the quota "
                                                   "(posthouse account quota) and run this again",
                                                   done.error().context, report.messages, report.wanted));
    }
    return done;
}

using Kind = Argument::Kind;
constexpr Argument kAccount{Kind::positional, "ACCOUNT", "whose mail, by address"};
constexpr Argument kMailbox{Kind::option, "--mailbox", "only what lay in this mailbox, by its name then"};
constexpr Argument kSince{Kind::option, "--since",
                          "only what was removed since: 2026-11-20, 2026-11-20T08:00:00Z, 3d, 12h"};
constexpr Argument kListArguments[] = {kAccount, kMailbox, kSince};
constexpr Argument kRestoreArguments[] = {kAccount,
                                          {Kind::positional_any, "ID", "messages, by the ids of the list"},
                                          kMailbox,
                                          kSince,
                                          {Kind::flag, "--all", "everything that is there to restore"},
                                          {Kind::option, "--into", "put it all into this mailbox"}};

constexpr Command kRows[] = {
    {"undelete", "list", "list what an account has removed and can still get back",
     "posthouse undelete list alice@example.org --since 3d", kListArguments, undelete_list},
    {"undelete", "restore", "bring removed messages and mailboxes back",
     "posthouse undelete restore alice@example.org --mailbox Projects", kRestoreArguments, undelete_restore},
};

}  // namespace

std::span<const Command> undelete_commands() { return kRows; }

}  // namespace posthouse::admin
