// STORE and UID STORE (RFC 3501 6.4.6, 6.4.8), conditional on mod-sequences (RFC 7162 3.1.3).
#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/modseq.h"
#include "protocols/imap/response.h"
#include "server/imap/offered.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

static_assert(storage::bit(storage::Flag::seen) == wire::kSeen && storage::bit(storage::Flag::draft) == wire::kDraft &&
              storage::bit(storage::Flag::answered) == wire::kAnswered &&
              storage::bit(storage::Flag::flagged) == wire::kFlagged &&
              storage::bit(storage::Flag::deleted) == wire::kDeleted);

namespace {

struct StoreArguments {
    wire::SequenceSet set;
    storage::FlagChange change;
    bool silent = false;
    std::optional<ModSeq> unchanged_since;
};

// store = "STORE" SP sequence-set SP (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
Result<StoreArguments> take_store(const Session& session, Cursor args) {
    StoreArguments out;
    TRY(out.set, take_set(session, args));
    TRY_VOID(wire::take_space(args));
    TRY(out.unchanged_since, wire::take_store_modifiers(args));
    if (out.unchanged_since) TRY_VOID(check_offered(session, "CONDSTORE", "Unknown STORE modifier"));
    using How = storage::FlagChange::How;
    out.change.how = How::replace;
    if (args.take('+'))
        out.change.how = How::add;
    else if (args.take('-'))
        out.change.how = How::remove;
    if (!args.take_word("FLAGS")) return Error(Errc::invalid, "Unknown STORE item");
    out.silent = args.take_word(".SILENT");
    TRY_VOID(wire::take_space(args));
    TRY(wire::FlagList flags, wire::take_store_flags(args, session.limits()));
    TRY_VOID(wire::take_end(args));
    out.change.flags = flags.system;
    out.change.keywords = std::move(flags.keywords);
    return out;
}

// What STORE changed, for a client that knows mod-sequences: told even where it asked for silence (RFC 7162 3.1.3).
void append_modseq(std::string& out, const Selected& selected, std::uint32_t number, const Dialect& dialect) {
    selected.append_fetch_head(out, number, dialect);
    out += "MODSEQ (";
    wire::append_number(out, selected.row(number).entry.modseq);
    out += "))\r\n";
}

// "MODIFIED 7,9": those that UNCHANGEDSINCE held back, by the kind of number that the command used.
std::string modified_code(const Selected& selected, std::span<const Uid> modified, NumbersAre are) {
    if (modified.empty()) return {};
    std::vector<std::uint32_t> numbers;
    for (const Uid uid : modified) numbers.push_back(are == NumbersAre::uids ? uid : selected.number_of(uid));
    return "MODIFIED " + wire::format_set(numbers);
}

net::Task<Result<storage::StoreOutcome>> change_flags(Session& session, std::vector<Uid> uids,
                                                      const StoreArguments& arguments) {
    Selected& selected = session.selected();
    storage::FlagChange change = arguments.change;
    auto outcome =
        co_await session.access().store(selected.id(), std::move(uids), std::move(change), arguments.unchanged_since);
    if (!outcome) co_return Error(outcome.error());
    if (selected.apply_own(outcome->changed)) {
        session.settle_own(*outcome);
        co_return outcome;
    }
    // Keywords that are new here: their names come with the news.
    CO_TRY_VOID(co_await session.refresh());
    static_cast<void>(selected.apply_own(outcome->changed));
    co_return outcome;
}

// The untagged responses of STORE.
void tell_changes(Session& session, std::span<const std::uint32_t> numbers, const StoreArguments& arguments,
                  const storage::StoreOutcome& outcome, NumbersAre are) {
    Selected& selected = session.selected();
    const Dialect dialect = session.dialect(are);
    std::string out;
    selected.take_keywords(out);
    for (const std::uint32_t number : numbers) {
        const Selected::Row row = selected.row(number);
        if (row.gone || std::ranges::binary_search(outcome.modified, row.entry.uid)) continue;
        if (!arguments.silent)
            selected.append_fetch_flags(out, number, dialect);
        else if (dialect.modseqs &&
                 (arguments.unchanged_since ||  // told of all that passed, changed or not
                  std::ranges::binary_search(outcome.changed, row.entry.uid, {}, &storage::EntryFlags::uid)))
            append_modseq(out, selected, number, dialect);
    }
    session.put(out);
}

net::Task<Reply> store(Session& session, Cursor args, NumbersAre are) {
    const auto arguments = take_store(session, args);
    if (!arguments) co_return syntax(arguments.error());
    Selected& selected = session.selected();
    const auto numbers = selected.numbers(arguments->set, are);
    if (!numbers) co_return syntax(numbers.error());
    if (selected.mode() == Mode::read_only) co_return Reply::no("READ-ONLY", "Mailbox is read-only");
    if (arguments->unchanged_since) session.enable(Enabled::condstore);
    std::vector<Uid> uids;
    bool some_gone = false;
    for (const std::uint32_t number : *numbers) {
        const Selected::Row row = selected.row(number);
        if (row.gone)
            some_gone = some_gone || are == NumbersAre::message_numbers;  // such a UID is ignored (RFC 9051 6.4.9)
        else
            uids.push_back(row.entry.uid);
    }
    storage::StoreOutcome outcome;
    if (!uids.empty()) {
        auto done = co_await change_flags(session, std::move(uids), *arguments);
        if (!done) co_return reply_for(done.error());
        outcome = *std::move(done);
    }
    tell_changes(session, *numbers, *arguments, outcome, are);
    std::string modified = modified_code(selected, outcome.modified, are);
    if (!modified.empty()) co_return Reply::ok(std::move(modified), "Some were changed by others and are left alone");
    if (some_gone) co_return Reply::no("EXPUNGEISSUED", "Some of the messages no longer exist");
    co_return Reply::ok("Store completed");
}

net::Task<Reply> on_store(Session& session, Cursor args) { return store(session, args, NumbersAre::message_numbers); }
net::Task<Reply> on_uid_store(Session& session, Cursor args) { return store(session, args, NumbersAre::uids); }

constexpr std::array<Command, 2> kCommands = {{
    {"STORE", kSelected, Expunges::held, "", on_store, "3501 6.4.6", Progress::told},
    {"UID STORE", kSelected, Expunges::told, "", on_uid_store, "3501 6.4.8", Progress::told},
}};

}  // namespace

std::span<const Command> store_commands() { return kCommands; }

}  // namespace posthouse::server::imap
