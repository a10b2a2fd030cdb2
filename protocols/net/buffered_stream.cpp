#include "protocols/net/buffered_stream.h"

#include <algorithm>
#include <array>

namespace posthouse::net {

namespace {

constexpr std::size_t kScratchOctets = 64 * 1024;
constexpr std::size_t kOutputOctetsMax = 64 * 1024;
constexpr std::size_t kKeptOctetsMax = 1024UL * 1024;

// One read buffer a thread: Stream::read_some fills it at the very moment it completes, and what it found is copied
// out before anything else on the loop runs. Idle connections therefore own no buffer at all.
std::span<char> scratch() {
    thread_local const auto buffer = std::make_unique<std::array<char, kScratchOctets>>();
    return {buffer->data(), buffer->size()};
}

void free_memory(std::string& text) { std::string().swap(text); }

}  // namespace

BufferedStream::BufferedStream(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

std::string_view BufferedStream::buffered() const { return std::string_view(in_).substr(in_at_); }

void BufferedStream::consume(std::size_t count) {
    ASSERT(count <= in_.size() - in_at_);
    in_at_ += count;
}

void BufferedStream::drop_buffered() {
    free_memory(in_);
    in_at_ = 0;
    more_likely_ = false;
}

// No coroutine, since its frame would be there for the whole wait.
Task<Result<>> BufferedStream::wait_more() {
    ASSERT(buffered().empty());
    free_memory(in_);
    in_at_ = 0;
    return stream_->wait_readable();
}

Task<Result<>> BufferedStream::fill_more(std::size_t octets_max) {
    if (in_at_ == in_.size()) {
        in_at_ = 0;
        if (more_likely_) {
            in_.clear();
        } else {
            free_memory(in_);
        }
    }
    const std::size_t held = in_.size() - in_at_;
    if (held >= octets_max) co_return Error(Errc::too_large, "more input than allowed before its end");
    // A read that filled the buffer means that more is there: no use in asking the kernel to wake us for it.
    if (!more_likely_) CO_TRY_VOID(co_await stream_->wait_readable());
    const std::span<char> into = scratch().first(std::min(kScratchOctets, octets_max - held));
    const auto got = co_await stream_->read_some(into);
    if (!got) {
        more_likely_ = false;
        co_return Error(got.error());
    }
    more_likely_ = *got == into.size();
    if (in_at_ > 0) {
        in_.erase(0, in_at_);
        in_at_ = 0;
    }
    in_.append(into.data(), *got);
    co_return Result<>();
}

Task<Result<std::string_view>> BufferedStream::read_line(std::size_t octets_max) {
    std::size_t searched = 0;  // of buffered(): so that a line in many small packets is scanned once
    for (;;) {
        const std::string_view held = buffered();
        const std::size_t end = held.find("\r\n", searched);
        if (end != std::string_view::npos && end + 2 <= octets_max) {
            in_at_ += end + 2;
            co_return held.substr(0, end);
        }
        if (end != std::string_view::npos) {
            in_at_ += end + 2;
            co_return Error(Errc::too_large, "the line is longer than allowed");
        }
        if (held.size() >= octets_max) {
            const auto swallowed = co_await swallow_line();
            if (!swallowed) co_return Error(swallowed.error());
            co_return Error(Errc::too_large, "the line is longer than allowed");
        }
        searched = held.empty() ? 0 : held.size() - 1;
        // Read ahead freely: pipelined commands and the first part of a body come in one packet.
        CO_TRY_VOID(co_await fill_more(std::max(octets_max, kScratchOctets)));
    }
}

Task<Result<>> BufferedStream::swallow_line() {
    std::size_t swallowed = 0;
    for (;;) {
        const std::string_view held = buffered();
        const std::size_t end = held.find("\r\n");
        if (end != std::string_view::npos) {
            in_at_ += end + 2;
            co_return Result<>();
        }
        // A CR at the very end may be the first half of the line's end.
        const std::size_t dropped = held.ends_with('\r') ? held.size() - 1 : held.size();
        swallowed += dropped;
        in_at_ += dropped;
        if (swallowed > swallow_octets_max) {
            stream_->close();
            co_return Error(Errc::closed, "the peer sent an endless line");
        }
        CO_TRY_VOID(co_await fill_more(kScratchOctets));
    }
}

Task<Result<std::string_view>> BufferedStream::read_some(std::size_t octets_max) {
    ASSERT(octets_max > 0);
    if (in_at_ == in_.size()) CO_TRY_VOID(co_await fill_more(kScratchOctets));
    const std::string_view out = buffered().substr(0, octets_max);
    in_at_ += out.size();
    co_return out;
}

void BufferedStream::put(std::string_view octets) { out_.append(octets); }

Task<Result<>> BufferedStream::flush(Buffer buffer) {
    if (out_.empty()) {
        if (buffer == Buffer::given_back) free_memory(out_);
        co_return Result<>();
    }
    std::string gathered;
    gathered.swap(out_);  // put() may go on while this is under way
    std::string_view rest = gathered;
    while (!rest.empty()) {
        const std::string_view piece = rest.substr(0, kOutputOctetsMax);
        CO_TRY_VOID(co_await stream_->write_all(piece));
        rest.remove_prefix(piece.size());
    }
    if (buffer == Buffer::kept && out_.empty() && gathered.capacity() <= kKeptOctetsMax) {
        gathered.clear();
        out_.swap(gathered);
    }
    co_return Result<>();
}

Task<Result<>> BufferedStream::write(std::string_view octets) {
    CO_TRY_VOID(co_await flush());
    if (octets.empty()) co_return Result<>();
    co_return co_await stream_->write_all(octets);
}

}  // namespace posthouse::net
