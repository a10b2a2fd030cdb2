#include "storage/search/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"
#include "protocols/mime/search_text.h"
#include "storage/search/trigram.h"
#include "storage/settings.h"

namespace posthouse::storage::search {
namespace {

constexpr std::uint64_t kWriterCacheOctets = 16ULL * 1024 * 1024;
constexpr std::uint64_t kReaderCacheOctets = 4ULL * 1024 * 1024;
// Texts lie several on a page: a search that unpacks most of them reads fewer pages, and less of each is empty.
constexpr std::uint64_t kPageOctets = 16384;
constexpr std::size_t kTextOctetsMax = 64UL * 1024 * 1024;  // of one kept text, unpacked
// A word of most texts is searched by unpacking them all. Measured with texts of 3 KB, a text: 1 us and 0.95 of its
// size at this level, 2 us and 0.8 at -5, 6 us and 0.44 at 1. The time counts: mail itself takes many times the room.
constexpr int kPackLevel = -20;
constexpr std::uint64_t kSparse = 16;  // rows that are passed over for each wanted one cost more than a search for it
constexpr std::array<const char*, 3> kFiles = {"search.db", "search.db-wal", "search.db-shm"};

// Read it with the stock tool, all but the words, whose tokenizer only this program has.
constexpr const char* kSchema = R"(
BEGIN;
-- What the file was made from. It is thrown away where the program or the store says otherwise.
CREATE TABLE origin (
    name  TEXT PRIMARY KEY,  -- 'folding': how text was read; 'store': digest that names the store; 'generation': the
                             -- setting search.generation; 'messages': counters.value of mail.db when last written
    value TEXT NOT NULL      -- as text
) WITHOUT ROWID;

-- How far each mailbox was looked through.
CREATE TABLE mailboxes (
    mailbox INTEGER PRIMARY KEY,  -- mailboxes.id of mail.db
    modseq  INTEGER NOT NULL      -- entries whose modseq is not above it are in `indexed`
);

-- The messages that were read.
CREATE TABLE indexed (
    message INTEGER PRIMARY KEY,  -- messages.id of mail.db
    note    INTEGER NOT NULL      -- bits: 1 has encrypted parts; 2 too much text; 4 unreadable. With 2 or 4 there is
                                  -- nothing of it below: a search reads the message itself
);

-- Their texts: candidates are verified with them, and an entry of the words can only be removed with its text.
CREATE TABLE texts (
    message INTEGER PRIMARY KEY,  -- indexed.message
    header  BLOB NOT NULL,        -- zstd of the folded header
    body    BLOB NOT NULL         -- zstd of the folded body
);

-- The index: rowid is indexed.message; terms are three characters in a row. It holds no text and no positions. Header
-- and body apart: a word of most bodies may be in few subjects.
CREATE VIRTUAL TABLE header_words USING fts5 (
    text,  -- folded header
    content='', columnsize=0, detail=none, tokenize='posthouse_trigram'
);
CREATE VIRTUAL TABLE body_words USING fts5 (
    text,  -- folded body
    content='', columnsize=0, detail=none, tokenize='posthouse_trigram'
);
PRAGMA user_version = 2;
COMMIT;
)";
constexpr std::int64_t kVersion = 2;

Result<> make_file(const Directory& directory) {
    TRY([[maybe_unused]] const Descriptor file,
        open_beneath(directory.root(), kSearchName, O_CREAT | O_EXCL | O_RDWR, 0600));
    return {};
}

Result<std::unique_ptr<Connection>> connect(const Directory& directory, Connection::Mode mode, std::uint64_t cache) {
    TRY(auto db, Connection::open(directory.path() + "/" + kSearchName, mode, cache, kPageOctets));
    TRY_VOID(add_tokenizer(*db));
    // Derived data: a commit need not be synced, the checkpoint is. Checkpoints happen in COMMIT: nobody waits for it.
    if (mode == Connection::Mode::write)
        TRY_VOID(db->exec("PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=500;"));
    return db;
}

Result<> save_origin(Connection& db, const Origin& origin) {
    const std::array<std::pair<std::string_view, std::string>, 4> rows = {{
        {"folding", origin.folding},
        {"store", origin.store},
        {"generation", fmt::format("{}", origin.generation)},
        {"messages", fmt::format("{}", origin.messages)},
    }};
    for (const auto& [name, value] : rows) {
        TRY_VOID(db.query("INSERT INTO origin VALUES (?1, ?2)").bind(name, value).run());
    }
    return {};
}

Result<std::string> origin_value(Connection& db, std::string_view name) {
    Query q = db.query("SELECT value FROM origin WHERE name = ?1");
    TRY(const bool found, q.bind(name).row());
    return found ? q.text(0) : std::string();
}

// `octets`: of the file. Its last page may be cut without SQLite seeing it: what is missing is read as zeros.
Result<std::unique_ptr<Connection>> open_existing(const Directory& directory, const Origin& origin,
                                                  std::uint64_t octets) {
    if (octets % kPageOctets != 0) return Error(Errc::corrupt, "search.db ends within a page");
    TRY(auto db, connect(directory, Connection::Mode::write, kWriterCacheOctets));
    TRY_VOID(check_origin(*db, origin));
    return db;
}

}  // namespace

