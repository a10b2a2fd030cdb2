#include "server/imap/search_answer.h"

#include <algorithm>

#include "protocols/imap/grammar.h"
#include "protocols/imap/response.h"
#include "server/imap/offered.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

Reply bad_charset() { return Reply::no("BADCHARSET (US-ASCII UTF-8)", "Unknown charset"); }

Result<> check_charset(const Session& session, Cursor args, Charset charset) {
    if (!session.has(Enabled::utf8_accept)) return {};
    const Error error(Errc::invalid, "All text is UTF-8 since UTF8=ACCEPT");
    if (charset == Charset::optional && args.take_word("CHARSET ")) return error;
    if (charset == Charset::optional) return {};
    TRY(const std::string name, wire::take_astring(args));
    if (!ascii::equals_ci(name, "UTF-8")) return error;
    return {};
}

Result<SearchRequest> take_search(Session& session, wire::SearchReturn wanted, Cursor& args, Charset charset) {
    TRY_VOID(check_charset(session, args, charset));
    auto parsed = charset == Charset::demanded ? wire::take_charset_and_program(args, session.limits())
                                               : wire::take_search_program(args, session.limits());
    if (!parsed && parsed.error().code != Errc::unsupported) return Error(parsed.error());
    if (parsed) TRY_VOID(check_offered(session, *parsed));
    SearchRequest out;
    const bool numbered = parsed && wire::has_numbers(*parsed);
    if (numbered && session.has(Enabled::uidonly)) return Error(Errc::invalid, std::string(kUidRequired));
    if (parsed && wire::asks_modseq(*parsed)) session.enable(Enabled::condstore);
    if (parsed) {
        out.program = resolve_program(*std::move(parsed), session.selected(), session.deps().clock->now());
    }
    out.wanted = std::move(wanted);
    const bool used = session.contexts().has(session.tag());
    if (out.wanted.has(wire::SearchReturn::kUpdate) && used) return Error(Errc::invalid, "The tag is in use");
    if (out.wanted.has(wire::SearchReturn::kSave)) session.selected().save_result({});
    return out;
}

std::vector<std::uint32_t> told_as(const Selected& selected, std::vector<std::uint32_t> numbers, NumbersAre are) {
    if (are == NumbersAre::message_numbers) return numbers;
    for (std::uint32_t& number : numbers) number = selected.uid_of(number);
    return numbers;
}

void append_numbers(std::string& out, const std::vector<std::uint32_t>& numbers) {
    for (const std::uint32_t number : numbers) {
        out += ' ';
        wire::append_number(out, number);
    }
}

ModSeq modseq_of(const Selected& selected, const wire::SearchProgram& program, const wire::SearchReturn& wanted,
                 const std::vector<std::uint32_t>& found) {
    if (!wire::asks_modseq(program) || found.empty()) return 0;
    using Return = wire::SearchReturn;
    const auto at = [&](std::uint32_t number) { return selected.row(number).entry.modseq; };
    const unsigned ends = wanted.options & (Return::kMin | Return::kMax);
    const bool ends_only =
        ends != 0 && !wanted.has(Return::kAll) && !wanted.has(Return::kCount) && !wanted.has(Return::kPartial);
    // MIN and MAX of a SORT are its first and last (RFC 5267 3).
    if (ends_only && ends == Return::kMin) return at(found.front());
    if (ends_only && ends == Return::kMax) return at(found.back());
    if (ends_only) return std::max(at(found.front()), at(found.back()));
    ModSeq out = 0;
    for (const std::uint32_t number : found) out = std::max(out, at(number));
    return out;
}

void answer_extended(Session& session, const wire::SearchReturn& wanted, const std::vector<std::uint32_t>& results,
                     NumbersAre are, ModSeq modseq) {
    Selected& selected = session.selected();
    if (wanted.has(wire::SearchReturn::kSave)) selected.save_result(wire::kept_of(results, wanted));
    if (!wanted.answers()) return;
    wire::SearchCorrelator correlator;
    correlator.tag = session.tag();
    correlator.uids = are == NumbersAre::uids;
    std::string out;
    wire::append_esearch_head(out, correlator);
    wire::append_esearch_results(out, told_as(selected, results, are), wanted);
    if (modseq != 0) out += " MODSEQ " + std::to_string(modseq);
    session.untagged(out);
}

void answer_mailbox(Session& session, const wire::SearchReturn& wanted, const Selected& mailbox,
                    const std::vector<std::uint32_t>& found, ModSeq modseq) {
    if (found.empty() || !wanted.answers()) return;
    wire::SearchCorrelator correlator;
    correlator.tag = session.tag();
    correlator.mailbox = mailbox.mailbox().name;
    correlator.names = session.names();
    correlator.uid_validity = mailbox.mailbox().uid_validity;
    correlator.uids = true;
    std::string out;
    wire::append_esearch_head(out, correlator);
    wire::append_esearch_results(out, told_as(mailbox, found, NumbersAre::uids), wanted);
    if (modseq != 0) out += " MODSEQ " + std::to_string(modseq);
    session.untagged(out);
}

void refuse_updates(Session& session, std::string_view reason) {
    std::string out = "NO [NOUPDATE \"";
    out += session.tag();
    out += "\"] ";
    out += reason;
    session.untagged(out);
}

void keep_updated(Session& session, const wire::SearchProgram& program, const wire::SearchReturn& wanted,
                  const std::vector<std::uint32_t>& found, NumbersAre are) {
    if (session.contexts().size() >= session.limits().search_contexts_max) {
        refuse_updates(session, "Too many searches are kept up to date");
        return;
    }
    session.contexts().add(session.tag(), program, wanted.update_fetch, found, are, session.selected());
}

std::vector<ListedLine> listed_lines(const Selected& selected, std::span<const std::uint32_t> numbers, NumbersAre are) {
    std::vector<ListedLine> out;
    out.reserve(numbers.size());
    for (const std::uint32_t number : numbers) {
        const Line entry = selected.row(number).entry;
        ListedLine& line = out.emplace_back();
        line.told = are == NumbersAre::uids ? entry.uid : number;
        line.uid = entry.uid;
        line.internal_date_s = entry.internal_date_s;
        line.size_octets = entry.size_octets;
    }
    return out;
}

}  // namespace posthouse::server::imap
