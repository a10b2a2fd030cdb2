// posthouse import ...: mail from elsewhere into an account. The work is admin/transfer's; here stands what is typed.
#include <fmt/format.h>

#include <climits>
#include <cstdlib>
#include <iostream>

#include "admin/cli/command.h"
#include "admin/cli/import_report.h"
#include "admin/transfer/maildir.h"
#include "admin/transfer/mbox.h"

namespace posthouse::admin {
namespace {

using transfer::File;
using transfer::ImportOptions;
using transfer::Taker;

// What a repeated run is known by: the same directory, however it was written.
std::string real_path(const std::string& path) {
    const std::unique_ptr<char, decltype(&std::free)> found(::realpath(path.c_str(), nullptr), &std::free);
    return found ? std::string(found.get()) : path;
}

// With another --into it is another import: its mail goes elsewhere.
std::string source_of(std::string_view kind, const std::string& path, const std::string& into) {
    const std::string source = fmt::format("{}:{}", kind, real_path(path));
    return into.empty() ? source : fmt::format("{} into {}", source, into);
}

// import maildir ACCOUNT DIR
Result<> import_maildir(Invocation& call) {
    const std::string path = call.get("DIR");
    TRY(storage::Store* const store, call.store());
    TRY(const storage::Account account, import_account(*store, call.get("ACCOUNT")));
    TRY(const File root, transfer::open_directory(path));
    ImportOptions options;
    options.into = call.get("--into");
    ImportReport report(call.out(), account.address);
    Taker taker(*store, account.id, source_of("maildir", path, options.into), report.listener());
    return report.end(taker, transfer::import_maildir(taker, root, options, report.watch()));
}

// import mbox ACCOUNT PATH
Result<> import_mbox(Invocation& call) {
    const std::string path = call.get("PATH");
    TRY(storage::Store* const store, call.store());
    TRY(const storage::Account account, import_account(*store, call.get("ACCOUNT")));
    ImportOptions options;
    options.into = call.get("--into");
    ImportReport report(call.out(), account.address);
    Taker taker(*store, account.id, source_of("mbox", path, options.into), report.listener());
    return report.end(taker, transfer::import_mbox(taker, path, options, report.watch()));
}

using Kind = Argument::Kind;

constexpr Argument kMaildir[] = {
    {Kind::positional, "ACCOUNT", "the account that the mail is for"},
    {Kind::positional, "DIR", "a Maildir, or a directory of Maildirs"},
    {Kind::option, "--into", "put everything below this mailbox, not into those of the same names"},
};
constexpr Argument kMbox[] = {
    {Kind::positional, "ACCOUNT", "the account that the mail is for"},
    {Kind::positional, "PATH", "an mbox file, or a directory of them (also Thunderbird's, with .sbd directories)"},
    {Kind::option, "--into", "put everything into or below this mailbox, not into those of the same names"},
};
constexpr Command kCommands[] = {
    {"import", "maildir", "take in a Maildir with its folders, flags and dates; repeat it to take what is new",
     "posthouse import maildir alice@example.org /home/alice/Maildir", kMaildir, import_maildir},
    {"import", "mbox", "take in mbox files, from Thunderbird or Google Takeout too; repeat it to take what is new",
     "posthouse import mbox alice@example.org ~/.thunderbird/x.default/Mail/Local\\ Folders", kMbox, import_mbox},
};

}  // namespace

std::span<const Command> import_commands() { return kCommands; }

}  // namespace posthouse::admin
