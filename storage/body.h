#pragma once
/// storage/body: message octets on their way in (BodyWriter, StagedBody) and out (BodyReader).
///
/// Up to kSpoolOctets a body waits in memory; a larger one is spooled to DATA/tmp as it arrives and becomes a segment
/// of its own by rename. Nothing here is durable before the commit that names it (see Store::submit).
/// Threads: a writer belongs to one thread at a time; StagedBody and BodyReader may be read from any.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::storage {

inline constexpr std::size_t kSpoolOctets = 8 * 1024 * 1024;

class StagedBody {
 public:
    virtual ~StagedBody() = default;
    virtual std::uint64_t size_octets() const = 0;
    /// The octets: in memory, or mapped from the spool file. Valid while this object lives.
    virtual std::string_view view() const = 0;
};
using StagedBodyPtr = std::shared_ptr<StagedBody>;

class BodyWriter {
 public:
    virtual ~BodyWriter() = default;
    /// Errc::no_space or io where the spool cannot take it.
    virtual Result<> append(std::string_view octets) = 0;
    virtual std::uint64_t size_octets() const = 0;
    /// Ends the writing. The writer is empty afterwards.
    virtual Result<StagedBodyPtr> finish() = 0;
};

/// Random access to a stored body. Keeps the segment it lies in from being removed.
class BodyReader {
 public:
    class Source {
     public:
        virtual ~Source() = default;
        virtual std::uint64_t size_octets() const = 0;
        virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<char> into) const = 0;
    };
    explicit BodyReader(std::shared_ptr<const Source> source) : source_(std::move(source)) {}

    std::uint64_t size_octets() const { return source_->size_octets(); }
    /// Octets [offset, offset + count), fewer at the end. Errc::io or corrupt.
    Result<std::string> read(std::uint64_t offset, std::uint64_t count) const;
    Result<std::string> read_all() const { return read(0, size_octets()); }

 private:
    std::shared_ptr<const Source> source_;
};

}  // namespace posthouse::storage
