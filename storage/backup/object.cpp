#include "storage/backup/object.h"

#include <zstd.h>

#include "protocols/crypto/stream_seal.h"

namespace posthouse::storage::backup {
namespace {

// magic(4) version(1) flags(1) zero(2)
constexpr std::string_view kMagic = "PHBO";
constexpr std::size_t kHeaderOctets = 8;
constexpr char kVersion = 1;
constexpr unsigned char kZstd = 1;
constexpr unsigned char kSealed = 2;
constexpr int kLevel = 1;

Error broken() { return Error(Errc::corrupt, "its octets do not open or unpack"); }

}  // namespace

std::string encode_object(std::string_view octets, Pack pack, std::string_view key32, std::string_view purpose) {
    std::string packed;
    unsigned char flags = 0;
    if (pack == Pack::zstd) {
        packed.resize(ZSTD_compressBound(octets.size()));
        const std::size_t made = ZSTD_compress(packed.data(), packed.size(), octets.data(), octets.size(), kLevel);
        // What does not get smaller is kept as it is.
        if (ZSTD_isError(made) == 0 && made < octets.size()) {
            flags = kZstd;
            octets = std::string_view(packed).substr(0, made);
        }
    }
    if (!key32.empty()) flags |= kSealed;
    std::string out(kMagic);
    out.push_back(kVersion);
    out.push_back(static_cast<char>(flags));
    out.append(2, '\0');
    // The header is no secret, but must not be changed either.
    const std::string bound = out + std::string(purpose);
    if (key32.empty()) return out.append(octets);
    return out.append(crypto::seal_stream(key32, bound, octets));
}

Result<std::string> decode_object(std::string_view coded, std::string_view key32, std::string_view purpose,
                                  std::uint64_t octets_max) {
    if (coded.size() < kHeaderOctets || !coded.starts_with(kMagic) || coded[4] != kVersion || coded[6] != 0 ||
        coded[7] != 0) {
        return broken();
    }
    const auto flags = static_cast<unsigned char>(coded[5]);
    // Whether it is sealed is the repository's word, not the object's: nothing unsealed may be slipped in.
    if ((flags & ~(kZstd | kSealed)) != 0 || ((flags & kSealed) != 0) == key32.empty()) return broken();
    const std::string bound = std::string(coded.substr(0, kHeaderOctets)) + std::string(purpose);
    std::string octets;
    if (key32.empty()) {
        octets = coded.substr(kHeaderOctets);
    } else {
        TRY(octets, crypto::open_stream(key32, bound, coded.substr(kHeaderOctets)));
    }
    if ((flags & kZstd) != 0) {
        const unsigned long long size = ZSTD_getFrameContentSize(octets.data(), octets.size());
        if (size > octets_max) return broken();  // the two special values are the largest numbers there are
        std::string plain(size, '\0');
        const std::size_t made = ZSTD_decompress(plain.data(), plain.size(), octets.data(), octets.size());
        if (ZSTD_isError(made) != 0 || made != size) return broken();
        octets = std::move(plain);
    }
    if (octets.size() > octets_max) return broken();
    return octets;
}

}  // namespace posthouse::storage::backup
