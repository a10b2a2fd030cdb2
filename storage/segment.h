#pragma once
/// storage/segment (internal): the files of message octets; storage/segment_format.md is their description.
///
/// Invariants  1. Nothing at or before the committed end of a segment is ever written again.
///             2. A segment is written by the one process that holds its flock.
///             3. After a failed write or sync a segment is abandoned: the next record goes into a new one. (Not so
///                when the disk was full for a write: nothing was synced, and the octets are cut off again.)
///             4. What failed leaves no file: one that surely no row names is removed at once, one whose commit is in
///                doubt after the next commit, when mail.db knows.
/// Threads: SegmentWriter belongs to the commit thread; SegmentReaders is shared.
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/body.h"
#include "storage/directory.h"
#include "storage/staged.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;

inline constexpr std::uint64_t kFileHeaderOctets = 16;
inline constexpr std::uint64_t kRecordHeaderOctets = 32;
inline constexpr std::uint8_t kRecordZstd = 1;

struct RecordHeader {
    MessageId message{};
    std::uint64_t payload_octets = 0;
    std::uint32_t payload_crc = 0;
    std::uint8_t flags = 0;
};
std::string format_file_header(std::uint32_t segment);
std::string format_record_header(const RecordHeader& header);
/// Errc::corrupt where anything does not check out.
Result<RecordHeader> parse_record_header(std::string_view octets);
std::string segment_name(std::int64_t segment);
/// Beside a segment's file that no row names, in place of ".seg": an empty file, as old as that was first noticed.
inline constexpr std::string_view kOrphanMarkEnding = ".orphan";
/// One above every number that a segment ever had: a number is never used twice.
Result<std::int64_t> next_segment_number(Connection& db);

/// Where a record lies.
struct Placement {
    std::int64_t segment = 0;
    std::uint64_t position = 0;
    std::uint64_t payload_octets = 0;
    bool operator==(const Placement&) const = default;
};

class SegmentWriter {
 public:
    SegmentWriter(std::shared_ptr<Directory> directory, std::uint64_t octets_max);
    /// A segment in which no commit has named anything goes again.
    ~SegmentWriter();
    SegmentWriter(const SegmentWriter&) = delete;
    SegmentWriter& operator=(const SegmentWriter&) = delete;

    struct Item {
        const Staged* body = nullptr;
        MessageId message{};
    };
    /// Appends and syncs the records of one batch. On failure nothing of it counts and the segment is abandoned.
    /// Reads `db` to choose a segment; writes no row: see record().
    Result<std::vector<Placement>> append(Connection& db, std::vector<Item>& items);
    /// Inside the transaction that names the placements: brings the rows of `segments` up to date.
    Result<> record(Connection& db);
    /// The transaction of the last append was committed, or surely was not: then its large bodies are removed again.
    void committed();
    void rolled_back();
    /// Nobody knows whether it was committed: see settle_doubts().
    void in_doubt();
    /// After a later commit: removes the files of doubtful commits that did not come through.
    void settle_doubts(Connection& db);
    /// The next append opens another segment. The transaction of the last append is not committed.
    void abandon();

 private:
    Result<> open(Connection& db);
    Result<bool> try_open(Connection& db, std::int64_t number);
    Result<> create(std::int64_t number);
    Result<Placement> place_spooled(Connection& db, Staged& body, MessageId message);
    Result<std::int64_t> next_number(Connection& db) const;
    Result<> begin_file(const Descriptor& file, std::int64_t number);
    void remove_file(std::int64_t number);
    Result<> write_records(const std::vector<Item>& items, std::vector<Placement>& placements);
    Result<> write_batch(const std::vector<Item>& items, std::vector<Placement>& placements);

    struct Row {
        std::int64_t segment = 0;
        std::uint64_t octets = 0;
        bool sealed = false;
        bool own = false;  ///< a large body's own segment, not yet committed
    };
    std::shared_ptr<Directory> directory_;
    std::uint64_t octets_max_;
    Descriptor file_;
    std::int64_t number_ = 0;
    std::uint64_t committed_end_ = 0;
    std::uint64_t end_ = 0;
    bool known_ = false;     ///< `segments` has a committed row of it
    std::vector<Row> rows_;  ///< what record() has to say
    struct Abandoned {
        Row row;
        Descriptor file;  ///< keeps the lock, so that nobody takes it up before it is sealed
    };
    std::vector<Abandoned> abandoned_;
    std::vector<std::int64_t> doubtful_;
};

class CheckedRecords;  ///< of which records the octets were found to be good lately

/// Open segments for reading, shared by all readers; at most kOpenMax descriptors are kept.
class SegmentReaders {
 public:
    explicit SegmentReaders(std::shared_ptr<Directory> directory);
    /// A reader of one record; its header is checked here, its octets before the first of them is given out (again
    /// after kTrustSpan where only parts are asked for); what is damaged is told with message and file. Where no
    /// such record lies at `placement`, the compactor may
    /// have moved it since the caller's snapshot was taken: then it is looked up anew. Errc::io, corrupt.
    Result<BodyReader> open(MessageId message, const Placement& placement, std::uint64_t size_octets);
    /// Lets go of a segment's file, which is being removed; readers that have it keep it.
    void forget(std::int64_t segment);

 private:
    static constexpr std::size_t kOpenMax = 64;
    Result<BodyReader> open_at(MessageId message, const Placement& placement, std::uint64_t size_octets);
    Result<std::optional<Placement>> placement_now(MessageId message) const;
    Result<std::shared_ptr<const Descriptor>> file(std::int64_t segment);
    std::shared_ptr<Directory> directory_;
    std::mutex mutex_;
    std::unordered_map<std::int64_t, std::shared_ptr<const Descriptor>> files_;
    const std::shared_ptr<CheckedRecords> checked_;
};

}  // namespace posthouse::storage
