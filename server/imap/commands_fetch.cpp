// FETCH and UID FETCH (RFC 3501 6.4.5, 6.4.8). Messages are answered in batches: one read for the facts of a batch, one
// for its small sections, which goes on while the batch before is written; large sections are streamed in pieces and
// never held whole.
#include <algorithm>
#include <array>

#include "protocols/imap/fetch.h"
#include "protocols/imap/grammar.h"
#include "protocols/imap/limits.h"
#include "protocols/imap/modseq.h"
#include "protocols/imap/response.h"
#include "protocols/mime/encoding.h"
#include "protocols/mime/preview.h"
#include "protocols/mime/structure.h"
#include "server/imap/answers.h"
#include "server/imap/fetch_cache.h"
#include "server/imap/names.h"
#include "server/imap/offered.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

constexpr std::size_t kBatchMessages = 512;
constexpr std::uint64_t kBatchOctets = 1024ULL * 1024;  // of messages whose sections are read together
constexpr std::uint64_t kInlineOctets = 512ULL * 1024;  // a section up to this is read with its batch

// One section of one message of the batch.
struct Wanted {
    std::optional<mime::Extent> extent;  ///< nothing: NIL
    std::size_t range = 0;               ///< index among the ranges read together
    bool streamed = false;
    const mime::Part* part = nullptr;  ///< of a preview; in the message's structure
    mime::TransferEncoding encoding = mime::TransferEncoding::identity;
};

struct Message {
    std::uint32_t number = 0;
    FetchFacts facts;
    bool missing = false;
    bool kept = false;           ///< the cache has all that would have to be read
    bool tell_flags = false;     ///< \Seen was set by this command
    std::vector<Wanted> wanted;  ///< parallel to the program's items
};

// Messages that are read together, and what came of it.
struct Batch {
    std::vector<Message> messages;
    std::vector<std::optional<std::string>> read;
    Result<> outcome;
};

class Fetcher {
 public:
    Fetcher(Session& session, wire::FetchProgram program) : session_(session), program_(std::move(program)) {
        for (const wire::FetchUse& use : program_.items) {
            const bool whole =
                use.item->section && use.section.path.empty() && use.section.kind == wire::SectionKind::body;
            const bool of_body = use.item->needs == wire::Needs::body;
            reads_ = reads_ || of_body;
            // BODY[] needs only the size; all other sections lie where the facts say.
            facts_ = facts_ || use.item->needs == wire::Needs::facts || (of_body && !whole) ||
                     use.item->shape == wire::Shape::preview;
            entry_ = entry_ || use.item->needs == wire::Needs::entry;
            const bool of_tree = use.item->name == "BODY" || use.item->name == "BODYSTRUCTURE" ||
                                 use.item->shape == wire::Shape::preview;
            structure_ = structure_ || of_tree || !use.section.path.empty();
        }
        find_columns();
    }

    /// All messages, in their order. Errors: of the connection, or of a read.
    net::Task<Result<>> run(std::span<const std::uint32_t> numbers) {
        net::TaskGroup ahead(*session_.deps().loop);
        std::unique_ptr<Batch> next;  // what the task reads
        Result<> done;
        std::exception_ptr thrown;  // the task must be joined in any case
        try {
            done = co_await answer_all(numbers, ahead, next);
        } catch (...) {
            thrown = std::current_exception();
        }
        co_await ahead.join();
        if (thrown) std::rethrow_exception(thrown);
        co_return done;
    }
    /// It runs as a command, whose client may hear how far it is.
    void tell_progress() { tells_progress_ = true; }
    bool some_missing() const { return some_missing_; }
    /// A part was asked for whose transfer encoding nobody knows.
    bool unknown_encoding() const { return unknown_encoding_; }

 private:
    // What is always the same of a message and short.
    static bool is_lasting(const wire::FetchUse& use) {
        if (!use.item->section) return use.item->needs == wire::Needs::facts;
        if (use.item->shape == wire::Shape::preview) return true;
        return use.item->shape == wire::Shape::octets && chooses(use.section) && !use.section.partial_first;
    }

