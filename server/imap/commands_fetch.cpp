// FETCH and UID FETCH (RFC 3501 6.4.5, 6.4.8). Messages are answered in batches: one read for the facts of a batch, one
// for its small sections, which goes on while the batches before are read and written; large sections are streamed in
// pieces and never held whole.
#include <algorithm>
#include <array>
#include <deque>

#include "protocols/imap/fetch.h"
#include "protocols/imap/grammar.h"
#include "protocols/imap/limits.h"
#include "protocols/imap/modseq.h"
#include "protocols/imap/response.h"
#include "protocols/mime/encoding.h"
#include "server/imap/answers.h"
#include "server/imap/fetch_cache.h"
#include "server/imap/fetch_sections.h"
#include "server/imap/names.h"
#include "server/imap/offered.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

constexpr std::size_t kFirstBatchMessages = 64;  // so that the client has something soon; each next is twice as large
constexpr std::size_t kBatchMessages = 512;
constexpr std::size_t kBatchesAhead = 2;                // are read while one is written
constexpr std::uint64_t kBatchOctets = 1024ULL * 1024;  // of messages whose sections are read together
constexpr std::size_t kGatheredOctets = 64UL * 1024;    // of output, before it is sent
constexpr std::uint64_t kInlineOctets = 512ULL * 1024;  // a section up to this is read with its batch

struct Message {
    std::uint32_t number = 0;
    FetchFacts facts;
    bool missing = false;
    bool kept = false;           ///< the cache has all that would have to be read
    bool tell_flags = false;     ///< \Seen was set by this command
    bool streams = false;        ///< one of its sections
    std::vector<WantedSection> wanted;  ///< parallel to the program's items
};

