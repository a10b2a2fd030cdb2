// posthouse undelete ...: mail that was removed and what brings it back, for `undelete.days` after its removal.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "admin/cli/command.h"
#include "admin/cli/moment.h"
#include "admin/cli/progress.h"
#include "protocols/base/ascii.h"
#include "storage/settings.h"

namespace posthouse::admin {
namespace {

using storage::DeletedEntry;
using storage::DeletedKey;
using storage::DeletedMailbox;
using storage::DeletedQuery;
using storage::Snapshot;

constexpr std::size_t kPage = 1000;
// Small transactions: mail goes on coming in between.
constexpr std::size_t kRestoreStep = 200;

/// How a removed message is named on the command line: "MAILBOX.UID", which no other message ever had.
std::string id_of(const DeletedKey& key) { return fmt::format("{}.{}", storage::raw(key.mailbox), key.uid); }

Result<DeletedQuery> query_of_id(const std::string& id) {
    const std::size_t dot = id.find('.');
    const auto mailbox = ascii::parse_number(std::string_view(id).substr(0, dot));
    const auto uid =
        dot == std::string::npos ? std::nullopt : ascii::parse_number(std::string_view(id).substr(dot + 1));
    if (!mailbox || !uid || *uid > ~storage::Uid{0} || *mailbox > 1ULL << 62U) {
        return Error(Errc::invalid, fmt::format("\"{}\" names no message; posthouse undelete list shows the ids", id));
    }
    DeletedQuery query;
    query.lay_in = static_cast<storage::MailboxId>(*mailbox);
    query.uid = static_cast<storage::Uid>(*uid);
    return query;
}

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
    query.limit = kPage;
    if (call.has("--since")) {
        TRY(query.since, parse_moment(call.get("--since"), system_clock().now()));
    }
    return query;
}

/// All that fits `query`, page by page, each page from a snapshot of its own.
template <class F>
Result<> each_deleted(storage::Store& store, storage::AccountId account, DeletedQuery query, F visit) {
    for (;;) {
        TRY(const std::vector<DeletedEntry> page,
            store.read([&](const Snapshot& snapshot) { return snapshot.mail(account).deleted(query); }));
        for (const DeletedEntry& entry : page) visit(entry);
        if (page.size() < query.limit) return {};
        query.before = page.back().key;
    }
}

bool fits(const DeletedMailbox& gone, const DeletedQuery& query) {
    return (query.mailbox.empty() || gone.name == query.mailbox) && (!query.since || gone.deleted >= *query.since);
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
        row.add("id", id_of(entry.key)).add("removed", format_rfc3339(entry.key.deleted));
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

/// What a call of restore is about.
struct Selection {
    std::vector<DeletedKey> keys;
    std::vector<DeletedMailbox> mailboxes;
};

Result<Selection> select(Invocation& call, storage::Store& store, storage::AccountId account) {
    Selection out;
    const auto take = [&out](const DeletedEntry& entry) { out.keys.push_back(entry.key); };
    for (const std::string& id : call.all("ID")) {
        TRY(const DeletedQuery one, query_of_id(id));
        const std::size_t before = out.keys.size();
        TRY_VOID(each_deleted(store, account, one, take));
        if (out.keys.size() > before) continue;
        return Error(Errc::not_found,
                     fmt::format("there is no removed message {}; posthouse undelete list shows them", id));
    }
    if (call.has("ID")) return out;
    TRY(DeletedQuery query, query_of(call));
    TRY(const auto gone, store.read([&](const Snapshot& s) { return s.mail(account).deleted_mailboxes(); }));
    for (const DeletedMailbox& box : gone) {
        if (fits(box, query)) out.mailboxes.push_back(box);
    }
    // A mailbox that was removed comes back as it was then: what had been expunged from it before stays expunged,
    // unless a time is named.
    if (!query.mailbox.empty() && !query.since && !out.mailboxes.empty()) {
        out.mailboxes.resize(1);
        query.mailbox.clear();
        query.lay_in = out.mailboxes.front().mailbox;
        query.at = out.mailboxes.front().deleted;
    }
    TRY_VOID(each_deleted(store, account, query, take));
    return out;
}

void tell(Invocation& call, const std::map<std::string, std::uint64_t>& places, std::uint64_t messages) {
    if (call.out().json()) {
        std::vector<std::string> names;
        for (const auto& [name, count] : places) names.push_back(name);
        call.out().record(Record().add("restored", messages).add("mailboxes", std::move(names)));
        return;
    }
    for (const auto& [name, count] : places) call.out().say(fmt::format("{}: {} messages are back.", name, count));
    if (places.empty()) call.out().say("There was nothing to restore.");
}

// undelete restore ACCOUNT ...
Result<> undelete_restore(Invocation& call) {
    if (!call.has("--all") && !call.has("--mailbox") && !call.has("--since") && !call.has("ID")) {
        return Error(Errc::invalid, "say what to restore: --all, --mailbox NAME, --since TIME, or ids from the list");
    }
    TRY(storage::Store* const store, call.store());
    TRY(const storage::AccountId account, account_of(*store, call.get("ACCOUNT")));
    TRY(Selection selection, select(call, *store, account));
    const std::string into = call.get("--into");
    std::map<std::string, std::uint64_t> places;
    std::uint64_t messages = 0;
    if (into.empty()) {
        for (const DeletedMailbox& gone : selection.mailboxes) {
            TRY(const storage::Mailbox made, store->write_value({}, [&](storage::Tx& tx) {
                return tx.mail(account).restore_mailbox(gone.deleted, gone.mailbox);
            }));
            places[made.name] += 0;
        }
    }
    // The oldest first, so that a quota that ends it early leaves a clear line.
    std::ranges::reverse(selection.keys);
    Progress progress(call.out(), "messages", selection.keys.size());
    const std::span<const DeletedKey> all(selection.keys);
    for (std::size_t at = 0; at < all.size() && !Progress::interrupted(); at += kRestoreStep) {
        const auto step = all.subspan(at, std::min(kRestoreStep, all.size() - at));
        const auto done = store->write_value({}, [&](storage::Tx& tx) { return tx.mail(account).restore(step, into); });
        if (!done && messages > 0) tell(call, places, messages);
        if (!done && done.error().code == Errc::over_quota) {
            return Error(Errc::over_quota, fmt::format("{}; {} of {} messages were restored: raise the quota "
                                                       "(posthouse account quota) and run this again",
                                                       done.error().context, messages, all.size()));
        }
        TRY_VOID(done);
        for (const auto& place : done->places) places[place.name] += place.messages;
        messages += done->messages;
        progress.show(at + step.size(), 0, "");
    }
    tell(call, places, messages);
    if (Progress::interrupted()) return Error(Errc::cancelled, "it was interrupted; run it again for the rest");
    return {};
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
