// posthouse fsck: does everything in the store agree, and what can be mended (storage/check).
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "admin/cli/command.h"
#include "admin/cli/progress.h"
#include "protocols/base/log.h"
#include "storage/check/check.h"
#include "storage/check/rebuild.h"
#include "storage/check/salvage.h"

namespace posthouse::admin {
namespace {

using storage::Fault;
using storage::FaultKind;
using storage::Findings;
using storage::KindRow;
using storage::Mending;
using storage::Weight;

// Of each kind; --json has a thousand.
constexpr std::size_t kSentencesShown = 20;

storage::CheckObserver observer_of(Progress& progress) {
    return [&progress](std::uint64_t done, std::uint64_t total, std::uint64_t octets, std::string_view what) {
        progress.set_total(total);
        progress.show(done, octets, std::string(what));
        return !Progress::interrupted();
    };
}

// ---- what was found

Poco::JSON::Object to_json(const Fault& fault, const KindRow& row) {
    Poco::JSON::Object out(Poco::JSON_PRESERVE_KEY_ORDER);
    out.set("code", std::string(row.code)).set("sentence", fault.sentence);
    out.set("account", fault.place.account).set("mailbox", fault.place.mailbox);
    out.set("uid", static_cast<std::int64_t>(fault.place.uid)).set("message", storage::raw(fault.place.message));
    out.set("note", row.weight == Weight::note).set("repairable", row.mending != Mending::by_hand);
    out.set("repaired", fault.repaired).set("remedy", std::string(row.remedy));
    return out;
}

void print_json(const storage::CheckReport& report, const storage::RepairReport* repaired) {
    Poco::JSON::Object out(Poco::JSON_PRESERVE_KEY_ORDER);
    const std::uint64_t left = repaired == nullptr ? report.findings.faults() : repaired->left.findings.faults();
    out.set("clean", left == 0 && !report.stopped).set("complete", !report.stopped);
    out.set("accounts", report.accounts).set("mailboxes", report.mailboxes).set("entries", report.entries);
    out.set("messages", report.messages).set("queue_items", report.queue_items).set("segments", report.segments);
    out.set("messages_read", report.bodies_read).set("octets_read", report.octets_read);
    out.set("faults_found", report.findings.faults()).set("notes_found", report.findings.notes());
    if (repaired != nullptr) {
        out.set("repaired", repaired->mended).set("faults_left", left).set("report_file", repaired->report_file);
    }
    Poco::JSON::Array faults;
    const auto add = [&faults](const Findings& findings, bool only_new, const Findings& before) {
        for (const auto& [kind, group] : findings.groups()) {
            for (const Fault& fault : group.shown) {
                const bool known = before.targets(kind).contains(Findings::Target{fault.a, fault.b});
                if (!only_new || !known) faults.add(to_json(fault, storage::row_of(kind)));
            }
        }
    };
    add(report.findings, false, report.findings);
    if (repaired != nullptr) add(repaired->left.findings, true, report.findings);
    out.set("faults", faults);
    out.stringify(std::cout, 2);
    std::cout << '\n';
}

void say_group(Invocation& call, FaultKind kind, const Findings::Group& group, bool after_repair) {
    const KindRow& row = storage::row_of(kind);
    const std::uint64_t count = group.targets.size();
    std::string head =
        fmt::format("{} ({}, {}{})", row.title, row.code, count, row.weight == Weight::note ? ", harmless" : "");
    if (after_repair) {
        head += group.repaired == count ? ": repaired"
                : group.repaired == 0   ? ": not repaired"
                                        : fmt::format(": {} of {} repaired", group.repaired, count);
    }
    call.out().say(head);
    std::size_t shown = 0;
    for (const Fault& fault : group.shown) {
        if (++shown > kSentencesShown) break;
        call.out().say(
            fmt::format("  {}{}", after_repair && !fault.repaired ? "left: " : "", log::escape(fault.sentence)));
    }
    if (count > kSentencesShown) call.out().say(fmt::format("  ... and {} more", count - kSentencesShown));
    if (!after_repair || group.repaired < count) call.out().say(fmt::format("  What to do: {}.", row.remedy));
    call.out().say("");
}

void say_findings(Invocation& call, const Findings& findings, bool after_repair) {
    for (const auto& [kind, group] : findings.groups()) say_group(call, kind, group, after_repair);
}

void say_counted(Invocation& call, const storage::CheckReport& report) {
    std::string text =
        fmt::format("Looked at {} accounts, {} mailboxes, {} messages in them, {} queued, {} segments", report.accounts,
                    report.mailboxes, report.entries, report.queue_items, report.segments);
    if (report.bodies_read > 0) {
        text += fmt::format("; read {} stored messages, {}", report.bodies_read, format_octets(report.octets_read));
    }
    call.out().say(text + ".");
}

/// Exit 0 only where nothing is left.
Result<> finish(Invocation& call, const storage::CheckReport& report, const storage::RepairReport* repaired) {
    const std::uint64_t left = repaired == nullptr ? report.findings.faults() : repaired->left.findings.faults();
    if (call.out().json()) {
        print_json(report, repaired);
    } else {
        say_findings(call, report.findings, repaired != nullptr);
        say_counted(call, report);
        if (repaired != nullptr && !repaired->report_file.empty()) {
            call.out().say(fmt::format("What was removed or given to somebody stands in {} in the data directory.",
                                       repaired->report_file));
        }
        if (report.stopped) {
            call.out().say("The check was stopped before its end.");
        } else if (left == 0) {
            call.out().say(report.findings.faults() == 0 ? "The store is in order." : "The store is in order again.");
        } else {
            call.out().say(
                fmt::format("{} {} {}.{}", left, left == 1 ? "fault" : "faults", repaired == nullptr ? "found" : "left",
                            repaired == nullptr ? " posthouse fsck --repair mends what can be mended." : ""));
        }
    }
    if (left > 0 || report.stopped) return told_already();
    return {};
}

// ---- the ways to run

Result<> run_check(Invocation& call) {
    auto store = call.store();
    if (!store) {
        return Error(
            store.error().code,
            fmt::format("{}. Where mail.db itself is lost or damaged: posthouse fsck --salvage DIR writes every "
                        "message that can be read to files, and with the server stopped posthouse fsck "
                        "--rebuild-database makes a new mail.db of what can be read of the old one",
                        store.error().context));
    }
    storage::CheckOptions options;
    options.quick = call.has("--quick");
    options.bodies = !call.has("--no-bodies");
    options.deep = call.has("--deep");
    Progress progress(call.out(), "messages", 0);
    const storage::CheckObserver observer = observer_of(progress);
    TRY(storage::CheckReport report, storage::check_store(**store, options, observer));
    const bool some = report.findings.faults() + report.findings.notes() > 0;
    if (!call.has("--repair") || !some || report.stopped) return finish(call, report, nullptr);
    storage::RepairOptions how;
    how.account = call.get("--account");
    TRY(const storage::RepairReport repaired, storage::repair_store(**store, report, options, how, observer));
    return finish(call, report, &repaired);
}

Result<> run_salvage(Invocation& call) {
    TRY(const Settings settings, call.settings());
    const std::string from = call.get("--from").empty() ? settings.data : call.get("--from");
    const auto what = call.has("--damaged") ? storage::SalvageWhat::damaged : storage::SalvageWhat::everything;
    Progress progress(call.out(), "segments", 0);
    TRY(const auto report, storage::salvage(from, call.get("--salvage"), what, observer_of(progress)));
    Record out;
    out.add("segments", report.files).add("segments_unreadable", report.files_unreadable);
    out.add("messages", report.messages).add("damaged", report.damaged).add("octets", report.octets);
    out.add("octets_of_no_message", report.octets_skipped).add("complete", !report.stopped);
    call.out().record(out);
    call.out().say(fmt::format("{0}/salvage.tsv lists them. posthouse import can take whole ones into an account.",
                               call.get("--salvage")));
    if (report.stopped || report.files_unreadable > 0) return told_already();
    return {};
}

Result<> run_recover(Invocation& call) {
    const std::string account = call.get("--account");
    if (account.empty()) {
        return Error(Errc::invalid,
                     "say with --account ADDRESS who gets the recovered messages, as its mailbox Recovered");
    }
    TRY(storage::Store* const store, call.store());
    const std::string given = call.get("--recover");
    Progress progress(call.out(), "records", 0);
    TRY(const auto report,
        storage::recover(*store, given == "dead" ? std::string() : given, account, observer_of(progress)));
    Record out;
    out.add("recovered", report.recovered).add("known_already", report.known).add("damaged", report.damaged);
    out.add("complete", !report.stopped);
    call.out().record(out);
    if (report.stopped) return told_already();
    return {};
}

Result<> run_rebuild(Invocation& call) {
    TRY(const Settings settings, call.settings());
    Progress progress(call.out(), "rows", 0);
    TRY(const auto report, storage::rebuild_database(settings.data, observer_of(progress)));
    Record out;
    out.add("rows", report.rows).add("tables_damaged", report.damaged).add("old_database", report.kept);
    call.out().record(out);
    call.out().say("Now run posthouse fsck --repair: it looks in the segments for what the rows no longer tell.");
    return {};
}

// fsck: at most one of --salvage, --recover, --rebuild-database, else the check
Result<> fsck(Invocation& call) {
    const int ways = (call.has("--salvage") ? 1 : 0) + (call.has("--recover") ? 1 : 0) +
                     (call.has("--rebuild-database") ? 1 : 0) + (call.has("--repair") ? 1 : 0);
    if (ways > 1) {
        return Error(Errc::invalid, "give one of --repair, --salvage, --recover and --rebuild-database at a time");
    }
    if (call.has("--salvage")) return run_salvage(call);
    if (call.has("--recover")) return run_recover(call);
    if (call.has("--rebuild-database")) return run_rebuild(call);
    return run_check(call);
}

constexpr Argument kFsck[] = {
    {Argument::Kind::flag, "--repair",
     "mend what can be mended; mail whose octets are nowhere is expunged and listed in DATA/fsck-TIME.txt, damaged "
     "mail "
     "that is still there stays"},
    {Argument::Kind::option, "--account", "who gets mail whose owner is lost (with --repair, --recover)"},
    {Argument::Kind::flag, "--quick", "a shorter look at mail.db itself"},
    {Argument::Kind::flag, "--no-bodies", "do not read the messages, only what is said about them"},
    {Argument::Kind::flag, "--deep", "also compare envelope, structure and words of the index with each message"},
    {Argument::Kind::option, "--salvage",
     "write every message that the segments still have to this directory; needs no mail.db"},
    {Argument::Kind::option, "--from", "the data directory or segments to salvage, where it is another one"},
    {Argument::Kind::flag, "--damaged", "with --salvage: only those that do not match their checksum"},
    {Argument::Kind::option, "--recover",
     "bring messages back into the mailbox Recovered of --account: \"dead\" for removed ones whose octets are still in "
     "the segments, or a directory of old segments whose mail.db is lost"},
    {Argument::Kind::flag, "--rebuild-database",
     "with the server stopped: make a new mail.db of every row that can be read of a damaged one"},
};

constexpr Command kRows[] = {
    {"", "fsck", "check the whole store, also while the server runs; exit 1 where faults are found or left",
     "posthouse fsck --repair", kFsck, fsck},
};

}  // namespace

std::span<const Command> fsck_commands() { return kRows; }

}  // namespace posthouse::admin
