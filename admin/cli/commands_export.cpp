// posthouse export: an account's mail as files.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>

#include "admin/cli/command.h"
#include "admin/cli/import_report.h"
#include "admin/transfer/export.h"

namespace posthouse::admin {
namespace {

using transfer::ExportFormat;
using transfer::ExportOptions;
using transfer::ExportStatistics;

// "/" at the end, links resolved.
Result<std::string> real_directory(const std::string& path) {
    const std::unique_ptr<char, decltype(&std::free)> found(::realpath(path.c_str(), nullptr), &std::free);
    if (!found) return transfer::file_error(errno, fmt::format("cannot open the directory {}", path));
    return std::string(found.get()) + "/";
}

// Files of others have no place in the store's directory, where backups and checks expect only its own.
Result<transfer::File> open_target(const std::string& path, const std::string& data) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        return transfer::file_error(errno, fmt::format("cannot make the directory {}", path));
    }
    TRY(const std::string target, real_directory(path));
    TRY(const std::string store, real_directory(data));
    if (target.starts_with(store)) {
        return Error(Errc::invalid, fmt::format("{} lies in the data directory; choose a place outside of it", path));
    }
    return transfer::open_directory(path);
}

Result<ExportFormat> parse_format(const std::string& text) {
    if (text.empty() || text == "maildir") return ExportFormat::maildir;
    if (text == "mbox") return ExportFormat::mbox;
    return Error(Errc::invalid, fmt::format("\"{}\" is no format; write maildir or mbox", text));
}

// export ACCOUNT DIR
Result<> export_account(Invocation& call) {
    ExportOptions options;
    TRY(options.format, parse_format(call.get("--format")));
    options.mailbox = call.get("--mailbox");
    TRY(const Settings settings, call.settings());
    TRY(storage::Store* const store, call.store());
    TRY(const storage::Account account, import_account(*store, call.get("ACCOUNT")));
    TRY(const transfer::File root, open_target(call.get("DIR"), settings.data));
    ImportReport report(call.out(), account.address);
    ExportStatistics figures;
    const Result<> done =
        transfer::export_account(*store, account.id, root, options, report.watch(), report.listener(), figures);
    return report.end(figures, done);
}

using Kind = Argument::Kind;

constexpr Argument kExport[] = {
    {Kind::positional, "ACCOUNT", "whose mail"},
    {Kind::positional, "DIR", "where to; made where missing. A second export to the same Maildir adds what is new"},
    {Kind::option, "--format", "maildir (with folders, flags and keywords) or mbox [maildir]"},
    {Kind::option, "--mailbox", "only this mailbox"},
};
constexpr Command kCommands[] = {
    {"", "export", "write an account's mail as a Maildir or as mbox files",
     "posthouse export alice@example.org /srv/alice", kExport, export_account},
};

}  // namespace

std::span<const Command> export_commands() { return kCommands; }

}  // namespace posthouse::admin
