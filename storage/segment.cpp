// The writing side of segments. The order of the steps is the promise: octets, sync, (rename, sync of the directory),
// and only then the rows, which the committer writes. Offsets only move forward past what a commit has named.
#include "storage/segment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "storage/checksum.h"
#include "storage/fail_point.h"
#include "storage/sqlite.h"

namespace posthouse::storage {
namespace {

constexpr std::string_view kFileMagic = "POSTHSEG";
constexpr std::string_view kRecordMagic = "PHRC";
constexpr std::uint32_t kFileVersion = 1;
constexpr char kRecordVersion = 1;
// pwritev takes at most IOV_MAX (1024) pieces; two a record.
constexpr std::size_t kPiecesMax = 512;

template <class Number>
void put_number(std::string& out, Number value) {
    for (std::size_t i = 0; i < sizeof value; ++i) out.push_back(static_cast<char>((value >> (8U * i)) & 0xffU));
}

template <class Number>
Number get_number(std::string_view octets, std::size_t at) {
    Number value = 0;
    for (std::size_t i = sizeof value; i-- > 0;) {
        value = static_cast<Number>((value << 8U) | static_cast<unsigned char>(octets[at + i]));
    }
    return value;
}

iovec piece_of(std::string_view octets) {
    iovec piece{};
    piece.iov_base = const_cast<char*>(octets.data());
    piece.iov_len = octets.size();
    return piece;
}

/// Gathers small records into one call of at most kWriteStepOctets; larger payloads go out in steps.
class Appender {
 public:
    Appender(const Descriptor& file, std::uint64_t offset) : file_(file), offset_(offset) {}
    Result<> add(std::string_view octets) {
        while (!octets.empty()) {
            if (pieces_.size() == kPiecesMax || pending_ == kWriteStepOctets) TRY_VOID(flush());
            const std::string_view step = octets.substr(0, kWriteStepOctets - pending_);
            pieces_.push_back(piece_of(step));
            pending_ += step.size();
            octets.remove_prefix(step.size());
        }
        return {};
    }
    Result<> flush() {
        if (pieces_.empty()) return {};
        TRY_VOID(write_pieces(file_, offset_, pieces_));
        offset_ += pending_;
        pending_ = 0;
        pieces_.clear();
        return {};
    }

