#include "storage/wal_check.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "protocols/base/log.h"

namespace posthouse::storage {
namespace {

constexpr std::size_t kHeaderOctets = 32;
constexpr std::size_t kFrameHeaderOctets = 24;
constexpr std::uint32_t kMagic = 0x377f0682;  // the lowest bit tells the byte order of the checksums
constexpr std::uint32_t kPageOctetsMax = 65536;
constexpr std::size_t kCopyStepOctets = 1024UL * 1024;

using Sum = std::array<std::uint32_t, 2>;

std::uint32_t big_endian(std::string_view octets, std::size_t at) {
    std::uint32_t out = 0;
    std::memcpy(&out, octets.data() + at, sizeof out);
    return __builtin_bswap32(out);
}

std::uint32_t little_endian(std::string_view octets, std::size_t at) {
    return __builtin_bswap32(big_endian(octets, at));
}

// The running checksum of the file format: two words, over pairs of words.
Sum add_to(Sum sum, std::string_view octets, bool big) {
    for (std::size_t at = 0; at + 8 <= octets.size(); at += 8) {
        sum[0] += (big ? big_endian(octets, at) : little_endian(octets, at)) + sum[1];
        sum[1] += (big ? big_endian(octets, at + 4) : little_endian(octets, at + 4)) + sum[0];
    }
    return sum;
}

bool has_sum(Sum sum, std::string_view octets, std::size_t at) {
    return sum[0] == big_endian(octets, at) && sum[1] == big_endian(octets, at + 4);
}

/// Walks the frames; `header` has checked out.
Result<> walk(const Descriptor& file, std::uint64_t size, std::string_view header, WalFacts& facts) {
    const bool big = (big_endian(header, 0) & 1U) != 0;
    const std::uint32_t page = big_endian(header, 8);
    const std::string_view salts = header.substr(16, 8);
    Sum sum{big_endian(header, 24), big_endian(header, 28)};
    std::string frame(kFrameHeaderOctets + page, '\0');
    bool good = true;
    std::uint64_t number = 0;
    for (std::uint64_t at = kHeaderOctets; at + frame.size() <= size; at += frame.size()) {
        ++number;
        TRY(const std::size_t got, read_at(file, at, frame));
        if (got != frame.size()) break;
        const std::string_view octets = frame;
        // Frames of an earlier round of the log bear other salts: nothing of this one lies behind them.
        if (octets.substr(8, 8) != salts) {
            if (good) break;
            continue;
        }
        const bool commits = big_endian(octets, 4) != 0;
        if (good) {
            sum = add_to(add_to(sum, octets.substr(0, 8), big), octets.substr(kFrameHeaderOctets), big);
            good = has_sum(sum, octets, 16);
        }
        if (good && commits) facts.frames = number;
        if (!good && commits) ++facts.commits_behind;
    }
    facts.octets_behind = (size - kHeaderOctets) % frame.size();
    return {};
}

Result<> keep_copy(const Descriptor& root, const std::string& name) {
    TRY(const Descriptor from, open_beneath(root, name, O_RDONLY));
    TRY(const Descriptor to, open_beneath(root, name + ".damaged", O_WRONLY | O_CREAT | O_EXCL));
    std::string step(kCopyStepOctets, '\0');
    for (std::uint64_t at = 0;; at += step.size()) {
        TRY(const std::size_t got, read_at(from, at, step));
        TRY_VOID(write_at(to, at, std::string_view(step).substr(0, got)));
        if (got < step.size()) return sync_data(to);
    }
}

}  // namespace

Result<WalFacts> look_at_wal(const Descriptor& root, const std::string& name) {
    WalFacts facts;
    const auto file = open_beneath(root, name, O_RDONLY);
    if (!file && file.error().code == Errc::not_found) return facts;
    if (!file) return Error(file.error());
    TRY(const std::uint64_t size, size_of(*file));
    if (size <= kHeaderOctets) return facts;
    std::string header(kHeaderOctets, '\0');
    TRY(const std::size_t got, read_at(*file, 0, header));
    const std::uint32_t page = big_endian(header, 8);
    const bool known = got == kHeaderOctets && (big_endian(header, 0) & ~1U) == kMagic;
    const bool sized = page >= 512 && page <= kPageOctetsMax && (page & (page - 1)) == 0;
    const bool big = (big_endian(header, 0) & 1U) != 0;
    if (!known || !sized || !has_sum(add_to(Sum{}, std::string_view(header).substr(0, 24), big), header, 24)) {
        facts.header_bad = true;
        return facts;
    }
    TRY_VOID(walk(*file, size, header, facts));
    return facts;
}

void guard_wal(const Descriptor& root, const std::string& name) {
    const auto facts = look_at_wal(root, name);
    if (!facts) return log::error("storage", "{} could not be looked at: {}", name, facts.error().context);
    if (facts->octets_behind != 0) {
        log::warn("storage",
                  "{} ends in the middle of a frame: a crash can do that to a commit that nobody was told of; if there "
                  "was none, the file was cut: run posthouse fsck",
                  name);
    }
    if (!facts->damaged()) return;
    log::error("storage",
               "{} is damaged behind frame {}: {} commits that lie there cannot be read, so mail and changes that were "
               "acknowledged last may be missing; run posthouse fsck, and look at the disk",
               name, facts->frames, facts->commits_behind);
    if (const Result<> kept = keep_copy(root, name); kept) {
        log::error("storage", "a copy of it is kept as {}.damaged", name);
    } else if (kept.error().code != Errc::already_exists) {
        log::error("storage", "no copy of it could be kept: {}", kept.error().context);
    }
}

}  // namespace posthouse::storage
