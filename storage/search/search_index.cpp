#include "storage/search/search_index.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/log.h"
#include "protocols/base/random.h"
#include "storage/search/trigram.h"
#include "storage/search/verify.h"

namespace posthouse::storage::search {
namespace {

// For so few messages the index is not asked: their texts are read as fast.
constexpr std::size_t kNarrowedMin = 64;
// Hits are of the whole store, the question of one mailbox. Past this many the mailbox's own texts are cheaper.
constexpr std::uint64_t kHitsMin = 4096;
constexpr std::uint64_t kHitsPerMessage = 32;

// Messages of mailboxes that were not looked through to their end, without those that are known.
Result<std::uint64_t> count_waiting(const Context& context, const std::map<MailboxId, ModSeq>& looked,
                                    const IdSet& known) {
    IdSet waiting;
    Query mailboxes = context.db.query("SELECT id, highest_modseq FROM mailboxes");
    for (;;) {
        TRY(const bool more, mailboxes.row());
        if (!more) return waiting.size();
        const auto at = looked.find(mailboxes.id<MailboxId>(0));
        const ModSeq since = at == looked.end() ? 0 : at->second;
        if (mailboxes.u64(1) <= since) continue;
        Query entries = context.db.query("SELECT message, modseq FROM entries WHERE mailbox = ?1 ORDER BY uid DESC");
        entries.bind(mailboxes.id<MailboxId>(0));
        for (;;) {
            TRY(const bool another, entries.row());
            if (!another || entries.u64(1) <= since) break;
            if (!known.contains(entries.id<MessageId>(0))) waiting.insert(entries.id<MessageId>(0));
        }
    }
}

template <class Visit>
Result<> each_indexed(Connection& db, Visit visit) {
    Query q = db.query("SELECT message, note FROM indexed");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        visit(q.id<MessageId>(0), q.i64(1));
    }
}

Result<std::map<MailboxId, ModSeq>> load_looked(Connection& db) {
    std::map<MailboxId, ModSeq> out;
    Query q = db.query("SELECT mailbox, modseq FROM mailboxes");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out[q.id<MailboxId>(0)] = q.u64(1);
    }
}

// Messages with `?1` among the words of their header or body, of ids from `?2` to `?3`.
Query ask_words(Connection& db, Condition::Where where) {
    if (where == Condition::Where::header)
        return db.query("SELECT rowid FROM header_words WHERE header_words MATCH ?1 AND rowid BETWEEN ?2 AND ?3");
    return db.query("SELECT rowid FROM body_words WHERE body_words MATCH ?1 AND rowid BETWEEN ?2 AND ?3");
}

}  // namespace

// ---- opening

SearchIndex::SearchIndex(Store& store)
    : store_(store),
      directory_(directory_of(store)),
      readers_(directory_),
      sweep_due_(std::chrono::steady_clock::now() + std::chrono::minutes(10)) {}

SearchIndex::~SearchIndex() { close_now(); }

Result<> SearchIndex::ensure_open() {
    {
        const std::shared_lock hold(gate_);
        if (writer_) return {};
    }
    const std::unique_lock alone(gate_);
    if (writer_) return {};
    return open_now();
}

Result<> SearchIndex::open_now() {
    if (!lock_) {
        TRY(lock_, take_search_lock(directory_));
    }
    TRY(const Origin origin, origin_of(store_));
    TRY(writer_, open_or_make(directory_, origin));
    const auto loaded = load_state();
    if (loaded) return {};
    // Opened, but not to be read through: once more from nothing.
    log::warn("search", "the index is built anew: {}", loaded.error().context);
    close_now();
    TRY_VOID(throw_away(directory_));
    TRY(writer_, open_or_make(directory_, origin));
    return load_state();
}

Result<> SearchIndex::load_state() {
    {
        const std::unique_lock sets(sets_mutex_);
        sets_ = Sets();
    }
    TRY_VOID(each_indexed(*writer_, [this](MessageId message, std::int64_t note) { remember(message, note); }));
    TRY(auto looked, load_looked(*writer_));
    const std::lock_guard notes(notes_mutex_);
    looked_ = std::move(looked);
    look_everywhere_ = true;
    return {};
}

void SearchIndex::close_now() {
    readers_.close();
    writer_.reset();
}

