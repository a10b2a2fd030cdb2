// STORE and UID STORE (RFC 3501 6.4.6, 6.4.8).
#include <array>

#include "protocols/imap/grammar.h"
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
};

// store = "STORE" SP sequence-set SP (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
Result<StoreArguments> take_store(Cursor args, const wire::Limits& limits) {
    StoreArguments out;
    TRY(out.set, wire::take_sequence_set(args, limits));
    TRY_VOID(wire::take_space(args));
    using How = storage::FlagChange::How;
    out.change.how = How::replace;
    if (args.take('+'))
        out.change.how = How::add;
    else if (args.take('-'))
        out.change.how = How::remove;
    if (!args.take_word("FLAGS")) return Error(Errc::invalid, "Unknown STORE item");
    out.silent = args.take_word(".SILENT");
    TRY_VOID(wire::take_space(args));
    TRY(wire::FlagList flags, wire::take_store_flags(args, limits));
    TRY_VOID(wire::take_end(args));
    out.change.flags = flags.system;
    out.change.keywords = std::move(flags.keywords);
    return out;
}

net::Task<Reply> store(Session& session, Cursor args, NumbersAre are) {
    auto arguments = take_store(args, session.limits());
    if (!arguments) co_return syntax(arguments.error());
    Selected& selected = session.selected();
    const auto numbers = selected.numbers(arguments->set, are);
    if (!numbers) co_return syntax(numbers.error());
    if (selected.mode() == Mode::read_only) co_return Reply::no("READ-ONLY", "Mailbox is read-only");
    std::vector<Uid> uids;
    bool some_gone = false;
    for (const std::uint32_t number : *numbers) {
        const Selected::Row row = selected.row(number);
        if (row.gone)
            some_gone = true;
        else
            uids.push_back(row.entry.uid);
    }
    if (!uids.empty()) {
        const auto outcome = co_await session.access().store(selected.id(), uids, std::move(arguments->change));
        if (!outcome) co_return reply_for(outcome.error());
        if (!selected.apply_own(outcome->changed)) {  // keywords that are new here: their names come with the news
            const auto fresh = co_await session.refresh();
            if (!fresh) co_return reply_for(fresh.error());
            static_cast<void>(selected.apply_own(outcome->changed));
        }
    }
    std::string out;
    selected.take_keywords(out);
    if (!arguments->silent) {
        for (const std::uint32_t number : *numbers) {
            if (!selected.row(number).gone) selected.append_fetch_flags(out, number, are);
        }
    }
    session.put(out);
    if (some_gone) co_return Reply::no("EXPUNGEISSUED", "Some of the messages no longer exist");
    co_return Reply::ok("Store completed");
}

net::Task<Reply> on_store(Session& session, Cursor args) { return store(session, args, NumbersAre::message_numbers); }
net::Task<Reply> on_uid_store(Session& session, Cursor args) { return store(session, args, NumbersAre::uids); }

constexpr std::array<Command, 2> kCommands = {{
    {"STORE", kSelected, Expunges::held, "", on_store, "3501 6.4.6"},
    {"UID STORE", kSelected, Expunges::told, "", on_uid_store, "3501 6.4.8"},
}};

}  // namespace

std::span<const Command> store_commands() { return kCommands; }

}  // namespace posthouse::server::imap
