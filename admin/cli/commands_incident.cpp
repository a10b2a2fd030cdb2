// posthouse incident ...: what is wrong on our side, and the mail that is held until it is mended.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "storage/incidents.h"

namespace posthouse::admin {
namespace {

using storage::Incident;
using storage::IncidentId;
using storage::IncidentView;
using storage::Snapshot;

constexpr std::size_t kListMax = 1000;
constexpr std::size_t kHeldShown = 50;

Result<IncidentId> take_id(Invocation& call) {
    const auto number = ascii::parse_number(call.get("ID"));
    constexpr std::uint64_t kMost = ~std::uint64_t{0} >> 1U;
    if (number && *number > 0 && *number <= kMost) return static_cast<IncidentId>(*number);
    return Error(Errc::invalid,
                 fmt::format("\"{}\" is no number of an incident; posthouse incident list shows them", call.get("ID")));
}

Record record_of(const Incident& one, std::uint64_t held) {
    Record row;
    row.add("id", storage::raw(one.id)).add("state", one.open ? "open" : "over");
    row.add("kind", storage::to_string(one.key.kind)).add("what", storage::describe(one));
    row.add("since", format_rfc3339(one.since)).add("refusals", one.refusals).add("held", held);
    return row;
}

// incident list [--all]
Result<> incident_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    const bool all = call.has("--all");
    TRY(const auto rows, store->read([&](const Snapshot& snapshot) -> Result<std::vector<Record>> {
        const IncidentView view(snapshot);
        TRY(const auto incidents, view.list(all, kListMax));
        std::vector<Record> out;
        for (const Incident& one : incidents) {
            TRY(const std::uint64_t held, view.held_count(one.id));
            out.push_back(record_of(one, held));
        }
        return out;
    }));
    call.out().table(rows, "Nothing is wrong, as far as others say.");
    return {};
}

// incident show ID
Result<> incident_show(Invocation& call) {
    TRY(const IncidentId id, take_id(call));
    TRY(storage::Store* const store, call.store());
    TRY(const Record row, store->read([&](const Snapshot& snapshot) -> Result<Record> {
        const IncidentView view(snapshot);
        TRY(const Incident one, view.by_id(id));
        TRY(const std::uint64_t count, view.held_count(id));
        Record out = record_of(one, count);
        out.add("way", one.key.way).add("address", one.key.source).add("site", std::string(ascii::trim(one.key.site)));
        out.add("domain", one.key.domain).add("last", format_rfc3339(one.last));
        out.add("remote", one.remote).add("reply", one.reply);
        if (one.open) {
            out.add("next_try", one.probe == Time{} ? std::string() : format_rfc3339(one.probe));
            out.add("tries", static_cast<std::int64_t>(one.probes)).add("do", storage::advice(one));
        } else {
            out.add("until", format_rfc3339(one.cleared)).add("because", one.cleared_why);
        }
        TRY(const auto ids, view.held(id, storage::RecipientId{}, kHeldShown));
        TRY(const auto recipients, snapshot.queue().find(ids));
        std::vector<std::string> held;
        for (const auto& recipient : recipients) {
            held.push_back(fmt::format("{} {}", storage::format_queue_id(recipient.queue), recipient.address));
        }
        out.add("held_mail", std::move(held));
        return out;
    }));
    call.out().record(row);
    return {};
}

// incident fixed ID
Result<> incident_fixed(Invocation& call) {
    TRY(const IncidentId id, take_id(call));
    TRY(storage::Store* const store, call.store());
    TRY(const storage::Mended done, store->write_value({}, [&](storage::Tx& tx) {
        return storage::IncidentTx(tx).mended(id, "it was said to be mended (posthouse incident fixed)");
    }));
    const std::uint64_t count = done.released;
    if (call.out().json()) {
        call.out().record(Record()
                              .add("fixed", storage::raw(id))
                              .add("released", count)
                              .add("over", done.is_over ? "yes" : "no")
                              .add("why", done.why));
    }
    if (!done.is_over) {
        call.out().say(fmt::format("Incident {} stays open, for it is measured: {}.", storage::raw(id), done.why));
        return {};
    }
    call.out().say(
        fmt::format("Incident {} is over; {} recipients are due at once. If the fault is still there, the "
                    "first refusal holds the rest again.",
                    storage::raw(id), count));
    return {};
}

constexpr Argument kAll[] = {{Argument::Kind::flag, "--all", "those that are over, too"}};
constexpr Argument kId[] = {{Argument::Kind::positional, "ID", "its number"}};

constexpr Command kRows[] = {
    {"incident", "list", "list what is wrong on our side, and how much mail it holds", "posthouse incident list", kAll,
     incident_list},
    {"incident", "show", "tell all about one: who refused what, in which words, and what to do",
     "posthouse incident show 7", kId, incident_show},
    {"incident", "fixed", "say that it is mended: what it holds goes out; lists and the reverse DNS are asked again",
     "posthouse incident fixed 7", kId, incident_fixed},
};

}  // namespace

std::span<const Command> incident_commands() { return kRows; }

}  // namespace posthouse::admin