    void find_columns() {
        columns_.resize(program_.items.size());
        FetchCache* const cache = session_.deps().fetched;
        const Mailbox& mailbox = session_.selected().mailbox();
        if (cache == nullptr || is_shared_name(mailbox.name)) return;
        // Global addresses are told otherwise to who takes UTF-8.
        const std::string_view form = session_.names() == wire::NameForm::utf8 ? "8 " : "7 ";
        const auto account = session_.account();
        for (std::size_t i = 0; i < program_.items.size(); ++i) {
            const wire::FetchUse& use = program_.items[i];
            if (!is_lasting(use)) continue;
            const std::string name(use.item->section ? std::string_view(use.section.label) : use.item->name);
            columns_[i] = cache->column(account, mailbox.id, std::string(form) + name);
        }
    }

    // All that must be read for it is in the columns.
    bool is_kept(Uid uid) const {
        for (std::size_t i = 0; i < program_.items.size(); ++i) {
            if (program_.items[i].item->needs == wire::Needs::index) continue;
            if (!columns_[i] || !session_.deps().fetched->has(*columns_[i], uid)) return false;
        }
        return reads_ || facts_ || entry_;
    }

    net::Task<Result<>> answer_all(std::span<const std::uint32_t> numbers, net::TaskGroup& ahead,
                                   std::unique_ptr<Batch>& next) {
        for (std::size_t at = 0; at < numbers.size();) {
            std::unique_ptr<Batch> batch = std::move(next);
            if (!batch) {
                batch = take_batch(numbers, at);
                if (program_.seen == wire::Seen::set) co_await mark_seen(batch->messages);
                co_await load(*batch);
            }
            CO_TRY_VOID(std::move(batch->outcome));
            at += batch->messages.size();
            // \Seen is set for what is written next, not for what may never be.
            const bool looks = reads_ || facts_ || entry_;
            if (at < numbers.size() && looks && program_.seen != wire::Seen::set) {
                next = take_batch(numbers, at);
                ahead.spawn("imap.fetch", load(*next));
            }
            CO_TRY_VOID(co_await write_all(*batch));
            co_await ahead.join();
            if (tells_progress_) CO_TRY_VOID(co_await tell_progress(at, numbers.size()));
        }
        co_return Result<>();
    }

    // RFC 9585: not by a task of its own as elsewhere, since messages are written meanwhile.
    net::Task<Result<>> tell_progress(std::size_t done, std::size_t goal) {
        const Time now = session_.deps().clock->now();
        if (done >= goal || now - told_ < session_.limits().progress_interval) co_return Result<>();
        told_ = now;
        session_.untagged("OK " + format_progress(session_.tag(), ProgressCount(done, goal)));
        co_return co_await session_.flush();
    }

    std::unique_ptr<Batch> take_batch(std::span<const std::uint32_t> numbers, std::size_t at) const {
        auto out = std::make_unique<Batch>();
        std::vector<Message>& batch = out->messages;
        std::uint64_t octets = 0;
        while (at < numbers.size() && batch.size() < kBatchMessages && octets < kBatchOctets) {
            Message message;
            message.number = numbers[at++];
            const Line& line = session_.selected().row(message.number).entry;
            message.kept = is_kept(line.uid);
            if (reads_ && !message.kept) octets += line.size_octets;
            batch.push_back(std::move(message));
        }
        return out;
    }

    net::Task<void> load(Batch& batch) { batch.outcome = co_await read(batch); }

    net::Task<Result<>> read(Batch& batch) {
        if (std::ranges::all_of(batch.messages, &Message::kept)) co_return Result<>();
        if (facts_ || entry_) CO_TRY_VOID(co_await load_facts(batch.messages));
        if (!reads_) co_return Result<>();
        std::vector<BodyRange> ranges = plan(batch.messages);
        if (ranges.empty()) co_return Result<>();
        CO_TRY(batch.read, co_await session_.access().read(session_.selected().id(), std::move(ranges)));
        co_return Result<>();
    }

    net::Task<Result<>> write_all(Batch& batch) {
        session_.selected().take_keywords(session_.output());
        for (const Message& message : batch.messages) CO_TRY_VOID(co_await write(message, batch.read));
        co_return Result<>();
    }