 private:
    const Descriptor& file_;
    std::uint64_t offset_;
    std::size_t pending_ = 0;
    std::vector<iovec> pieces_;
};

/// Is there a whole record at `position`? Any doubt is a no.
bool lies_whole(const Descriptor& file, std::uint64_t position, std::uint64_t file_octets) {
    char octets[kRecordHeaderOctets];
    const auto got = read_at(file, position, octets);
    if (!got) return false;
    const auto header = parse_record_header({octets, *got});
    if (!header || header->payload_octets > file_octets - position - kRecordHeaderOctets) return false;
    std::string payload(header->payload_octets, '\0');
    const auto read = read_at(file, position + kRecordHeaderOctets, payload);
    return read && *read == payload.size() && crc32_of(payload) == header->payload_crc;
}

std::uint64_t record_octets(const Staged& body) { return kRecordHeaderOctets + body.size_octets(); }

}  // namespace

std::string format_file_header(std::uint32_t segment) {
    std::string out(kFileMagic);
    put_number(out, kFileVersion);
    put_number(out, segment);
    return out;
}

std::string format_record_header(const RecordHeader& header) {
    std::string out(kRecordMagic);
    out.push_back(kRecordVersion);
    out.push_back(static_cast<char>(header.flags));
    put_number(out, std::uint16_t{0});
    put_number(out, static_cast<std::uint64_t>(raw(header.message)));
    put_number(out, header.payload_octets);
    put_number(out, header.payload_crc);
    put_number(out, crc32_of(out));
    return out;
}

Result<RecordHeader> parse_record_header(std::string_view octets) {
    if (octets.size() != kRecordHeaderOctets || !octets.starts_with(kRecordMagic)) {
        return Error(Errc::corrupt, "no record of a segment begins here");
    }
    if (get_number<std::uint32_t>(octets, 28) != crc32_of(octets.substr(0, 28))) {
        return Error(Errc::corrupt, "the header of a record does not match its checksum");
    }
    RecordHeader header;
    header.flags = static_cast<std::uint8_t>(octets[5]);
    if (octets[4] != kRecordVersion || header.flags > kRecordZstd || get_number<std::uint16_t>(octets, 6) != 0) {
        return Error(Errc::corrupt, "a record has a version or flags that this program does not know");
    }
    header.message = static_cast<MessageId>(get_number<std::uint64_t>(octets, 8));
    header.payload_octets = get_number<std::uint64_t>(octets, 16);
    header.payload_crc = get_number<std::uint32_t>(octets, 24);
    return header;
}

std::string segment_name(std::int64_t segment) { return fmt::format("{:06}.seg", segment); }

SegmentWriter::SegmentWriter(std::shared_ptr<Directory> directory, std::uint64_t octets_max)
    : directory_(std::move(directory)), octets_max_(octets_max) {}

SegmentWriter::~SegmentWriter() {
    if (!known_) abandon();
}

Result<std::vector<Placement>> SegmentWriter::append(Connection& db, std::vector<Item>& items) {
    std::vector<Placement> placements(items.size());
    std::uint64_t total = 0;
    bool some = false;
    // Large bodies first: each is a file of its own and needs no room in the open segment.
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (items[i].body->spooled()) {
            auto& body = const_cast<Staged&>(*items[i].body);
            TRY(placements[i], place_spooled(db, body, items[i].message));
        } else {
            total += record_octets(*items[i].body);
            some = true;
        }
    }
    if (!some) return placements;
    // One batch never spans two segments: it starts a new one where the old would grow past its limit.
    if (file_ && end_ > kFileHeaderOctets && end_ + total > octets_max_) {
        abandoned_.push_back(Abandoned{Row{number_, committed_end_, true, false}, std::move(file_)});
        file_ = Descriptor();
    }
    if (!file_) TRY_VOID(open(db));
    TRY_VOID(write_batch(items, placements));
    return placements;
}

Result<> SegmentWriter::write_batch(const std::vector<Item>& items, std::vector<Placement>& placements) {
    if (const Result<> written = write_records(items, placements); !written) {
        // On a full disk half a batch must not keep the room that is missing.
        if (written.error().code != Errc::no_space || !cut_to(file_, committed_end_)) abandon();
        return Error(written.error());
    }
    POSTHOUSE_FAIL_POINT("after-append");
    if (const Result<> synced = sync_data(file_); !synced) {
        abandon();
        return Error(synced.error());
    }
    POSTHOUSE_FAIL_POINT("after-sync");
    rows_.push_back(Row{number_, end_, false, false});
    return {};
}

Result<> SegmentWriter::write_records(const std::vector<Item>& items, std::vector<Placement>& placements) {
    std::vector<std::string> headers;
    headers.reserve(items.size());
    Appender appender(file_, end_);
    for (std::size_t i = 0; i < items.size(); ++i) {
        const Staged& body = *items[i].body;
        if (body.spooled()) continue;
        placements[i] = Placement{number_, end_, body.size_octets()};
        headers.push_back(format_record_header(RecordHeader{items[i].message, body.size_octets(), body.crc(), 0}));
        TRY_VOID(appender.add(headers.back()));
        TRY_VOID(appender.add(body.view()));
        end_ += record_octets(body);
    }
    return appender.flush();
}

