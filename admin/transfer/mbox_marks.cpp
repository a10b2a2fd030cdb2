#include "admin/transfer/mbox_marks.h"

#include <algorithm>

#include "admin/transfer/maildir_names.h"
#include "admin/transfer/taker.h"
#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/header.h"

namespace posthouse::transfer {
namespace {

using storage::bit;
using storage::Flag;

constexpr std::string_view kTopMarks[] = {
    "Status", "X-Status", "X-Keywords", "X-Mozilla-Status", "X-Mozilla-Status2", "X-Mozilla-Keys", kOwnField};
constexpr std::string_view kOtherMarks[] = {"X-UID",          "X-IMAP", "X-IMAPbase",
                                            "Content-Length", "Lines",  "X-Gmail-Labels"};

constexpr unsigned kMozillaRead = 0x0001;
constexpr unsigned kMozillaReplied = 0x0002;
constexpr unsigned kMozillaMarked = 0x0004;
constexpr unsigned kMozillaExpunged = 0x0008;
constexpr unsigned kMozillaForwarded = 0x1000;

bool is_mark(std::string_view name) {
    const auto same = [name](std::string_view mark) { return ascii::equals_ci(mark, name); };
    return std::ranges::any_of(kTopMarks, same) || std::ranges::any_of(kOtherMarks, same);
}

void add_words(std::vector<std::string>& out, std::string_view text) {
    while (!text.empty()) {
        const std::size_t blank = text.find_first_of(" \t\r\n");
        if (blank != 0) {
            std::string word(text.substr(0, blank));
            if (is_usable_keyword(word) && std::ranges::find(out, word) == out.end()) out.push_back(std::move(word));
        }
        text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
    }
}

void read_mozilla(MboxMarks& out, std::string_view value) {
    unsigned bits = 0;
    for (const char c : ascii::trim(value).substr(0, 4)) {
        if (!ascii::is_hex(c)) return;
        bits = bits * 16 + static_cast<unsigned>(ascii::hex_value(c));
    }
    if ((bits & kMozillaRead) != 0) out.flags |= bit(Flag::seen);
    if ((bits & kMozillaReplied) != 0) out.flags |= bit(Flag::answered);
    if ((bits & kMozillaMarked) != 0) out.flags |= bit(Flag::flagged);
    if ((bits & kMozillaForwarded) != 0) out.keywords.emplace_back(kForwardedKeyword);
    out.expunged = (bits & kMozillaExpunged) != 0;
}

struct Label {
    std::string_view name;
    std::string_view folder;  ///< "" where it says nothing about the place
    int rank = 0;             ///< of two places the one of the higher rank counts
};
constexpr Label kLabels[] = {
    {"Trash", "Trash", 6}, {"Bin", "Trash", 6}, {"Spam", "Junk", 5}, {"Drafts", "Drafts", 4},    {"Inbox", "INBOX", 3},
    {"Sent", "Sent", 2},   {"Starred", "", 0},  {"Unread", "", 0},   {"Opened", "", 0},          {"Important", "", 0},
    {"Archived", "", 0},   {"All Mail", "", 0}, {"Chat", "", 0},     {"IMAP_$Forwarded", "", 0},
};

void read_labels(MboxMarks& out, std::string_view raw) {
    out.labelled = true;
    out.folder = "Archive";
    int rank = 0;
    bool unread = false;
    const std::string text = mime::decode_encoded_words(raw);
    for (std::string_view rest = text; !rest.empty();) {
        const std::size_t comma = rest.find(',');
        std::string_view label = ascii::trim(rest.substr(0, comma));
        rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
        if (label.size() > 1 && label.starts_with('"') && label.ends_with('"'))
            label = label.substr(1, label.size() - 2);
        if (label.empty() || ascii::starts_with_ci(label, "Category ")) continue;
        const auto same = [label](const Label& known) { return ascii::equals_ci(known.name, label); };
        const auto* known = std::ranges::find_if(kLabels, same);
        if (known != std::end(kLabels)) {
            if (ascii::equals_ci(label, "Starred")) out.flags |= bit(Flag::flagged);
            if (ascii::equals_ci(label, "Drafts")) out.flags |= bit(Flag::draft);
            if (ascii::equals_ci(label, "Important")) out.keywords.emplace_back("$Important");  // RFC 8457
            unread = unread || ascii::equals_ci(label, "Unread");
            if (known->rank > rank) {
                rank = known->rank;
                out.folder = known->folder;
            }
            continue;
        }
        // A label of the user: the first is the folder where none of Gmail's own is, all of them are keywords.
        if (rank == 0) {
            rank = 1;
            out.folder = label;
        }
        std::string keyword(label);
        std::ranges::replace(keyword, ' ', '_');
        if (is_usable_keyword(keyword)) out.labels.push_back(std::move(keyword));
    }
    if (!unread) out.flags |= bit(Flag::seen);
}

void read_field(MboxMarks& out, const mime::Field& field) {
    const std::string_view value = field.raw_value;
    const auto has = [value](char c) { return value.find(c) != std::string_view::npos; };
    if (ascii::equals_ci(field.name, "Status")) {
        if (has('R')) out.flags |= bit(Flag::seen);
    } else if (ascii::equals_ci(field.name, "X-Status")) {
        if (has('A')) out.flags |= bit(Flag::answered);
        if (has('F')) out.flags |= bit(Flag::flagged);
        if (has('D')) out.flags |= bit(Flag::deleted);
        if (has('T')) out.flags |= bit(Flag::draft);
    } else if (ascii::equals_ci(field.name, "X-Keywords") || ascii::equals_ci(field.name, "X-Mozilla-Keys")) {
        add_words(out.keywords, value);
    } else if (ascii::equals_ci(field.name, "X-Mozilla-Status")) {
        read_mozilla(out, value);
    } else if (ascii::equals_ci(field.name, "X-Gmail-Labels")) {
        read_labels(out, value);
    }
}

}  // namespace

std::size_t measure_top_marks(std::string_view message, bool& open_end) {
    std::vector<std::string_view> met;
    std::size_t octets = 0;
    open_end = false;
    // Lines, not fields: what follows may begin with a blank and is the message's own.
    for (;;) {
        const std::string_view rest = message.substr(octets);
        const std::size_t end = rest.find('\n');
        const std::size_t colon = rest.substr(0, end).find(':');
        if (end == std::string_view::npos || colon == std::string_view::npos) return octets;
        const auto same = [name = rest.substr(0, colon)](std::string_view m) { return ascii::equals_ci(m, name); };
        const auto* mark = std::ranges::find_if(kTopMarks, same);
        if (mark == std::end(kTopMarks) || std::ranges::find(met, *mark) != met.end()) return octets;
        open_end = open_end || (*mark == kOwnField && rest.substr(0, end).find(kOpenEnd) != std::string_view::npos);
        met.push_back(*mark);
        octets += end + 1;
    }
}

MboxMarks parse_marks(std::string_view top, std::string_view header) {
    MboxMarks out;
    // Ours at the top are the last word: a message may have been in another mailbox file before.
    const mime::Fields first = mime::parse_fields(top);
    for (const mime::Field& field : first) read_field(out, field);
    const bool told = mime::find_first(first, "Status").has_value();
    for (const mime::Field& field : mime::parse_fields(header)) {
        if (!told || ascii::equals_ci(field.name, "X-Gmail-Labels")) read_field(out, field);
    }
    return out;
}

std::string digest_without_marks(std::string_view message) {
    std::size_t header_octets = 0;
    const mime::Fields fields = mime::parse_fields(message, &header_octets);
    crypto::Sha256 digest;
    std::size_t from = 0;
    for (const mime::Field& field : fields) {
        if (!is_mark(field.name)) continue;
        digest.update(message.substr(from, field.offset - from));
        from = field.offset + field.length;
    }
    digest.update(message.substr(from));
    return crypto::hex(digest.finish()).substr(0, 40);
}

}  // namespace posthouse::transfer
