// posthouse backup ...: copies of the store that can be trusted, and the way back.
#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "admin/cli/command.h"
#include "admin/cli/progress.h"
#include "storage/backup/backup.h"
#include "storage/settings.h"

namespace posthouse::admin {
namespace {

namespace backup = storage::backup;

constexpr std::uint64_t kMiB = 1024UL * 1024;
constexpr std::size_t kSaidMax = 50;

// The repository that --to or --from names, and its key.
Result<backup::Target> take_target(Invocation& call, std::string_view option) {
    backup::Target out;
    out.directory = call.get(option);
    if (call.has("--key-file")) {
        TRY(out.key, backup::read_key(call.get("--key-file")));
    }
    return out;
}

Result<unsigned> take_count(Invocation& call, std::string_view option) {
    const std::string text = call.get(option);
    unsigned out = 0;
    if (text.empty()) return out;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (failed == std::errc() && end == text.data() + text.size()) return out;
    return Error(Errc::invalid, fmt::format("{} takes a number, not \"{}\"", option, text));
}

Result<backup::Keep> take_keep(Invocation& call) {
    backup::Keep out;
    TRY(out.newest, take_count(call, "--keep"));
    TRY(out.daily, take_count(call, "--keep-daily"));
    TRY(out.weekly, take_count(call, "--keep-weekly"));
    TRY(out.monthly, take_count(call, "--keep-monthly"));
    return out;
}

backup::Watch watch_with(Progress& progress) {
    backup::Watch out;
    out.progress = [&progress](std::uint64_t done, std::uint64_t total, const std::string& what) {
        // Octets of files are shown in MiB; small counts (pages, messages) as they are.
        const std::uint64_t unit = total > 16 * kMiB ? kMiB : 1;
        progress.set_total(total / unit);
        progress.show(done / unit, 0, what);
    };
    out.stop = [] { return Progress::interrupted(); };
    return out;
}

// Beside the store, where a passing copy of mail.db is as safe as mail.db itself.
std::string take_scratch(Invocation& call) {
    if (call.has("--scratch")) return call.get("--scratch");
    if (const auto settings = call.settings()) {
        const std::string tmp = settings->data + "/tmp";
        std::error_code none;
        if (std::filesystem::is_directory(tmp, none)) return tmp;
    }
    const char* const tmp = std::getenv("TMPDIR");
    return tmp == nullptr || *tmp == '\0' ? "/var/tmp" : tmp;
}

void say_findings(Invocation& call, std::string_view head, const backup::Findings& findings) {
    if (findings.count == 0) return;
    call.out().say(fmt::format("{} ({}):", head, findings.count));
    std::size_t said = 0;
    for (const std::string& sentence : findings.sentences) {
        if (++said > kSaidMax) break;
        call.out().say("  " + to_text(sentence));
    }
    if (findings.count > kSaidMax) call.out().say(fmt::format("  ... and {} more", findings.count - kSaidMax));
}

// backup key FILE
Result<> backup_key(Invocation& call) {
    const std::string file = call.get("FILE");
    TRY_VOID(backup::make_key(file));
    if (call.out().json()) call.out().record(Record().add("key_file", file));
    call.out().say(
        fmt::format("The key is in {}. Keep a copy of it away from this machine: without it no backup that "
                    "it encrypts can be opened.",
                    file));
    return {};
}

// What takes the data directory takes all that is in it.
bool lies_within(const std::string& path, const std::string& directory) {
    std::error_code none;
    const auto inner = std::filesystem::weakly_canonical(path, none)
                           .lexically_relative(std::filesystem::weakly_canonical(directory, none));
    return !inner.empty() && *inner.begin() != "..";
}

// backup init --to DIR [--key-file FILE]
Result<> backup_init(Invocation& call) {
    TRY(const backup::Target target, take_target(call, "--to"));
    if (const auto settings = call.settings(); settings && lies_within(target.directory, settings->data)) {
        return Error(Errc::invalid, fmt::format("{} lies in the data directory, and would be lost with it: name a "
                                                "directory on another disk",
                                                target.directory));
    }
    TRY_VOID(backup::init(target));
    if (call.out().json()) {
        call.out().record(Record().add("directory", target.directory).add("encrypted", !target.key.empty()));
    }
    call.out().say(fmt::format("{} is a backup repository now, {}. Next: posthouse backup create --to {}{}",
                               target.directory, target.key.empty() ? "not encrypted" : "encrypted", target.directory,
                               target.key.empty() ? "" : " --key-file " + call.get("--key-file")));
    return {};
}

void say_created(Invocation& call, const backup::Created& made, const backup::Target& target) {
    call.out().say(fmt::format("Backup {} is in {}: {} messages, {} in {} files, {} of it new.", made.name,
                               target.directory, made.messages, format_octets(made.octets), made.files,
                               format_octets(made.octets_written)));
    if (made.has_keys) {
        call.out().say("The sealing key and DATA/tls are in it.");
    } else {
        call.out().say(
            "NOT in it: the sealing key (DATA/seal.key), because this repository is not encrypted. Without that file "
            "relay\npasswords and DKIM keys cannot be opened after a restore: keep a copy of it elsewhere, or use an "
            "encrypted repository.");
    }
    say_findings(call, "Damaged in the store itself, copied as it is; run posthouse fsck", made.damage);
    for (const std::string& name : made.removed) call.out().say(fmt::format("Removed: {}", name));
    if (!made.not_removed.empty()) call.out().say(fmt::format("Note: {}.", to_text(made.not_removed)));
}

// backup create --to DIR
Result<> backup_create(Invocation& call) {
    TRY(const backup::Target target, take_target(call, "--to"));
    TRY(const Settings settings, call.settings());
    TRY(storage::Store* const store, call.store());
    backup::CreateOptions options;
    options.hostname = settings.hostname;
    options.config_file = settings.file;
    options.keys_in_clear = call.has("--with-keys");
    TRY(options.keep, take_keep(call));
    Progress progress(call.out(), "MiB", 0);
    TRY(const backup::Created made, backup::create(*store, target, options, watch_with(progress)));
    if (call.out().json()) {
        Record out;
        out.add("backup", made.name).add("messages", made.messages).add("octets", made.octets);
        out.add("octets_read", made.octets_read).add("octets_written", made.octets_written);
        out.add("snapshot_ms", made.snapshot_held.count()).add("keys", made.has_keys);
        out.add("damaged", made.damage.count).add("damage", made.damage.sentences).add("removed", made.removed);
        out.add("octets_freed", made.octets_freed).add("not_removed", made.not_removed);
        call.out().record(out);
    }
    say_created(call, made, target);
    return {};
}

// backup list --from DIR
Result<> backup_list(Invocation& call) {
    TRY(const backup::Target target, take_target(call, "--from"));
    TRY(const auto all, backup::list(target));
    std::vector<Record> rows;
    for (const backup::Listed& one : all) {
        Record row;
        row.add("backup", one.name).add("host", one.hostname);
        row.add("messages", one.messages);
        if (call.out().json()) {
            row.add("created", format_rfc3339(one.created)).add("octets", one.octets).add("keys", one.has_keys);
            row.add("damage", one.damage).add("faults", one.faults);
        } else {
            row.add("size", format_octets(one.octets));
        }
        row.add("verified", one.verified ? format_rfc3339(*one.verified) : std::string("never"));
        std::string state = one.verified ? "good" : "not verified";
        if (one.faults > 0) state = fmt::format("{} faults", one.faults);
        if (!one.unreadable.empty()) state = one.unreadable;
        rows.push_back(std::move(row.add("state", state)));
    }
    call.out().table(rows, "There is no backup yet.");
    return {};
}

// backup verify --from DIR [BACKUP]
Result<> backup_verify(Invocation& call) {
    TRY(const backup::Target target, take_target(call, "--from"));
    Progress progress(call.out(), "MiB", 0);
    TRY(const backup::Verified found,
        backup::verify(target, call.get("BACKUP"), take_scratch(call), watch_with(progress)));
    if (call.out().json()) {
        Record out;
        out.add("backup", found.name).add("good", found.faults.count == 0).add("messages", found.messages);
        out.add("octets", found.octets).add("faults", found.faults.sentences);
        out.add("fault_count", found.faults.count).add("damaged_in_store", found.known.sentences);
        call.out().record(out);
    }
    say_findings(call, "Damaged in the store already when the backup was made", found.known);
    say_findings(call, "Wrong in the backup", found.faults);
    if (found.faults.count > 0) {
        call.out().say(
            fmt::format("Backup {} is DAMAGED: what is not named above can be restored. The next backup "
                        "stores anew what the store still has.",
                        found.name));
        return told_already();
    }
    call.out().say(fmt::format("Backup {} is good: {} messages and {} were checked.", found.name, found.messages,
                               format_octets(found.octets)));
    return {};
}

Result<> restore_whole(Invocation& call, const backup::Target& target, const backup::Watch& watch) {
    backup::RestoreOptions options;
    options.as_it_was = call.has("--as-it-was");
    options.sealing_key_file = call.get("--seal-key");
    const std::string data = call.get("--to");
    TRY(const backup::Restored done, backup::restore(target, call.get("BACKUP"), data, options, watch));
    if (call.out().json()) {
        Record out;
        out.add("backup", done.name).add("data", data).add("messages", done.messages).add("octets", done.octets);
        out.add("held", done.held).add("key_made", done.key_made).add("config", done.config_file);
        out.add("lost", done.lost.sentences).add("lost_count", done.lost.count);
        call.out().record(out);
    }
    call.out().say(fmt::format("Backup {} is restored to {}: {} messages, {}.", done.name, data, done.messages,
                               format_octets(done.octets)));
    say_findings(call, "Lost, because the backup is damaged", done.lost);
    if (done.key_made) {
        call.out().say(
            "The backup has no sealing key: a new one was made. Run posthouse dkim add for each domain, and remove and "
            "add\nroutes that have a password; or restore again with --seal-key and the old DATA/seal.key.");
    }
    if (done.held > 0) {
        call.out().say(
            fmt::format("{} recipients in the queue are held, because they may have got their mail since: "
                        "posthouse queue list, then release or cancel.",
                        done.held));
    }
    if (!done.config_file.empty()) call.out().say(fmt::format("The configuration of then: {}", done.config_file));
    call.out().say(
        fmt::format("Next: put data = \"{}\" into the configuration, see that the TLS certificate is where "
                    "it says, then posthouse serve.",
                    data));
    return done.lost.count == 0 ? Result<>() : told_already();
}

Result<> restore_part(Invocation& call, const backup::Target& target, const backup::Watch& watch) {
    backup::MailSelection what;
    what.account = call.get("--account");
    what.mailbox = call.get("--mailbox");
    what.message = call.get("--message");
    what.into = call.get("--into");
    what.only_missing = call.has("--only-missing");
    TRY(storage::Store* const store, call.store());
    TRY(const backup::RestoredMail done,
        backup::restore_mail(*store, target, call.get("BACKUP"), what, take_scratch(call), watch));
    if (call.out().json()) {
        Record out;
        out.add("backup", done.name).add("restored", done.messages).add("there_already", done.there);
        out.add("mailboxes", done.mailboxes).add("account_made", done.account_made);
        out.add("lost", done.lost.sentences).add("lost_count", done.lost.count);
        call.out().record(out);
    }
    if (done.account_made) call.out().say(fmt::format("The account {} was gone and is made again.", what.account));
    call.out().say(fmt::format("{} messages of {} are restored from backup {}, {} were there already.", done.messages,
                               what.account, done.name, done.there));
    for (const std::string& name : done.mailboxes) call.out().say("  " + to_text(name));
    say_findings(call, "Lost, because the backup is damaged", done.lost);
    return done.lost.count == 0 ? Result<>() : told_already();
}

// backup restore --from DIR [BACKUP] --to DATADIR | --account A [...]
Result<> backup_restore(Invocation& call) {
    if (call.has("--to") == call.has("--account")) {
        return Error(Errc::invalid,
                     "say --to DATADIR for a whole store in a new directory, or --account ADDRESS for mail of one "
                     "account into the store in use");
    }
    TRY(const backup::Target target, take_target(call, "--from"));
    Progress progress(call.out(), call.has("--to") ? "MiB" : "messages", 0);
    const backup::Watch watch = watch_with(progress);
    return call.has("--to") ? restore_whole(call, target, watch) : restore_part(call, target, watch);
}

Result<std::string> absolute(const std::string& path) {
    std::error_code failed;
    const auto out = std::filesystem::absolute(path, failed);
    if (failed) return Error(Errc::invalid, fmt::format("{} is no path", path));
    return out.lexically_normal().string();
}

// backup schedule [--to DIR] [...] | --off
Result<> backup_schedule(Invocation& call) {
    struct Row {
        std::string_view option;
        std::string_view key;
    };
    constexpr Row kRows[] = {{"--every-hours", "backup.every_hours"},
                             {"--keep", "backup.keep_newest"},
                             {"--keep-daily", "backup.keep_daily"},
                             {"--keep-weekly", "backup.keep_weekly"},
                             {"--keep-monthly", "backup.keep_monthly"}};
    std::vector<std::pair<std::string, std::string>> changes;
    if (call.has("--off")) changes.emplace_back("backup.directory", "");
    if (call.has("--to")) {
        // Now is the time to hear of a wrong key, not in the night.
        TRY(const backup::Target target, take_target(call, "--to"));
        TRY_VOID(backup::ages(target));
        TRY(std::string directory, absolute(target.directory));
        std::string key_file;
        if (call.has("--key-file")) {
            TRY(key_file, absolute(call.get("--key-file")));
        }
        changes.emplace_back("backup.directory", std::move(directory));
        changes.emplace_back("backup.key_file", std::move(key_file));
    } else if (call.has("--key-file")) {
        return Error(Errc::invalid, "name the repository of that key with --to");
    }
    for (const Row& row : kRows) {
        if (!call.has(row.option)) continue;
        TRY(std::string value, storage::check_setting(row.key, call.get(row.option)));
        changes.emplace_back(row.key, std::move(value));
    }
    TRY(storage::Store* const store, call.store());
    if (!changes.empty()) {
        TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
            for (const auto& [key, value] : changes) TRY_VOID(tx.catalog().set_setting(key, value));
            return {};
        }));
    }
    TRY(const Record now, store->read([](const storage::Snapshot& snapshot) -> Result<Record> {
        Record out;
        for (const storage::SettingRow& row : storage::setting_rows()) {
            if (!row.key.starts_with("backup.")) continue;
            TRY(const std::string value, storage::setting_text(snapshot.catalog(), row.key));
            out.add(row.key.substr(row.key.find('.') + 1), value);
        }
        return out;
    }));
    call.out().record(now);
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kKeyFile{Kind::option, "--key-file", "the key of an encrypted repository (posthouse backup key)"};
constexpr Argument kFrom{Kind::option_required, "--from", "the directory with the backups"};
constexpr Argument kWhich{Kind::positional_optional, "BACKUP", "a backup's name, or how it begins [the newest]"};
constexpr Argument kScratch{Kind::option, "--scratch", "directory for a passing copy of mail.db [DATA/tmp]"};
constexpr Argument kKeep{Kind::option, "--keep", "let the newest N backups stay"};
constexpr Argument kDaily{Kind::option, "--keep-daily", "and the newest of each of the last N days"};
constexpr Argument kWeekly{Kind::option, "--keep-weekly", "and of each of the last N weeks"};
constexpr Argument kMonthly{Kind::option, "--keep-monthly", "and of each of the last N months"};

