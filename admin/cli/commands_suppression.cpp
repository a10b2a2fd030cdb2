// posthouse suppression ...: addresses that get no mail for a while, why, and the way back.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "protocols/base/clock.h"
#include "storage/suppression.h"

namespace posthouse::admin {
namespace {

using storage::Snapshot;
using storage::Suppression;
using storage::SuppressionView;

constexpr std::size_t kListMax = 1000;
constexpr std::uint64_t kDaysMax = 36'500;

std::string scope_text(const std::string& scope) { return scope.empty() ? "all mail" : scope; }

std::string state_of(const Suppression& one, Time now) {
    if (one.undone != Time{}) return "undone";
    return one.in_force(now) ? "in force" : "over";
}

Record record_of(const Suppression& one, Time now, bool json) {
    Record row;
    row.add("address", one.address);
    if (json) {
        row.add("scope", one.scope);
    } else {
        row.add("for", scope_text(one.scope));
    }
    row.add("reason", storage::to_string(one.reason)).add("state", state_of(one, now));
    row.add("since", format_rfc3339(one.since));
    row.add("until", one.until == Time{} ? std::string(json ? "" : "for good") : format_rfc3339(one.until));
    row.add("times", one.times);
    return row;
}

// suppression list [--scope NAME] [--domain DOMAIN] [--all]
Result<> suppression_list(Invocation& call) {
    SuppressionView::Wanted wanted;
    if (call.has("--scope")) wanted.scope = ascii::to_lower(call.get("--scope"));
    wanted.domain = call.get("--domain");
    wanted.with_past = call.has("--all");
    wanted.now = system_clock().now();
    wanted.count_max = kListMax;
    TRY(storage::Store* const store, call.store());
    TRY(const auto found, store->read([&](const Snapshot& s) { return SuppressionView(s).list(wanted); }));
    std::vector<Record> rows;
    for (const Suppression& one : found) rows.push_back(record_of(one, wanted.now, call.out().json()));
    call.out().table(rows, "No address is suppressed.");
    return {};
}

// suppression show ADDRESS
Result<> suppression_show(Invocation& call) {
    const std::string address = call.get("ADDRESS");
    const Time now = system_clock().now();
    TRY(storage::Store* const store, call.store());
    TRY(const auto found, store->read([&](const Snapshot& s) { return SuppressionView(s).of_address(address); }));
    if (found.empty()) {
        return Error(Errc::not_found, fmt::format("{} is not suppressed and never was; posthouse suppression list "
                                                  "shows what is",
                                                  address));
    }
    std::vector<Record> rows;
    for (const Suppression& one : found) {
        Record row = record_of(one, now, call.out().json());
        row.add("last", format_rfc3339(one.last)).add("remote", one.remote).add("reply", one.reply);
        if (one.undone != Time{}) row.add("undone", format_rfc3339(one.undone));
        rows.push_back(std::move(row));
    }
    if (call.out().json()) {
        call.out().table(rows, "");
    } else {
        for (const Record& row : rows) call.out().record(row);
    }
    return {};
}

// suppression add ADDRESS [--scope NAME] [--days N] [--why TEXT]
Result<> suppression_add(Invocation& call) {
    storage::SuppressionProof proof(storage::SuppressionReason::by_hand, call.get("--why"), "");
    const Time now = system_clock().now();
    if (call.has("--days")) {
        const auto days = ascii::parse_number(call.get("--days"));
        if (!days || *days == 0 || *days > kDaysMax) {
            return Error(Errc::invalid,
                         fmt::format("\"{}\" is no number of days from 1 to {}", call.get("--days"), kDaysMax));
        }
        proof.until = now + std::chrono::hours(24) * static_cast<std::int64_t>(*days);
    }
    TRY(storage::Store* const store, call.store());
    TRY(const Suppression one, store->write_value({}, [&](storage::Tx& tx) {
        return storage::SuppressionTx(tx).add(call.get("--scope"), call.get("ADDRESS"), proof);
    }));
    if (call.out().json()) {
        call.out().record(record_of(one, now, true));
        return {};
    }
    call.out().say(fmt::format(
        "{} gets no mail ({}) {}. Letters that a person writes go out all the same, unless the "
        "setting suppression.apply is all.",
        one.address, scope_text(one.scope), one.until == Time{} ? "for good" : "until " + format_rfc3339(one.until)));
    return {};
}

// suppression remove ADDRESS [--scope NAME]
Result<> suppression_remove(Invocation& call) {
    const std::optional<std::string> scope =
        call.has("--scope") ? std::optional(call.get("--scope")) : std::optional<std::string>();
    TRY(storage::Store* const store, call.store());
    TRY(const auto undone, store->write_value({}, [&](storage::Tx& tx) {
        return storage::SuppressionTx(tx).remove(scope, call.get("ADDRESS"));
    }));
    const Time now = system_clock().now();
    if (call.out().json()) {
        std::vector<Record> rows;
        for (const Suppression& one : undone) rows.push_back(record_of(one, now, true));
        call.out().table(rows, "");
        return {};
    }
    for (const Suppression& one : undone) {
        call.out().say(fmt::format("{} gets mail again ({}; it was {}).", one.address, scope_text(one.scope),
                                   storage::to_string(one.reason)));
    }
    return {};
}

constexpr Argument kScope{Argument::Kind::option, "--scope",
                          "whose mail: a domain of senders, or the name of a stream; default: everybody's"};
constexpr Argument kAddress{Argument::Kind::positional, "ADDRESS", "of the recipient"};
constexpr Argument kListArguments[] = {
    {Argument::Kind::option, "--scope", "only those of this domain of senders, or stream"},
    {Argument::Kind::option, "--domain", "only addresses of this domain"},
    {Argument::Kind::flag, "--all", "those that are over or undone, too"}};
constexpr Argument kShowArguments[] = {kAddress};
constexpr Argument kAddArguments[] = {kAddress,
                                      kScope,
                                      {Argument::Kind::option, "--days", "how long; default: for good"},
                                      {Argument::Kind::option, "--why", "a sentence that senders are shown"}};
constexpr Argument kRemoveArguments[] = {
    kAddress, {Argument::Kind::option, "--scope", "whose mail; default: all of its suppressions are undone"}};

constexpr Command kRows[] = {
    {"suppression", "list", "list addresses that get no mail, and since when", "posthouse suppression list",
     kListArguments, suppression_list},
    {"suppression", "show", "tell all about one address: who said what, in which words",
     "posthouse suppression show bob@example.org", kShowArguments, suppression_show},
    {"suppression", "add", "keep mail from an address", "posthouse suppression add bob@example.org --days 30",
     kAddArguments, suppression_add},
    {"suppression", "remove", "undo it: the address gets mail again", "posthouse suppression remove bob@example.org",
     kRemoveArguments, suppression_remove},
};

}  // namespace

std::span<const Command> suppression_commands() { return kRows; }

}  // namespace posthouse::admin
