#include "admin/transfer/maildir.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "admin/transfer/crlf.h"
#include "admin/transfer/folder_names.h"
#include "admin/transfer/maildir_names.h"

namespace posthouse::transfer {
namespace {

constexpr std::size_t kDepthMax = 20;
constexpr std::size_t kReadOctets = 256 * 1024;
constexpr std::size_t kSmallFileOctetsMax = 1024 * 1024;
// A running server renames files while they are read: what vanished is looked for again under its new name.
constexpr int kPassesMax = 3;

struct Folder {
    std::string path;  ///< of its directory beneath the root; "" is the root
    std::string name;  ///< UTF-8, '/' between the levels
};

/// The names of one folder, one behind the other in one string: a million of them cost what their octets cost.
class NameList {
 public:
    void add(std::string_view name, bool is_new) {
        Ref ref;
        ref.time_s = parse_maildir_name(name).time_s.value_or(0);
        ref.offset = octets_.size();
        ref.length = static_cast<std::uint16_t>(name.size());
        ref.is_new = is_new;
        octets_ += name;
        refs_.push_back(ref);
    }
    /// By the time in the name: UIDs shall grow with the age of the mail.
    void sort() {
        std::ranges::sort(refs_, [this](const Ref& a, const Ref& b) {
            return a.time_s != b.time_s ? a.time_s < b.time_s : text(a) < text(b);
        });
    }
    std::size_t size() const { return refs_.size(); }
    std::string name(std::size_t index) const { return std::string(text(refs_[index])); }
    bool is_new(std::size_t index) const { return refs_[index].is_new; }

 private:
    struct Ref {
        std::int64_t time_s = 0;
        std::uint64_t offset = 0;
        std::uint16_t length = 0;
        bool is_new = false;
    };
    std::string_view text(const Ref& ref) const { return std::string_view(octets_).substr(ref.offset, ref.length); }

    std::string octets_;
    std::vector<Ref> refs_;
};

/// What cannot be the beginning of a message: some servers pack their files.
bool is_packed(std::string_view head) {
    using namespace std::string_view_literals;
    return head.starts_with("\x1f\x8b"sv) || head.starts_with("\x28\xb5\x2f\xfd"sv) || head.starts_with("BZh9"sv) ||
           head.starts_with(
               "\xfd"
               "7zXZ"sv) ||
           head.starts_with("\x04\x22\x4d\x18"sv);
}

class MaildirImport {
 public:
    MaildirImport(Taker& taker, const File& root, const ImportOptions& options, const Watch& watch)
        : taker_(taker), root_(root), options_(options), watch_(watch), buffer_(kReadOctets, '\0') {}

    Result<> run() {
        TRY_VOID(scan("", "", 0));
        if (folders_.empty()) return Error(Errc::not_found, "there is no Maildir: no directory cur or new in it");
        std::ranges::sort(folders_, {}, &Folder::name);
        read_subscriptions();
        count();
        for (const Folder& folder : folders_) {
            const Result<> done = take_folder(folder);
            if (!done) {
                static_cast<void>(taker_.finish());
                return done;
            }
        }
        return taker_.finish();
    }

 private:
    // `path` and `name` of the directory that is looked into.
    Result<> scan(const std::string& path, const std::string& name, std::size_t depth);
    void read_subscriptions();
    void count();
    Result<> take_folder(const Folder& folder);
    Result<bool> take_pass(const Folder& folder, const TakenFolder& taken, bool first);
    void list(const File& directory, const char* part, bool is_new, NameList& names);
    Result<bool> take_message(const TakenFolder& taken, const File& directory, const std::string& name, bool is_new,
                              const std::string& shown);
    Result<storage::StagedBodyPtr> read_message(const File& file);
    std::vector<std::string> keywords_of(const MaildirName& name) const;
    /// Always true: the file is there, and dealt with.
    bool report(const std::string& shown, const Error& why) {
        reported_.insert(shown);
        taker_.fail(shown, why);
        return true;
    }