    // BODY[] sets \Seen, and the client is told (RFC 3501 6.4.5). Where it cannot be set the octets are given all
    // the same.
    net::Task<void> mark_seen(std::vector<Message>& batch) {
        Selected& selected = session_.selected();
        if (selected.mode() == Mode::read_only) co_return;
        std::vector<Uid> uids;
        for (Message& message : batch) {
            const Selected::Row row = selected.row(message.number);
            if (row.gone || (row.entry.flags & wire::kSeen) != 0) continue;
            uids.push_back(row.entry.uid);
            message.tell_flags = true;
        }
        if (uids.empty()) co_return;
        storage::FlagChange change;
        change.flags = wire::kSeen;
        const auto outcome =
            co_await session_.access().store(selected.id(), std::move(uids), std::move(change), std::nullopt);
        if (!outcome) {
            for (Message& message : batch) message.tell_flags = false;
            co_return;
        }
        if (selected.apply_own(outcome->changed)) co_return;
        static_cast<void>(co_await session_.refresh());
        static_cast<void>(selected.apply_own(outcome->changed));
    }

    net::Task<Result<>> load_facts(std::vector<Message>& batch) {
        std::vector<Uid> uids;
        for (const Message& message : batch) uids.push_back(session_.selected().row(message.number).entry.uid);
        const FactsOf of = structure_ ? FactsOf::tree : facts_ ? FactsOf::message : FactsOf::entry;
        CO_TRY(auto facts, co_await session_.access().facts(session_.selected().id(), std::move(uids), of));
        for (std::size_t i = 0; i < batch.size(); ++i) {
            batch[i].facts = std::move(facts[i]);
            batch[i].missing = batch[i].facts.uid == 0;
        }
        co_return Result<>();
    }

    wire::FetchSource source_of(const Message& message) const {
        const Selected& selected = session_.selected();
        const Selected::Row row = selected.row(message.number);
        wire::FetchSource out;
        out.uid = row.entry.uid;
        out.system_flags = row.entry.flags;
        out.recent = row.recent && !session_.has(Enabled::imap4rev2);
        out.globals = session_.names() == wire::NameForm::utf8 ? mime::Globals::messages : mime::Globals::leaves;
        out.keywords = selected.keywords(row.entry.keyword_set);
        out.internal_date_s = row.entry.internal_date_s;
        out.size_octets = row.entry.size_octets;
        out.modseq = row.entry.modseq;
        out.email = message.facts.email;
        out.save_date_s = message.facts.save_date_s;
        out.envelope = message.facts.envelope;
        out.structure = message.facts.structure ? &*message.facts.structure : nullptr;
        out.header_octets = message.facts.header_octets;
        return out;
    }

    static bool chooses(const wire::Section& section) {
        return section.kind == wire::SectionKind::header_fields || section.kind == wire::SectionKind::header_fields_not;
    }

    // Which octets of the message an item wants.
    static Wanted want(const wire::FetchUse& use, const wire::FetchSource& source) {
        Wanted out;
        if (!use.item->section) return out;
        if (use.item->shape == wire::Shape::preview) {
            out.part = source.structure == nullptr ? nullptr : mime::preview_part(*source.structure);
            const std::uint64_t most = mime::kPreviewReadOctetsMax;
            if (out.part != nullptr) out.extent = {out.part->body_offset, std::min(out.part->body_octets, most)};
            return out;
        }
        out.extent = wire::locate(use.section, source);
        if (!out.extent) return out;
        if (use.item->shape == wire::Shape::octets) {
            out.extent = wire::cut(use.section, *out.extent);
            return out;
        }
        // "<0.99>" counts in what is decoded, so all is read.
        const mime::Part* part =
            use.section.path.empty() ? nullptr : mime::find_part(*source.structure, use.section.path);
        if (part != nullptr && part->children.empty()) out.encoding = mime::transfer_encoding(part->encoding);
        return out;
    }

    // Where each section lies, and which are read together.
    std::vector<BodyRange> plan(std::vector<Message>& batch) {
        std::vector<BodyRange> ranges;
        for (Message& message : batch) {
            if (message.missing || message.kept) continue;
            const wire::FetchSource source = source_of(message);
            for (const wire::FetchUse& use : program_.items) {
                Wanted wanted = want(use, source);
                unknown_encoding_ = unknown_encoding_ || wanted.encoding == mime::TransferEncoding::unknown;
                if (wanted.extent && wanted.extent->octets > 0) {
                    wanted.streamed = wanted.extent->octets > kInlineOctets && !chooses(use.section);
                    wanted.range = ranges.size();
                    if (!wanted.streamed) {
                        ranges.push_back({source.uid, wanted.extent->offset, wanted.extent->octets});
                    }
                }
                message.wanted.push_back(wanted);
            }
        }
        return ranges;
    }

    static void append_literal(std::string& out, std::string_view octets) {
        out += '{';
        wire::append_number(out, octets.size());
        out += "}\r\n";
        out += octets;
    }

