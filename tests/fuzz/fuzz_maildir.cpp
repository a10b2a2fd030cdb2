// Names and lists of a Maildir from anywhere. First octet: which. What was read must be the same after it was written
// and read again.
#include <cstdint>
#include <string>
#include <string_view>

#include "admin/transfer/folder_names.h"
#include "admin/transfer/maildir_names.h"
#include "protocols/base/result.h"

using namespace posthouse;

namespace {

void read_name(std::string_view name) {
    const transfer::MaildirName read = transfer::parse_maildir_name(name);
    ASSERT(name.starts_with(read.base));
    ASSERT(read.letters.size() <= transfer::kLetterKeywordsMax);
    const std::string again = read.base + ":2," + transfer::format_maildir_flags(read.flags, read.forwarded);
    const transfer::MaildirName second = transfer::parse_maildir_name(again);
    ASSERT(second.base == read.base);
    ASSERT(second.flags == read.flags);
    ASSERT(second.forwarded == read.forwarded);
    ASSERT(second.letters.empty());
    ASSERT(second.time_s == read.time_s || read.base.find_first_not_of("0123456789") == std::string::npos);
}

void read_folder(std::string_view directory) {
    // What the store takes of it: an export writes nothing else.
    const std::string folder = transfer::usable_mailbox_name(transfer::parse_maildir_folder(directory));
    if (folder.empty()) return;
    ASSERT(transfer::parse_maildir_folder(transfer::format_maildir_folder(folder)) == folder);
}

void read_keywords(std::string_view text) {
    const transfer::LetterKeywords read = transfer::parse_letter_keywords(text);
    const transfer::LetterKeywords again = transfer::parse_letter_keywords(transfer::format_letter_keywords(read));
    for (std::size_t i = 0; i < read.size(); ++i) ASSERT(again[i] == read[i] || read[i].ends_with('\r'));
}

void read_subscriptions(std::string_view text) {
    for (const std::string& folder : transfer::parse_subscriptions(text)) ASSERT(!folder.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 4U) {
        case 0: read_name(text); break;
        case 1: read_folder(text); break;
        case 2: read_keywords(text); break;
        default: read_subscriptions(text); break;
    }
    return 0;
}