    Taker& taker_;
    const File& root_;
    const ImportOptions& options_;
    const Watch& watch_;
    std::vector<Folder> folders_;
    std::optional<std::set<std::string>> subscriptions_;
    bool letters_known_ = false;  ///< the present folder has a list of keywords
    LetterKeywords letters_;
    std::set<std::string> reported_;  ///< of the present folder
    std::string buffer_;
    std::uint64_t done_ = 0;
};

std::string joined(const std::string& path, std::string_view name) {
    return path.empty() ? std::string(name) : fmt::format("{}/{}", path, name);
}

Result<> MaildirImport::scan(const std::string& path, const std::string& name, std::size_t depth) {
    const auto directory = open_directory_beneath(root_, path);
    if (!directory) {
        taker_.fail(path, directory.error());
        return {};
    }
    std::vector<std::string> below;
    bool is_folder = false;
    const Result<> listed = each_name(*directory, [&](std::string_view entry) { below.emplace_back(entry); });
    if (!listed) taker_.fail(path, listed.error());
    for (const char* part : {"cur", "new"}) {
        const auto info = look_at(*directory, part);
        is_folder = is_folder || (info && info->kind == Kind::directory);
    }
    if (is_folder) folders_.push_back(Folder{path, name});
    // A name with a dot is a folder of Maildir++ or nothing of ours.
    if (!is_folder && path.substr(path.rfind('/') + 1).starts_with('.')) return {};
    for (const std::string& entry : below) {
        if (entry == "cur" || entry == "new" || entry == "tmp") continue;
        const auto info = look_at(*directory, entry);
        if (!info || info->kind == Kind::file || info->kind == Kind::other) continue;
        if (info->kind == Kind::link) {
            taker_.fail(joined(path, entry), Error(Errc::invalid, "it is a symbolic link, which is not followed"));
            continue;
        }
        const std::string level = entry.starts_with('.') ? parse_maildir_folder(entry) : decode_folder_level(entry);
        if (level.empty()) continue;
        if (depth == kDepthMax) {
            taker_.fail(joined(path, entry), Error(Errc::limit, "it lies too deep"));
            continue;
        }
        TRY_VOID(scan(joined(path, entry), joined(name, level), depth + 1));
    }
    return {};
}

void MaildirImport::read_subscriptions() {
    for (const char* file : {"subscriptions", "courierimapsubscribed"}) {
        const std::string text = read_small(root_, file, kSmallFileOctetsMax);
        if (text.empty()) continue;
        subscriptions_ = parse_subscriptions(text);
        return;
    }
}

void MaildirImport::count() {
    std::uint64_t messages = 0;
    for (const Folder& folder : folders_) {
        for (const char* part : {"new", "cur"}) {
            const auto directory = open_directory_beneath(root_, joined(folder.path, part));
            if (directory) static_cast<void>(each_name(*directory, [&](std::string_view) { ++messages; }));
        }
    }
    watch_.expected(messages);
}

void MaildirImport::list(const File& directory, const char* part, bool is_new, NameList& names) {
    const Result<> listed = each_name(directory, [&](std::string_view name) {
        if (!name.starts_with('.')) names.add(name, is_new);
    });
    if (!listed) taker_.fail(part, listed.error());
}

Result<> MaildirImport::take_folder(const Folder& folder) {
    const FolderPlace place = place_folder(folder.name, options_.into);
    FolderSpec spec;
    spec.name = folder.path.empty() ? "." : folder.path;
    spec.mailbox = place.mailbox;
    spec.use = place.use;
    // Where nobody wrote down what is subscribed, all of it shall be seen.
    spec.subscribed = !subscriptions_ || place.mailbox == "INBOX" || subscriptions_->contains(folder.name);
    const auto taken = taker_.open_folder(spec);
    if (!taken && taken.error().code == Errc::invalid) {
        taker_.fail(spec.name, taken.error());
        return {};
    }
    if (!taken) return Error(taken.error());
    const auto directory = open_directory_beneath(root_, folder.path);
    const std::string letters =
        directory ? read_small(*directory, "dovecot-keywords", kSmallFileOctetsMax) : std::string();
    reported_.clear();
    letters_known_ = !letters.empty();
    letters_ = parse_letter_keywords(letters);
    for (int pass = 0; pass < kPassesMax; ++pass) {
        TRY(const bool complete, take_pass(folder, *taken, pass == 0));
        if (complete) break;
    }
    return {};
}

// False where files vanished under the hand. What an earlier pass met, and took or reported, is passed over.
Result<bool> MaildirImport::take_pass(const Folder& folder, const TakenFolder& taken, bool first) {
    NameList names;
    auto fresh = open_directory_beneath(root_, joined(folder.path, "new"));
    auto seen = open_directory_beneath(root_, joined(folder.path, "cur"));
    // new before cur: a message that wanders in between is met twice rather than never.
    if (fresh) list(*fresh, "new", true, names);
    if (seen) list(*seen, "cur", false, names);
    for (const auto* part : {&fresh, &seen}) {
        if (*part || part->error().code == Errc::not_found) continue;
        taker_.fail(joined(folder.path, part == &fresh ? "new" : "cur"), part->error());
    }
    names.sort();
    bool complete = true;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (watch_.is_interrupted()) {
            return Error(Errc::cancelled,
                         "the import was interrupted; what was taken stays, and the same command goes on from there");
        }
        const std::string name = names.name(i);
        const bool is_new = names.is_new(i);
        const std::string shown = joined(folder.path, (is_new ? "new/" : "cur/") + name);
        if (!first) {
            TRY(const bool met, taker_.has(taken, parse_maildir_name(name).base));
            if (met || reported_.contains(shown)) continue;
        }
        TRY(const bool there, take_message(taken, is_new ? *fresh : *seen, name, is_new, shown));
        complete = complete && there;
        watch_.shown(++done_, taker_.statistics().octets, taken.mailbox_name);
    }
    return complete;
}

std::vector<std::string> MaildirImport::keywords_of(const MaildirName& name) const {
    std::vector<std::string> out;
    if (name.forwarded) out.emplace_back(kForwardedKeyword);
    for (const char letter : name.letters) {
        const std::string& keyword = letters_.at(static_cast<std::size_t>(letter - 'a'));
        if (!keyword.empty()) out.push_back(keyword);
    }
    return out;
}

// False where the file is gone; an error ends the import.
Result<bool> MaildirImport::take_message(const TakenFolder& taken, const File& directory, const std::string& name,
                                         bool is_new, const std::string& shown) {
    const MaildirName parsed = parse_maildir_name(name);
    TRY(const bool known, taker_.has(taken, parsed.base));
    if (known && is_new) {
        taker_.count_known();
        return true;
    }
    if (known) {
        // Without a list of keywords the folder says nothing about them: those given here stay.
        std::optional<std::vector<std::string>> keywords;
        if (letters_known_) keywords = keywords_of(parsed);
        TRY_VOID(taker_.set_flags(taken, parsed.base, parsed.flags, std::move(keywords)));
        return true;
    }
    FileInfo info;
    const auto file = open_regular(directory, name, info);
    if (!file && file.error().code == Errc::not_found) return false;
    if (!file) return report(shown, file.error());
    if (info.octets > kTakenOctetsMax) {
        return report(shown,
                      Error(Errc::too_large, fmt::format("the message has {} octets; {} is the most that is taken",
                                                         info.octets, kTakenOctetsMax)));
    }
    auto body = read_message(*file);
    if (!body && body.error().code == Errc::no_space) return Error(body.error());
    if (!body) return report(shown, body.error());
    TakenItem item;
    item.key = parsed.base;
    item.name = shown;
    item.body = *std::move(body);
    item.flags = parsed.flags;
    item.keywords = keywords_of(parsed);
    item.internal_date_s = info.modified_s > 0 ? std::optional(info.modified_s) : parsed.time_s;
    TRY_VOID(taker_.add(taken, std::move(item)));
    return true;
}

Result<storage::StagedBodyPtr> MaildirImport::read_message(const File& file) {
    const auto body = taker_.stage();
    CrlfWriter writer(*body);
    bool first = true;
    for (;;) {
        TRY(const std::size_t got, read_some(file, buffer_));
        const std::string_view piece = std::string_view(buffer_).substr(0, got);
        if (std::exchange(first, false) && is_packed(piece)) {
            return Error(Errc::unsupported, "the file is compressed; unpack it first (Dovecot: the zlib plugin)");
        }
        TRY_VOID(writer.append(piece));
        if (got < buffer_.size()) break;
    }
    return body->finish();
}

}  // namespace

Result<> import_maildir(Taker& taker, const File& root, const ImportOptions& options, const Watch& watch) {
    return MaildirImport(taker, root, options, watch).run();
}

}  // namespace posthouse::transfer
