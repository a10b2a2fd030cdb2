#pragma once
/// storage/search/database (internal): the file DATA/search.db: made, opened, thrown away; its readers; its texts.
///
/// Everything in it is derived from mail.db and the segments. It is WAL with synchronous=NORMAL: after a power cut
/// it is
/// consistent, if perhaps a little older than the mail, which the indexer then catches up with. What cannot be opened,
/// is of another version or was made from other mail is thrown away with a line in the log, and built anew.
/// Threads: Database by one at a time; ReaderPool any.
#include <zstd.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/context.h"
#include "storage/directory.h"
#include "storage/sqlite.h"

namespace posthouse::storage::search {

inline constexpr const char* kSearchName = "search.db";
inline constexpr const char* kSearchLockName = "search.lock";

/// Columns of `indexed`.note, as bits.
inline constexpr std::int64_t kNoteEncrypted = 1;   ///< has parts that nobody can search
inline constexpr std::int64_t kNoteTooLarge = 2;    ///< more text than search.part_octets_max: always read instead
inline constexpr std::int64_t kNoteUnreadable = 4;  ///< its octets could not be read: likewise
inline constexpr std::int64_t kNotesRead = kNoteTooLarge | kNoteUnreadable;

/// What a search database was made from; where it differs, the file is worth nothing.
struct Origin {
    std::string folding;          ///< mime::search_text_version()
    std::string store;            ///< names the store without giving its key away
    std::int64_t generation = 0;  ///< the setting search.generation
    std::int64_t messages = 0;    ///< the counter of message ids: it never falls but by a restore
};
/// As the store stands now.
Result<Origin> origin_of(Store& store);

/// The right to write, DATA/search.lock: one process at a time. Errc::conflict where another has it.
Result<Descriptor> take_search_lock(const Directory& directory);

/// The file for writing; made anew where there is none or none that is worth something. The lock must be held.
Result<std::unique_ptr<Connection>> open_or_make(const Directory& directory, const Origin& origin);
/// Errc::conflict with the reason where the file is sound but not of this store as it is.
Result<> check_origin(Connection& db, const Origin& origin);
/// Throws the file away. No connection to it may be open in this process.
Result<> throw_away(const Directory& directory);
Result<> save_message_counter(Connection& db, std::int64_t messages);
/// A connection that only reads. Errc::not_found where there is no file.
Result<std::unique_ptr<Connection>> open_reader(const Directory& directory);
/// Octets of the file and its WAL.
std::uint64_t octets_on_disk(const Directory& directory);

/// Header and body are kept apart: most questions ask for one of them.
enum class TextPart { header, body };

/// A text as it is kept: zstd with a checksum.
class TextPacker {
 public:
    TextPacker();
    Result<std::string> pack(std::string_view text);

 private:
    std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context_;
};

/// A connection that reads, and what it needs to unpack texts.
class Reader {
 public:
    explicit Reader(std::unique_ptr<Connection> connection);
    Connection& db() { return *connection_; }
    /// Valid until the next call for the same part; nothing where the message has none. Errc::corrupt.
    Result<std::optional<std::string_view>> text(MessageId message, TextPart part);
    /// The texts of `messages` (ascending), one after the other; those without one are passed over. Errc::corrupt.
    Result<> each_text(std::span<const MessageId> messages, TextPart part,
                       const std::function<void(MessageId, std::string_view)>& visit);

 private:
    Result<std::string_view> unpack(MessageId message, TextPart part, std::string_view packed);

    std::unique_ptr<Connection> connection_;
    std::unique_ptr<ZSTD_DCtx, std::size_t (*)(ZSTD_DCtx*)> context_;
    std::string header_;
    std::string body_;
};

/// At most kReadersMax; a further one waits.
class Readers {
 public:
    explicit Readers(const Directory& directory) : directory_(directory) {}
    Result<std::unique_ptr<Reader>> take();
    /// Null where one would have to be waited for, or cannot be opened.
    std::unique_ptr<Reader> take_if_free();
    /// Null: one that was taken is gone.
    void give(std::unique_ptr<Reader> reader);
    /// All must have been given back.
    void close();

 private:
    static constexpr unsigned kReadersMax = 4;
    const Directory& directory_;
    std::mutex mutex_;
    std::condition_variable freed_;
    std::vector<std::unique_ptr<Reader>> idle_;
    unsigned open_ = 0;
};

}  // namespace posthouse::storage::search
