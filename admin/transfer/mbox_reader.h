#pragma once
/// admin/transfer/mbox_reader: the messages of an mbox file, piece by piece: memory does not grow with the file nor
/// with a message. There are four dialects (mboxo, mboxrd, mboxcl, mboxcl2) and no mark that tells them apart:
///   separator  "From " at the start of the file or behind an empty line, with a date (or bare, as Thunderbird writes
///              it), before a header field, an empty line or the end: a line of text that begins so is no separator.
///   quoting    one '>' is taken off ">From ", ">>From ", ...: right for mboxrd, the best that can be done for mboxo.
///   length     Content-Length is believed only if a separator stands where it says the body ends; then nothing within
///              is looked at or taken off (mboxcl2).
/// The empty line before a separator, or at the end of the file, is not the message's.
/// Threads: one.
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::transfer {

/// Octets of the file from an offset; fewer at its end.
using ReadAt = std::function<Result<std::size_t>(std::uint64_t offset, std::span<char> into)>;

struct FromLine {
    std::string sender;
    std::optional<std::int64_t> time_s;  ///< UTC where no zone stands there
};
/// The line without its end; nothing where it is no separator: "From " and a date, "From ", "From -".
std::optional<FromLine> parse_from_line(std::string_view line);

class MboxReader {
 public:
    explicit MboxReader(ReadAt read_at);

    /// Goes to the next message, over the rest of the present one; false at the end. Errc::invalid where the file does
    /// not begin with a separator.
    Result<bool> next();
    const FromLine& from_line() const { return from_; }
    /// Where the present message's separator begins.
    std::uint64_t offset() const { return offset_; }
    /// Octets read so far.
    std::uint64_t position() const { return at_; }
    /// Some more of the message, at least kPieceOctetsMin but for the last; "" at its end. Valid until the next call.
    Result<std::string_view> piece();

 private:
    static constexpr std::size_t kPieceOctetsMin = 64 * 1024;
    /// Octets from at_ on that are in memory; at least `count` of them, fewer at the end of the file.
    Result<std::string_view> ahead(std::size_t count);
    Result<bool> is_separator();
    Result<bool> take_line();
    void flush_blank();
    Result<> find_content_end();
    Result<> take_content();

    ReadAt read_at_;
    std::string window_;
    std::uint64_t window_at_ = 0;  ///< offset of window_ in the file
    std::uint64_t at_ = 0;         ///< offset of what comes next
    bool started_ = false;
    bool in_message_ = false;
    bool in_header_ = false;
    bool own_ = false;        ///< written by us: see kOwnField
    bool line_start_ = true;  ///< at_ is the start of a line
    std::string blank_;       ///< an empty line that may belong to the separator
    std::string piece_;
    FromLine from_;
    std::uint64_t offset_ = 0;
    std::optional<std::uint64_t> content_length_;
    std::optional<std::uint64_t> content_end_;  ///< believed
};

}  // namespace posthouse::transfer
