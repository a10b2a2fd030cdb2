#pragma once
/// protocols/net/deflate: a stream whose octets are deflated both ways (RFC 1951), as COMPRESS=DEFLATE wants it
/// (RFC 4978): above TLS, flushed with each write.
/// Compression can end, and begin again later, with the connection going on (RFC 8437 4.1).
/// Input is inflated only as fast as it is read, so a bomb costs its reader no memory.
/// Threads: as the stream beneath.   Memory: about 45 KiB for input, 64 KiB for output, a connection.
#include <memory>

#include "protocols/net/stream.h"

namespace posthouse::net {

class DeflatedStream : public Stream {
 public:
    virtual bool is_deflating() const = 0;
    /// write_all() of the last octets that are deflated: they end the compressed output. What comes in from here on is
    /// taken as it is; all that was inflated must have been read, and what the peer's end of compression leaves behind
    /// (empty blocks) is passed over.
    virtual Task<Result<>> write_last(std::string_view octets) = 0;
    /// Deflates again, both ways, as a new stream does.
    virtual void deflate_again() = 0;
};

/// `inner` is between two messages of both directions. Damaged input ends the connection (Errc::closed).
std::unique_ptr<DeflatedStream> deflated(std::unique_ptr<Stream> inner);

}  // namespace posthouse::net
