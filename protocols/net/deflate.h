#pragma once
/// protocols/net/deflate: a stream whose octets are deflated both ways (RFC 1951), as COMPRESS=DEFLATE wants it
/// (RFC 4978): above TLS, flushed with each write.
/// Input is inflated only as fast as it is read, so a bomb costs its reader no memory.
/// Threads: as the stream beneath.   Memory: about 45 KiB for input, 64 KiB for output, a connection.
#include <memory>

#include "protocols/net/stream.h"

namespace posthouse::net {

/// `inner` is between two messages of both directions. Damaged input ends the connection (Errc::closed).
std::unique_ptr<Stream> deflated(std::unique_ptr<Stream> inner);

}  // namespace posthouse::net
