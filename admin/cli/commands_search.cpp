// posthouse search ...: the index that finds words in mail. Mail is found without it too, only slowly.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "admin/cli/progress.h"
#include "storage/search/search_index.h"
#include "storage/settings.h"

namespace posthouse::admin {
namespace {

using storage::Snapshot;
using storage::search::SearchIndex;
using storage::search::Status;

constexpr std::string_view kGeneration = "search.generation";

// search status
Result<> search_status(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Status status, storage::search::read_status(*store));
    Record out;
    out.add("indexed", status.indexed).add("waiting", status.waiting).add("too_large", status.too_large);
    out.add("unreadable", status.unreadable).add("with_encrypted_parts", status.encrypted);
    if (call.out().json())
        out.add("size_octets", status.octets);
    else
        out.add("size", format_octets(status.octets));
    out.add("usable", status.usable).add("server_running", status.being_written);
    call.out().record(out);
    return {};
}

// The server holds the index: it hears of the setting at once and begins anew.
Result<> ask_server(Invocation& call, storage::Store& store) {
    TRY_VOID(store.write({}, [](storage::Tx& tx) -> Result<> {
        TRY(const std::int64_t now, storage::setting_number(tx.catalog(), kGeneration));
        return tx.catalog().set_setting(kGeneration, fmt::format("{}", now + 1));
    }));
    if (call.out().json()) call.out().record(Record().add("rebuilding", "by the server"));
    call.out().say("The running server builds the index anew; posthouse search status tells how far it is.");
    return {};
}

// search rebuild
Result<> search_rebuild(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    SearchIndex index(*store);
    const auto begun = index.rebuild();
    if (!begun && begun.error().code == Errc::conflict) return ask_server(call, *store);
    TRY_VOID(begun);
    TRY(const Status before, index.status());
    std::uint64_t done = 0;
    {
        Progress progress(call.out(), "messages", before.waiting);
        TRY_VOID(index.run_to_end([&](std::uint64_t count) {
            done = count;
            progress.show(done, 0, "");
            return !Progress::interrupted();
        }));
    }
    TRY(const Status after, index.status());
    if (call.out().json()) {
        call.out().record(Record().add("indexed", after.indexed).add("waiting", after.waiting));
    } else {
        call.out().say(fmt::format("{} messages are indexed in {}.", after.indexed, format_octets(after.octets)));
    }
    if (after.waiting == 0) return {};
    return Error(Errc::cancelled, fmt::format("stopped with {} messages to go; the server goes on from there when it "
                                              "runs",
                                              after.waiting));
}

constexpr Command kRows[] = {
    {"search", "status", "show how much mail is indexed", "posthouse search status", {}, search_status},
    {"search", "rebuild", "build the search index anew", "posthouse search rebuild", {}, search_rebuild},
};

}  // namespace

std::span<const Command> search_commands() { return kRows; }

}  // namespace posthouse::admin
