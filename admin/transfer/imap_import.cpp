#include "admin/transfer/imap_import.h"

#include <fmt/format.h>

#include <utility>

#include "admin/transfer/imap_session.h"

namespace posthouse::transfer {
namespace {

constexpr std::size_t kFoldersMax = 100'000;

struct Listing {
    std::vector<imap::ListEntry> listed;
    std::vector<std::string> subscribed;
    imap::Namespaces namespaces;
};

// LIST and LSUB; with RFC 5258 and RFC 6154 one command tells all.
Result<Listing> list_folders(ImapClient& client) {
    Listing out;
    const bool extended = client.can("LIST-EXTENDED");
    const bool use = client.can("SPECIAL-USE");
    std::string command = "LIST \"\" \"*\"";
    if (extended) command += use ? " RETURN (SUBSCRIBED SPECIAL-USE)" : " RETURN (SUBSCRIBED)";
    TRY_VOID(client.command(command, [&](imap::ResponseData& data) {
        auto* entry = std::get_if<imap::ListEntry>(&data);
        if (entry != nullptr && !entry->subscribed_list && out.listed.size() < kFoldersMax) {
            out.listed.push_back(std::move(*entry));
        }
    }));
    if (!extended) {
        TRY_VOID(client.command("LSUB \"\" \"*\"", [&](imap::ResponseData& data) {
            auto* entry = std::get_if<imap::ListEntry>(&data);
            if (entry != nullptr && out.subscribed.size() < kFoldersMax) out.subscribed.push_back(entry->name);
        }));
    }
    if (client.can("NAMESPACE")) {
        TRY_VOID(client.command("NAMESPACE", [&](imap::ResponseData& data) {
            if (auto* told = std::get_if<imap::Namespaces>(&data)) out.namespaces = std::move(*told);
        }));
    }
    return out;
}

Result<FolderPlan> make_plan(ImapSession& session, storage::Store& store, storage::AccountId account,
                             FolderWishes wishes) {
    TRY(ImapClient* const client, session.ready());
    TRY(const Listing listing, list_folders(*client));
    TRY(const auto own,
        store.read([&](const storage::Snapshot& snapshot) { return snapshot.mail(account).mailboxes(); }));
    for (const storage::Mailbox& mailbox : own) {
        if (mailbox.special_use != storage::SpecialUse::none) {
            wishes.own.emplace_back(mailbox.special_use, mailbox.name);
        }
    }
    return plan_folders(listing.listed, listing.subscribed, listing.namespaces, wishes, client->can("X-GM-EXT-1"));
}

// How many messages there are, for the progress. A folder that cannot be asked is met again later.
Result<std::uint64_t> count_messages(ImapSession& session, const FolderPlan& plan) {
    TRY(ImapClient* const client, session.ready());
    std::uint64_t total = 0;
    for (const ImapFolder& folder : plan.folders) {
        const auto name = ImapClient::quote(folder.wire);
        if (!name) continue;
        const Result<> asked =
            client->command(fmt::format("STATUS {} (MESSAGES)", *name), [&](imap::ResponseData& data) {
                if (const auto* status = std::get_if<imap::StatusEntry>(&data)) total += status->messages.value_or(0);
            });
        if (!asked && asked.error().code != Errc::refused && asked.error().code != Errc::invalid) return asked.error();
    }
    return total;
}

// Planning is short: where the connection is lost in it, it begins anew.
template <class F>
auto persist(ImapSession& session, F step) -> decltype(step()) {
    for (;;) {
        auto done = step();
        if (done) return done;
        TRY_VOID(session.recover(done.error()));
    }
}

Result<> run_folders(ImapRun& run, const FolderPlan& plan, ImapImportOutcome& outcome) {
    for (const ImapFolder& folder : plan.folders) {
        FolderSync sync(run, folder);
        const Result<> done = sync.sync();
        ++outcome.folders;
        if (done) continue;
        if (sync.fatal() || is_lost(done.error().code) || done.error().code == Errc::limit ||
            done.error().code == Errc::unauthenticated || done.error().code == Errc::tls) {
            return done;
        }
        ++outcome.folders_failed;
        run.session.outside().note(
            fmt::format("the folder \"{}\" could not be taken: {}", folder.path, done.error().context));
    }
    return {};
}

Result<> run_import(ImapRun& run, const ImapImportOptions& options, ImapImportOutcome& outcome) {
    ImapSession& session = run.session;
    // The first time nothing is tried twice: a wrong host or password is told at once.
    TRY_VOID(session.ready());
    TRY(const FolderPlan plan,
        persist(session, [&] { return make_plan(session, run.store, run.account, options.wishes); }));
    for (const std::string& note : plan.notes) session.outside().note(note);
    for (const ImapFolder& folder : plan.folders) {
        run.siblings.push_back(folder.wire);
        run.collect_ids = run.collect_ids || folder.all_mail;
    }
    TRY(const std::uint64_t total, persist(session, [&] { return count_messages(session, plan); }));
    run.watch.expected(total);
    return run_folders(run, plan, outcome);
}

}  // namespace

ImapImportOutcome import_imap(storage::Store& store, storage::AccountId account, const ImapUrl& url,
                              const std::string& password, const ImapImportOptions& options, const ImapOutside& outside,
                              const Watch& watch, const FailureListener& on_failure) {
    ImapImportOutcome outcome;
    // With another --into it is another import: its mail goes elsewhere.
    const std::string& into = options.wishes.into;
    const std::string source = into.empty() ? url.source() : fmt::format("{} into {}", url.source(), into);
    Taker taker(store, account, source, on_failure);
    ImapSession session(outside, url, password);
    ImapRun run(session, taker, store, account, watch);
    run.vanished = options.vanished;
    run.window_messages = options.window_messages;
    run.source = source;
    outcome.verdict = run_import(run, options, outcome);
    const Result<> on_disk = taker.finish();
    if (outcome.verdict && !on_disk) outcome.verdict = on_disk;
    outcome.statistics = taker.statistics();
    outcome.statistics.known += run.untouched;
    return outcome;
}

}  // namespace posthouse::transfer
