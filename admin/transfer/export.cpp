#include "admin/transfer/export.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "admin/transfer/crlf.h"

namespace posthouse::transfer {
namespace {

using storage::AccountId;
using storage::Entry;
using storage::Mailbox;
using storage::MailView;
using storage::Snapshot;
using storage::Uid;

constexpr std::uint64_t kPieceOctets = 1024 * 1024;
constexpr std::uint64_t kKeptOctetsMax = 8 * kPieceOctets;
constexpr Uid kGroupMax = 500;

bool ends_the_export(Errc code) { return code == Errc::no_space || code == Errc::io || code == Errc::denied; }

class Export {
 public:
    Export(storage::Store& store, AccountId account, ExportSink& sink, const Watch& watch,
           const FailureListener& on_failure, ExportStatistics& statistics)
        : store_(store),
          account_(account),
          sink_(sink),
          watch_(watch),
          on_failure_(on_failure),
          statistics_(statistics) {}

    Result<> run(const std::string& only) {
        TRY(std::vector<Mailbox> all, store_.read([&](const Snapshot& s) { return s.mail(account_).mailboxes(); }));
        if (!only.empty()) {
            TRY(const Mailbox one, store_.read([&](const Snapshot& s) { return s.mail(account_).mailbox(only); }));
            std::erase_if(all, [&one](const Mailbox& mailbox) { return mailbox.id != one.id; });
        }
        std::uint64_t messages = 0;
        std::vector<std::string> subscribed;
        for (const Mailbox& mailbox : all) {
            messages += mailbox.messages;
            if (mailbox.subscribed) subscribed.push_back(mailbox.name);
        }
        watch_.expected(messages);
        for (const Mailbox& mailbox : all) TRY_VOID(export_mailbox(mailbox));
        return sink_.finish(subscribed);
    }

 private:
    Result<> export_mailbox(const Mailbox& mailbox) {
        const Result<> begun = sink_.begin(mailbox);
        if (!begun && begun.error().code == Errc::no_space) return begun;
        if (!begun) return fail(mailbox.name, begun.error()), Result<>();
        // What comes in while this runs may be met or not; what is met is whole.
        for (Uid first = 1; first < mailbox.uid_next;) {
            const Uid last = first + std::min(kGroupMax, mailbox.uid_next - first) - 1;
            const Result<> done = store_.read([&](const Snapshot& snapshot) -> Result<> {
                return export_group(snapshot.mail(account_), mailbox, first, last);
            });
            // Removed while this ran: there is nothing more of it.
            if (!done && done.error().code == Errc::not_found) break;
            TRY_VOID(done);
            first = last + 1;
        }
        return sink_.end();
    }

    Result<> export_group(const MailView& mail, const Mailbox& mailbox, Uid first, Uid last) {
        TRY(const std::vector<Entry> entries, mail.entries(mailbox.id, first, last));
        for (const Entry& entry : entries) {
            if (watch_.is_interrupted()) {
                return Error(Errc::cancelled,
                             "the export was interrupted; what is written stays, and the same command goes on");
            }
            const Result<> done = export_message(mail, mailbox, entry);
            if (!done && ends_the_export(done.error().code)) return done;
            if (!done) fail(fmt::format("{} UID {}", mailbox.name, entry.uid), done.error());
            watch_.shown(++done_, statistics_.octets, mailbox.name);
        }
        return {};
    }

    Result<> export_message(const MailView& mail, const Mailbox& mailbox, const Entry& entry) {
        std::vector<std::string> keywords;
        if (entry.keyword_set != 0) {
            TRY(keywords, mail.keywords(entry.keyword_set));
        }
        TRY(const bool known, sink_.has(entry, keywords));
        if (known) {
            ++statistics_.known;
            return {};
        }
        auto reader = mail.body(mailbox.id, entry.uid);
        auto body = reader ? ExportBody::load(*std::move(reader)) : Result<ExportBody>(Error(reader.error()));
        // Whatever the store says of this one body, it is no reason to keep back the others.
        if (!body) return Error(Errc::corrupt, body.error().context);
        TRY_VOID(sink_.write(entry, keywords, *body));
        ++statistics_.written;
        statistics_.octets += entry.size_octets;
        return {};
    }

    void fail(const std::string& name, const Error& why) {
        ++statistics_.failed;
        if (on_failure_) on_failure_(name, why);
    }

    storage::Store& store_;
    const AccountId account_;
    ExportSink& sink_;
    const Watch& watch_;
    const FailureListener& on_failure_;
    ExportStatistics& statistics_;
    std::uint64_t done_ = 0;
};

}  // namespace

Result<ExportBody> ExportBody::load(storage::BodyReader reader) {
    ExportBody out(std::move(reader));
    const std::uint64_t size = out.size_octets();
    char last = 0;
    for (std::uint64_t at = 0; at < size; at += kPieceOctets) {
        TRY(std::string piece, out.reader_.read(at, kPieceOctets));
        out.plain_ = out.plain_ && is_plain_crlf(piece, last);
        out.line_ends_ += static_cast<std::uint64_t>(std::ranges::count(piece, '\n'));
        out.ends_line_ = piece.ends_with('\n');
        if (at == 0 || size <= kKeptOctetsMax) out.head_ += piece;
    }
    return out;
}

Result<> ExportBody::each_piece(const std::function<Result<>(std::string_view)>& visit) const {
    bool held_cr = false;
    std::string lines;
    for (std::uint64_t at = 0; at < size_octets();) {
        std::string read;
        std::string_view piece = head_;
        if (head_.size() < size_octets()) {
            TRY(read, reader_.read(at, kPieceOctets));
            piece = read;
        }
        at += piece.size();
        if (plain_) {
            lines.clear();
            append_as_lf(lines, piece, held_cr);
            piece = lines;
        }
        TRY_VOID(visit(piece));
    }
    return held_cr ? visit("\r") : Result<>();
}

Result<> export_account(storage::Store& store, AccountId account, const File& root, const ExportOptions& options,
                        const Watch& watch, const FailureListener& on_failure, ExportStatistics& statistics) {
    const auto sink =
        options.format == ExportFormat::maildir ? make_maildir_sink(root, account, statistics) : make_mbox_sink(root);
    const Result<> done = Export(store, account, *sink, watch, on_failure, statistics).run(options.mailbox);
    // One sync for all files: an export is promised at its end, not a message at a time.
    if (::syncfs(root.get()) != 0 && done) return file_error(errno, "the files could not be written to the disk");
    return done;
}

}  // namespace posthouse::transfer
