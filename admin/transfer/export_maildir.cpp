// An account as a Maildir++. Names of messages:
//   <time>.M<UIDVALIDITY>P<UID>Q<account>.posthouse,S=<octets>,W=<octets with CRLF>:2,<flags>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "admin/transfer/export.h"
#include "admin/transfer/maildir_names.h"
#include "protocols/base/ascii.h"

namespace posthouse::transfer {
namespace {

using storage::Entry;
using storage::Uid;

constexpr std::size_t kKeywordsFileOctetsMax = 64 * 1024;
constexpr const char* kKeywordsFile = "dovecot-keywords";

class MaildirSink final : public ExportSink {
 public:
    MaildirSink(const File& root, storage::AccountId account, ExportStatistics& statistics)
        : root_(root), account_(account), statistics_(statistics) {}

    Result<> begin(const storage::Mailbox& mailbox) override {
        const std::string name = mailbox.name == "INBOX" ? std::string(".") : format_maildir_folder(mailbox.name);
        TRY(folder_, make_directory(root_, name));
        TRY(cur_, make_directory(folder_, "cur"));
        TRY(const File fresh, make_directory(folder_, "new"));
        TRY(tmp_, make_directory(folder_, "tmp"));
        // Tells servers that this is a folder of the Maildir above it (Maildir++).
        if (name != ".") TRY_VOID(write_small(folder_, "maildirfolder", ""));
        unique_ = fmt::format(".M{}P", mailbox.uid_validity);
        letters_ = parse_letter_keywords(read_small(folder_, kKeywordsFile, kKeywordsFileOctetsMax));
        there_.clear();
        TRY_VOID(each_name(cur_, [this](std::string_view file) { note(file); }));
        return {};
    }

    Result<bool> has(const Entry& entry, const std::vector<std::string>& keywords) override {
        const auto found = there_.find(entry.uid);
        if (found == there_.end()) return false;
        TRY(const std::string letters, letters_of(entry, keywords));
        const std::string name = parse_maildir_name(found->second).base + ":2," + letters;
        if (name != found->second) TRY_VOID(move_file(cur_, found->second, cur_, name));
        return true;
    }

    Result<> write(const Entry& entry, const std::vector<std::string>& keywords, const ExportBody& body) override {
        TRY(const std::string letters, letters_of(entry, keywords));
        const std::string base =
            fmt::format("{}{}{}Q{}.posthouse,S={},W={}", std::max<std::int64_t>(entry.internal_date_s, 0), unique_,
                        entry.uid, raw(account_), body.file_octets(), body.size_octets());
        TRY(const File file, create_file(tmp_, base));
        Result<> done = body.each_piece([&file](std::string_view piece) { return write_all(file, piece); });
        if (done) {
            timespec times[2] = {};
            times[0].tv_sec = times[1].tv_sec = entry.internal_date_s;
            static_cast<void>(::futimens(file.get(), times));  // some file systems know no such times
            done = move_file(tmp_, base, cur_, base + ":2," + letters);
        }
        if (!done) remove_file(tmp_, base);
        return done;
    }

    Result<> end() override {
        there_.clear();
        return {};
    }

    Result<> finish(const std::vector<std::string>& subscribed) override {
        std::string text;
        for (const std::string& name : subscribed) text += format_maildir_folder(name).substr(1) + "\n";
        return write_small(root_, "subscriptions", text);
    }

 private:
    // A file of an earlier export from this mailbox.
    void note(std::string_view file) {
        const std::size_t at = file.find(unique_);
        if (at == std::string_view::npos || at != file.find('.')) return;
        std::string_view rest = file.substr(at + unique_.size());
        const std::size_t q = rest.find('Q');
        const std::size_t dot = rest.find('.');
        if (q == std::string_view::npos || dot == std::string_view::npos || q > dot) return;
        const auto uid = ascii::parse_number(rest.substr(0, q));
        const auto account = ascii::parse_number(rest.substr(q + 1, dot - q - 1));
        if (!uid || *uid > ~Uid{0} || !account || *account != static_cast<std::uint64_t>(raw(account_))) return;
        there_.emplace(static_cast<Uid>(*uid), file);
    }

    Result<std::string> letters_of(const Entry& entry, const std::vector<std::string>& keywords) {
        bool forwarded = false;
        std::string letters;
        for (const std::string& keyword : keywords) {
            if (ascii::equals_ci(keyword, kForwardedKeyword)) {
                forwarded = true;
                continue;
            }
            const auto same = [&keyword](const std::string& known) { return ascii::equals_ci(known, keyword); };
            auto slot = std::ranges::find_if(letters_, same);
            if (slot == letters_.end()) {
                slot = std::ranges::find(letters_, "");
                if (slot == letters_.end()) {
                    ++statistics_.keywords_left_out;
                    continue;
                }
                *slot = keyword;
                // Before the first file that uses the letter: it never stands for nothing.
                TRY_VOID(write_small(folder_, kKeywordsFile, format_letter_keywords(letters_)));
            }
            letters += static_cast<char>('a' + (slot - letters_.begin()));
        }
        std::ranges::sort(letters);
        return format_maildir_flags(entry.flags, forwarded) + letters;
    }

    const File& root_;
    const storage::AccountId account_;
    ExportStatistics& statistics_;
    File folder_;
    File cur_;
    File tmp_;
    std::string unique_;
    LetterKeywords letters_;
    std::unordered_map<Uid, std::string> there_;
};

}  // namespace

std::unique_ptr<ExportSink> make_maildir_sink(const File& root, storage::AccountId account,
                                              ExportStatistics& statistics) {
    return std::make_unique<MaildirSink>(root, account, statistics);
}

}  // namespace posthouse::transfer
