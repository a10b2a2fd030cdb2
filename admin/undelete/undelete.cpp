#include "admin/undelete/undelete.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"

namespace posthouse::admin {
namespace {

using storage::DeletedEntry;
using storage::DeletedKey;
using storage::DeletedMailbox;
using storage::DeletedQuery;
using storage::Snapshot;

struct Selection {
    std::vector<DeletedKey> keys;
    std::vector<DeletedMailbox> mailboxes;
};

Result<Selection> select(storage::Store& store, storage::AccountId account, const RestoreRequest& request) {
    Selection out;
    const auto take = [&out](const DeletedEntry& entry) { out.keys.push_back(entry.key); };
    for (const std::string& id : request.ids) {
        TRY(const DeletedQuery one, query_of_id(id));
        const std::size_t before = out.keys.size();
        TRY_VOID(each_deleted(store, account, one, take));
        if (out.keys.size() > before) continue;
        return Error(Errc::not_found, fmt::format("there is no removed message {}: list them for their ids", id));
    }
    if (!request.ids.empty()) return out;
    DeletedQuery query = request.query;
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

}  // namespace

std::string removed_id(const DeletedKey& key) { return fmt::format("{}.{}", storage::raw(key.mailbox), key.uid); }

Result<DeletedQuery> query_of_id(std::string_view id) {
    const std::size_t dot = id.find('.');
    const auto mailbox = ascii::parse_number(id.substr(0, dot));
    const auto uid = dot == std::string_view::npos ? std::nullopt : ascii::parse_number(id.substr(dot + 1));
    if (!mailbox || !uid || *uid > ~storage::Uid{0} || *mailbox > 1ULL << 62U) {
        return Error(Errc::invalid, fmt::format("\"{}\" names no removed message: list them for their ids", id));
    }
    DeletedQuery query;
    query.lay_in = static_cast<storage::MailboxId>(*mailbox);
    query.uid = static_cast<storage::Uid>(*uid);
    return query;
}

bool fits(const DeletedMailbox& gone, const DeletedQuery& query) {
    return (query.mailbox.empty() || gone.name == query.mailbox) && (!query.since || gone.deleted >= *query.since);
}

Result<> each_deleted(storage::Store& store, storage::AccountId account, DeletedQuery query,
                      const std::function<void(const DeletedEntry&)>& visit) {
    query.limit = kDeletedPage;
    for (;;) {
        TRY(const std::vector<DeletedEntry> page,
            store.read([&](const Snapshot& snapshot) { return snapshot.mail(account).deleted(query); }));
        for (const DeletedEntry& entry : page) visit(entry);
        if (page.size() < query.limit) return {};
        query.before = page.back().key;
    }
}

Result<> restore(storage::Store& store, storage::AccountId account, const RestoreRequest& request, const GoOn& go_on,
                 RestoreReport& report) {
    TRY(Selection selection, select(store, account, request));
    report.wanted = selection.keys.size();
    if (!selection.keys.empty() || !selection.mailboxes.empty()) TRY_VOID(store.check_room(0));
    if (request.into.empty()) {
        for (const DeletedMailbox& gone : selection.mailboxes) {
            TRY(const storage::Mailbox made, store.write_value({}, [&](storage::Tx& tx) {
                return tx.mail(account).restore_mailbox(gone.deleted, gone.mailbox);
            }));
            report.places[made.name] += 0;
        }
    }
    // The oldest first, so that a quota that ends it early leaves a clear line.
    std::ranges::reverse(selection.keys);
    const std::span<const DeletedKey> all(selection.keys);
    for (std::size_t at = 0; at < all.size(); at += kRestoreStep) {
        if (!go_on(at, all.size())) {
            return Error(Errc::cancelled, "it was interrupted; run it again for the rest");
        }
        const auto step = all.subspan(at, std::min(kRestoreStep, all.size() - at));
        TRY(const storage::Restored done,
            store.write_value({}, [&](storage::Tx& tx) { return tx.mail(account).restore(step, request.into); }));
        for (const auto& place : done.places) report.places[place.name] += place.messages;
        report.messages += done.messages;
    }
    return {};
}

}  // namespace posthouse::admin
