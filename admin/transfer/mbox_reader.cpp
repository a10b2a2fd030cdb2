#include "admin/transfer/mbox_reader.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

#include "admin/transfer/mbox_marks.h"
#include "protocols/base/ascii.h"
#include "protocols/mime/date.h"

namespace posthouse::transfer {
namespace {

constexpr std::size_t kWindowOctets = 256 * 1024;
constexpr std::size_t kSeparatorOctetsMax = 1000;
constexpr std::string_view kFrom = "From ";
constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";

std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
        const std::size_t blank = text.find_first_of(" \t");
        if (blank != 0) out.push_back(text.substr(0, blank));
        text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
    }
    return out;
}

std::optional<int> number(std::string_view text, std::size_t digits_max, int max) {
    const auto value = ascii::parse_number(text);
    if (!value || text.size() > digits_max || *value > static_cast<std::uint64_t>(max)) return std::nullopt;
    return static_cast<int>(*value);
}

// 20:11:05 or 20:11 as seconds of the day.
std::optional<int> parse_clock(std::string_view text) {
    const std::size_t first = text.find(':');
    if (first == std::string_view::npos) return std::nullopt;
    const std::size_t second = text.find(':', first + 1);
    const auto hour = number(text.substr(0, first), 2, 23);
    const auto minute =
        number(text.substr(first + 1, second == std::string_view::npos ? second : second - first - 1), 2, 59);
    const auto sec = second == std::string_view::npos ? std::optional(0) : number(text.substr(second + 1), 2, 60);
    if (!hour || !minute || !sec) return std::nullopt;
    return *hour * 3600 + *minute * 60 + *sec;
}

// +0100 in seconds; 0 for names of zones, which mean too many things.
int parse_zone(std::string_view text) {
    if (text.size() != 5 || (text[0] != '+' && text[0] != '-')) return 0;
    const auto digits = number(text.substr(1), 4, 9999);
    if (!digits) return 0;
    const int seconds = *digits / 100 * 3600 + *digits % 100 * 60;
    return text[0] == '-' ? -seconds : seconds;
}

// asctime: "Mon Nov 23 20:11:05 2026", with a zone before or behind the year.
std::optional<std::int64_t> parse_asctime(const std::vector<std::string_view>& words) {
    for (std::size_t i = 0; i + 3 < words.size(); ++i) {
        const std::size_t month = words[i].size() == 3 ? kMonths.find(words[i]) : std::string_view::npos;
        if (month == std::string_view::npos || month % 3 != 0) continue;
        const auto day = number(words[i + 1], 2, 31);
        const auto clock = parse_clock(words[i + 2]);
        if (!day || !clock) continue;
        std::size_t year_at = i + 3;
        if (words[year_at].size() != 4 || !number(words[year_at], 4, 9999)) ++year_at;
        if (year_at >= words.size()) continue;
        const auto year = words[year_at].size() == 4 ? number(words[year_at], 4, 9999) : std::nullopt;
        if (!year) continue;
        int zone = 0;
        if (year_at == i + 4) zone = parse_zone(words[i + 3]);
        if (year_at == i + 3 && year_at + 1 < words.size()) zone = parse_zone(words[year_at + 1]);
        const std::chrono::year_month_day date(std::chrono::year(*year),
                                               std::chrono::month(static_cast<unsigned>(month / 3 + 1)),
                                               std::chrono::day(static_cast<unsigned>(*day)));
        if (!date.ok()) continue;
        return std::chrono::sys_days(date).time_since_epoch().count() * std::int64_t{86400} + *clock - zone;
    }
    return std::nullopt;
}

std::string_view without_end(std::string_view line) {
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

// What may stand behind a separator: a field, an old quoted From line, an empty line (no header), or the end.
bool may_begin_message(std::string_view line) {
    const std::string_view text = without_end(line);
    if (text.empty() || text.starts_with(">From ")) return true;
    const std::size_t colon = text.find(':');
    return colon != std::string_view::npos && colon > 0 &&
           std::ranges::all_of(text.substr(0, colon), [](char c) { return ascii::is_printable(c) && c != ' '; });
}

// ">From ", ">>From ", ...: quoted once more than it was.
bool is_quoted(std::string_view line) {
    const std::size_t from = line.find_first_not_of('>');
    return from != 0 && from != std::string_view::npos && line.substr(from).starts_with(kFrom);
}

}  // namespace

std::optional<FromLine> parse_from_line(std::string_view line) {
    if (!line.starts_with(kFrom) && line != "From") return std::nullopt;
    FromLine out;
    const std::string_view rest = ascii::trim(line.substr(4));
    if (rest.empty() || rest == "-") return out;
    const std::vector<std::string_view> words = split(rest);
    out.sender = words.front();
    out.time_s = parse_asctime(words);
    if (!out.time_s && words.size() > 4) {  // some programs write the date of the message
        const auto date = mime::parse_date(rest.substr(words.front().size()));
        if (date) out.time_s = to_unix_ms(date->utc) / 1000;
    }
    if (!out.time_s) return std::nullopt;
    return out;
}

MboxReader::MboxReader(ReadAt read_at) : read_at_(std::move(read_at)) {}

