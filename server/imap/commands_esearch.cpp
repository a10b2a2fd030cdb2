// ESEARCH over several mailboxes (MULTISEARCH, RFC 7377) and CANCELUPDATE (RFC 5267 4.3.5).
#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/search_source.h"
#include "server/imap/offered.h"
#include "server/imap/search_answer.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

struct Esearch {
    std::vector<wire::SearchSource> sources;  ///< names in UTF-8
    wire::SearchReturn wanted;
    std::optional<wire::SearchProgram> program;  ///< nothing: a charset that is not known
    bool selected = false;                       ///< the selected mailbox is among the sources
};

// esearch = "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program
Result<Esearch> take_esearch(Session& session, Cursor& args) {
    Esearch out;
    TRY(out.sources, wire::take_search_sources(args, session.limits()));
    for (wire::SearchSource& source : out.sources) {
        out.selected = out.selected || source.filter == wire::SourceFilter::selected;
        // What is no name of a mailbox names none (RFC 7377 5): it is not told apart from one that is not there.
        for (std::string& name : source.names)
            name = wire::decode_mailbox(name, session.names()).value_or(std::string());
    }
    TRY(out.wanted, wire::take_search_return(args, session.limits()));
    TRY_VOID(check_offered(session, out.wanted, "ESEARCH"));
    if (!out.wanted.extended) {
        out.wanted.extended = true;
        out.wanted.options = wire::SearchReturn::kAll;  // RFC 7377 2.1
    }
    TRY_VOID(check_charset(session, args, Charset::optional));
    auto program = wire::take_search_program(args, session.limits());
    if (!program && program.error().code != Errc::unsupported) return Error(program.error());
    if (program) TRY_VOID(check_offered(session, *program));
    const bool numbered = program && wire::has_numbers(*program);
    if (numbered && session.has(Enabled::uidonly)) return Error(Errc::invalid, std::string(kUidRequired));
    if (program && wire::asks_modseq(*program)) session.enable(Enabled::condstore);
    if (program) out.program = *std::move(program);
    if (out.selected && !session.has_selected()) return Error(Errc::invalid, "No mailbox is selected");
    const bool alone = out.selected && out.sources.size() == 1;
    if (out.wanted.has(wire::SearchReturn::kSave) && !alone) {
        return Error(Errc::invalid, "SAVE is for the selected mailbox alone");
    }
    if (!out.wanted.has(wire::SearchReturn::kUpdate)) return out;
    if (!out.selected) return Error(Errc::invalid, "UPDATE is for the selected mailbox");
    if (session.contexts().has(session.tag())) return Error(Errc::invalid, "The tag is in use");
    return out;
}

// INBOX is the same in any case (RFC 3501 5.1).
bool is_mailbox(const Mailbox& mailbox, std::string_view name) {
    return mailbox.name == name || (mailbox.name == "INBOX" && ascii::equals_ci(name, "INBOX"));
}

bool is_below(std::string_view name, std::string_view root) {
    return name.size() > root.size() && name.starts_with(root) && name[root.size()] == '/';
}

bool names_it(const wire::SearchSource& source, const Mailbox& mailbox, storage::AccountId account) {
    const auto any = [&](auto holds) { return std::ranges::any_of(source.names, holds); };
    switch (source.filter) {
        case wire::SourceFilter::selected: return false;  // looked at as the client sees it
        case wire::SourceFilter::inboxes:                 // rules may file anywhere (RFC 5465 6.3)
        case wire::SourceFilter::personal: return mailbox.account == account;
        case wire::SourceFilter::subscribed: return mailbox.subscribed;
        case wire::SourceFilter::mailboxes: return any([&](const auto& name) { return is_mailbox(mailbox, name); });
        case wire::SourceFilter::subtree:
            return any([&](const auto& root) { return is_mailbox(mailbox, root) || is_below(mailbox.name, root); });
        case wire::SourceFilter::subtree_one:
            return any([&](const auto& root) {
                const bool below = is_below(mailbox.name, root);
                return is_mailbox(mailbox, root) ||
                       (below && mailbox.name.find('/', root.size() + 1) == std::string::npos);
            });
    }
    return false;
}

