#include "storage/staged.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "protocols/base/random.h"
#include "storage/checksum.h"
#include "storage/segment.h"

namespace posthouse::storage {
namespace {

constexpr std::uint64_t kSpoolHeadOctets = kFileHeaderOctets + kRecordHeaderOctets;
// Octets after which the kernel is asked to begin writing: the commit thread's sync then finds little left to do.
constexpr std::uint64_t kWriteBackOctets = 8ULL * 1024 * 1024;

}  // namespace

Staged::Staged(std::string octets)
    : memory_(std::move(octets)), octets_(memory_.size()), crc_(crc32_of(memory_)), view_(memory_) {}

Staged::Staged(std::shared_ptr<Directory> directory, Descriptor file, std::string name, std::uint64_t octets,
               std::uint32_t crc)
    : directory_(std::move(directory)), file_(std::move(file)), name_(std::move(name)), octets_(octets), crc_(crc) {}

Staged::~Staged() {
    if (map_ != nullptr) ::munmap(map_, map_octets_);
    if (!name_.empty()) static_cast<void>(::unlinkat(directory_->tmp().get(), name_.c_str(), 0));
}

class StagingWriter final : public BodyWriter {
 public:
    StagingWriter(std::shared_ptr<Directory> directory, std::uint64_t free_octets_min)
        : directory_(std::move(directory)), free_octets_min_(free_octets_min) {}
    ~StagingWriter() override { drop_spool(); }

    Result<> append(std::string_view octets) override {
        if (failed_) return Error(*failed_);
        if (!file_ && memory_.size() + octets.size() <= kSpoolOctets) {
            memory_.append(octets);
            octets_ += octets.size();
            return {};
        }
        Result<> done;
        if (!file_) done = open_spool();
        if (done) done = spool(octets);
        if (!done) {
            // What follows must not be taken for the whole; and a full disk gets its room back at once.
            failed_ = done.error();
            drop_spool();
            return done;
        }
        octets_ += octets.size();
        return {};
    }

    std::uint64_t size_octets() const override { return octets_; }

    Result<StagedBodyPtr> finish() override {
        if (failed_) return Error(*std::exchange(failed_, std::nullopt));
        const std::uint64_t octets = std::exchange(octets_, 0);
        if (!file_) return StagedBodyPtr(std::make_shared<Staged>(std::exchange(memory_, std::string())));
        auto staged = std::make_shared<Staged>(directory_, std::exchange(file_, Descriptor()),
                                               std::exchange(name_, std::string()), octets, std::exchange(crc_, 0U));
        spooled_ = 0;
        staged->map_octets_ = octets + kSpoolHeadOctets;
        void* map = ::mmap(nullptr, staged->map_octets_, PROT_READ, MAP_SHARED, staged->file_.get(), 0);
        if (map == MAP_FAILED) return system_error(errno, "cannot map a spooled message");
        staged->map_ = map;
        staged->view_ = {static_cast<const char*>(map) + kSpoolHeadOctets, octets};
        return StagedBodyPtr(std::move(staged));
    }

 private:
    Result<> open_spool() {
        name_ = system_random().token(20);
        TRY(file_, open_beneath(directory_->tmp(), name_, O_RDWR | O_CREAT | O_EXCL));
        const std::string so_far = std::exchange(memory_, std::string());
        return spool(so_far);
    }

    Result<> spool(std::string_view octets) {
        TRY(const std::uint64_t room, directory_->free_octets());
        if (room < free_octets_min_ + octets.size()) {
            return Error(Errc::no_space, "the disk is too full for a large message: make room there");
        }
        TRY_VOID(write_at(file_, kSpoolHeadOctets + spooled_, octets));
        crc_ = crc32_of(octets, crc_);
        directory_->note_written(octets.size());
        const std::uint64_t before = spooled_;
        spooled_ += octets.size();
        if (before / kWriteBackOctets != spooled_ / kWriteBackOctets) {
            static_cast<void>(::sync_file_range(file_.get(), 0, 0, SYNC_FILE_RANGE_WRITE));
        }
        return {};
    }

    void drop_spool() {
        if (!name_.empty()) static_cast<void>(::unlinkat(directory_->tmp().get(), name_.c_str(), 0));
        name_.clear();
        file_ = Descriptor();
        memory_.clear();
        octets_ = spooled_ = 0;
        crc_ = 0;
    }

    std::shared_ptr<Directory> directory_;
    std::uint64_t free_octets_min_;
    std::string memory_;
    Descriptor file_;
    std::string name_;
    std::uint64_t octets_ = 0;
    std::uint64_t spooled_ = 0;
    std::uint32_t crc_ = 0;
    std::optional<Error> failed_;  ///< told until the writer is finished
};

std::unique_ptr<BodyWriter> make_body_writer(std::shared_ptr<Directory> directory, std::uint64_t free_octets_min) {
    return std::make_unique<StagingWriter>(std::move(directory), free_octets_min);
}

Result<std::string> BodyReader::read(std::uint64_t offset, std::uint64_t count) const {
    const std::uint64_t size = size_octets();
    if (offset >= size) return std::string();
    const std::uint64_t wanted = std::min(count, size - offset);
    std::string out;
    Result<std::size_t> got = std::size_t{0};
    // Without filling it with zeros first.
    out.resize_and_overwrite(wanted, [&](char* octets, std::size_t) {  // some libraries give the capacity here
        got = source_->read_at(offset, std::span(octets, wanted));
        return got ? *got : std::size_t{0};
    });
    if (!got) return Error(got.error());
    if (*got != wanted) return Error(Errc::corrupt, "a stored message is shorter than its record says");
    return out;
}

}  // namespace posthouse::storage
