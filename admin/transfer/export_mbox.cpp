// An account as mbox files: mboxrd, with the state of each message at its top (see mbox_marks.h).
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "admin/transfer/export.h"
#include "admin/transfer/mbox_marks.h"
#include "protocols/base/ascii.h"
#include "protocols/mime/header.h"

namespace posthouse::transfer {
namespace {

using storage::bit;
using storage::Entry;
using storage::Flag;

constexpr std::size_t kBufferOctets = 256 * 1024;

std::string asctime_utc(std::int64_t unix_s) {
    const std::chrono::sys_seconds time{std::chrono::seconds(unix_s)};
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(time - day);
    constexpr std::string_view kDays = "SunMonTueWedThuFriSat";
    constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
    return fmt::format(
        "{} {} {:2} {:02}:{:02}:{:02} {:04}", kDays.substr(std::chrono::weekday(day).c_encoding() * 3, 3),
        kMonths.substr((static_cast<unsigned>(date.month()) - 1) * 3, 3), static_cast<unsigned>(date.day()),
        clock.hours().count(), clock.minutes().count(), clock.seconds().count(), static_cast<int>(date.year()));
}

// The reverse-path that delivery wrote down (RFC 5321 4.4), without anything that would break the line.
std::string sender_of(std::string_view head) {
    const mime::Fields fields = mime::parse_fields(head);
    std::string out;
    for (const char c : mime::unfold(mime::find_first(fields, "Return-Path").value_or(""))) {
        if (ascii::is_printable(c) && c != ' ' && c != '<' && c != '>') out += c;
    }
    return out.empty() || out.size() > 256 ? "MAILER-DAEMON" : out;
}

/// Puts '>' before every line that could be taken for a separator or for one that was quoted: ">*From ".
class Quoter {
 public:
    explicit Quoter(const File& file) : file_(file) {}
    Result<> append(std::string_view piece) {
        for (;;) {
            if (undecided_) piece = decide(piece);
            if (piece.empty()) break;
            const std::size_t lf = piece.find('\n');
            const std::size_t length = lf == std::string_view::npos ? piece.size() : lf + 1;
            out_ += piece.substr(0, length);
            piece.remove_prefix(length);
            undecided_ = lf != std::string_view::npos;
        }
        return out_.size() < kBufferOctets ? Result<>() : flush();
    }
    /// As it is, behind all that was appended.
    Result<> finish(std::string_view tail) {
        out_ += std::exchange(start_, {});
        out_ += tail;
        undecided_ = true;
        return flush();
    }
    void add_raw(std::string_view text) { out_ += text; }

 private:
    // Takes from `piece` what is needed to know how the line begins; pieces may be cut anywhere.
    std::string_view decide(std::string_view piece) {
        constexpr std::string_view kFrom = "From ";
        while (!piece.empty()) {
            start_ += piece.front();
            piece.remove_prefix(1);
            std::size_t marks = start_.find_first_not_of('>');
            if (marks == std::string::npos) continue;
            const std::string_view rest = std::string_view(start_).substr(marks);
            if (rest.size() < kFrom.size() && kFrom.starts_with(rest)) continue;
            if (rest == kFrom) out_ += '>';
            undecided_ = start_.back() == '\n';
            out_ += std::exchange(start_, {});
            if (!undecided_) return piece;
        }
        return piece;
    }
    Result<> flush() {
        TRY_VOID(write_all(file_, out_));
        out_.clear();
        return {};
    }

    const File& file_;
    std::string out_;
    std::string start_;
    bool undecided_ = true;  ///< at the start of a line
};

class MboxSink final : public ExportSink {
 public:
    explicit MboxSink(const File& root) : root_(root) {}
    ~MboxSink() override { drop(); }

    Result<> begin(const storage::Mailbox& mailbox) override {
        TRY(directory_, make_directory(root_, "."));
        std::string_view path = mailbox.name;
        for (std::size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/')) {
            TRY(directory_, make_directory(directory_, std::string(path.substr(0, slash)) + ".sbd"));
            path.remove_prefix(slash + 1);
        }
        name_ = std::string(path) + ".mbox";
        temporary_ = name_ + ".posthouse";
        TRY(file_, create_file(directory_, temporary_));
        return {};
    }

    Result<bool> has(const Entry&, const std::vector<std::string>&) override { return false; }

    Result<> write(const Entry& entry, const std::vector<std::string>& keywords, const ExportBody& body) override {
        const off_t start = ::lseek(file_.get(), 0, SEEK_CUR);
        const Result<> done = write_message(entry, keywords, body);
        // Half a message is none: the next one begins where this one began.
        if (!done && (::ftruncate(file_.get(), start) != 0 || ::lseek(file_.get(), start, SEEK_SET) != start)) {
            return file_error(errno, "cannot take back half a message");
        }
        return done;
    }

    Result<> end() override {
        file_.close();
        TRY_VOID(move_file(directory_, temporary_, directory_, name_));
        temporary_.clear();
        return {};
    }

    Result<> finish(const std::vector<std::string>&) override { return {}; }

 private:
    void drop() {
        if (!temporary_.empty() && directory_) remove_file(directory_, temporary_);
    }

    Result<> write_message(const Entry& entry, const std::vector<std::string>& keywords, const ExportBody& body) {
        const auto has = [&entry](Flag flag, const char* letter) {
            return (entry.flags & bit(flag)) != 0 ? letter : "";
        };
        Quoter out(file_);
        out.add_raw(fmt::format("From {} {}\n{}: rd{}\nStatus: {}O\n", sender_of(body.head()),
                                asctime_utc(entry.internal_date_s), kOwnField,
                                body.ends_line() ? std::string() : fmt::format(" {}", kOpenEnd), has(Flag::seen, "R")));
        out.add_raw(fmt::format("X-Status: {}{}{}{}\n", has(Flag::answered, "A"), has(Flag::flagged, "F"),
                                has(Flag::draft, "T"), has(Flag::deleted, "D")));
        out.add_raw("X-Keywords:");
        for (const std::string& keyword : keywords) out.add_raw(" " + keyword);
        out.add_raw("\n");
        TRY_VOID(body.each_piece([&out](std::string_view piece) { return out.append(piece); }));
        return out.finish(body.ends_line() ? "\n" : "\n\n");
    }

    const File& root_;
    File directory_;
    File file_;
    std::string name_;
    std::string temporary_;  ///< "" where none is open
};

}  // namespace

std::unique_ptr<ExportSink> make_mbox_sink(const File& root) { return std::make_unique<MboxSink>(root); }

}  // namespace posthouse::transfer