Result<> check_origin(Connection& db, const Origin& origin) {
    TRY(const std::int64_t version, db.value("PRAGMA user_version"));
    if (version != kVersion) return Error(Errc::conflict, "it is of another version");
    TRY(const std::string folding, origin_value(db, "folding"));
    if (folding != origin.folding) return Error(Errc::conflict, "text is read in another way now");
    TRY(const std::string store, origin_value(db, "store"));
    if (store != origin.store) return Error(Errc::conflict, "it belongs to another store");
    TRY(const std::string generation, origin_value(db, "generation"));
    if (generation != fmt::format("{}", origin.generation)) return Error(Errc::conflict, "that was asked for");
    TRY(const std::string messages, origin_value(db, "messages"));
    if (std::strtoll(messages.c_str(), nullptr, 10) > origin.messages) {
        return Error(Errc::conflict, "the store is older than the index: it was restored");
    }
    return {};
}

Result<Origin> origin_of(Store& store) {
    Origin out;
    out.folding = mime::search_text_version();
    out.store = crypto::hex(crypto::sha256("search.db " + store.sealing_key())).substr(0, 32);
    TRY_VOID(store.read([&](const Snapshot& snapshot) -> Result<> {
        TRY(out.generation, setting_number(snapshot.catalog(), "search.generation"));
        TRY(out.messages, context_of(snapshot).db.value("SELECT value FROM counters WHERE name = 'message'"));
        return {};
    }));
    return out;
}

Result<Descriptor> take_search_lock(const Directory& directory) {
    TRY(Descriptor lock, open_beneath(directory.root(), kSearchLockName, O_CREAT | O_RDWR, 0600));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
    if (errno == EWOULDBLOCK) return Error(Errc::conflict, "another process is writing the search index");
    return system_error(errno, "cannot lock search.lock");
}

Result<std::unique_ptr<Connection>> open_or_make(const Directory& directory, const Origin& origin) {
    struct stat known {};
    if (::fstatat(directory.root().get(), kSearchName, &known, AT_SYMLINK_NOFOLLOW) == 0) {
        auto opened = open_existing(directory, origin, static_cast<std::uint64_t>(known.st_size));
        if (opened) return opened;
        const Errc code = opened.error().code;
        if (code == Errc::no_space || code == Errc::denied || code == Errc::unsupported) return opened;
        log::warn("search", "the index is built anew: {}", opened.error().context);
        TRY_VOID(throw_away(directory));
    }
    TRY_VOID(make_file(directory));
    TRY(auto db, connect(directory, Connection::Mode::write, kWriterCacheOctets));
    TRY_VOID(db->exec_text(kSchema));
    TRY_VOID(save_origin(*db, origin));
    return db;
}

Result<> throw_away(const Directory& directory) {
    for (const char* name : kFiles) {
        if (::unlinkat(directory.root().get(), name, 0) != 0 && errno != ENOENT) {
            return system_error(errno, fmt::format("cannot remove {}", name));
        }
    }
    return {};
}

Result<> save_message_counter(Connection& db, std::int64_t messages) {
    const std::string value = fmt::format("{}", messages);
    return db.query("UPDATE origin SET value = ?1 WHERE name = 'messages'").bind(value).run();
}

Result<std::unique_ptr<Connection>> open_reader(const Directory& directory) {
    struct stat known {};
    if (::fstatat(directory.root().get(), kSearchName, &known, AT_SYMLINK_NOFOLLOW) != 0) {
        return system_error(errno, "cannot open search.db");
    }
    return connect(directory, Connection::Mode::read, kReaderCacheOctets);
}

std::uint64_t octets_on_disk(const Directory& directory) {
    std::uint64_t out = 0;
    for (const char* name : kFiles) {
        struct stat known {};
        const bool there = ::fstatat(directory.root().get(), name, &known, AT_SYMLINK_NOFOLLOW) == 0;
        if (there) out += static_cast<std::uint64_t>(known.st_size);
    }
    return out;
}