// Messages that are read together, and what came of it.
struct Batch {
    explicit Batch(net::Loop& loop) : done(loop) {}
    net::Event done;
    std::vector<Message> messages;
    TextArena texts;  ///< where the facts of the messages lie
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
            of_.message = of_.message || use.item->needs == wire::Needs::facts || (of_body && !whole) ||
                          use.item->shape == wire::Shape::preview;
            entry_ = entry_ || use.item->needs == wire::Needs::entry;
            of_.body = of_.body || use.item->name == "BODY";
            of_.bodystructure = of_.bodystructure || use.item->name == "BODYSTRUCTURE";
            of_.tree = of_.tree || use.item->shape == wire::Shape::preview || !use.section.path.empty();
        }
        // Global addresses are told otherwise to who takes UTF-8.
        const bool utf8 = session_.names() == wire::NameForm::utf8;
        of_.globals = utf8 ? mime::Globals::messages : mime::Globals::leaves;
        find_columns();
    }

    /// All messages, in their order. Errors: of the connection, or of a read.
    net::Task<Result<>> run(std::span<const std::uint32_t> numbers) {
        Ahead ahead(*session_.deps().loop);
        Result<> done;
        std::exception_ptr thrown;  // the tasks must be joined in any case
        try {
            done = co_await answer_all(numbers, ahead);
        } catch (...) {
            thrown = std::current_exception();
        }
        co_await ahead.tasks.join();
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
        return use.item->shape == wire::Shape::octets && chooses_fields(use.section) && !use.section.partial_first;
    }

    void find_columns() {
        columns_.resize(program_.items.size());
        FetchCache* const cache = session_.deps().fetched;
        const Mailbox& mailbox = session_.selected().mailbox();
        if (cache == nullptr || is_shared_name(mailbox.name)) return;
        const std::string_view form = of_.globals == mime::Globals::messages ? "8 " : "7 ";
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
        return looks();
    }

    // Whether more must be known than the session has in memory.
    bool looks() const { return reads_ || of_.message || entry_; }

    // Batches that are being read, in the order in which they are told.
    struct Ahead {
        explicit Ahead(net::Loop& loop) : tasks(loop) {}
        std::deque<std::unique_ptr<Batch>> batches;  // what the tasks read
        net::TaskGroup tasks;
        std::size_t taken = 0;  // of the numbers
    };

    void read_ahead(std::span<const std::uint32_t> numbers, Ahead& ahead) {
        // \Seen is set for what is written next, not for what may never be.
        const std::size_t most = looks() && program_.seen != wire::Seen::set ? kBatchesAhead : 0;
        while (ahead.batches.size() < most && ahead.taken < numbers.size()) {
            ahead.batches.push_back(take_batch(numbers, ahead.taken));
            ahead.taken += ahead.batches.back()->messages.size();
            ahead.tasks.spawn("imap.fetch", load(*ahead.batches.back()));
        }
    }

    net::Task<std::unique_ptr<Batch>> next_batch(std::span<const std::uint32_t> numbers, Ahead& ahead) {
        read_ahead(numbers, ahead);
        if (!ahead.batches.empty()) {
            co_await ahead.batches.front()->done.wait();
            std::unique_ptr<Batch> out = std::move(ahead.batches.front());
            ahead.batches.pop_front();
            co_return out;
        }
        std::unique_ptr<Batch> out = take_batch(numbers, ahead.taken);
        ahead.taken += out->messages.size();
        if (program_.seen == wire::Seen::set) co_await mark_seen(out->messages);
        co_await load(*out);
        co_return out;
    }

    net::Task<Result<>> answer_all(std::span<const std::uint32_t> numbers, Ahead& ahead) {
        for (std::size_t at = 0; at < numbers.size();) {
            const std::unique_ptr<Batch> batch = co_await next_batch(numbers, ahead);
            CO_TRY_VOID(std::move(batch->outcome));
            at += batch->messages.size();
            read_ahead(numbers, ahead);
            CO_TRY_VOID(co_await write_all(*batch));
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
        auto out = std::make_unique<Batch>(*session_.deps().loop);
        std::vector<Message>& batch = out->messages;
        std::uint64_t octets = 0;
        const std::size_t most = std::clamp(at, kFirstBatchMessages, kBatchMessages);
        while (at < numbers.size() && batch.size() < most && octets < kBatchOctets) {
            Message message;
            message.number = numbers[at++];
            const Line& line = session_.selected().row(message.number).entry;
            message.kept = is_kept(line.uid);
            if (reads_ && !message.kept) octets += line.size_octets;
            batch.push_back(std::move(message));
        }
        return out;
    }

    // An exception, which is a bug, would leave who waits for the batch waiting for ever.
    net::Task<void> load(Batch& batch) {
        batch.outcome = Error(Errc::internal, "a batch of FETCH was not read to its end");
        try {
            batch.outcome = co_await read(batch);
        } catch (...) {
            batch.done.set();
            throw;
        }
        batch.done.set();
    }

    net::Task<Result<>> read(Batch& batch) {
        if (std::ranges::all_of(batch.messages, &Message::kept)) co_return Result<>();
        if (of_.message || entry_) CO_TRY_VOID(co_await load_facts(batch));
        if (!reads_) co_return Result<>();
        std::vector<BodyRange> ranges = plan(batch.messages);
        if (ranges.empty()) co_return Result<>();
        CO_TRY(batch.read, co_await session_.access().read(session_.selected().id(), std::move(ranges)));
        co_return Result<>();
    }

    net::Task<Result<>> write_all(Batch& batch) {
        session_.selected().take_keywords(session_.output());
        for (const Message& message : batch.messages) {
            if (!is_told(message, batch.read)) continue;
            // No coroutine a message: in a listing it would cost more than the message.
            if (message.streams) {
                CO_TRY_VOID(co_await write_streaming(message, batch.read));
            } else {
                write(message, batch.read);
            }
            if (session_.stream().pending_output() >= kGatheredOctets) CO_TRY_VOID(co_await session_.relieve());
        }
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
        if (selected.apply_own(outcome->changed)) {
            session_.settle_own(*outcome);
            co_return;
        }
        static_cast<void>(co_await session_.refresh());
        static_cast<void>(selected.apply_own(outcome->changed));
    }

    net::Task<Result<>> load_facts(Batch& batch) {
        std::vector<Message>& messages = batch.messages;
        std::vector<Uid> uids;
        for (const Message& message : messages) uids.push_back(session_.selected().row(message.number).entry.uid);
        CO_TRY(auto facts, co_await session_.access().facts(session_.selected().id(), std::move(uids), of_));
        for (std::size_t i = 0; i < messages.size(); ++i) {
            messages[i].facts = std::move(facts.messages[i]);
            messages[i].missing = messages[i].facts.uid == 0;
        }
        batch.texts = std::move(facts.texts);
        co_return Result<>();
    }

    wire::FetchSource source_of(const Message& message) const {
        const Selected& selected = session_.selected();
        const Selected::Row row = selected.row(message.number);
        wire::FetchSource out;
        out.uid = row.entry.uid;
        out.system_flags = row.entry.flags;
        out.recent = row.recent && !session_.has(Enabled::imap4rev2);
        out.keywords = selected.keywords(row.entry.keyword_set);
        out.internal_date_s = row.entry.internal_date_s;
        out.size_octets = row.entry.size_octets;
        out.modseq = row.entry.modseq;
        out.email = message.facts.email;
        out.save_date_s = message.facts.save_date_s;
        out.envelope = message.facts.envelope;
        out.body = message.facts.body;
        out.bodystructure = message.facts.bodystructure;
        out.structure = message.facts.structure.get();
        out.header_octets = message.facts.header_octets;
        return out;
    }

    // Where each section lies, and which are read together.
    std::vector<BodyRange> plan(std::vector<Message>& batch) {
        std::vector<BodyRange> ranges;
        for (Message& message : batch) {
            if (message.missing || message.kept) continue;
            const wire::FetchSource source = source_of(message);
            for (const wire::FetchUse& use : program_.items) {
                WantedSection wanted = want_section(use, source);
                unknown_encoding_ = unknown_encoding_ || wanted.encoding == mime::TransferEncoding::unknown;
                if (wanted.extent && wanted.extent->octets > 0) {
                    wanted.streamed = wanted.extent->octets > kInlineOctets && !chooses_fields(use.section);
                    wanted.range = ranges.size();
                    message.streams = message.streams || wanted.streamed;
                    if (!wanted.streamed) {
                        ranges.push_back({source.uid, wanted.extent->offset, wanted.extent->octets});
                    }
                }
                message.wanted.push_back(wanted);
            }
        }
        return ranges;
    }

    // A message that was expunged meanwhile: its content is gone, and saying nothing of it is allowed (RFC 2180 4.1).
    bool is_missing(const Message& message, const std::vector<std::optional<std::string>>& read) const {
        if (message.missing) return true;
        for (const WantedSection& wanted : message.wanted) {
            const bool looked = wanted.extent && wanted.extent->octets > 0 && !wanted.streamed;
            if (looked && !read[wanted.range]) return true;
        }
        return false;
    }

    // Nothing is told of a message that is gone, or a part of which cannot be decoded: the command fails at its end.
    bool is_told(const Message& message, const std::vector<std::optional<std::string>>& read) {
        const auto unknown = mime::TransferEncoding::unknown;
        if (std::ranges::find(message.wanted, unknown, &WantedSection::encoding) != message.wanted.end()) return false;
        if (!is_missing(message, read)) return true;
        some_missing_ = true;
        return false;
    }

    void write(const Message& message, std::vector<std::optional<std::string>>& read) {
        const wire::FetchSource source = source_of(message);
        write_head(message);
        for (std::size_t i = 0; i < program_.items.size(); ++i) {
            write_name(i);
            write_item(i, message, source, read);
        }
        write_end(message, source);
    }

    net::Task<Result<>> write_streaming(const Message& message, std::vector<std::optional<std::string>>& read) {
        const wire::FetchSource source = source_of(message);
        write_head(message);
        for (std::size_t i = 0; i < program_.items.size(); ++i) {
            write_name(i);
            const wire::FetchUse& use = program_.items[i];
            if (use.item->section && message.wanted[i].streamed) {
                CO_TRY_VOID(co_await stream(source.uid, use, message.wanted[i]));
            } else {
                write_item(i, message, source, read);
            }
        }
        write_end(message, source);
        co_return Result<>();
    }

    void write_head(const Message& message) {
        Dialect dialect;  // the UID is an item of the program
        dialect.uidfetch = session_.has(Enabled::uidonly);
        session_.selected().append_fetch_head(session_.output(), message.number, dialect);
    }

    void write_name(std::size_t index) {
        std::string& out = session_.output();
        if (index > 0) out += ' ';
        const wire::FetchUse& use = program_.items[index];
        out += use.item->section ? std::string_view(use.section.label) : use.item->name;
        out += ' ';
    }

    void write_end(const Message& message, const wire::FetchSource& source) {
        std::string& out = session_.output();
        if (message.tell_flags && !program_.has("FLAGS")) {
            out += " FLAGS ";
            wire::append_flags(out, source.system_flags, source.keywords,
                               source.recent ? wire::Recent::yes : wire::Recent::no);
        }
        if (message.tell_flags) tell_changed(out, source);
        out += ")\r\n";
    }

    // Whose flags changed tells its mod-sequence too, and its UID (RFC 7162 3.1, 3.2.4; RFC 9051 7.5.2).
    void tell_changed(std::string& out, const wire::FetchSource& source) {
        if (session_.has(Enabled::condstore) && !program_.has("MODSEQ")) {
            out += " MODSEQ (";
            wire::append_number(out, source.modseq);
            out += ')';
        }
        const Dialect dialect = session_.dialect(NumbersAre::message_numbers);
        if (!dialect.uids || dialect.uidfetch || program_.has("UID")) return;
        out += " UID ";
        wire::append_number(out, source.uid);
    }

    // From the cache, or anew and then kept there.
    void write_item(std::size_t index, const Message& message, const wire::FetchSource& source,
                    std::vector<std::optional<std::string>>& read) {
        std::string& out = session_.output();
        FetchCache* const cache = session_.deps().fetched;
        const FetchCache::ColumnPtr& column = columns_[index];
        if (column && cache->append(*column, source.uid, out)) return;
        const std::size_t before = out.size();
        write_value(out, index, message, source, read);
        if (column) cache->keep(*column, source.uid, std::string_view(out).substr(before));
    }

    void write_value(std::string& out, std::size_t index, const Message& message, const wire::FetchSource& source,
                     std::vector<std::optional<std::string>>& read) {
        const wire::FetchUse& use = program_.items[index];
        if (!use.item->section) return use.item->write(out, source);
        const WantedSection& wanted = message.wanted[index];
        const bool empty = !wanted.extent || wanted.extent->octets == 0;
        write_section(out, use, wanted, empty ? std::string() : *std::move(read[wanted.range]));
    }

    // An item that is too large to be held. Once its length is told there is no way back: an error then ends the
    // connection.
    net::Task<Result<>> stream(Uid uid, const wire::FetchUse& use, const WantedSection& wanted) {
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
    net::Task<Result<>> stream_decoded(Uid uid, const wire::FetchUse& use, const WantedSection& wanted) {
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
    bool entry_ = false;
    FactsOf of_;
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
