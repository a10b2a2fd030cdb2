#pragma once
/// storage/backup/records (internal): looks at the records of a segment as its octets pass by, without keeping them.
///
/// RecordWalk goes from header to header and needs nothing but the octets: for create, which notes what is damaged in
/// the store already. PlaceCheck looks where rows of `messages` say that records lie: for verify, which must find every
/// message. Both take octets in pieces of any size.
/// Threads: an object belongs to one thread.  Memory: a header.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "storage/segment.h"

namespace posthouse::storage::backup {

class RecordWalk {
 public:
    /// `told` gets a sentence for each record that is damaged.
    RecordWalk(std::string name, std::int64_t segment, std::function<void(std::string)> told)
        : name_(std::move(name)), segment_(segment), told_(std::move(told)) {}
    void feed(std::string_view octets);
    /// After the last octet.
    void end();

 private:
    void take_file_header(std::string_view& octets);
    void take_header(std::string_view& octets);
    void take_payload(std::string_view& octets);

    std::string name_;
    std::int64_t segment_;
    std::function<void(std::string)> told_;
    std::uint64_t position_ = 0;  ///< of the next octet to come
    std::string header_;
    RecordHeader record_;
    std::uint64_t record_at_ = 0;
    std::uint64_t left_ = 0;  ///< of the payload
    std::uint32_t crc_ = 0;
    bool lost_ = false;  ///< looking for the next header behind damage
};

/// A message as its row says.
struct Place {
    std::int64_t message = 0;
    std::int64_t segment = 0;
    std::uint64_t position = 0;
    std::uint64_t payload_octets = 0;
};

class PlaceCheck {
 public:
    /// The next row in the order of segment and position; nothing: no more.
    using Next = std::function<Result<std::optional<Place>>()>;
    using Told = std::function<void(const Place&, std::string_view why)>;
    PlaceCheck(Next next, Told told) : next_(std::move(next)), told_(std::move(told)) {}

    /// Rows of earlier segments that were never begun are told as lost.
    Result<> begin(std::int64_t segment);
    Result<> feed(std::string_view octets);
    /// Octets that cannot be read.
    Result<> skip(std::uint64_t octets);
    /// Rows beyond the segment's end are told.
    Result<> end();
    /// After the last segment: rows that lie in none.
    Result<> finish();
    std::uint64_t checked() const { return checked_; }

 private:
    Result<> take(std::string_view octets, std::uint64_t count, bool readable);
    Result<> pull();
    Result<> close_row();
    bool here() const { return row_ && row_->segment == segment_; }

    Next next_;
    Told told_;
    bool pulled_ = false;
    std::optional<Place> row_;
    std::int64_t segment_ = 0;
    std::uint64_t position_ = 0;
    std::string header_;
    std::uint64_t taken_ = 0;  ///< of the row's record, header included
    std::uint32_t crc_ = 0;
    bool readable_ = true;
    std::uint64_t checked_ = 0;
};

}  // namespace posthouse::storage::backup