Result<std::string_view> MboxReader::ahead(std::size_t count) {
    std::uint64_t used = at_ - window_at_;
    if (used > window_.size()) {  // a jump
        window_.clear();
        window_at_ = at_;
        used = 0;
    }
    if (window_.size() - used < count) {
        window_.erase(0, used);
        window_at_ = at_;
        const std::size_t have = window_.size();
        const std::size_t wanted = std::max(count, kWindowOctets);
        window_.resize(wanted);
        TRY(const std::size_t got, read_at_(at_ + have, std::span<char>(window_).subspan(have)));
        window_.resize(have + got);
        used = 0;
    }
    return std::string_view(window_).substr(used);
}

Result<bool> MboxReader::is_separator() {
    TRY(std::string_view text, ahead(2 * kSeparatorOctetsMax));
    if (!text.starts_with(kFrom)) return false;
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos || end > kSeparatorOctetsMax) return false;
    if (!parse_from_line(without_end(text.substr(0, end)))) return false;
    text.remove_prefix(end + 1);
    return may_begin_message(text.substr(0, std::min(text.find('\n'), text.size())));
}

Result<bool> MboxReader::next() {
    while (in_message_) {
        TRY(const std::string_view rest, piece());
        if (rest.empty()) break;
    }
    for (;;) {  // empty lines before the first separator, or behind a body of known length
        TRY(const std::string_view text, ahead(2));
        if (text.empty()) return false;
        const std::size_t blank = text.starts_with('\n') ? 1 : text.starts_with("\r\n") ? 2 : 0;
        if (blank == 0) break;
        at_ += blank;
    }
    TRY(const bool separator, is_separator());
    if (!separator) {
        if (!started_) return Error(Errc::invalid, "it is no mbox file: it does not begin with a \"From \" line");
        return Error(Errc::corrupt, "a \"From \" line is missing");
    }
    TRY(const std::string_view text, ahead(2 * kSeparatorOctetsMax));
    const std::size_t end = text.find('\n');
    from_ = *parse_from_line(without_end(text.substr(0, end)));
    offset_ = at_;
    at_ += end + 1;
    own_ = ascii::starts_with_ci(text.substr(end + 1), kOwnField);
    started_ = in_message_ = in_header_ = line_start_ = true;
    blank_.clear();
    content_length_.reset();
    content_end_.reset();
    return true;
}

void MboxReader::flush_blank() {
    piece_ += blank_;
    blank_.clear();
}

Result<std::string_view> MboxReader::piece() {
    piece_.clear();
    while (in_message_ && piece_.size() < kPieceOctetsMin) {
        if (content_end_) {
            TRY_VOID(take_content());
            continue;
        }
        TRY(in_message_, take_line());
    }
    return std::string_view(piece_);
}

// One line, or a part of a long one. False at the end of the message.
Result<bool> MboxReader::take_line() {
    TRY(std::string_view text, ahead(kPieceOctetsMin));
    if (text.empty()) return false;
    // Behind an empty line only; a header that a separator follows at once is met too.
    if (line_start_ && (!blank_.empty() || in_header_) && text.starts_with(kFrom)) {
        TRY(const bool separator, is_separator());
        if (separator) return false;
        TRY(text, ahead(kPieceOctetsMin));
    }
    const std::size_t lf = text.find('\n');
    const std::size_t length = lf == std::string_view::npos ? text.size() : lf + 1;
    std::string_view line = text.substr(0, length);
    const bool whole = line_start_ && lf != std::string_view::npos;
    flush_blank();
    if (whole && without_end(line).empty()) {
        blank_ = line;
        at_ += length;
        if (std::exchange(in_header_, false)) TRY_VOID(find_content_end());
        return true;
    }
    if (line_start_ && in_header_ && ascii::starts_with_ci(line, "content-length:")) {
        content_length_ = ascii::parse_number(ascii::trim(line.substr(15)));
    }
    if (line_start_ && (!in_header_ || own_) && is_quoted(line)) line.remove_prefix(1);
    piece_ += line;
    at_ += length;
    line_start_ = lf != std::string_view::npos;
    return true;
}

// Behind the empty line that ends the header: whether the body ends where Content-Length says.
Result<> MboxReader::find_content_end() {
    if (own_ || !content_length_ || *content_length_ == 0 || *content_length_ > (std::uint64_t{1} << 62U)) return {};
    const std::uint64_t end = at_ + *content_length_;
    // The octet before the end, and what stands behind it.
    std::array<char, 9> near{};
    TRY(const std::size_t got, read_at_(end - 1, near));
    if (got == 0) return {};
    std::string_view behind = std::string_view(near.data(), got).substr(1);
    const bool ends_line = near[0] == '\n';
    if (behind.starts_with("\r\n")) {
        behind.remove_prefix(2);
    } else if (behind.starts_with('\n')) {
        behind.remove_prefix(1);
    } else if (!ends_line && !behind.empty()) {
        return {};
    }
    if (behind.empty() || behind.starts_with(kFrom)) content_end_ = end;
    return {};
}

Result<> MboxReader::take_content() {
    flush_blank();
    const std::uint64_t left = *content_end_ - at_;
    if (left == 0) {
        in_message_ = false;
        return {};
    }
    TRY(const std::string_view text, ahead(static_cast<std::size_t>(std::min<std::uint64_t>(left, kPieceOctetsMin))));
    if (text.empty()) {
        in_message_ = false;
        return {};
    }
    const std::string_view some =
        text.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, kPieceOctetsMin)));
    piece_ += some;
    at_ += some.size();
    return {};
}

}  // namespace posthouse::transfer
