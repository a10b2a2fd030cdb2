#pragma once
/// protocols/report: bounces that are only text. Where the recipients stand and what was said of each, by rules
/// (bounce_text_rules.cpp): one pass over the lines, no regular expression.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/report/report.h"

namespace posthouse::report {

/// Where a rule looks for an address.
enum class Place : std::uint8_t {
    line,      ///< `before` starts the line, `after` follows the address
    anywhere,  ///< `before` stands somewhere in the line
    alone,     ///< the line has nothing else, and the text said before that recipients follow
};

/// '#' in `before` is a digit, a blank any run of blanks.
struct TextRule {
    std::string_view name;
    std::string_view before;
    std::string_view after;
    Place place = Place::line;
    std::uint8_t rank = 1;     ///< rules of a higher rank are asked only where those below found nobody
    bool said_before = false;  ///< what was said stands before the address, not after it
};
std::span<const TextRule> text_rules();
/// Beginnings of lines after which the returned message follows; lower case, without ornaments.
std::span<const std::string_view> returned_marks();
/// Words that announce recipients.
std::span<const std::string_view> introductions();
/// Words that tell the step of the dialogue.
struct StepWords {
    Step step;
    std::span<const std::string_view> words;
};
std::span<const StepWords> step_words();
/// Lines that say nothing about the cause.
std::span<const std::string_view> idle_words();

struct TextRecipient {
    std::string address;
    std::string said;  ///< lines joined by line ends
};

struct BounceText {
    std::vector<TextRecipient> recipients;
    std::string notice;    ///< all before the returned message
    std::string returned;  ///< the returned message, or what was kept of it
    bool has_introduction = false;
};
/// `text` is UTF-8 with any line ends.
BounceText read_bounce_text(std::string_view text);

/// What was said in some lines of a notice.
struct Said {
    unsigned code = 0;
    std::string status;  ///< "5.1.1"
    std::string text;    ///< from the code on, or all that tells something
    Step step = Step::unknown;
};
Said find_said(std::string_view lines);

/// The first enhanced status code of class 4 or 5 (RFC 3463 2) in `text`, or "".
std::string_view find_status(std::string_view text);

}  // namespace posthouse::report