Result<> SearchIndex::rebuild() {
    const std::unique_lock alone(gate_);
    if (!lock_) {
        TRY(lock_, take_search_lock(directory_));
    }
    close_now();
    todo_.clear();
    done_ = 0;
    unsaved_.clear();
    damaged_ = false;
    TRY_VOID(throw_away(directory_));
    return open_now();
}

void SearchIndex::suspect(const Error& error) {
    if (error.code != Errc::corrupt && error.code != Errc::io) return;
    if (!damaged_.exchange(true))
        log::error("search", "the index is damaged and will be built anew: {}", error.context);
}

void SearchIndex::remember(MessageId message, std::int64_t note) {
    const std::unique_lock hold(sets_mutex_);
    sets_.known.insert(message);
    if ((note & kNotesRead) == 0) sets_.searchable.insert(message);
    if ((note & kNoteTooLarge) != 0) sets_.too_large.insert(message);
    if ((note & kNoteUnreadable) != 0) sets_.unreadable.insert(message);
    if ((note & kNoteEncrypted) != 0) sets_.encrypted.insert(message);
}

void SearchIndex::forget(MessageId message) {
    const std::unique_lock hold(sets_mutex_);
    for (IdSet* set : {&sets_.known, &sets_.searchable, &sets_.too_large, &sets_.unreadable, &sets_.encrypted}) {
        set->erase(message);
    }
}

// ---- asking

/// What can match and what surely does, both among the messages asked about that have text here.
struct SearchIndex::Bounds {
    IdSet possible;
    IdSet certain;
};

struct SearchIndex::Question {
    Reader& reader;
    MessageId first{};
    MessageId last{};
    std::uint64_t hits_max = 0;
    std::uint64_t indexed = 0;  ///< messages in the whole index
};

Result<std::vector<Verdict>> SearchIndex::narrow(const Condition& condition, std::span<const MessageId> messages) {
    TRY_VOID(ensure_open());
    const std::shared_lock hold(gate_);
    if (!writer_ || damaged_) return Error(Errc::unavailable, "there is no search index now");
    std::vector<Verdict> out(messages.size(), Verdict::in_mail);
    IdSet all;
    std::uint64_t indexed = 0;
    {
        // Before the reader's snapshot: what counts as indexed now is in it.
        const std::shared_lock sets(sets_mutex_);
        indexed = sets_.searchable.size();
        for (std::size_t i = 0; i < messages.size(); ++i) {
            if (!sets_.searchable.contains(messages[i])) continue;
            all.insert(messages[i]);
            out[i] = Verdict::in_text;
        }
    }
    if (messages.size() < kNarrowedMin) return out;
    TRY(auto reader, readers_.take());
    const auto [first, last] = std::ranges::minmax(messages);
    const std::uint64_t hits_max = std::max(kHitsMin, kHitsPerMessage * messages.size());
    const auto bounds = evaluate(condition, Question{*reader, first, last, hits_max, indexed}, all);
    readers_.give(std::move(reader));
    if (!bounds) {
        suspect(bounds.error());
        return Error(bounds.error());
    }
    for (std::size_t i = 0; i < messages.size(); ++i) {
        if (out[i] == Verdict::in_mail) continue;
        if (!bounds->possible.contains(messages[i]))
            out[i] = Verdict::no;
        else if (bounds->certain.contains(messages[i]))
            out[i] = Verdict::yes;
    }
    return out;
}

// Recursion as deep as the search was nested, which its parser bounds. What is said is said of `within` alone.
Result<SearchIndex::Bounds> SearchIndex::evaluate(const Condition& condition, const Question& question,
                                                  const IdSet& within) {
    using Kind = Condition::Kind;
    Bounds out{within, {}};
    switch (condition.kind) {
        case Kind::unknown: return out;
        case Kind::met: out.certain = within; return out;
        case Kind::text:
        case Kind::narrowed: {
            const auto expression = expression_for(condition.needle);
            if (!expression) return out;
            if (condition.kind == Kind::text && !expression->exact)
                return verify(condition.needle, condition.where, question, within);
            TRY(auto hits, find(expression->match, condition.where, question));
            if (!hits) return out;
            hits->keep_common(within);
            out.possible = *std::move(hits);
            if (condition.kind == Kind::text) out.certain = out.possible;
            return out;
        }
        case Kind::all_of:
            out.certain = within;
            for (const Condition& part : condition.of) {
                const IdSet still = out.possible;  // those that failed one part need not be asked for the next
                TRY(const Bounds inner, evaluate(part, question, still));
                out.possible.keep_common(inner.possible);
                out.certain.keep_common(inner.certain);
            }
            return out;
        case Kind::any_of:
            out.possible.clear();
            for (const Condition& part : condition.of) {
                TRY(const Bounds inner, evaluate(part, question, within));
                out.possible.add(inner.possible);
                out.certain.add(inner.certain);
            }
            return out;
        case Kind::none_of:
            out.certain = within;
            for (const Condition& part : condition.of) {
                TRY(const Bounds inner, evaluate(part, question, within));
                out.possible.remove(inner.certain);
                out.certain.remove(inner.possible);
            }
            return out;
    }
    return out;
}