Result<Placement> SegmentWriter::place_spooled(Connection& db, Staged& body, MessageId message) {
    if (body.tmp_name().empty()) {
        return Error(Errc::invalid, "a large message was given to two writes: stage it again");
    }
    TRY(std::int64_t number, next_number(db));
    const std::string record = format_record_header(RecordHeader{message, body.size_octets(), body.crc(), 0});
    TRY_VOID(write_at(body.file(), kFileHeaderOctets, record));
    for (;; ++number) {
        TRY_VOID(write_at(body.file(), 0, format_file_header(static_cast<std::uint32_t>(number))));
        TRY_VOID(sync_data(body.file()));
        POSTHOUSE_FAIL_POINT("before-rename");
        // Another process may take the same number meanwhile: never replace.
        const Result<> moved =
            rename_new(directory_->tmp(), body.tmp_name(), directory_->segments(), segment_name(number));
        if (moved) break;
        if (moved.error().code != Errc::already_exists) return Error(moved.error());
    }
    body.forget_tmp_name();
    POSTHOUSE_FAIL_POINT("after-rename");
    // From here on a failure takes the file away again: see rolled_back().
    rows_.push_back(Row{number, kFileHeaderOctets + record_octets(body), true, true});
    TRY_VOID(sync_directory(directory_->segments()));
    return Placement{number, kFileHeaderOctets, body.size_octets()};
}

Result<> SegmentWriter::record(Connection& db) {
    // max(): a commit that looked failed may have come through after all.
    const auto save = [&db](const Row& row) {
        return db
            .query(
                "INSERT INTO segments (id, octets, sealed) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET "
                "octets = max(octets, excluded.octets), sealed = max(sealed, excluded.sealed)")
            .bind(row.segment, row.octets, row.sealed)
            .run();
    };
    for (const Abandoned& old : abandoned_) TRY_VOID(save(old.row));
    for (const Row& row : rows_) TRY_VOID(save(row));
    return {};
}

void SegmentWriter::committed() {
    for (const Row& row : rows_) known_ = known_ || (file_ && row.segment == number_);
    rows_.clear();
    abandoned_.clear();
    committed_end_ = end_;
}

void SegmentWriter::rolled_back() {
    for (const Row& row : rows_) {
        if (row.own) remove_file(row.segment);
    }
    rows_.clear();
    end_ = committed_end_;
}

void SegmentWriter::in_doubt() {
    for (const Row& row : rows_) {
        if (row.own || (row.segment == number_ && !known_)) doubtful_.push_back(row.segment);
    }
    rows_.clear();
    if (file_ && known_) abandon();
    file_ = Descriptor();
    known_ = false;
}

void SegmentWriter::settle_doubts(Connection& db) {
    std::erase_if(doubtful_, [&](std::int64_t number) {
        Query q = db.query("SELECT 1 FROM segments WHERE id = ?1");
        const Result<bool> found = q.bind(number).row();
        if (found && !*found) remove_file(number);
        return found.has_value();
    });
}

void SegmentWriter::abandon() {
    if (!file_) return;
    if (known_) {
        abandoned_.push_back(Abandoned{Row{number_, committed_end_, true, false}, std::move(file_)});
    } else {
        remove_file(number_);
    }
    file_ = Descriptor();
    known_ = false;
}

void SegmentWriter::remove_file(std::int64_t number) {
    static_cast<void>(::unlinkat(directory_->segments().get(), segment_name(number).c_str(), 0));
}

Result<> SegmentWriter::open(Connection& db) {
    std::vector<std::int64_t> candidates;
    {
        Query q = db.query("SELECT id FROM segments WHERE sealed = 0 ORDER BY id DESC LIMIT 16");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            candidates.push_back(q.i64(0));
        }
    }
    // A segment left open by a process that ended is taken up again, so that short runs of the command line do not
    // leave a file each.
    for (const std::int64_t number : candidates) {
        TRY(const bool opened, try_open(db, number));
        if (opened) return {};
    }
    TRY(const std::int64_t number, next_number(db));
    return create(number);
}

