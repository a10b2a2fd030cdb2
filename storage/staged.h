#pragma once
/// storage/staged (internal): a body between its arrival and its commit.
/// Up to kSpoolOctets it is a string; a larger one fills a file in DATA/tmp that already has the shape of a segment
/// with one record (storage/segment_format.md), but for its two headers.
/// Threads: as storage/body.h; place_ belongs to the commit thread.
#include <cstdint>
#include <memory>
#include <string>

#include "storage/body.h"
#include "storage/directory.h"
#include "storage/file.h"

namespace posthouse::storage {

class Staged final : public StagedBody {
 public:
    /// In memory.
    explicit Staged(std::string octets);
    /// Spooled: `file` holds `octets` of payload behind the room for the headers.
    Staged(std::shared_ptr<Directory> directory, Descriptor file, std::string name, std::uint64_t octets,
           std::uint32_t crc);
    ~Staged() override;
    Staged(const Staged&) = delete;
    Staged& operator=(const Staged&) = delete;

    std::uint64_t size_octets() const override { return octets_; }
    std::string_view view() const override { return view_; }

    std::uint32_t crc() const { return crc_; }
    bool spooled() const { return static_cast<bool>(file_); }
    const Descriptor& file() const { return file_; }
    /// The name in DATA/tmp; empty once the file has become a segment.
    const std::string& tmp_name() const { return name_; }
    void forget_tmp_name() { name_.clear(); }

 private:
    std::shared_ptr<Directory> directory_;
    std::string memory_;
    Descriptor file_;
    std::string name_;
    void* map_ = nullptr;
    std::uint64_t map_octets_ = 0;
    std::uint64_t octets_ = 0;
    std::uint32_t crc_ = 0;
    std::string_view view_;
    friend class StagingWriter;
};

std::unique_ptr<BodyWriter> make_body_writer(std::shared_ptr<Directory> directory, std::uint64_t free_octets_min);

}  // namespace posthouse::storage