    // A message that was expunged meanwhile: its content is gone, and saying nothing of it is allowed (RFC 2180 4.1).
    bool is_missing(const Message& message, const std::vector<std::optional<std::string>>& read) const {
        if (message.missing) return true;
        for (const Wanted& wanted : message.wanted) {
            const bool looked = wanted.extent && wanted.extent->octets > 0 && !wanted.streamed;
            if (looked && !read[wanted.range]) return true;
        }
        return false;
    }

    net::Task<Result<>> write(const Message& message, std::vector<std::optional<std::string>>& read) {
        const auto unknown = [](const Wanted& wanted) { return wanted.encoding == mime::TransferEncoding::unknown; };
        if (std::ranges::any_of(message.wanted, unknown)) co_return Result<>();  // the command fails at its end
        if (is_missing(message, read)) {
            some_missing_ = true;
            co_return Result<>();
        }
        const wire::FetchSource source = source_of(message);
        std::string& out = session_.output();
        Dialect dialect;  // the UID is an item of the program
        dialect.uidfetch = session_.has(Enabled::uidonly);
        session_.selected().append_fetch_head(out, message.number, dialect);
        for (std::size_t i = 0; i < program_.items.size(); ++i) {
            if (i > 0) out += ' ';
            const wire::FetchUse& use = program_.items[i];
            out += use.item->section ? std::string_view(use.section.label) : use.item->name;
            out += ' ';
            if (columns_[i] && session_.deps().fetched->append(*columns_[i], source.uid, out)) continue;
            if (use.item->section && message.wanted[i].streamed) {
                CO_TRY_VOID(co_await stream(source.uid, use, message.wanted[i]));
                continue;
            }
            const std::size_t before = out.size();
            write_item(out, i, message, source, read);
            const std::string_view text = std::string_view(out).substr(before);
            if (columns_[i]) session_.deps().fetched->keep(*columns_[i], source.uid, text);
        }
        if (message.tell_flags && !program_.has("FLAGS")) {
            out += " FLAGS ";
            wire::append_flags(out, source.system_flags, source.keywords,
                               source.recent ? wire::Recent::yes : wire::Recent::no);
        }
        if (message.tell_flags && session_.has(Enabled::condstore)) tell_modseq(out, source);
        out += ")\r\n";
        co_return co_await session_.relieve();
    }

    // Whose flags changed tells its mod-sequence too, and its UID (RFC 7162 3.1, 3.2.4).
    void tell_modseq(std::string& out, const wire::FetchSource& source) {
        if (!program_.has("MODSEQ")) {
            out += " MODSEQ (";
            wire::append_number(out, source.modseq);
            out += ')';
        }
        const Dialect dialect = session_.dialect(NumbersAre::message_numbers);
        if (!dialect.uids || dialect.uidfetch || program_.has("UID")) return;
        out += " UID ";
        wire::append_number(out, source.uid);
    }

    void write_item(std::string& out, std::size_t index, const Message& message, const wire::FetchSource& source,
                    std::vector<std::optional<std::string>>& read) {
        const wire::FetchUse& use = program_.items[index];
        if (!use.item->section) return use.item->write(out, source);
        const Wanted& wanted = message.wanted[index];
        const bool empty = !wanted.extent || wanted.extent->octets == 0;
        write_octets(out, use, wanted, empty ? std::string() : *std::move(read[wanted.range]));
    }

    // An item whose octets are at hand.
    static void write_octets(std::string& out, const wire::FetchUse& use, const Wanted& wanted, std::string octets) {
        const wire::Shape shape = use.item->shape;
        if (shape == wire::Shape::preview) {
            wire::append_string(out, wanted.part == nullptr ? "" : mime::preview_text(octets, *wanted.part));
        } else if (!wanted.extent) {
            out += shape == wire::Shape::decoded_size ? "0" : "NIL";
        } else if (shape == wire::Shape::octets) {
            append_literal(out, chooses(use.section) ? wire::choose_fields(use.section, std::move(octets)) : octets);
        } else {
            const std::string decoded = mime::decode_transfer(octets, wanted.encoding).data;
            if (shape == wire::Shape::decoded_size) {
                wire::append_number(out, decoded.size());
                return;
            }
            const mime::Extent part = wire::cut(use.section, mime::Extent{0, decoded.size()});
            wire::append_literal8(out, std::string_view(decoded).substr(part.offset, part.octets));
        }
    }

