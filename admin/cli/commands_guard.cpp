// posthouse account review|release: accounts whose mail is held since they send as if they were stolen.
#include <fmt/format.h>

#include <algorithm>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "storage/account_guard.h"
#include "storage/incidents.h"

namespace posthouse::admin {
namespace {

using storage::AccountGuardView;
using storage::Incident;
using storage::IncidentView;
using storage::Snapshot;

constexpr std::size_t kHeldShown = 50;

Result<storage::Account> find_account(const Snapshot& snapshot, const std::string& address) {
    auto found = snapshot.catalog().account(ascii::to_lower(address));
    if (found || found.error().code != Errc::not_found) return found;
    return Error(Errc::not_found, fmt::format("there is no account {}; posthouse account list shows them", address));
}

// Every account that is held.
Result<> list_held(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto rows, store->read([](const Snapshot& snapshot) -> Result<std::vector<Record>> {
        const IncidentView view(snapshot);
        TRY(const auto open, view.open());
        std::vector<Record> out;
        for (const Incident& one : open) {
            if (one.key.kind != storage::IncidentKind::account) continue;
            TRY(const std::uint64_t held, view.held_count(one.id));
            out.push_back(Record()
                              .add("account", one.key.domain)
                              .add("since", format_rfc3339(one.since))
                              .add("held", held)
                              .add("why", one.reply));
        }
        return out;
    }));
    call.out().table(rows, "No account is held.");
    return {};
}

// account review [ADDRESS]
Result<> account_review(Invocation& call) {
    if (!call.has("ADDRESS")) return list_held(call);
    TRY(storage::Store* const store, call.store());
    TRY(const Record row, store->read([&](const Snapshot& snapshot) -> Result<Record> {
        TRY(const storage::Account account, find_account(snapshot, call.get("ADDRESS")));
        const Time now = system_clock().now();
        TRY(const storage::SendingFigures figures, AccountGuardView(snapshot).figures(account.id, now));
        TRY(const bool trusted, AccountGuardView(snapshot).is_trusted(account.id, now));
        TRY(const auto open, IncidentView(snapshot).open());
        const auto found = std::ranges::find_if(open, [&](const Incident& one) {
            return one.key.kind == storage::IncidentKind::account && one.key.domain == account.address;
        });
        Record out;
        out.add("account", account.address).add("held", found != open.end());
        out.add("why", found == open.end() ? std::string() : found->reply);
        out.add("messages_now", figures.messages).add("recipients_now", figures.recipients);
        out.add("new_recipients_now", figures.fresh).add("unknown_recipients_now", figures.bounced);
        out.add("busiest_hour", figures.busiest).add("released_of_late", trusted);
        std::vector<std::string> mail;
        if (found != open.end()) {
            out.add("incident", storage::raw(found->id)).add("since", format_rfc3339(found->since));
            TRY(const auto ids, IncidentView(snapshot).held(found->id, storage::RecipientId{}, kHeldShown));
            TRY(const auto recipients, snapshot.queue().find(ids));
            for (const auto& one : recipients) {
                TRY(const auto facts, snapshot.queue().facts(one.queue));
                mail.push_back(
                    fmt::format("{} to {}: {}", storage::format_queue_id(one.queue), one.address, facts.subject));
            }
        }
        out.add("held_mail", std::move(mail));
        return out;
    }));
    call.out().record(row);
    return {};
}

// account release ADDRESS [--discard]
Result<> account_release(Invocation& call) {
    const bool discards = call.has("--discard");
    TRY(storage::Store* const store, call.store());
    TRY(const storage::Account account,
        store->read([&](const Snapshot& snapshot) { return find_account(snapshot, call.get("ADDRESS")); }));
    TRY(const std::uint64_t count, store->write_value({}, [&](storage::Tx& tx) {
        storage::AccountGuardTx guard(tx);
        return discards ? guard.discard(account.id) : guard.release(account.id);
    }));
    if (call.out().json()) {
        call.out().record(Record().add("account", account.address).add(discards ? "discarded" : "released", count));
        return {};
    }
    call.out().say(discards ? fmt::format("{} messages of {} are thrown away; nobody is told. Give it a new password "
                                          "(posthouse account password) if that is not done yet.",
                                          count, account.address)
                            : fmt::format("{} recipients are due at once, and {} is not judged for a week.", count,
                                          account.address));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kReview[] = {{Kind::positional_optional, "ADDRESS", "the account; without it, all that are held"}};
constexpr Argument kRelease[] = {{Kind::positional, "ADDRESS", "the account"},
                                 {Kind::flag, "--discard", "throw away what is held instead of sending it"}};
constexpr Command kRows[] = {
    {"account", "review", "look at an account whose mail is held since it sends as if it were stolen",
     "posthouse account review bob@example.org", kReview, account_review},
    {"account", "release", "let the held mail of an account go, or throw it away",
     "posthouse account release bob@example.org", kRelease, account_release},
};

}  // namespace

std::span<const Command> guard_commands() { return kRows; }

}  // namespace posthouse::admin
