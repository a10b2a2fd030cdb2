#include "protocols/mailauth/srs.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"

namespace posthouse::mailauth {

namespace {

constexpr std::string_view kBase32 = "abcdefghijklmnopqrstuvwxyz234567";  // RFC 4648 6, in lower case
constexpr std::size_t kHashLetters = 7;
constexpr std::size_t kDayLetters = 2;
constexpr std::int64_t kDaysModulo = 1024;
constexpr std::string_view kSrs0 = "SRS0";
constexpr std::string_view kSrs1 = "SRS1";

std::int64_t day_of(Time now) {
    return std::chrono::floor<std::chrono::days>(now).time_since_epoch().count() % kDaysModulo;
}

std::string format_day(std::int64_t day) {
    return {kBase32[static_cast<std::size_t>(day / 32)], kBase32[static_cast<std::size_t>(day % 32)]};
}

std::optional<std::int64_t> parse_day(std::string_view text) {
    if (text.size() != kDayLetters) return std::nullopt;
    const auto high = kBase32.find(ascii::lower(text[0]));
    const auto low = kBase32.find(ascii::lower(text[1]));
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    return static_cast<std::int64_t>(high * 32 + low);
}

std::string hash_of(std::string_view key, std::string_view what) {
    const crypto::Sha256Digest digest = crypto::hmac_sha256(key, ascii::to_lower(what));
    std::string out;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 5; ++i) bits = bits << 8 | digest[i];
    for (std::size_t i = 0; i < kHashLetters; ++i) out += kBase32[static_cast<std::size_t>(bits >> (35 - 5 * i) & 31)];
    return out;
}

bool is_signed(const SrsKeys& keys, std::string_view hash, std::string_view what) {
    const std::string given = ascii::to_lower(hash);
    return std::ranges::any_of(
        keys, [&](const std::string& key) { return crypto::equal_constant_time(hash_of(key, what), given); });
}

// "SRS0" or "SRS1" and what stands behind the first separator, which may be one of three; nothing for other addresses.
struct Tagged {
    bool second = false;
    std::string_view rest;
};
std::optional<Tagged> split_tag(std::string_view local) {
    const bool first = ascii::starts_with_ci(local, kSrs0);
    const bool second = ascii::starts_with_ci(local, kSrs1);
    if ((!first && !second) || local.size() <= kSrs0.size()) return std::nullopt;
    if (!std::string_view("=+-").contains(local[kSrs0.size()])) return std::nullopt;
    return Tagged{second, local.substr(kSrs0.size() + 1)};
}

// What a forwarder would understand: enough parts, none of them empty.
bool has_parts(std::string_view rest, std::size_t wanted) {
    std::size_t found = 0;
    while (!rest.empty() && found < wanted) {
        const std::size_t end = std::min(rest.find('='), rest.size());
        if (end == 0) return false;
        ++found;
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return found == wanted;
}

std::string_view take_part(std::string_view& rest) {
    const std::size_t end = std::min(rest.find('='), rest.size());
    const std::string_view out = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return out;
}

std::optional<std::string> bounded(std::string local) {
    if (local.size() > kLocalPartOctetsMax) return std::nullopt;
    return local;
}

Error forged() { return {Errc::denied, "This bounce address was not made here"}; }

}  // namespace

std::optional<std::string> srs_forward(const SrsKeys& keys, const SrsMailbox& sender, Time now) {
    if (keys.empty() || sender.local.empty() || sender.domain.empty()) return std::nullopt;
    const auto tagged = split_tag(sender.local);
    // "SRS0=h=tt=domain=local", "SRS1=h=domain==...": what only begins like one is an address as any other.
    const bool first = tagged && !tagged->second && has_parts(tagged->rest, 4);
    const auto has_tail = [](std::string_view rest) {
        return rest.contains("==") || rest.contains("=+") || rest.contains("=-");
    };
    const bool second = tagged && tagged->second && has_parts(tagged->rest, 2) && has_tail(tagged->rest);
    if (first || second) {
        // The way back leads to the first forwarder, who alone can read what is his.
        std::string what;
        if (first) {
            // His separator may be another than "=".
            what = sender.domain + "=" + sender.local.substr(kSrs0.size());
        } else {
            std::string_view rest = tagged->rest;
            take_part(rest);  // the hash of the second, which we replace
            what = rest;
        }
        return bounded(std::string(kSrs1) + "=" + hash_of(keys.front(), what) + "=" + what);
    }
    const std::string what = format_day(day_of(now)) + "=" + sender.domain + "=" + sender.local;
    return bounded(std::string(kSrs0) + "=" + hash_of(keys.front(), what) + "=" + what);
}

SrsKeys srs_keys(std::string_view sealing_key) {
    const crypto::Sha256Digest digest = crypto::hmac_sha256(sealing_key, "SRS");
    return {std::string(reinterpret_cast<const char*>(digest.data()), digest.size())};
}

bool is_srs(std::string_view local_part) { return split_tag(local_part).has_value(); }

Result<SrsMailbox> srs_reverse(const SrsKeys& keys, std::string_view local_part, Time now) {
    const auto tagged = split_tag(local_part);
    if (!tagged) return Error(Errc::invalid, "This is no bounce address");
    std::string_view rest = tagged->rest;
    const std::string_view hash = take_part(rest);
    if (!is_signed(keys, hash, rest)) return forged();
    if (tagged->second) {
        const std::string_view domain = take_part(rest);
        if (domain.empty() || rest.empty()) return forged();
        return SrsMailbox{std::string(kSrs0) + std::string(rest), std::string(domain)};
    }
    const auto day = parse_day(take_part(rest));
    const std::string_view domain = take_part(rest);
    if (!day || domain.empty() || rest.empty()) return forged();
    // A clock of ours that was set back makes yesterday tomorrow: one day is let pass.
    const std::int64_t age = (day_of(now) - *day + 1 + kDaysModulo) % kDaysModulo;
    if (age > kSrsDaysMax + 1) return Error(Errc::timeout, "This bounce address is too old");
    return SrsMailbox{std::string(rest), std::string(domain)};
}

}  // namespace posthouse::mailauth