    // An item that is too large to be held. Once its length is told there is no way back: an error then ends the
    // connection.
    net::Task<Result<>> stream(Uid uid, const wire::FetchUse& use, const Wanted& wanted) {
        if (use.item->shape != wire::Shape::octets) co_return co_await stream_decoded(uid, use, wanted);
        mime::Extent extent = *wanted.extent;
        std::string head = "{";
        wire::append_number(head, extent.octets);
        head += "}\r\n";
        session_.put(head);
        while (extent.octets > 0) {
            CO_TRY(const std::string piece, co_await read_piece(uid, extent));
            session_.put(piece);
            CO_TRY_VOID(co_await session_.relieve());
        }
        co_return Result<>();
    }

    // The next piece of `extent`, which is then behind it.
    net::Task<Result<std::string>> read_piece(Uid uid, mime::Extent& extent) {
        std::vector<BodyRange> range;
        range.push_back({uid, extent.offset, std::min<std::uint64_t>(extent.octets, wire::kStreamPieceOctets)});
        const std::uint64_t want = range.front().octets;
        auto piece = co_await session_.access().read(session_.selected().id(), std::move(range));
        if (!piece || !piece->front() || piece->front()->size() != want) {
            co_return Error(Errc::closed, "a message could not be read to its end");
        }
        extent.offset += want;
        extent.octets -= want;
        co_return *std::move(piece->front());
    }

    // Read twice: a literal says its length first, and whether it holds NUL (RFC 3516 4.3).
    net::Task<Result<>> stream_decoded(Uid uid, const wire::FetchUse& use, const Wanted& wanted) {
        std::uint64_t octets = 0;
        bool has_nul = false;
        mime::Extent left = *wanted.extent;
        mime::TransferDecoder counter(wanted.encoding);
        while (left.octets > 0) {
            CO_TRY(const std::string piece, co_await read_piece(uid, left));
            std::string decoded = counter.feed(piece);
            if (left.octets == 0) decoded += counter.finish();
            octets += decoded.size();
            has_nul = has_nul || decoded.find('\0') != std::string::npos;
        }
        if (use.item->shape == wire::Shape::decoded_size) {
            session_.put(std::to_string(octets));
            co_return Result<>();
        }
        mime::Extent told = wire::cut(use.section, mime::Extent{0, octets});
        session_.put((has_nul ? "~{" : "{") + std::to_string(told.octets) + "}\r\n");
        left = *wanted.extent;
        mime::TransferDecoder decoder(wanted.encoding);
        std::uint64_t at = 0;  // of what was decoded
        while (left.octets > 0 && told.octets > 0) {
            CO_TRY(const std::string piece, co_await read_piece(uid, left));
            std::string decoded = decoder.feed(piece);
            if (left.octets == 0) decoded += decoder.finish();
            const std::uint64_t skipped = std::min<std::uint64_t>(told.offset - at, decoded.size());
            const std::uint64_t taken = std::min<std::uint64_t>(told.octets, decoded.size() - skipped);
            session_.put(std::string_view(decoded).substr(skipped, taken));
            CO_TRY_VOID(co_await session_.flush());
            at += skipped;
            if (taken > 0) {
                told.offset += taken;
                told.octets -= taken;
                at += taken;
            }
        }
        co_return Result<>();
    }

    Session& session_;
    Time told_ = session_.deps().clock->now();
    bool tells_progress_ = false;
    wire::FetchProgram program_;
    std::vector<FetchCache::ColumnPtr> columns_;  // parallel to its items; null: not kept
    bool reads_ = false;
    bool facts_ = false;
    bool entry_ = false;
    bool structure_ = false;
    bool some_missing_ = false;
    bool unknown_encoding_ = false;
};

void keep_changed(const Selected& selected, ModSeq since, std::vector<std::uint32_t>& numbers) {
    std::erase_if(numbers, [&](std::uint32_t number) { return selected.row(number).entry.modseq <= since; });
}

