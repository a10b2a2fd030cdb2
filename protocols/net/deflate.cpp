#include "protocols/net/deflate.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>

#include "protocols/base/result.h"

namespace posthouse::net {

namespace {

// Negative: without the frame of zlib. Input may use the whole window (RFC 4978 3); ours is 8 KiB, which for mail
// saves nearly as much as the largest.
constexpr int kInputWindowBits = -15;
constexpr int kOutputWindowBits = -13;
constexpr int kOutputMemoryLevel = 6;
constexpr int kBehindLastBlock = 64 + 128;  // of data_type, where inflate() stopped at the end of a block (zlib.h)
constexpr std::size_t kInputOctets = 8UL * 1024;
constexpr std::size_t kOutputOctets = 16UL * 1024;

class Deflated final : public DeflatedStream {
 public:
    explicit Deflated(std::unique_ptr<Stream> inner) : inner_(std::move(inner)) { begin(); }
    ~Deflated() override { end(); }
    Deflated(const Deflated&) = delete;
    Deflated& operator=(const Deflated&) = delete;

    Task<Result<>> wait_readable() override {
        if (more_ || at_ < raw_.size()) co_return Result<>();
        co_return co_await inner_->wait_readable();
    }

    bool is_deflating() const override { return deflating_; }

    Task<Result<>> write_last(std::string_view octets) override {
        const std::string packed = deflate(octets, Z_FINISH);
        CO_TRY_VOID(co_await inner_->write_all(packed));
        end();
        ending_ = true;
        co_return Result<>();
    }

    void deflate_again() override { begin(); }

    Task<Result<std::size_t>> read_some(std::span<char> into) override {
        if (!deflating_) co_return co_await read_plain(into);
        for (;;) {
            // A block may hold nothing (a flush does): what lies behind it is there already.
            while (more_ || at_ < raw_.size()) {
                CO_TRY(const std::size_t got, inflate_into(into));
                if (got > 0) co_return got;
            }
            // Waits without a buffer, as the streams beneath do.
            CO_TRY_VOID(co_await inner_->wait_readable());
            raw_.resize(kInputOctets);
            at_ = 0;
            const std::span<char> room(raw_);
            const auto got = co_await inner_->read_some(room);
            raw_.resize(got ? *got : 0);
            if (!got) co_return Error(got.error());
        }
    }

    Task<Result<>> write_all(std::string_view octets) override {
        if (!deflating_) co_return co_await inner_->write_all(octets);
        while (!octets.empty()) {
            const std::string_view piece = octets.substr(0, kOutputOctets * 4);
            octets.remove_prefix(piece.size());
            const std::string packed = deflate(piece, octets.empty() ? Z_SYNC_FLUSH : Z_NO_FLUSH);
            if (!packed.empty()) CO_TRY_VOID(co_await inner_->write_all(packed));
        }
        co_return Result<>();
    }

    void expires_in(std::chrono::milliseconds span) override { inner_->expires_in(span); }
    Task<Result<>> start_tls_server(TlsServerContext&) override {
        co_return Error(Errc::unsupported, "TLS cannot begin above compression");
    }
    Task<Result<>> start_tls_client(TlsClientContext&, TlsPeer) override {
        co_return Error(Errc::unsupported, "TLS cannot begin above compression");
    }
    const std::optional<TlsFacts>& tls() const override { return inner_->tls(); }
    TlsBinding tls_binding() const override { return inner_->tls_binding(); }
    Endpoint peer() const override { return inner_->peer(); }
    Endpoint local() const override { return inner_->local(); }
    void acknowledge() override { inner_->acknowledge(); }
    void interrupt() override { inner_->interrupt(); }
    void close() override { inner_->close(); }

 private:
    void begin() {
        in_ = z_stream{};
        out_ = z_stream{};
        ASSERT(::inflateInit2(&in_, kInputWindowBits) == Z_OK);
        ASSERT(::deflateInit2(&out_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kOutputWindowBits, kOutputMemoryLevel,
                              Z_DEFAULT_STRATEGY) == Z_OK);
        deflating_ = true;
        ended_ = false;
        ending_ = false;
        more_ = false;
    }

