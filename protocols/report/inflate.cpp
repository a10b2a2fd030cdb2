#include "protocols/report/inflate.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace posthouse::report {
namespace {

constexpr int kGzipWindow = 15 + 16;  // zlib's way to say "with the gzip header"
constexpr int kRawWindow = -15;

Error bad(std::string_view what) { return Error(Errc::invalid, std::string(what)); }

class Inflater {
 public:
    explicit Inflater(int window) { ready_ = inflateInit2(&stream_, window) == Z_OK; }
    ~Inflater() {
        if (ready_) inflateEnd(&stream_);
    }
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    Result<std::string> run(std::string_view in) {
        if (!ready_) return Error(Errc::internal, "zlib gave no stream");
        if (in.size() > kReportOctetsMax) return Error(Errc::too_large, "the report is too large");
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));  // zlib does not write there
        stream_.avail_in = static_cast<uInt>(in.size());
        std::string out;
        std::array<char, 16UL * 1024> piece{};
        for (;;) {
            stream_.next_out = reinterpret_cast<Bytef*>(piece.data());
            stream_.avail_out = piece.size();
            const int rc = ::inflate(&stream_, Z_NO_FLUSH);
            if (rc != Z_OK && rc != Z_STREAM_END) return bad("the report is not whole");
            out.append(piece.data(), piece.size() - stream_.avail_out);
            const bool is_bomb = out.size() > kRatioFreeOctets && out.size() / kRatioMax > in.size();
            if (out.size() > kReportOctetsMax || is_bomb) {
                return Error(Errc::too_large, "the report is larger than 16 MiB, or made to look small");
            }
            if (rc == Z_STREAM_END) return out;
            if (stream_.avail_in == 0 && stream_.avail_out != 0) return bad("the report is not whole");
        }
    }

 private:
    z_stream stream_{};
    bool ready_ = false;
};

std::uint32_t little(std::string_view octets, std::size_t at, std::size_t count) {
    std::uint32_t out = 0;
    for (std::size_t i = 0; i < count; ++i) {
        out |= static_cast<std::uint32_t>(static_cast<unsigned char>(octets[at + i])) << (8 * i);
    }
    return out;
}

}  // namespace

bool is_gzip(std::string_view octets) { return octets.starts_with("\x1f\x8b"); }
bool is_zip(std::string_view octets) { return octets.starts_with("PK\x03\x04"); }

Result<std::string> inflate_gzip(std::string_view octets) {
    if (!is_gzip(octets)) return bad("the report is not gzip");
    return Inflater(kGzipWindow).run(octets);
}

// The central directory says where a file begins and how long it is; the local header often does not (APPNOTE 4.3).
Result<std::string> inflate_zip(std::string_view octets) {
    constexpr std::size_t kEndOctets = 22;
    constexpr std::size_t kEntryOctets = 46;
    constexpr std::size_t kLocalOctets = 30;
    constexpr std::size_t kCommentMax = 65'535;
    if (octets.size() < kEndOctets) return bad("the archive is cut");
    const std::size_t from = octets.size() > kEndOctets + kCommentMax ? octets.size() - kEndOctets - kCommentMax : 0;
    const std::size_t end = octets.rfind("PK\x05\x06");
    if (end == std::string_view::npos || end < from || end + kEndOctets > octets.size())
        return bad("the archive is cut");
    const std::size_t entry = little(octets, end + 16, 4);
    if (entry > octets.size() || octets.size() - entry < kEntryOctets) return bad("the archive is damaged");
    if (!octets.substr(entry).starts_with("PK\x01\x02")) return bad("the archive is damaged");
    const std::uint32_t flags = little(octets, entry + 8, 2);
    const std::uint32_t method = little(octets, entry + 10, 2);
    const std::size_t packed = little(octets, entry + 20, 4);
    const std::size_t local = little(octets, entry + 42, 4);
    if ((flags & 1U) != 0) return Error(Errc::unsupported, "the archive is encrypted");
    if (local > octets.size() || octets.size() - local < kLocalOctets) return bad("the archive is damaged");
    const std::size_t skip = kLocalOctets + little(octets, local + 26, 2) + little(octets, local + 28, 2);
    if (octets.size() - local < skip || octets.size() - local - skip < packed) return bad("the archive is cut");
    const std::string_view data = octets.substr(local + skip, packed);
    if (method == 0) {
        if (data.size() > kReportOctetsMax) return Error(Errc::too_large, "the report is too large");
        return std::string(data);
    }
    if (method != Z_DEFLATED) return Error(Errc::unsupported, "the archive is packed in a way that is not known here");
    return Inflater(kRawWindow).run(data);
}

}  // namespace posthouse::report