constexpr Argument kKeyArguments[] = {{Kind::positional, "FILE", "the file to make, mode 0600"}};
constexpr Argument kInitArguments[] = {
    {Kind::option_required, "--to", "the directory to make the repository in: new or empty"}, kKeyFile};
constexpr Argument kCreateArguments[] = {
    {Kind::option_required, "--to", "the repository (posthouse backup init)"},
    kKeyFile,
    {Kind::flag, "--with-keys", "take the sealing key and DATA/tls along though the repository is not encrypted"},
    kKeep,
    kDaily,
    kWeekly,
    kMonthly};
constexpr Argument kListArguments[] = {kFrom, kKeyFile};
constexpr Argument kVerifyArguments[] = {kWhich, kFrom, kKeyFile, kScratch};
constexpr Argument kRestoreArguments[] = {
    kWhich,
    kFrom,
    kKeyFile,
    {Kind::option, "--to", "a new data directory for the whole store"},
    {Kind::flag, "--as-it-was", "with --to, for a move: UIDVALIDITY stays and the queue is not held"},
    {Kind::option, "--seal-key", "with --to: the old DATA/seal.key, where the backup does not have it"},
    {Kind::option, "--account", "restore mail of this account into the store in use"},
    {Kind::option, "--mailbox", "only this mailbox"},
    {Kind::option, "--message", "only this message: Message-ID, or UID with --mailbox"},
    {Kind::option, "--into", "put it into this mailbox; of a whole account, below it"},
    {Kind::flag, "--only-missing", "leave out what the account has in any mailbox"},
    kScratch};
