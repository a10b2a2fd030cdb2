#include "admin/transfer/folder_names.h"

#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/imap/mailbox_name.h"

namespace posthouse::transfer {
namespace {

using storage::SpecialUse;

constexpr std::size_t kLevelOctetsMax = 255;
constexpr std::size_t kLevelsMax = 20;
constexpr std::size_t kNameOctetsMax = 1000;

struct UsualName {
    std::string_view name;
    SpecialUse use;
};
// As written by the common clients and servers, in English and in the languages whose clients translate them.
constexpr UsualName kUsualNames[] = {
    {"Drafts", SpecialUse::drafts},
    {"Draft", SpecialUse::drafts},
    {"[Gmail]/Drafts", SpecialUse::drafts},
    {"[Google Mail]/Drafts", SpecialUse::drafts},
    {"Entw\xc3\xbcrfe", SpecialUse::drafts},
    {"Brouillons", SpecialUse::drafts},
    {"Borradores", SpecialUse::drafts},
    {"Bozze", SpecialUse::drafts},
    {"Concepten", SpecialUse::drafts},
    {"Sent", SpecialUse::sent},
    {"Sent Items", SpecialUse::sent},
    {"Sent Messages", SpecialUse::sent},
    {"Sent Mail", SpecialUse::sent},
    {"sent-mail", SpecialUse::sent},
    {"[Gmail]/Sent Mail", SpecialUse::sent},
    {"[Google Mail]/Sent Mail", SpecialUse::sent},
    {"Gesendet", SpecialUse::sent},
    {"Gesendete Elemente", SpecialUse::sent},
    {"Gesendete Objekte", SpecialUse::sent},
    {"Envoy\xc3\xa9s", SpecialUse::sent},
    {"\xc3\x89l\xc3\xa9ments envoy\xc3\xa9s", SpecialUse::sent},
    {"Enviados", SpecialUse::sent},
    {"Posta inviata", SpecialUse::sent},
    {"Verzonden", SpecialUse::sent},
    {"Junk", SpecialUse::junk},
    {"Junk E-mail", SpecialUse::junk},
    {"Junk Email", SpecialUse::junk},
    {"Junk Mail", SpecialUse::junk},
    {"Spam", SpecialUse::junk},
    {"Bulk Mail", SpecialUse::junk},
    {"[Gmail]/Spam", SpecialUse::junk},
    {"[Google Mail]/Spam", SpecialUse::junk},
    {"Courrier ind\xc3\xa9sirable", SpecialUse::junk},
    {"Trash", SpecialUse::trash},
    {"Deleted", SpecialUse::trash},
    {"Deleted Items", SpecialUse::trash},
    {"Deleted Messages", SpecialUse::trash},
    {"Bin", SpecialUse::trash},
    {"[Gmail]/Trash", SpecialUse::trash},
    {"[Gmail]/Bin", SpecialUse::trash},
    {"[Google Mail]/Trash", SpecialUse::trash},
    {"[Google Mail]/Bin", SpecialUse::trash},
    {"Papierkorb", SpecialUse::trash},
    {"Gel\xc3\xb6schte Elemente", SpecialUse::trash},
    {"Gel\xc3\xb6schte Objekte", SpecialUse::trash},
    {"Corbeille", SpecialUse::trash},
    {"Papelera", SpecialUse::trash},
    {"Cestino", SpecialUse::trash},
    {"Prullenbak", SpecialUse::trash},
    {"Archive", SpecialUse::archive},
    {"Archives", SpecialUse::archive},
    {"[Gmail]/All Mail", SpecialUse::archive},
    {"[Google Mail]/All Mail", SpecialUse::archive},
    {"Archiv", SpecialUse::archive},
};

// Longest part of `text` within `octets` that does not end inside a character.
std::string_view cut(std::string_view text, std::size_t octets) {
    if (text.size() <= octets) return text;
    while (octets > 0 && (static_cast<unsigned char>(text[octets]) & 0xc0U) == 0x80U) --octets;
    return text.substr(0, octets);
}

std::string clean_level(std::string_view level) {
    std::string out;
    const bool utf8 = ascii::is_valid_utf8(level);
    for (std::size_t i = 0; i < level.size(); ++i) {
        const bool c1 = level[i] == '\xc2' && i + 1 < level.size() && static_cast<unsigned char>(level[i + 1]) < 0xa0;
        if (ascii::is_control(level[i]) || c1 || (!utf8 && ascii::is_8bit(level[i]))) {
            out += '_';
            if (utf8 && c1) ++i;
        } else {
            out += level[i];
        }
    }
    if (out == "." || out == "..") out += '_';
    return std::string(cut(out, kLevelOctetsMax));
}

}  // namespace

SpecialUse use_by_name(std::string_view path) {
    if (ascii::starts_with_ci(path, "INBOX/")) path.remove_prefix(6);
    for (const UsualName& usual : kUsualNames) {
        if (ascii::equals_ci(path, usual.name)) return usual.use;
    }
    return SpecialUse::none;
}

std::string usable_mailbox_name(std::string_view path) {
    std::vector<std::string> levels;
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        std::string level = clean_level(path.substr(0, slash));
        path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
        if (level.empty()) continue;
        if (levels.size() < kLevelsMax) {
            levels.push_back(std::move(level));
        } else {
            levels.back() = std::string(cut(levels.back() + "_" + level, kLevelOctetsMax));
        }
    }
    std::string out;
    for (const std::string& level : levels) {
        if (out.size() + 1 + level.size() > kNameOctetsMax) break;
        if (!out.empty()) out += '/';
        out += level;
    }
    return ascii::equals_ci(out, "INBOX") ? "INBOX" : out;
}

std::string decode_folder_level(std::string_view level) {
    constexpr std::string_view kDot = "&AC4-";
    std::string out;
    for (std::string_view rest = level;;) {
        const std::size_t dot = rest.find(kDot);
        const std::string_view part = rest.substr(0, dot);
        // decode_mailbox() speaks of whole names: an empty part and "inbox" are not its business.
        if (!part.empty()) {
            const auto decoded = imap::decode_mailbox(part);
            if (!decoded) return std::string(level);
            out += ascii::equals_ci(part, "INBOX") ? std::string(part) : *decoded;
        }
        if (dot == std::string_view::npos) return out;
        out += '.';
        rest.remove_prefix(dot + kDot.size());
    }
}

FolderPlace place_folder(std::string_view path, std::string_view into) {
    const std::string name = usable_mailbox_name(path);
    const bool inbox = name.empty() || name == "INBOX";
    FolderPlace place;
    if (!into.empty()) {
        place.mailbox = usable_mailbox_name(inbox ? std::string(into) : std::string(into) + "/" + name);
        return place;
    }
    place.mailbox = inbox ? "INBOX" : name;
    place.use = use_by_name(name);
    // "[Gmail]/Spam" is our Junk; where the account has none, it is made under the plain name.
    if (place.use != SpecialUse::none && name.starts_with('[')) place.mailbox = name.substr(name.find('/') + 1);
    return place;
}

}  // namespace posthouse::transfer