net::Task<Reply> fetch(Session& session, Cursor args, NumbersAre are) {
    const auto set = take_set(session, args);
    if (!set) co_return syntax(set.error());
    const auto space = wire::take_space(args);
    if (!space) co_return syntax(space.error());
    auto program = wire::take_fetch_program(args, session.limits());
    if (!program) co_return syntax(program.error());
    const auto modifiers = wire::take_fetch_modifiers(args);
    if (!modifiers) co_return syntax(modifiers.error());
    const auto offered = check_offered(session, *program, *modifiers);
    if (!offered) co_return syntax(offered.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    const bool may_vanish = are == NumbersAre::uids && session.has(Enabled::qresync);
    if (modifiers->vanished && !may_vanish) co_return Reply::bad("VANISHED is for UID FETCH after ENABLE QRESYNC");
    if (modifiers->partial && are != NumbersAre::uids) co_return Reply::bad("PARTIAL is for UID FETCH");
    auto numbers = session.selected().numbers(*set, are);
    if (!numbers) co_return syntax(numbers.error());
    if (modifiers->partial) {  // before CHANGEDSINCE: RFC 9394 3.4
        const auto part = wire::part_of(*numbers, *modifiers->partial);
        numbers = std::vector<std::uint32_t>(part.begin(), part.end());
    }
    if (modifiers->changed_since || program->has("MODSEQ")) session.enable(Enabled::condstore);
    if (modifiers->changed_since) {
        wire::add_item(*program, "MODSEQ", wire::Place::last);  // RFC 7162 3.1.4.1
        keep_changed(session.selected(), *modifiers->changed_since, *numbers);
    }
    if (modifiers->vanished) {
        // "*" reaches what was the last message once: an emptied mailbox has to tell that it is (RFC 7162 3.2.6).
        const Uid star = session.selected().mailbox().uid_next - 1;
        const auto told = co_await tell_vanished(session, wire::resolve(*set, star), *modifiers->changed_since);
        if (!told) co_return reply_for(told.error());
    }
    // UID FETCH tells the UID whether it was asked for or not (RFC 3501 6.4.8); UIDFETCH begins with it (RFC 9586).
    if (are == NumbersAre::uids && !session.has(Enabled::uidonly)) wire::add_item(*program, "UID", wire::Place::first);
    Fetcher fetcher(session, *std::move(program));
    if (session.offers("INPROGRESS")) fetcher.tell_progress();
    const auto done = co_await fetcher.run(*numbers);
    if (!done) co_return reply_for(done.error());
    if (fetcher.unknown_encoding()) {
        co_return Reply::no("UNKNOWN-CTE", "The content of a part is encoded in an unknown way");
    }
    // A UID that is no more is ignored (RFC 9051 6.4.9).
    const bool missing = fetcher.some_missing() && are == NumbersAre::message_numbers;
    if (missing) co_return Reply::no("EXPUNGEISSUED", "Some of the messages no longer exist");
    co_return Reply::ok("Fetch completed");
}

net::Task<Reply> on_fetch(Session& session, Cursor args) { return fetch(session, args, NumbersAre::message_numbers); }
net::Task<Reply> on_uid_fetch(Session& session, Cursor args) { return fetch(session, args, NumbersAre::uids); }

constexpr std::array<Command, 2> kCommands = {{
    {"FETCH", kSelected, Expunges::held, "", on_fetch, "3501 6.4.5"},
    {"UID FETCH", kSelected, Expunges::told, "", on_uid_fetch, "3501 6.4.8"},
}};

}  // namespace

std::span<const Command> fetch_commands() { return kCommands; }

net::Task<Result<>> tell_vanished(Session& session, std::vector<wire::SequenceSet::Range> uids, ModSeq since) {
    if (uids.empty()) co_return Result<>();
    CO_TRY(auto gone, co_await session.access().expunged_since(session.selected().id(), since));
    std::erase_if(gone, [&](Uid uid) { return !wire::contains(uids, uid) || session.selected().number_of(uid) != 0; });
    if (!gone.empty()) session.untagged("VANISHED (EARLIER) " + wire::format_set(gone));
    co_return Result<>();
}

net::Task<Result<>> fetch_messages(Session& session, wire::FetchProgram program, std::vector<std::uint32_t> numbers) {
    // What no command asked for bears both (RFC 7162 3.2.4).
    const Dialect told_as = session.dialect(NumbersAre::message_numbers);
    if (told_as.modseqs) wire::add_item(program, "MODSEQ", wire::Place::last);
    if (told_as.modseqs && told_as.uids && !told_as.uidfetch) wire::add_item(program, "UID", wire::Place::first);
    Fetcher fetcher(session, std::move(program));
    co_return co_await fetcher.run(numbers);
}

}  // namespace posthouse::server::imap
