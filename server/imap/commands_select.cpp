// SELECT, EXAMINE (RFC 3501 6.3.1, 6.3.2), CHECK, CLOSE, EXPUNGE (6.4.1 to 6.4.3), UID EXPUNGE (RFC 4315 2.1),
// UNSELECT (RFC 3691).
#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/modseq.h"
#include "protocols/imap/response.h"
#include "server/imap/answers.h"
#include "server/imap/names.h"
#include "server/imap/offered.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

void put_count(Session& session, std::string_view before, std::uint64_t count, std::string_view after) {
    std::string out(before);
    wire::append_number(out, count);
    out += after;
    session.untagged(out);
}

void describe(Session& session) {
    const Selected& selected = session.selected();
    std::string out;
    selected.append_flags_response(out);
    session.put(out);
    put_count(session, "", selected.exists(), " EXISTS");
    const bool rev2 = session.has(Enabled::imap4rev2);  // without what RFC 9051 E took out
    if (!rev2) put_count(session, "", selected.recent(), " RECENT");
    // A message number, which a client that switched them off has no use for (RFC 9586).
    const bool numbers = !session.has(Enabled::uidonly) && !rev2;
    if (numbers && selected.first_unseen() != 0)
        put_count(session, "OK [UNSEEN ", selected.first_unseen(), "] First unseen");
    out.clear();
    selected.append_permanent_flags(out);
    session.put(out);
    put_count(session, "OK [UIDVALIDITY ", selected.mailbox().uid_validity, "] UIDs valid");
    put_count(session, "OK [UIDNEXT ", selected.mailbox().uid_next, "] Predicted next UID");
    if (session.offers("OBJECTID")) {
        session.untagged("OK [MAILBOXID (" + mailbox_object_id(selected.id()) + ")] Mailbox");  // RFC 8474 4.2
    }
    if (session.offers("CONDSTORE")) put_count(session, "OK [HIGHESTMODSEQ ", selected.known_modseq(), "] Highest");
}

// Up to which UID the client's own sample says that it knows what is gone (RFC 7162 3.2.5.2).
Uid matched_up_to(const Selected& selected, const wire::Resync& known) {
    Uid out = 0;
    for (const auto& [number, uid] : known.matches) {
        if (number == 0 || number > selected.exists() || selected.row(number).entry.uid != uid) break;
        out = uid;
    }
    return out;
}

// What happened since the client was here last, as UID FETCH (CHANGEDSINCE VANISHED) would tell it (RFC 7162 3.2.5.1).
net::Task<Result<>> resync(Session& session, const wire::Resync& known) {
    const Selected& selected = session.selected();
    wire::SequenceSet all;
    all.ranges.push_back({1, wire::SequenceSet::kStar});
    // Without known UIDs: all that the mailbox ever had.
    std::vector<wire::SequenceSet::Range> wanted =
        wire::resolve(known.known_uids ? *known.known_uids : all, selected.mailbox().uid_next - 1);
    std::string out;
    std::size_t at = 0;
    for (std::uint32_t number = 1; number <= selected.exists(); ++number) {
        const Selected::Row row = selected.row(number);
        while (at < wanted.size() && wanted[at].last < row.entry.uid) ++at;
        if (at == wanted.size()) break;
        if (row.entry.uid < wanted[at].first || row.entry.modseq <= known.modseq) continue;
        selected.append_fetch_flags(out, number, session.dialect(NumbersAre::uids));
    }
    const Uid matched = matched_up_to(selected, known);
    std::erase_if(wanted, [&](const auto& range) { return range.last <= matched; });
    if (!wanted.empty()) wanted.front().first = std::max(wanted.front().first, matched + 1);
    CO_TRY_VOID(co_await tell_vanished(session, std::move(wanted), known.modseq));
    session.put(out);
    co_return Result<>();
}

