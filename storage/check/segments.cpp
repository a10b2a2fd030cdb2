// Segments: rows against the messages that lie in them, files against rows, files that nobody knows.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "storage/check/files.h"
#include "storage/check/rows.h"

namespace posthouse::storage {
namespace {

struct SegmentRow {
    std::int64_t id = 0;
    std::uint64_t octets = 0;
    std::int64_t dead_octets = 0;
    std::int64_t sealed = 0;
    bool all_dead() const {
        return sealed == 1 &&
               dead_octets + static_cast<std::int64_t>(kFileHeaderOctets) >= static_cast<std::int64_t>(octets);
    }
};

Result<std::vector<SegmentRow>> load_segments(Connection& db) {
    std::vector<SegmentRow> out;
    Query q = db.query("SELECT id, octets, dead_octets, sealed FROM segments ORDER BY id");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        SegmentRow row;
        row.id = q.i64(0);
        row.octets = q.i64(1) < 0 ? 0 : q.u64(1);
        row.dead_octets = q.i64(2);
        row.sealed = q.i64(3);
        out.push_back(row);
    }
}

Place place_of(const MessageRow& row) {
    Place out;
    out.message = static_cast<MessageId>(row.id);
    return out;
}

using Rows = std::span<const MessageRow>;

/// The messages of one segment, by position: inside what was committed, and none in another's octets.
void check_segment(Picture& picture, const SegmentRow& segment, Rows rows) {
    std::uint64_t live = 0;
    const MessageRow* before = nullptr;
    for (const MessageRow& row : rows) {
        live += kRecordHeaderOctets + row.stored_octets;
        if (row.end() > segment.octets) {
            picture.findings().add(FaultKind::message_place, row.id, 0,
                                   fmt::format("message {} ends at {} in {}, beyond its {} committed octets", row.id,
                                               row.end(), segment_name(segment.id), segment.octets),
                                   place_of(row));
        }
        if (before != nullptr && row.position < before->end()) {
            picture.findings().add(FaultKind::messages_overlap, std::min(row.id, before->id),
                                   std::max(row.id, before->id),
                                   fmt::format("messages {} and {} both lie at {} in {}", before->id, row.id,
                                               row.position, segment_name(segment.id)),
                                   place_of(row));
        }
        before = &row;
    }
    if (segment.sealed != 0 && segment.sealed != 1) {
        picture.findings().add(FaultKind::segment_not_sealed, segment.id, 0,
                               fmt::format("{} has the state {}", segment_name(segment.id), segment.sealed));
    }
    const std::int64_t dead = static_cast<std::int64_t>(segment.octets) - static_cast<std::int64_t>(kFileHeaderOctets) -
                              static_cast<std::int64_t>(live);
    if (dead != segment.dead_octets && dead >= 0) {
        picture.findings().add(FaultKind::segment_dead_octets, segment.id, 0,
                               fmt::format("{}: it says {} dead octets, there are {}", segment_name(segment.id),
                                           segment.dead_octets, dead));
    }
}

struct Candidate {
    SegmentRow row;
    FaultKind kind{};
    std::string sentence;
};

bool is_half_removed(const Result<Descriptor>& file, std::uint64_t octets) {
    if (!file) return file.error().code == Errc::not_found;
    const auto size = size_of(*file);
    return size && *size < octets;
}

/// What is wrong with the file of a segment, as it is now; nothing where it is good.
std::optional<Candidate> look_at_file(const Directory& directory, const SegmentRow& row) {
    const std::string name = segment_name(row.id);
    const auto file = open_beneath(directory.segments(), name, O_RDONLY);
    if (row.all_dead() && is_half_removed(file, row.octets)) {
        return Candidate{row, FaultKind::segment_row_left,
                         fmt::format("{} has a row, no messages, and no file of its size any more", name)};
    }
    if (!file) {
        return Candidate{row, FaultKind::segment_file_missing,
                         fmt::format("{} cannot be opened: {}", name, file.error().context)};
    }
    const auto size = size_of(*file);
    if (!size || *size < row.octets) {
        return Candidate{
            row, FaultKind::segment_short,
            fmt::format("{} has {} octets, but {} were committed to it", name, size ? *size : 0, row.octets)};
    }
    std::string header(kFileHeaderOctets, '\0');
    const auto got = read_at(*file, 0, header);
    if (!got || header != format_file_header(static_cast<std::uint32_t>(row.id))) {
        return Candidate{row, FaultKind::segment_header, fmt::format("{} does not begin as a segment does", name)};
    }
    return std::nullopt;
}

Result<std::vector<SegmentRow>> segments_now(Store& store) {
    return store.read([](const Snapshot& snapshot) { return load_segments(context_of(snapshot).db); });
}

}  // namespace

Result<> check_places(Picture& picture) {
    TRY(const std::vector<SegmentRow> segments, load_segments(picture.db));
    picture.messages.sort_by_place();
    const std::vector<MessageRow>& rows = picture.messages.rows();
    std::size_t next = 0;
    auto segment = segments.begin();
    while (next < rows.size()) {
        std::size_t end = next;
        while (end < rows.size() && rows[end].segment == rows[next].segment) ++end;
        const Rows here(rows.data() + next, end - next);
        while (segment != segments.end() && segment->id < here.front().segment) check_segment(picture, *segment++, {});
        if (segment != segments.end() && segment->id == here.front().segment) {
            check_segment(picture, *segment++, here);
        } else if (here.front().segment == 0) {
            for (const MessageRow& row : here) {
                picture.findings().add(FaultKind::message_place, row.id, 0,
                                       fmt::format("message {} has an impossible place or size", row.id),
                                       place_of(row));
            }
        } else {
            picture.findings().add(FaultKind::segment_row_missing, here.front().segment, 0,
                                   fmt::format("{} messages lie in {}, which mail.db does not list", here.size(),
                                               segment_name(here.front().segment)));
        }
        next = end;
    }
    while (segment != segments.end()) check_segment(picture, *segment++, {});
    picture.report.segments = segments.size();
    return {};
}

Result<> check_files(Store& store, const CheckOptions& options, CheckReport& report) {
    const Directory& directory = directory_of(store);
    TRY(const std::vector<SegmentRow> before, segments_now(store));
    std::vector<SegmentRow> doubtful;
    for (const SegmentRow& row : before) {
        if (look_at_file(directory, row)) doubtful.push_back(row);
    }
    if (!doubtful.empty()) {
        // Asked again: a segment that was compacted away meanwhile has no row any more.
        TRY(const std::vector<SegmentRow> after, segments_now(store));
        for (const SegmentRow& row : doubtful) {
            const auto still = std::ranges::lower_bound(after, row.id, {}, &SegmentRow::id);
            if (still == after.end() || still->id != row.id) continue;
            const std::optional<Candidate> seen = look_at_file(directory, *still);
            if (seen) report.findings.add(seen->kind, row.id, 0, seen->sentence);
        }
    }
    return check_strangers(store, options, report);
}

}  // namespace posthouse::storage
