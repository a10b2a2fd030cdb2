#pragma once
/// storage/upkeep/copier (internal): walks the records of a sealed segment, and copies the living ones, packed, into a
/// file in DATA/tmp.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "storage/context.h"
#include "storage/upkeep/pace.h"

namespace posthouse::storage {

/// A record of a segment as it was met.
struct MetRecord {
    RecordHeader header;
    std::uint64_t position = 0;
};

/// Walks all records up to `octets`; Errc::corrupt where the chain breaks before. `visit` may fail to end it.
Result<> walk_records(const Descriptor& file, std::uint64_t octets,
                      const std::function<Result<>(const MetRecord&)>& visit);

/// One living record and where its copy lies.
struct Move {
    MessageId message{};
    std::uint64_t old_position = 0;
    std::uint64_t old_payload = 0;
    std::uint64_t new_position = 0;
    std::uint64_t new_payload = 0;
};

class Copier {
 public:
    Copier(Store& store, Pace& pace, double octets_per_second)
        : store_(store), pace_(pace), octets_per_second_(octets_per_second) {}
    /// Copies what lives in `segment` behind the (yet empty) file header of `to`. Errc::corrupt: something of it does
    /// not check out; cancelled: asked to stop.
    Result<> copy(std::int64_t segment, std::uint64_t octets, const Descriptor& to);
    const std::vector<Move>& moves() const { return moves_; }
    /// The end of the last record written.
    std::uint64_t end() const { return end_; }

 private:
    Result<> copy_living(const std::vector<MetRecord>& met);
    Result<> copy_one(const MetRecord& record);
    Result<> put(std::string_view octets);
    Result<> flush();

    Store& store_;
    Pace& pace_;
    double octets_per_second_;
    std::int64_t segment_ = 0;
    Descriptor from_;
    const Descriptor* to_ = nullptr;
    std::vector<Move> moves_;
    std::string buffer_;
    std::uint64_t written_ = 0;
    std::uint64_t end_ = 0;
    std::string payload_;
    std::string packed_;
};

}  // namespace posthouse::storage
