#include "storage/search/examine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "storage/context.h"
#include "storage/search/database.h"
#include "storage/search/search_index.h"

namespace posthouse::storage::search {
namespace {

constexpr off_t kPageOctetsMin = 512;  // of any SQLite database
constexpr std::int64_t kStep = 64;     // messages between two questions whether to go on

/// Whether an empty file is just being filled.
bool is_being_written(const Directory& directory) {
    const auto lock = take_search_lock(directory);
    return !lock && lock.error().code == Errc::conflict;
}

/// "ok" or what is wrong, a row each.
Result<> check_pages(Connection& db, Thoroughness how, std::vector<std::string>& faults) {
    Query q =
        how == Thoroughness::quick ? db.query("PRAGMA quick_check(100)") : db.query("PRAGMA integrity_check(100)");
    while (faults.size() < kExamineSentencesMax) {
        TRY(const bool more, q.row());
        if (!more) return {};
        if (q.view(0) != "ok") faults.push_back(fmt::format("search.db: {}", q.view(0)));
    }
    return {};
}

/// Some messages behind `after`, in one short read, so that the server can checkpoint its log in between.
Result<std::vector<MessageId>> some_indexed(Connection& db, MessageId after) {
    std::vector<MessageId> out;
    Query q = db.query("SELECT message FROM indexed WHERE message > ?1 AND note & ?2 = 0 ORDER BY message LIMIT ?3");
    q.bind(after, kNotesRead, kStep);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(q.id<MessageId>(0));
    }
}

/// Whether the row is there still: the server may have taken it out meanwhile.
Result<bool> is_indexed(Connection& db, MessageId message) {
    Query q = db.query("SELECT 1 FROM indexed WHERE message = ?1");
    return q.bind(message).row();
}

Result<> check_text(MessageId message, Reader& reader) {
    for (const TextPart part : {TextPart::header, TextPart::body}) {
        TRY(const auto text, reader.text(message, part));
        if (!text) return Error(Errc::corrupt, fmt::format("message {} has no text", raw(message)));
    }
    return {};
}

Result<> check_texts(Reader& reader, Thoroughness how, const std::function<bool()>& go_on,
                     std::vector<std::string>& faults) {
    MessageId after{};
    for (;;) {
        TRY(const std::vector<MessageId> some, some_indexed(reader.db(), after));
        if (some.empty() || !go_on()) return {};
        for (const MessageId message : some) {
            const Result<> sound =
                how == Thoroughness::words ? audit_message(message, reader) : check_text(message, reader);
            if (sound) continue;
            TRY(const bool still, is_indexed(reader.db(), message));
            if (still) faults.push_back(fmt::format("search.db: {}", sound.error().context));
            if (faults.size() >= kExamineSentencesMax) return {};
        }
        after = some.back();
    }
}

}  // namespace

Result<std::vector<std::string>> examine(Store& store, Thoroughness how, const std::function<bool()>& go_on) {
    const Directory& directory = directory_of(store);
    std::vector<std::string> faults;
    struct stat facts{};
    if (::fstatat(directory.root().get(), kSearchName, &facts, AT_SYMLINK_NOFOLLOW) != 0) return faults;
    if (facts.st_size == 0) {
        if (!is_being_written(directory)) faults.emplace_back("search.db is empty");
        return faults;
    }
    // Pages are written whole. SQLite takes what is missing of the last one for zeros, without a word.
    if (facts.st_size % kPageOctetsMin != 0) {
        faults.push_back(fmt::format("search.db was cut: {} octets are no whole pages", facts.st_size));
        return faults;
    }
    const auto look = [&]() -> Result<> {
        TRY(auto db, open_reader(directory));
        Reader reader(std::move(db));
        TRY_VOID(check_pages(reader.db(), how, faults));
        if (!faults.empty() || how < Thoroughness::texts) return {};
        TRY(const Origin origin, origin_of(store));
        const Result<> ours = check_origin(reader.db(), origin);
        if (!ours && ours.error().code == Errc::conflict) return {};
        TRY_VOID(ours);
        return check_texts(reader, how, go_on, faults);
    };
    // The first word of what SQLite says is the file's name already.
    if (const Result<> looked = look(); !looked) faults.push_back(looked.error().context);
    return faults;
}

}  // namespace posthouse::storage::search
