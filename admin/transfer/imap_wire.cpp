#include "admin/transfer/imap_wire.h"

#include <fmt/format.h>

#include <utility>

#include "protocols/base/cursor.h"

namespace posthouse::transfer {
namespace {

constexpr std::size_t kBufferOctets = 128UL * 1024;
constexpr std::chrono::milliseconds kTick{500};

}  // namespace

ImapWire::ImapWire(net::Loop& loop, std::unique_ptr<net::Stream> stream, std::chrono::milliseconds silence_max,
                   std::function<bool()> interrupted)
    : loop_(loop),
      stream_(std::move(stream)),
      silence_max_(silence_max),
      interrupted_(std::move(interrupted)),
      buffer_(kBufferOctets) {}

ImapWire::~ImapWire() {
    stream_->close();
    loop_.poll();
}

Result<> ImapWire::send(std::string_view octets) {
    stream_->expires_in(silence_max_);
    return run_to_end(loop_, stream_->write_all(octets));
}

Result<> ImapWire::start_tls(net::TlsClientContext& context, const std::string& name) {
    if (!rest_.empty()) return Error(Errc::invalid, "the server sent data in clear behind its answer to STARTTLS");
    stream_->expires_in(silence_max_);
    return run_to_end(loop_, stream_->start_tls_client(context, name));
}

Result<imap::ReaderEvent> ImapWire::next() {
    for (;;) {
        Cursor in(rest_);
        auto event = reader_.next(in);
        rest_ = in.rest();
        if (!event || event->kind != imap::ReaderEvent::Kind::more) return event;
        TRY_VOID(fill());
    }
}

Result<> ImapWire::fill() {
    // A read that filled the buffer means that more is there.
    for (std::chrono::milliseconds waited{0}; !more_likely_; waited += kTick) {
        if (interrupted_ && interrupted_()) return Error(Errc::cancelled, "stopped");
        if (waited >= silence_max_) {
            return Error(Errc::timeout,
                         fmt::format("the server has been silent for {} s", silence_max_.count() / 1000));
        }
        stream_->expires_in(kTick);
        const auto readable = run_to_end(loop_, stream_->wait_readable());
        if (readable) break;
        if (readable.error().code != Errc::timeout) return Error(readable.error());
    }
    stream_->expires_in(silence_max_);
    const auto got = run_to_end(loop_, stream_->read_some(std::span<char>(buffer_)));
    if (!got) return Error(got.error());
    more_likely_ = *got == buffer_.size();
    octets_in_ += *got;
    rest_ = std::string_view(buffer_.data(), *got);
    return {};
}

}  // namespace posthouse::transfer
