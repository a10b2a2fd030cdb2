#pragma once
/// protocols/net/buffered_stream: lines, literals and gathered replies on top of a Stream.
///
/// Input is read ahead into one buffer that exists only while it holds something; output is gathered until flush().
/// A line ends with CRLF only; a bare CR or LF is part of the line and for its reader to judge. read_line never
/// buffers more than its limit; an over-long line is swallowed to its CRLF in bounded memory and told as too_large.
/// Threads: the loop's.
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "protocols/net/stream.h"

namespace posthouse::net {

class BufferedStream {
 public:
    explicit BufferedStream(std::unique_ptr<Stream> stream);

    Stream& raw() { return *stream_; }
    const Stream& raw() const { return *stream_; }
    std::unique_ptr<Stream> release() { return std::move(stream_); }
    /// Goes on above another stream: what was released, wrapped. Nothing is read ahead.
    void replace(std::unique_ptr<Stream> stream) {
        stream_ = std::move(stream);
        more_likely_ = false;
    }

    /// One line without its CRLF; the view lives until the next read. `octets_max` counts the CRLF too.
    /// Errc::too_large: the line was longer and has been dropped up to its end (at most `swallow_octets_max`, else
    /// closed).
    Task<Result<std::string_view>> read_line(std::size_t octets_max);
    /// Some octets of a body: at least one, at most `octets_max`, from the buffer first. The view lives until the next
    /// read.
    Task<Result<std::string_view>> read_some(std::size_t octets_max);
    /// Completes when a read would find something. For long waits, with nothing buffered(): a read holds more memory.
    Task<Result<>> wait_more();
    /// Octets read ahead and not yet taken.
    std::string_view buffered() const;
    /// Takes `count` octets of buffered() without giving them out.
    void consume(std::size_t count);
    /// Waits for more octets behind buffered() and adds them; the buffer grows to `octets_max` at most (else
    /// too_large).
    Task<Result<>> fill_more(std::size_t octets_max);
    /// Drops what was read ahead: before a TLS handshake (RFC 3207 4.2).
    void drop_buffered();

    /// Gathers output; flushes by itself past 64 KiB only when flush() or write() is awaited.
    void put(std::string_view octets);
    std::size_t pending_output() const { return out_.size(); }
    /// What put() has gathered, to append to it in place.
    std::string& output() { return out_; }
    /// Buffer::kept: there is more to come, the memory is used again.
    enum class Buffer { given_back, kept };
    Task<Result<>> flush(Buffer buffer = Buffer::given_back);
    /// flush() and then `octets` without copying them.
    Task<Result<>> write(std::string_view octets);

    static constexpr std::size_t swallow_octets_max = 1024 * 1024;

 private:
    Task<Result<>> swallow_line();

    std::unique_ptr<Stream> stream_;
    std::string in_;  // read-ahead; [in_at_, in_.size()) is not yet taken
    std::size_t in_at_ = 0;
    std::string out_;
    bool more_likely_ = false;  // the last read filled its buffer
};

}  // namespace posthouse::net
