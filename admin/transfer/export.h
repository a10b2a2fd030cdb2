#pragma once
/// admin/transfer/export: an account's mail as files that every program reads: Maildir++ or mbox.
///
///   Maildir: INBOX in the root, others as ".Name.Sub"; flags in the names, keywords in dovecot-keywords, dates
///            as the files' times, subscriptions beside them. A second run into the same directory writes what is new
///            and brings flags up to date; nothing is removed there.
///   mbox:    NAME.mbox and NAME.sbd/ for what lies below, mboxrd quoting, state in Status, X-Status and X-Keywords.
/// Lines end with LF as is the custom of both, but for a message that could not be brought back that way (a bare LF, CR
/// CR): that one is written as it is. Import gives back every message that has CRLF, octet for octet.
/// Invariants  1. A file appears under its name whole or not at all.
///             2. A body that cannot be read is reported and never ends the export.
///             3. Each group of kGroupMax UIDs is one snapshot of the store; no write waits for an export.
/// Threads: one.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "admin/transfer/files.h"
#include "admin/transfer/taker.h"
#include "admin/transfer/watch.h"

namespace posthouse::transfer {

enum class ExportFormat { maildir, mbox };

struct ExportOptions {
    ExportFormat format = ExportFormat::maildir;
    std::string mailbox;  ///< only this one; "": all
};

struct ExportStatistics {
    std::uint64_t written = 0;
    std::uint64_t known = 0;  ///< lay there already
    std::uint64_t failed = 0;
    std::uint64_t octets = 0;
    std::uint64_t keywords_left_out = 0;  ///< a folder of a Maildir has room for 26
};

/// Errors end the export: cancelled, no_space, denied, not_found (no such mailbox), io.
Result<> export_account(storage::Store& store, storage::AccountId account, const File& root,
                        const ExportOptions& options, const Watch& watch, const FailureListener& on_failure,
                        ExportStatistics& statistics);

// ---- for the two formats

/// A body that has been read once from end to end; a small one is kept.
class ExportBody {
 public:
    static Result<ExportBody> load(storage::BodyReader reader);
    std::uint64_t size_octets() const { return reader_.size_octets(); }
    /// Whether it is written with LF, and how many octets it has then.
    bool is_plain() const { return plain_; }
    std::uint64_t file_octets() const { return plain_ ? size_octets() - line_ends_ : size_octets(); }
    bool ends_line() const { return ends_line_; }
    /// The first octets, CRLF as stored.
    std::string_view head() const { return head_; }
    /// All of it in pieces, as the file has it.
    Result<> each_piece(const std::function<Result<>(std::string_view)>& visit) const;

 private:
    explicit ExportBody(storage::BodyReader reader) : reader_(std::move(reader)) {}
    storage::BodyReader reader_;
    std::string head_;  ///< the whole of a small body
    bool plain_ = true;
    bool ends_line_ = false;
    std::uint64_t line_ends_ = 0;
};

/// What a format does with one mailbox.
class ExportSink {
 public:
    virtual ~ExportSink() = default;
    virtual Result<> begin(const storage::Mailbox& mailbox) = 0;
    /// Whether the message lies there already; then only its flags are looked after.
    virtual Result<bool> has(const storage::Entry& entry, const std::vector<std::string>& keywords) = 0;
    /// Errc::no_space and io end the export; any other error is this message's alone.
    virtual Result<> write(const storage::Entry& entry, const std::vector<std::string>& keywords,
                           const ExportBody& body) = 0;
    virtual Result<> end() = 0;
    /// After the last mailbox, with all those that are subscribed.
    virtual Result<> finish(const std::vector<std::string>& subscribed) = 0;
};
std::unique_ptr<ExportSink> make_maildir_sink(const File& root, storage::AccountId account,
                                              ExportStatistics& statistics);
std::unique_ptr<ExportSink> make_mbox_sink(const File& root);

}  // namespace posthouse::transfer
