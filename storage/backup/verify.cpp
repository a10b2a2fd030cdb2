// Verify: mail.db is restored to a file without a name, the segments pass by as a restore would write them. What is
// wrong is named and never ends it.
#include <fmt/format.h>

#include <set>

#include "storage/backup/records.h"
#include "storage/backup/source.h"

namespace posthouse::storage::backup {
namespace {

constexpr int kDatabaseFaultsMax = 100;

class Verifier {
 public:
    Verifier(const OpenBackup& backup, const std::string& scratch, const Watch& watch)
        : backup_(backup), scratch_(scratch), watch_(watch), total_(backup.manifest.stored_octets()) {}

    Result<Verified> run() {
        out_.name = backup_.manifest.name;
        for (const StoredFile& file : backup_.manifest.files) {
            for (const std::string& sentence : file.damage) out_.known.add(sentence);
        }
        TRY_VOID(check_database());
        // The rows may be gone, the hashes still tell about the segments.
        PlaceCheck places([this] { return next_place(); },
                          [this](const Place& place, std::string_view why) { tell(place, why); });
        for (const StoredFile& file : backup_.manifest.files) {
            if (file.name != kDatabaseName) TRY_VOID(check_file(file, places));
        }
        if (db_) TRY_VOID(places.finish());
        out_.messages = places.checked();
        return std::move(out_);
    }

 private:
    Result<> check_database() {
        auto opened = open_database(backup_, scratch_, watch_, out_.faults);
        if (const StoredFile* const file = backup_.manifest.file(kDatabaseName)) done_ += file->octets;
        if (!opened) {
            if (opened.error().code != Errc::corrupt) return Error(opened.error());
            out_.faults.add(opened.error().context);
            return {};
        }
        db_ = *std::move(opened);
        watch_.show(done_, total_, "mail.db: checking its pages and rows");
        Query check = db_->query("PRAGMA integrity_check(100)");
        for (int i = 0; i < kDatabaseFaultsMax; ++i) {
            const auto more = check.row();
            if (!more) {
                out_.faults.add(fmt::format("mail.db: {}", more.error().context));
                break;
            }
            if (!*more) break;
            if (check.view(0) != "ok") out_.faults.add(fmt::format("mail.db: {}", check.view(0)));
        }
        rows_.reset(new Query(
            db_->query("SELECT id, segment, position, stored_octets FROM messages ORDER BY segment, position")));
        return {};
    }

    Result<std::optional<Place>> next_place() {
        if (!rows_) return std::optional<Place>();
        const auto more = rows_->row();
        if (!more) {
            out_.faults.add(fmt::format("mail.db: {}", more.error().context));
            rows_.reset();
            return std::optional<Place>();
        }
        if (!*more) return std::optional<Place>();
        return std::optional<Place>(Place{rows_->i64(0), rows_->i64(1), rows_->u64(2), rows_->u64(3)});
    }

    void tell(const Place& place, std::string_view why) {
        std::string sentence =
            fmt::format("message {} (segment {} at {}): {}", place.message, place.segment, place.position, why);
        // The store had it so: the backup is true to it, and says so again.
        if (damaged_before_.contains(place.segment) && !lost_here_.contains(place.segment)) {
            out_.known.add(std::move(sentence));
        } else {
            out_.faults.add(std::move(sentence));
        }
    }

    Result<> check_file(const StoredFile& file, PlaceCheck& places) {
        const std::int64_t segment = file.source.segment;
        if (!file.damage.empty()) damaged_before_.insert(segment);
        ChunkVisitor visitor;
        visitor.visit = [&](std::uint64_t offset, std::string_view octets) -> Result<> {
            TRY_VOID(watch_.check());
            watch_.show(done_ + offset, total_, file.name);
            return segment != 0 ? places.feed(octets) : Result<>();
        };
        visitor.lost = [&](std::uint64_t, const Chunk& chunk, const Error& error) -> Result<> {
            out_.faults.add(fmt::format("{}: {}", file.name, error.context));
            if (error.code == Errc::corrupt) backup_.repository->set_aside(chunk);
            if (segment == 0) return {};
            lost_here_.insert(segment);
            return places.skip(chunk.octets);
        };
        if (segment != 0) TRY_VOID(places.begin(segment));
        TRY_VOID(each_chunk(*backup_.repository, file, visitor));
        if (segment != 0) TRY_VOID(places.end());
        done_ += file.octets;
        out_.octets = done_;
        return {};
    }

    const OpenBackup& backup_;
    const std::string& scratch_;
    const Watch& watch_;
    const std::uint64_t total_;
    std::uint64_t done_ = 0;
    Verified out_;
    std::unique_ptr<Connection> db_;
    std::unique_ptr<Query> rows_;  ///< after db_: it ends first
    std::set<std::int64_t> damaged_before_;
    std::set<std::int64_t> lost_here_;
};

}  // namespace

Result<Verified> verify(const Target& target, const std::string& backup, const std::string& scratch,
                        const Watch& watch) {
    const auto opened = open_backup(target, backup);
    if (!opened) return Error(opened.error());
    TRY(Verified out, Verifier(*opened, scratch, watch).run());
    Verdict verdict;
    verdict.at = posthouse::system_clock().now();
    verdict.faults = out.faults.count;
    // On a target that cannot be written the result is told all the same.
    static_cast<void>(opened->repository->set_verdict(out.name, verdict));
    return out;
}

}  // namespace posthouse::storage::backup