Result<bool> SegmentWriter::try_open(Connection& db, std::int64_t number) {
    auto file = open_beneath(directory_->segments(), segment_name(number), O_RDWR);
    if (!file) {
        log::error("storage", "segment {} cannot be opened: {}", number, file.error().context);
        return false;
    }
    if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0) return false;  // another process appends to it
    // Only behind the lock is the row's word final.
    Query q = db.query("SELECT octets, sealed FROM segments WHERE id = ?1");
    TRY(const bool found, q.bind(number).row());
    if (!found || q.flag(1)) return false;
    const std::uint64_t octets = q.u64(0);
    const Result<std::uint64_t> size = size_of(*file);
    if (!size) {
        log::error("storage", "segment {}: {}", number, size.error().context);
        return false;
    }
    // Shorter than its rows say: octets were lost. Appending would put new messages where old ones are sought.
    if (*size < octets || octets + kRecordHeaderOctets > octets_max_) {
        if (*size < octets) log::error("storage", "segment {} is shorter than its committed octets", number);
        return false;
    }
    if (*size > octets && lies_whole(*file, octets, *size)) {
        // Either nobody was told of it when the power failed, or mail.db-wal lost its end and this is all that is left.
        log::warn("storage",
                  "segment {} holds {} octets of messages that mail.db does not know: they are kept for posthouse fsck",
                  number, *size - octets);
        abandoned_.push_back(Abandoned{Row{number, octets, true, false}, *std::move(file)});
        return false;
    }
    // One that cannot be cut is of no use: there are others.
    if (*size > octets) {
        if (const Result<> cut = cut_to(*file, octets); !cut) {
            log::error("storage", "segment {}: {}", number, cut.error().context);
            return false;
        }
    }
    file_ = *std::move(file);
    number_ = number;
    committed_end_ = end_ = octets;
    known_ = true;
    return true;
}

Result<> SegmentWriter::create(std::int64_t number) {
    for (;; ++number) {
        auto file = open_beneath(directory_->segments(), segment_name(number), O_RDWR | O_CREAT | O_EXCL);
        if (!file && file.error().code == Errc::already_exists) continue;
        if (!file) return Error(file.error());
        if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0) return system_error(errno, "cannot lock a new segment");
        // Before the lock it looked like an empty leftover, which the upkeep of another process may have removed.
        struct stat facts{};
        if (::fstat(file->get(), &facts) != 0) return system_error(errno, "cannot look at a new segment");
        if (facts.st_nlink == 0) continue;
        if (const Result<> made = begin_file(*file, number); !made) {
            remove_file(number);
            return Error(made.error());
        }
        file_ = *std::move(file);
        break;
    }
    number_ = number;
    committed_end_ = end_ = kFileHeaderOctets;
    // Its row comes with the first batch; until then the file means nothing and a crash leaves an empty orphan.
    known_ = false;
    POSTHOUSE_FAIL_POINT("after-new-segment");
    return {};
}

Result<> SegmentWriter::begin_file(const Descriptor& file, std::int64_t number) {
    TRY_VOID(write_at(file, 0, format_file_header(static_cast<std::uint32_t>(number))));
    TRY_VOID(sync_data(file));
    return sync_directory(directory_->segments());
}

Result<std::int64_t> SegmentWriter::next_number(Connection& db) const {
    TRY(const std::int64_t next, next_segment_number(db));
    std::int64_t highest = std::max(next - 1, number_);
    for (const Row& row : rows_) highest = std::max(highest, row.segment);
    return highest + 1;
}

Result<std::int64_t> next_segment_number(Connection& db) {
    // The counter remembers the numbers of segments that were removed: a backup knows a segment by its number.
    return db.value(
        "SELECT 1 + max(coalesce((SELECT max(id) FROM segments), 0), "
        "coalesce((SELECT value FROM counters WHERE name = 'segment'), 0))");
}

}  // namespace posthouse::storage
