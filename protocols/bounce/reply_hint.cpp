#include "protocols/bounce/reply_hint.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/bounce/reply_class.h"

namespace posthouse::bounce {
namespace {

constexpr std::size_t kWordsMax = 256;
constexpr std::size_t kLookBack = 7;  // words between "try again" and the number

struct Unit {
    std::string_view name;
    std::int64_t seconds;
};
constexpr Unit kUnits[] = {{"s", 1},    {"sec", 1},   {"secs", 1},   {"second", 1},  {"seconds", 1},
                           {"m", 60},   {"min", 60},  {"mins", 60},  {"minute", 60}, {"minutes", 60},
                           {"h", 3600}, {"hr", 3600}, {"hrs", 3600}, {"hour", 3600}, {"hours", 3600}};
// What is asked for, and the word that ties it to the number: "10 connections per 60 seconds" is no request.
constexpr std::string_view kAsking[] = {"again", "retry",  "try",     "wait",       "retrying",   "later",   "delay",
                                        "back",  "resend", "delayed", "greylisted", "graylisted", "deferred"};
constexpr std::string_view kTying[] = {"in", "after", "for", "wait", "least", "about", "approximately", "another"};

std::int64_t unit_seconds(std::string_view word) {
    for (const Unit& unit : kUnits) {
        if (ascii::equals_ci(word, unit.name)) return unit.seconds;
    }
    return 0;
}

template <std::size_t N>
bool is_one_of(std::string_view word, const std::string_view (&words)[N]) {
    return std::ranges::any_of(words, [word](std::string_view one) { return ascii::equals_ci(word, one); });
}

// 00:05:00 or 05:00
std::optional<std::int64_t> clock_seconds(std::string_view word) {
    if (word.find(':') == std::string_view::npos) return std::nullopt;
    std::int64_t total = 0;
    Cursor in(word);
    do {
        const auto part = ascii::parse_number(in.take_while(ascii::is_digit));
        if (!part || *part > 59) return std::nullopt;
        total = total * 60 + static_cast<std::int64_t>(*part);
    } while (in.take(':'));
    if (!in.at_end()) return std::nullopt;
    return total;
}

}  // namespace

std::optional<Milliseconds> find_wait(std::string_view text) {
    std::array<std::string_view, kWordsMax> words;
    std::size_t count = 0;
    const auto in_word = [](char c) { return ascii::is_alnum(c) || c == ':'; };
    for (Cursor in(text.substr(0, kReplyTextMax)); !in.at_end() && count < kWordsMax;) {
        in.take_while([&](char c) { return !in_word(c); });
        std::string_view word = in.take_while(in_word);
        while (word.ends_with(':')) word.remove_suffix(1);
        if (!word.empty()) words[count++] = word;
    }
    for (std::size_t i = 1; i < count; ++i) {
        Cursor word(words[i]);
        std::optional<std::int64_t> seconds = clock_seconds(words[i]);
        if (!seconds) {
            const auto number = ascii::parse_number(word.take_while(ascii::is_digit));
            if (!number || *number > 86'400) continue;
            // "300 seconds" or "300s"
            const std::string_view unit = !word.at_end() ? word.rest() : i + 1 < count ? words[i + 1] : "";
            const std::int64_t factor = unit_seconds(unit);
            if (factor == 0) continue;
            seconds = static_cast<std::int64_t>(*number) * factor;
        }
        if (!is_one_of(words[i - 1], kTying)) continue;
        const std::size_t from = i > kLookBack ? i - kLookBack : 0;
        const bool asked = std::any_of(words.begin() + static_cast<std::ptrdiff_t>(from),
                                       words.begin() + static_cast<std::ptrdiff_t>(i),
                                       [](std::string_view one) { return is_one_of(one, kAsking); });
        const Milliseconds wait(*seconds * 1'000);
        if (asked && wait >= kHintMin && wait <= kHintMax) return wait;
    }
    return std::nullopt;
}

}  // namespace posthouse::bounce
