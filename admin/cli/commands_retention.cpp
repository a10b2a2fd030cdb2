// posthouse retention ...: how long mail stays in a mailbox before it is expunged by itself. There is no rule by
// default.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"

namespace posthouse::admin {
namespace {

using storage::RetentionRule;
using storage::Snapshot;

std::string days_text(std::int64_t days) { return days == 0 ? "for ever" : fmt::format("{} days", days); }

std::string scope_text(std::string_view scope) { return scope.empty() ? "everywhere" : std::string(scope); }

// retention list
Result<> retention_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto rules, store->read([](const Snapshot& snapshot) { return snapshot.catalog().retention_rules(); }));
    std::vector<Record> rows;
    for (const RetentionRule& rule : rules) {
        Record row;
        row.add("mailbox", rule.mailbox);
        if (call.out().json()) {
            row.add("scope", rule.scope).add("days", rule.days);
        } else {
            row.add("for", scope_text(rule.scope)).add("kept", days_text(rule.days));
        }
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "There is no rule: mail stays until somebody removes it.");
    return {};
}

// retention set MAILBOX DAYS
Result<> retention_set(Invocation& call) {
    RetentionRule rule;
    rule.scope = call.get("--for");
    rule.mailbox = call.get("MAILBOX");
    const std::string text = call.get("DAYS");
    const auto days = ascii::parse_number(text == "forever" ? "0" : text);
    if (!days || *days > 36500) {
        return Error(Errc::invalid, fmt::format("\"{}\" is no number of days; write for example 30 or forever", text));
    }
    rule.days = static_cast<std::int64_t>(*days);
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_retention(rule); }));
    if (call.out().json()) {
        call.out().record(Record().add("scope", rule.scope).add("mailbox", rule.mailbox).add("days", rule.days));
        return {};
    }
    call.out().say(
        fmt::format("Mail in {} ({}) is kept {}.", rule.mailbox, scope_text(rule.scope), days_text(rule.days)));
    return {};
}

// retention remove MAILBOX
Result<> retention_remove(Invocation& call) {
    const std::string mailbox = call.get("MAILBOX");
    TRY(storage::Store* const store, call.store());
    const auto removed =
        store->write({}, [&](storage::Tx& tx) { return tx.catalog().remove_retention(call.get("--for"), mailbox); });
    if (!removed && removed.error().code == Errc::not_found) {
        return Error(Errc::not_found, fmt::format("there is no rule for {} ({}); posthouse retention list shows them",
                                                  mailbox, scope_text(call.get("--for"))));
    }
    TRY_VOID(removed);
    if (call.out().json()) call.out().record(Record().add("removed", mailbox));
    call.out().say(fmt::format("The rule for {} is removed.", mailbox));
    return {};
}

constexpr Argument kMailbox{Argument::Kind::positional, "MAILBOX",
                            "a mailbox by name, or by its use: \\Junk, \\Trash, \\Sent, \\Drafts, \\Archive"};
constexpr Argument kFor{Argument::Kind::option, "--for", "only for this domain or account"};
constexpr Argument kSetArguments[] = {
    kMailbox, {Argument::Kind::positional, "DAYS", "since the message came into the mailbox, or forever"}, kFor};
constexpr Argument kRemoveArguments[] = {kMailbox, kFor};

constexpr Command kRows[] = {
    {"retention", "list", "list the rules", "posthouse retention list", {}, retention_list},
    {"retention", "set", "remove mail from a mailbox by itself after some days",
     "posthouse retention set '\\Trash' 30 --for example.org", kSetArguments, retention_set},
    {"retention", "remove", "drop a rule", "posthouse retention remove '\\Trash' --for example.org", kRemoveArguments,
     retention_remove},
};

}  // namespace

std::span<const Command> retention_commands() { return kRows; }

}  // namespace posthouse::admin