constexpr Argument kScheduleArguments[] = {{Kind::option, "--to", "the repository (posthouse backup init)"},
                                           kKeyFile,
                                           {Kind::option, "--every-hours", "hours between two backups"},
                                           kKeep,
                                           kDaily,
                                           kWeekly,
                                           kMonthly,
                                           {Kind::flag, "--off", "make no more"}};

constexpr Command kRows[] = {
    {"backup", "key", "make a key that encrypts backups", "posthouse backup key /etc/posthouse/backup.key",
     kKeyArguments, backup_key},
    {"backup", "init", "make an empty repository for backups",
     "posthouse backup init --to /mnt/backup/mail --key-file /etc/posthouse/backup.key", kInitArguments, backup_init},
    {"backup", "create", "make a backup now; the server goes on meanwhile",
     "posthouse backup create --to /mnt/backup/mail --key-file /etc/posthouse/backup.key --keep-daily 7 --keep-weekly "
     "5",
     kCreateArguments, backup_create},
    {"backup", "list", "list the backups", "posthouse backup list --from /mnt/backup/mail", kListArguments,
     backup_list},
    {"backup", "verify", "check every octet of a backup, and every message in it",
     "posthouse backup verify --from /mnt/backup/mail", kVerifyArguments, backup_verify},
    {"backup", "restore", "bring back a whole store, or mail of one account",
     "posthouse backup restore --from /mnt/backup/mail --account alice@example.org --mailbox INBOX --into Restored",
     kRestoreArguments, backup_restore},
    {"backup", "schedule", "let the server make backups by itself; without options: what is set",
     "posthouse backup schedule --to /mnt/backup/mail --every-hours 24 --keep-daily 7", kScheduleArguments,
     backup_schedule},
};

}  // namespace

std::span<const Command> backup_commands() { return kRows; }

}  // namespace posthouse::admin
