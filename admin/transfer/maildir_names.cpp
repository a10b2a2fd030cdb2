#include "admin/transfer/maildir_names.h"

#include <fmt/format.h>

#include <algorithm>

#include "admin/transfer/folder_names.h"
#include "protocols/base/ascii.h"
#include "protocols/imap/mailbox_name.h"

namespace posthouse::transfer {
namespace {

using storage::bit;
using storage::Flag;
using storage::FlagBits;

struct Letter {
    char letter;
    Flag flag;
};
constexpr Letter kLetters[] = {
    {'D', Flag::draft}, {'F', Flag::flagged}, {'R', Flag::answered}, {'S', Flag::seen}, {'T', Flag::deleted}};

// Where the part with the flags begins: the last ":2,".
std::size_t find_info(std::string_view name) {
    for (std::size_t at = name.rfind("2,"); at != std::string_view::npos && at > 0; at = name.rfind("2,", at - 1)) {
        if (std::string_view(":;!").find(name[at - 1]) != std::string_view::npos) return at - 1;
    }
    return name.size();
}

// Levels between `separator`, each decoded; "" where one is empty.
std::string decode_levels(std::string_view path, char separator) {
    std::string out;
    for (;;) {
        const std::size_t end = path.find(separator);
        const std::string_view level = path.substr(0, end);
        if (level.empty()) return {};
        if (!out.empty()) out += '/';
        out += decode_folder_level(level);
        if (end == std::string_view::npos) return out;
        path.remove_prefix(end + 1);
    }
}

std::string_view take_line(std::string_view& text) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

}  // namespace

MaildirName parse_maildir_name(std::string_view name) {
    MaildirName out;
    const std::size_t info = find_info(name);
    out.base = name.substr(0, info);
    for (const char c : name.substr(std::min(info + 3, name.size()))) {
        if (c == ',') break;  // private additions of some programs follow
        if (c == 'P') out.forwarded = true;
        if (ascii::is_lower(c) && out.letters.find(c) == std::string::npos) out.letters += c;
        for (const Letter& letter : kLetters) {
            if (letter.letter == c) out.flags |= bit(letter.flag);
        }
    }
    const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
    // Seconds of 1980 to 2200; a process number or the like is no time.
    const auto number = ascii::parse_number(name.substr(0, digits));
    if (number && *number > 315'000'000 && *number < 7'260'000'000) out.time_s = static_cast<std::int64_t>(*number);
    return out;
}

std::string format_maildir_flags(FlagBits flags, bool forwarded) {
    std::string out;
    for (const Letter& letter : kLetters) {
        if (letter.letter == 'R' && forwarded) out += 'P';
        if ((flags & bit(letter.flag)) != 0) out += letter.letter;
    }
    return out;
}

LetterKeywords parse_letter_keywords(std::string_view text) {
    LetterKeywords out;
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        const std::size_t blank = line.find(' ');
        if (blank == std::string_view::npos) continue;
        const auto index = ascii::parse_number(line.substr(0, blank));
        if (index && *index < out.size()) out[*index] = line.substr(blank + 1);
    }
    return out;
}

std::string format_letter_keywords(const LetterKeywords& keywords) {
    std::string out;
    for (std::size_t i = 0; i < keywords.size(); ++i) {
        if (!keywords[i].empty()) out += fmt::format("{} {}\n", i, keywords[i]);
    }
    return out;
}

std::string parse_maildir_folder(std::string_view directory) {
    if (directory.size() < 2 || directory.front() != '.') return {};
    return decode_levels(directory.substr(1), '.');
}

std::string format_maildir_folder(std::string_view mailbox) {
    std::string out;
    while (!mailbox.empty()) {
        const std::size_t slash = mailbox.find('/');
        std::string_view level = mailbox.substr(0, slash);
        mailbox.remove_prefix(slash == std::string_view::npos ? mailbox.size() : slash + 1);
        out += '.';
        for (;;) {
            const std::size_t dot = level.find('.');
            out += imap::encode_mailbox(level.substr(0, dot));
            if (dot == std::string_view::npos) break;
            out += "&AC4-";
            level.remove_prefix(dot + 1);
        }
    }
    return out;
}

std::set<std::string> parse_subscriptions(std::string_view text) {
    std::set<std::string> out;
    const bool second = text.starts_with("V\t2");
    if (second) take_line(text);
    while (!text.empty()) {
        std::string_view line = take_line(text);
        if (line.empty()) continue;
        if (second) {
            out.insert(decode_levels(line, '\t'));
            continue;
        }
        out.insert(decode_levels(line, '/'));
        out.insert(decode_levels(line, '.'));
        if (ascii::starts_with_ci(line, "INBOX.")) out.insert(decode_levels(line.substr(6), '.'));
    }
    out.erase("");
    return out;
}

}  // namespace posthouse::transfer