// A failed SELECT leaves nothing selected (RFC 3501 6.3.1).
Reply failed(Session& session, const Error& error) {
    session.unselect();
    return reply_for(error);
}

net::Task<Reply> open(Session& session, Cursor args, Mode mode) {
    auto name = take_mailbox(args, session.names());
    if (!name && name.error().code == Errc::invalid) co_return syntax(name.error());
    const auto parameters = wire::take_select_parameters(args, session.limits());
    if (!parameters) co_return syntax(parameters.error());
    const auto offered = check_offered(session, *parameters);
    if (!offered) co_return syntax(offered.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    if (parameters->resync && !session.has(Enabled::qresync)) co_return Reply::bad("ENABLE QRESYNC comes first");
    const bool numbered = parameters->resync && !parameters->resync->matches.empty();
    if (numbered && session.has(Enabled::uidonly)) co_return Reply::bad(std::string(kUidRequired));
    // RFC 7162 3.2.11, RFC 9051 7.1
    const bool tells_end = session.offers("QRESYNC") || session.offers("IMAP4rev2");
    if (session.has_selected() && tells_end) session.untagged("OK [CLOSED] Previous mailbox closed");
    session.unselect();
    if (!name) co_return syntax(name.error());
    if (parameters->condstore) session.enable(Enabled::condstore);
    std::uint64_t commits = session.deps().hub->commits();
    auto opened = co_await session.access().open(*std::move(name));
    if (!opened) co_return reply_for(opened.error());
    // RFC 4314 5.2
    constexpr storage::Rights kChanging =
        storage::any_of(storage::Right::insert, storage::Right::expunge, storage::Right::seen, storage::Right::write,
                        storage::Right::mark_deleted);
    if ((opened->mailbox.rights & kChanging) == 0) mode = Mode::read_only;
    Uid recent_from = opened->mailbox.recent_from;
    if (mode == Mode::read_write && recent_from < opened->mailbox.uid_next) {
        recent_from = session.access().take_recent(opened->mailbox);
    }
    session.select(*std::move(opened), mode, recent_from, commits);
    describe(session);
    if (session.has(Enabled::imap4rev2)) {
        std::string selected = session.selected().mailbox().name;
        const auto listed = co_await tell_list(session, std::move(selected));
        if (!listed) co_return failed(session, listed.error());
    }
    if (parameters->resync && parameters->resync->uid_validity == session.selected().mailbox().uid_validity) {
        const auto told = co_await resync(session, *parameters->resync);
        if (!told) co_return failed(session, told.error());
    }
    if (mode == Mode::read_only) co_return Reply::ok("READ-ONLY", "Mailbox examined");
    co_return Reply::ok("READ-WRITE", "Mailbox selected");
}

net::Task<Reply> on_select(Session& session, Cursor args) { return open(session, args, Mode::read_write); }
net::Task<Reply> on_examine(Session& session, Cursor args) { return open(session, args, Mode::read_only); }

// Everything is on disk at all times.
net::Task<Reply> on_check(Session&, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    co_return Reply::ok("Checked");
}

// UIDs among `numbers` that have \Deleted as the store says now.
std::vector<Uid> deleted_uids(const Selected& selected, std::span<const std::uint32_t> numbers) {
    std::vector<Uid> out;
    for (const std::uint32_t number : numbers) {
        const Selected::Row row = selected.row(number);
        if (!row.gone && (row.entry.flags & storage::bit(storage::Flag::deleted)) != 0) out.push_back(row.entry.uid);
    }
    return out;
}

// The EXPUNGE responses come from what tell() reads afterwards, together with those of other sessions.
net::Task<Result<>> expunge(Session& session, std::optional<wire::SequenceSet> uids) {
    CO_TRY_VOID(co_await session.refresh());
    // RFC 4314 4, also where nothing is to be removed: who may not is told so.
    if (!has(session.selected().mailbox().rights, storage::Right::expunge)) {
        co_return Error(Errc::denied, "the right to expunge is missing");
    }
    wire::SequenceSet set;
    if (uids)
        set = *std::move(uids);
    else
        set.ranges.push_back({1, wire::SequenceSet::kStar});
    CO_TRY(const auto numbers, session.selected().numbers(set, NumbersAre::uids));
    auto doomed = deleted_uids(session.selected(), numbers);
    if (doomed.empty()) co_return Result<>();
    const auto done = co_await session.access().expunge(session.selected().id(), std::move(doomed));
    if (!done) co_return Error(done.error());
    session.expect_own_expunges(*done);
    co_return Result<>();
}

net::Task<Reply> on_expunge(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    if (session.selected().mode() == Mode::read_only) co_return Reply::no("READ-ONLY", "Mailbox is read-only");
    const std::optional<wire::SequenceSet> all;
    const auto done = co_await expunge(session, all);
    if (!done) co_return reply_for(done.error());
    co_return co_await expunged_ok(session, NumbersAre::message_numbers, "Expunge completed");
}

net::Task<Reply> on_uid_expunge(Session& session, Cursor args) {
    auto set = take_set(session, args);
    if (!set) co_return syntax(set.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    if (session.selected().mode() == Mode::read_only) co_return Reply::no("READ-ONLY", "Mailbox is read-only");
    std::optional<wire::SequenceSet> some = *std::move(set);
    const auto done = co_await expunge(session, std::move(some));
    if (!done) co_return reply_for(done.error());
    co_return co_await expunged_ok(session, NumbersAre::uids, "Expunge completed");
}

// As EXPUNGE, but nothing is told of it (RFC 3501 6.4.2).
net::Task<Reply> on_close(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    // Without the right nothing is expunged, and that is no failure (RFC 4314 4).
    const bool allowed = has(session.selected().mailbox().rights, storage::Right::expunge);
    if (session.selected().mode() == Mode::read_write && allowed) {
        const std::optional<wire::SequenceSet> all;
        const auto done = co_await expunge(session, all);
        const bool lost = !done && (done.error().code == Errc::not_found || done.error().code == Errc::denied);
        if (!done && !lost) co_return reply_for(done.error());
    }
    session.unselect();
    co_return Reply::ok("Mailbox closed");
}

net::Task<Reply> on_unselect(Session& session, Cursor args) {
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    session.unselect();
    co_return Reply::ok("Mailbox unselected");
}

constexpr std::array<Command, 7> kCommands = {{
    {"SELECT", kLoggedIn, Expunges::held, "", on_select, "3501 6.3.1"},
    {"EXAMINE", kLoggedIn, Expunges::held, "", on_examine, "3501 6.3.2"},
    {"CHECK", kSelected, Expunges::told, "", on_check, "3501 6.4.1"},
    {"CLOSE", kSelected, Expunges::told, "", on_close, "3501 6.4.2", Progress::told},
    {"UNSELECT", kSelected, Expunges::told, "UNSELECT", on_unselect, "3691"},
    {"EXPUNGE", kSelected, Expunges::told, "", on_expunge, "3501 6.4.3", Progress::told},
    {"UID EXPUNGE", kSelected, Expunges::told, "", on_uid_expunge, "4315 2.1", Progress::told},
}};

}  // namespace

std::span<const Command> select_commands() { return kCommands; }

net::Task<Reply> expunged_ok(Session& session, NumbersAre are, std::string sentence) {
    if (!session.has(Enabled::qresync)) co_return Reply::ok(std::move(sentence));
    const auto told = co_await session.tell(Expunges::told, are);
    if (!told) co_return reply_for(told.error());
    if (!session.selected().has_told_all()) co_return Reply::ok(std::move(sentence));
    co_return Reply::ok("HIGHESTMODSEQ " + std::to_string(session.selected().known_modseq()), std::move(sentence));
}

}  // namespace posthouse::server::imap