/// Of a needle that is longer than a term: the index names candidates, their texts decide.
Result<SearchIndex::Bounds> SearchIndex::verify(std::string_view needle, Condition::Where where,
                                                const Question& question, const IdSet& within) {
    if (where == Condition::Where::anywhere) {
        TRY(Bounds out, verify(needle, Condition::Where::body, question, within));
        IdSet rest = within;
        rest.remove(out.certain);
        TRY(const Bounds in_header, verify(needle, Condition::Where::header, question, rest));
        out.possible.add(in_header.possible);
        out.certain.add(in_header.certain);
        return out;
    }
    const TextPart part = where == Condition::Where::header ? TextPart::header : TextPart::body;
    Bounds out{within, {}};
    std::vector<std::string_view> terms = terms_of(needle);
    if (within.size() >= kSampledMin) {
        TRY(const auto texts, sample_texts(question.reader, part, within.list()));
        terms = choose_terms(terms, texts, within.size(), question.indexed);
    }
    if (!terms.empty()) {
        TRY(auto hits, find(match_all(terms), where, question));
        if (hits) out.possible.keep_common(*hits);
    }
    if (out.possible.size() > kVerifiedMax) return out;
    TRY(const auto holders, find_holders(needle, part, out.possible.list(), readers_, question.reader));
    out.possible.clear();
    for (const MessageId holder : holders) out.possible.insert(holder);
    out.certain = out.possible;
    return out;
}

// Nothing where there are more hits than would pay.
Result<std::optional<IdSet>> SearchIndex::find(std::string_view match, Condition::Where where,
                                               const Question& question) {
    IdSet out;
    if (where == Condition::Where::anywhere) {
        for (const auto part : {Condition::Where::header, Condition::Where::body}) {
            TRY(const auto hits, find(match, part, question));
            if (!hits) return std::nullopt;
            out.add(*hits);
        }
        return out;
    }
    Query q = ask_words(question.reader.db(), where);
    q.bind(match, question.first, question.last);
    for (std::uint64_t hits = 0; hits <= question.hits_max; ++hits) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.insert(q.id<MessageId>(0));
    }
    return std::nullopt;
}

std::unique_ptr<Texts> SearchIndex::texts() {
    if (!ensure_open()) return nullptr;
    std::shared_lock hold(gate_);
    if (!writer_ || damaged_) return nullptr;
    auto reader = readers_.take();
    if (!reader) return nullptr;
    // One look at the file for all texts: each would lock and unlock it by itself.
    const auto begun = (*reader)->db().exec("BEGIN");
    if (!begun) {
        readers_.give(*std::move(reader));
        return nullptr;
    }
    return std::make_unique<Texts>(*this, std::move(hold), *std::move(reader));
}

Texts::Texts(SearchIndex& index, std::shared_lock<std::shared_mutex> hold, std::unique_ptr<Reader> reader)
    : index_(index), hold_(std::move(hold)), reader_(std::move(reader)) {}

Texts::~Texts() {
    if (reader_->db().in_transaction()) static_cast<void>(reader_->db().exec("ROLLBACK"));
    index_.readers_.give(std::move(reader_));
}

std::optional<std::string_view> Texts::of(MessageId message, TextPart part) {
    const auto text = reader_->text(message, part);
    if (text) return *text;
    index_.suspect(text.error());
    return std::nullopt;
}

// ---- looking after it