    void end() {
        if (!deflating_) return;
        ::inflateEnd(&in_);
        ::deflateEnd(&out_);
        deflating_ = false;
    }

    // What was read behind the last compressed octets comes first.
    Task<Result<std::size_t>> read_plain(std::span<char> into) {
        for (;;) {
            std::size_t got = std::min(into.size(), raw_.size() - at_);
            if (got > 0) {
                std::copy_n(raw_.begin() + static_cast<std::ptrdiff_t>(at_), got, into.begin());
                at_ += got;
            } else {
                std::string().swap(raw_);
                at_ = 0;
                CO_TRY_VOID(co_await inner_->wait_readable());
                CO_TRY(got, co_await inner_->read_some(into));
            }
            if (!ending_) co_return got;
            // A flush leaves an empty block behind, the end of a stream another: no command begins with their octets.
            const auto is_left = [](char c) { return c == '\0' || c == '\x03' || c == '\xff'; };
            const std::span<char> read = into.first(got);
            const auto first = std::ranges::find_if_not(read, is_left);
            if (first == read.end()) continue;
            ending_ = false;
            co_return static_cast<std::size_t>(std::move(first, read.end(), into.begin()) - into.begin());
        }
    }

    Result<std::size_t> inflate_into(std::span<char> into) {
        in_.next_in = reinterpret_cast<Bytef*>(raw_.data() + at_);
        in_.avail_in = static_cast<uInt>(raw_.size() - at_);
        in_.next_out = reinterpret_cast<Bytef*>(into.data());
        in_.avail_out = static_cast<uInt>(std::min<std::size_t>(into.size(), std::numeric_limits<uInt>::max()));
        const uInt room = in_.avail_out;
        // Up to the end of a block that gave something: what lies behind it may not be compressed any more. Each round
        // takes input or ends with Z_BUF_ERROR.
        int rc = ended_ ? Z_DATA_ERROR : Z_OK;
        while (rc == Z_OK && in_.avail_out == room && (in_.avail_in > 0 || more_)) {
            rc = ::inflate(&in_, Z_BLOCK);
            more_ = false;
            if (rc == Z_OK && (in_.data_type & kBehindLastBlock) == kBehindLastBlock) rc = Z_STREAM_END;
        }
        ended_ = ended_ || rc == Z_STREAM_END;
        at_ = raw_.size() - in_.avail_in;
        // A buffer that was filled may have left some behind within the decoder.
        more_ = in_.avail_out == 0 && !ended_;
        if (at_ == raw_.size()) {
            std::string().swap(raw_);
            at_ = 0;
        }
        const std::size_t got = room - in_.avail_out;
        if (rc == Z_STREAM_END && got > 0) return got;
        if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return Error(Errc::closed,
                         ended_ ? "the peer ended its compressed stream" : "the compressed input is damaged");
        }
        return got;
    }

    std::string deflate(std::string_view octets, int flush) {
        std::string out;
        std::array<char, kOutputOctets> piece;
        out_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(octets.data()));
        out_.avail_in = static_cast<uInt>(octets.size());
        do {
            out_.next_out = reinterpret_cast<Bytef*>(piece.data());
            out_.avail_out = static_cast<uInt>(piece.size());
            ::deflate(&out_, flush);
            out.append(piece.data(), piece.size() - out_.avail_out);
        } while (out_.avail_out == 0);
        return out;
    }

    std::unique_ptr<Stream> inner_;
    z_stream in_{};
    z_stream out_{};
    std::string raw_;  // compressed input; [at_, size) is not yet inflated
    std::size_t at_ = 0;
    bool more_ = false;
    bool deflating_ = false;
    bool ended_ = false;   // the peer's compressed stream
    bool ending_ = false;  // the first octets in clear have not come yet
};

}  // namespace

std::unique_ptr<DeflatedStream> deflated(std::unique_ptr<Stream> inner) {
    return std::make_unique<Deflated>(std::move(inner));
}

}  // namespace posthouse::net