// It is gone, or may not be read any more: which of them is told to nobody (RFC 7377 2.2).
bool is_out_of_reach(const Error& error) { return error.code == Errc::not_found || error.code == Errc::denied; }

// One mailbox, and its ESEARCH response where something matches.
net::Task<Result<>> search_one(Session& session, const Esearch& request, std::string name) {
    auto opened = co_await session.access().open(std::move(name));
    if (!opened && is_out_of_reach(opened.error())) co_return Result<>();
    if (!opened) co_return Error(opened.error());
    const Uid recent_from = opened->mailbox.recent_from;
    Selected mailbox(*std::move(opened), Mode::read_only, recent_from);
    const SharedProgram program = resolve_program(*request.program, mailbox, session.deps().clock->now());
    const auto found = co_await find_messages(session.access(), mailbox, program);
    if (!found && is_out_of_reach(found.error())) co_return Result<>();
    if (!found) co_return Error(found.error());
    answer_mailbox(session, request.wanted, mailbox, *found, modseq_of(mailbox, *program, request.wanted, *found));
    co_return co_await session.relieve();
}

net::Task<Result<>> search_selected(Session& session, const Esearch& request) {
    Selected& selected = session.selected();
    const SharedProgram program = resolve_program(*request.program, selected, session.deps().clock->now());
    if (request.wanted.has(wire::SearchReturn::kSave)) selected.save_result({});
    CO_TRY(const auto found, co_await find_messages(session.access(), selected, program));
    if (request.wanted.has(wire::SearchReturn::kSave)) selected.save_result(wire::kept_of(found, request.wanted));
    answer_mailbox(session, request.wanted, selected, found, modseq_of(selected, *program, request.wanted, found));
    if (request.wanted.has(wire::SearchReturn::kUpdate))
        keep_updated(session, *program, request.wanted, found, NumbersAre::uids);
    co_return Result<>();
}

net::Task<Reply> on_esearch(Session& session, Cursor args) {
    const auto request = take_esearch(session, args);
    if (!request) co_return syntax(request.error());
    if (!request->program) {
        if (request->wanted.has(wire::SearchReturn::kSave)) session.selected().save_result({});
        co_return bad_charset();
    }
    std::optional<MailboxId> done;
    if (request->selected) {
        const auto searched = co_await search_selected(session, *request);
        if (!searched) co_return reply_for(searched.error());
        done = session.selected().id();
    }
    const auto mailboxes = co_await session.access().mailboxes();
    if (!mailboxes) co_return reply_for(mailboxes.error());
    for (const Mailbox& mailbox : *mailboxes) {
        if (mailbox.messages == 0 || mailbox.id == done) continue;
        const bool wanted = std::ranges::any_of(request->sources, [&](const wire::SearchSource& source) {
            return names_it(source, mailbox, session.account());
        });
        if (!wanted) continue;
        const auto searched = co_await search_one(session, *request, mailbox.name);
        if (!searched) co_return reply_for(searched.error());
    }
    co_return Reply::ok("Search completed");
}

// "CANCELUPDATE" 1*(SP quoted)
net::Task<Reply> on_cancelupdate(Session& session, Cursor args) {
    std::vector<std::string> tags;
    do {
        auto tag = wire::take_string(args);
        if (!tag) co_return syntax(tag.error());
        if (!session.contexts().has(*tag)) co_return Reply::bad("There is no such search");
        tags.push_back(*std::move(tag));
    } while (args.take(' '));
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    for (const std::string& tag : tags) session.contexts().cancel(tag, session.selected());
    co_return Reply::ok("No further updates");
}

constexpr std::array<Command, 2> kCommands = {{
    {"ESEARCH", kLoggedIn, Expunges::told, "MULTISEARCH", on_esearch, "7377 2"},
    {"CANCELUPDATE", kSelected, Expunges::told, "CONTEXT=SEARCH", on_cancelupdate, "5267 4.3.5"},
}};

}  // namespace

std::span<const Command> esearch_commands() { return kCommands; }

}  // namespace posthouse::server::imap
