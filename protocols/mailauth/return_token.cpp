#include "protocols/mailauth/return_token.h"

#include <algorithm>
#include <chrono>

#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"

namespace posthouse::mailauth {

namespace {

constexpr std::string_view kBase32 = "abcdefghijklmnopqrstuvwxyz234567";  // RFC 4648 6, in lower case
constexpr std::string_view kTag = "PHT0=";
constexpr std::size_t kHashLetters = 10;
constexpr std::size_t kDayLetters = 2;
constexpr std::size_t kRecipientLetters = 4;
constexpr std::size_t kQueueLettersMax = 13;  // 64 bits
constexpr std::int64_t kDaysModulo = 1024;

std::int64_t day_of(Time at) {
    return std::chrono::floor<std::chrono::days>(at).time_since_epoch().count() % kDaysModulo;
}

// The last `letters` digits of a number to the base 32.
std::string format_letters(std::uint64_t number, std::size_t letters) {
    std::string out(letters, 'a');
    for (std::size_t i = letters; i > 0; --i, number >>= 5U) out[i - 1] = kBase32[number & 31U];
    return out;
}

std::optional<std::uint64_t> parse_letters(std::string_view text) {
    if (text.empty() || text.size() > kQueueLettersMax) return std::nullopt;
    std::uint64_t out = 0;
    for (const char c : text) {
        const std::size_t digit = kBase32.find(ascii::lower(c));
        if (digit == std::string_view::npos || out >> 59U != 0) return std::nullopt;
        out = out << 5U | digit;
    }
    return out;
}

std::string hash_of(std::string_view key, std::string_view what) {
    const crypto::Sha256Digest digest = crypto::hmac_sha256(key, ascii::to_lower(what));
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 7; ++i) bits = bits << 8U | digest[i];
    return format_letters(bits >> 6U, kHashLetters);  // 56 bits, of which 50 count
}

std::string_view take_part(std::string_view& rest) {
    const std::size_t end = std::min(rest.find('='), rest.size());
    const std::string_view out = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return out;
}

struct Parts {
    std::string_view hash;
    std::string_view what;  ///< that it is over
    std::int64_t day = 0;
    ReturnToken token;
};

std::optional<Parts> split(std::string_view local) {
    if (!ascii::starts_with_ci(local, kTag)) return std::nullopt;
    std::string_view rest = local.substr(kTag.size());
    Parts out;
    out.hash = take_part(rest);
    out.what = rest;
    const std::string_view day = take_part(rest);
    const auto queue = parse_letters(take_part(rest));
    const auto number = parse_letters(day);
    if (out.hash.size() != kHashLetters || day.size() != kDayLetters || !number || !queue) return std::nullopt;
    out.day = static_cast<std::int64_t>(*number);
    out.token.queue = *queue;
    if (rest.empty()) return out.what.ends_with('=') ? std::nullopt : std::optional(out);
    const auto recipient = parse_letters(rest);
    if (rest.size() != kRecipientLetters || !recipient) return std::nullopt;
    out.token.recipient = static_cast<std::uint32_t>(*recipient);
    return out;
}

}  // namespace

ReturnKeys return_keys(std::string_view sealing_key) {
    const crypto::Sha256Digest digest = crypto::hmac_sha256(sealing_key, "return token");
    return {std::string(reinterpret_cast<const char*>(digest.data()), digest.size())};
}

std::uint32_t return_hash(std::string_view recipient) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a: the signature is what cannot be forged
    for (const char c : recipient) hash = (hash ^ static_cast<unsigned char>(ascii::lower(c))) * 0x100000001b3ULL;
    return static_cast<std::uint32_t>((hash >> 40U ^ hash >> 20U ^ hash) & 0xfffffU);
}

std::uint32_t return_hash_of_domain(std::string_view recipient) {
    const std::size_t at = recipient.rfind('@');
    return return_hash(at == std::string_view::npos ? recipient : recipient.substr(at));
}

bool is_about(const ReturnToken& token, std::string_view recipient) {
    return !token.recipient || *token.recipient == return_hash(recipient) ||
           *token.recipient == return_hash_of_domain(recipient);
}

std::string make_return_token(const ReturnKeys& keys, const ReturnToken& token, Time accepted) {
    std::size_t letters = 1;
    while (letters < kQueueLettersMax && token.queue >> (5 * letters) != 0) ++letters;
    std::string what = format_letters(static_cast<std::uint64_t>(day_of(accepted)), kDayLetters) + "=" +
                       format_letters(token.queue, letters);
    if (token.recipient) what += "=" + format_letters(*token.recipient, kRecipientLetters);
    return std::string(kTag) + hash_of(keys.front(), what) + "=" + what;
}

bool is_return_token(std::string_view local_part) { return split(local_part).has_value(); }

Result<ReturnToken> read_return_token(const ReturnKeys& keys, std::string_view local_part, Time now) {
    const auto parts = split(local_part);
    if (!parts) return Error(Errc::invalid, "This is no bounce address");
    const std::string given = ascii::to_lower(parts->hash);
    const bool is_ours = std::ranges::any_of(
        keys, [&](const std::string& key) { return crypto::equal_constant_time(hash_of(key, parts->what), given); });
    if (!is_ours) return Error(Errc::denied, "This bounce address was not made here");
    // A clock of ours that was set back makes yesterday tomorrow: one day is let pass.
    const std::int64_t age = (day_of(now) - parts->day + 1 + kDaysModulo) % kDaysModulo;
    if (age > kReturnDaysMax + 1) return Error(Errc::timeout, "This bounce address is too old");
    return parts->token;
}

}  // namespace posthouse::mailauth