Result<bool> SearchIndex::audit(unsigned messages) {
    TRY_VOID(ensure_open());
    std::vector<MessageId> chosen;
    {
        const std::shared_lock sets(sets_mutex_);
        const auto end = static_cast<std::uint64_t>(raw(sets_.searchable.upper_bound()));
        for (unsigned i = 0; i < messages && end != 0; ++i) {
            const auto from = static_cast<MessageId>(system_random().below(end));
            const std::size_t before = chosen.size();
            sets_.searchable.each(from, static_cast<MessageId>(raw(from) + 64), [&](MessageId id) {
                if (chosen.size() == before) chosen.push_back(id);
            });
        }
    }
    const std::shared_lock hold(gate_);
    if (!writer_) return false;
    TRY(auto reader, readers_.take());
    Result<> sound;
    for (const MessageId message : chosen) {
        sound = audit_message(message, *reader);
        if (!sound) break;
    }
    readers_.give(std::move(reader));
    if (sound) return true;
    suspect(sound.error());
    if (sound.error().code == Errc::corrupt) return false;
    return Error(sound.error());
}

Result<> audit_message(MessageId message, Reader& reader) {
    for (const auto where : {Condition::Where::header, Condition::Where::body}) {
        const TextPart part = where == Condition::Where::header ? TextPart::header : TextPart::body;
        TRY(const auto text, reader.text(message, part));
        if (!text) return Error(Errc::corrupt, fmt::format("message {} has no text", raw(message)));
        const auto parts = characters(*text);
        if (parts.size() < 3) continue;
        const std::size_t at = system_random().below(parts.size() - 2);
        const auto octets = static_cast<std::size_t>(parts[at + 2].data() + parts[at + 2].size() - parts[at].data());
        const auto expression = expression_for(std::string_view(parts[at].data(), octets));
        if (!expression) continue;
        TRY(const bool found, ask_words(reader.db(), where).bind(expression->match, message, message).row());
        if (found) continue;
        return Error(Errc::corrupt, fmt::format("message {} is not found by its own words", raw(message)));
    }
    return {};
}

// ---- telling

Result<Status> SearchIndex::status() {
    TRY_VOID(ensure_open());
    Status out;
    IdSet known;
    {
        const std::shared_lock sets(sets_mutex_);
        out.indexed = sets_.searchable.size();
        out.too_large = sets_.too_large.size();
        out.unreadable = sets_.unreadable.size();
        out.encrypted = sets_.encrypted.size();
        known = sets_.known;
    }
    std::map<MailboxId, ModSeq> looked;
    {
        const std::lock_guard notes(notes_mutex_);
        looked = looked_;
    }
    TRY(out.waiting,
        store_.read([&](const Snapshot& snapshot) { return count_waiting(context_of(snapshot), looked, known); }));
    out.octets = octets_on_disk(directory_);
    out.being_written = out.usable = true;
    return out;
}

Result<Status> read_status(Store& store) {
    const Directory& directory = directory_of(store);
    Status out;
    const auto lock = take_search_lock(directory);
    if (!lock && lock.error().code != Errc::conflict) return Error(lock.error());
    out.being_written = !lock.has_value();
    IdSet known;
    std::map<MailboxId, ModSeq> looked;
    const auto read = [&]() -> Result<> {
        TRY(const Origin origin, origin_of(store));
        TRY(const auto db, open_reader(directory));
        TRY_VOID(check_origin(*db, origin));
        TRY_VOID(each_indexed(*db, [&](MessageId message, std::int64_t note) {
            known.insert(message);
            out.indexed += (note & kNotesRead) == 0 ? 1 : 0;
            out.too_large += (note & kNoteTooLarge) != 0 ? 1 : 0;
            out.unreadable += (note & kNoteUnreadable) != 0 ? 1 : 0;
            out.encrypted += (note & kNoteEncrypted) != 0 ? 1 : 0;
        }));
        TRY(looked, load_looked(*db));
        return {};
    };
    // A file that is missing, damaged or of another time: everything waits.
    out.usable = read().has_value();
    if (!out.usable) {
        out.indexed = out.too_large = out.unreadable = out.encrypted = 0;
        known.clear();
        looked.clear();
    }
    TRY(out.waiting,
        store.read([&](const Snapshot& snapshot) { return count_waiting(context_of(snapshot), looked, known); }));
    out.octets = octets_on_disk(directory);
    return out;
}

}  // namespace posthouse::storage::search