TextPacker::TextPacker() : context_(ZSTD_createCCtx(), ZSTD_freeCCtx) {
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kPackLevel);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
}

Result<std::string> TextPacker::pack(std::string_view text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    const std::size_t made = ZSTD_compress2(context_.get(), out.data(), out.size(), text.data(), text.size());
    if (ZSTD_isError(made) != 0) return Error(Errc::internal, fmt::format("zstd: {}", ZSTD_getErrorName(made)));
    out.resize(made);
    return out;
}

Reader::Reader(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)), context_(ZSTD_createDCtx(), ZSTD_freeDCtx) {}

Result<std::string_view> Reader::unpack(MessageId message, TextPart part, std::string_view packed) {
    std::string& plain = part == TextPart::header ? header_ : body_;
    const unsigned long long octets = ZSTD_getFrameContentSize(packed.data(), packed.size());
    bool sound = octets <= kTextOctetsMax;  // the marks for errors are beyond it
    if (sound) {
        if (plain.size() < octets) plain.resize(octets);
        sound = ZSTD_decompressDCtx(context_.get(), plain.data(), octets, packed.data(), packed.size()) == octets;
    }
    if (sound) return std::string_view(plain).substr(0, octets);
    return Error(Errc::corrupt, fmt::format("the text of message {} in the search index is damaged", raw(message)));
}

Result<std::optional<std::string_view>> Reader::text(MessageId message, TextPart part) {
    Query q = part == TextPart::header ? connection_->query("SELECT header FROM texts WHERE message = ?1")
                                       : connection_->query("SELECT body FROM texts WHERE message = ?1");
    TRY(const bool found, q.bind(message).row());
    if (!found) return std::optional<std::string_view>();
    TRY(const std::string_view plain, unpack(message, part, q.view(0)));
    return std::optional(plain);
}

Result<> Reader::each_text(std::span<const MessageId> messages, TextPart part,
                           const std::function<void(MessageId, std::string_view)>& visit) {
    if (messages.empty()) return {};
    const auto range = static_cast<std::uint64_t>(raw(messages.back()) - raw(messages.front()));
    if (range / kSparse >= messages.size()) {
        for (const MessageId message : messages) {
            TRY(const auto plain, text(message, part));
            if (plain) visit(message, *plain);
        }
        return {};
    }
    Query q = part == TextPart::header
                  ? connection_->query("SELECT message, header FROM texts WHERE message BETWEEN ?1 AND ?2")
                  : connection_->query("SELECT message, body FROM texts WHERE message BETWEEN ?1 AND ?2");
    q.bind(messages.front(), messages.back());
    auto next = messages.begin();
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        const auto message = q.id<MessageId>(0);
        while (next != messages.end() && *next < message) ++next;
        if (next == messages.end()) return {};
        if (*next != message) continue;
        TRY(const std::string_view plain, unpack(message, part, q.view(1)));
        visit(message, plain);
    }
}

Result<std::unique_ptr<Reader>> Readers::take() {
    {
        std::unique_lock lock(mutex_);
        freed_.wait(lock, [this] { return !idle_.empty() || open_ < kReadersMax; });
        if (!idle_.empty()) {
            std::unique_ptr<Reader> reader = std::move(idle_.back());
            idle_.pop_back();
            return reader;
        }
        ++open_;
    }
    auto opened = open_reader(directory_);
    if (opened) return std::make_unique<Reader>(*std::move(opened));
    give(nullptr);
    return Error(opened.error());
}

std::unique_ptr<Reader> Readers::take_if_free() {
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            std::unique_ptr<Reader> reader = std::move(idle_.back());
            idle_.pop_back();
            return reader;
        }
        if (open_ >= kReadersMax) return nullptr;
        ++open_;
    }
    auto opened = open_reader(directory_);
    if (opened) return std::make_unique<Reader>(*std::move(opened));
    give(nullptr);
    return nullptr;
}

void Readers::give(std::unique_ptr<Reader> reader) {
    {
        const std::lock_guard lock(mutex_);
        if (reader && !reader->db().damaged())
            idle_.push_back(std::move(reader));
        else
            --open_;
    }
    freed_.notify_one();
}

void Readers::close() {
    const std::lock_guard lock(mutex_);
    open_ -= static_cast<unsigned>(idle_.size());
    idle_.clear();
}

}  // namespace posthouse::storage::search
