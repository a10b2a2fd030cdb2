// posthouse import imap ...: all mail of an account at another IMAP server, or of a list of accounts. The work is
// admin/transfer's; here stands what is typed and told.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iostream>
#include <iterator>
#include <mutex>
#include <thread>

#include "admin/cli/command.h"
#include "admin/cli/dns_facts.h"
#include "admin/cli/import_report.h"
#include "admin/cli/secret.h"
#include "admin/transfer/imap_accounts.h"
#include "admin/transfer/imap_import.h"
#include "protocols/base/ascii.h"
#include "protocols/base/log.h"

namespace posthouse::admin {
namespace {

using transfer::AccountLine;
using transfer::ImapImportOptions;
using transfer::ImapImportOutcome;
using transfer::ImapOutside;

constexpr const char* kPasswordVariable = "POSTHOUSE_IMPORT_PASSWORD";
constexpr std::size_t kAtOnceMax = 16;
constexpr std::size_t kFailuresKeptMax = 1000;

// One account's import and what became of it.
struct Job {
    AccountLine line;
    ImapImportOutcome outcome;
    std::vector<std::string> failures;  // with --json; at most kFailuresKeptMax
    std::optional<Error> error;         // why it did not run or ended early
    std::uint64_t expected = 0, done = 0, octets = 0;

    bool good() const {
        return !error && outcome.verdict && outcome.statistics.failed == 0 && outcome.folders_failed == 0;
    }
    std::string sentence() const {
        if (error) return error->context;
        if (!outcome.verdict && outcome.verdict.error().code == Errc::cancelled) {
            return "stopped; what was taken stays, and the same command goes on where it was";
        }
        if (!outcome.verdict) return outcome.verdict.error().context;
        if (!good()) return "some messages or folders could not be taken; they are named above";
        return "";
    }
};

// What all imports of a run share. Several threads speak through it.
class Board {
 public:
    Board(Output& output, std::vector<Job>& jobs)
        : json_(output.json()), jobs_(jobs), progress_(output, "messages", 0) {}

    void note(const Job& job, std::string_view text) {
        const std::lock_guard lock(mutex_);
        if (json_) return;
        const std::string who = jobs_.size() > 1 ? job.line.account + ": " : "";
        std::cerr << (::isatty(STDERR_FILENO) == 1 ? "\r\x1b[K" : "") << log::escape(who + std::string(text)) << '\n';
    }
    void fail(Job& job, const std::string& name, const Error& why) {
        if (job.failures.size() < kFailuresKeptMax) job.failures.push_back(fmt::format("{}: {}", name, why.context));
        note(job, fmt::format("left out: {}: {}", name, why.context));
    }
    transfer::Watch watch(Job& job) {
        transfer::Watch out;
        out.interrupted = Progress::interrupted;
        out.expect = [this, &job](std::uint64_t messages) {
            const std::lock_guard lock(mutex_);
            job.expected = messages;
            std::uint64_t total = 0;
            for (const Job& one : jobs_) total += one.expected;
            progress_.set_total(total);
        };
        out.show = [this, &job](std::uint64_t done, std::uint64_t octets, const std::string& what) {
            const std::lock_guard lock(mutex_);
            all_done_ += done - job.done;
            all_octets_ += octets - job.octets;
            job.done = done;
            job.octets = octets;
            const std::string who = jobs_.size() > 1 ? job.line.account + ": " : "";
            progress_.show(all_done_, all_octets_, who + what);
        };
        return out;
    }

 private:
    const bool json_;
    std::vector<Job>& jobs_;
    std::mutex mutex_;
    Progress progress_;
    std::uint64_t all_done_ = 0, all_octets_ = 0;
};

// Everything that does not differ between the jobs.
struct Plan {
    storage::Store* store = nullptr;
    Settings settings;
    ImapImportOptions options;
    std::string ca_file;
};

bool wait_watchfully(std::chrono::milliseconds span) {
    constexpr std::chrono::milliseconds kTick{200};
    for (std::chrono::milliseconds waited{0}; waited < span; waited += kTick) {
        if (Progress::interrupted()) return false;
        std::this_thread::sleep_for(std::min(kTick, span - waited));
    }
    return !Progress::interrupted();
}

Result<std::vector<net::IpAddress>> resolve_host(const Settings& settings, const std::string& host) {
    TRY(const auto lookup, make_lookup(settings));
    TRY(const auto texts, lookup->ask("A", host));
    std::vector<net::IpAddress> out;
    for (const std::string& text : texts) {
        if (const auto address = net::IpAddress::parse(text)) out.push_back(*address);
    }
    return out;
}

Result<> run_job(const Plan& plan, Board& board, Job& job) {
    TRY(const storage::Account account, import_account(*plan.store, job.line.account));
    net::Loop loop;
    const auto dialer = net::make_tcp_dialer(loop);
    std::unique_ptr<net::TlsClientContext> tls;
    if (job.line.url.security != transfer::ImapUrl::Security::plain) {
        TRY(tls, net::TlsClientContext::make(net::Verify::required, plan.ca_file));
    }
    ImapOutside outside;
    outside.loop = &loop;
    outside.dialer = dialer.get();
    outside.tls = tls.get();
    outside.resolve = [&](const std::string& host) { return resolve_host(plan.settings, host); };
    outside.interrupted = Progress::interrupted;
    outside.pause = wait_watchfully;
    outside.note = [&](const std::string& text) { board.note(job, text); };
    const auto failed = [&](const std::string& name, const Error& why) { board.fail(job, name, why); };
    job.outcome = transfer::import_imap(*plan.store, account.id, job.line.url, job.line.password, plan.options, outside,
                                        board.watch(job), failed);
    return {};
}

void run_jobs(const Plan& plan, Board& board, std::vector<Job>& jobs, std::size_t at_once) {
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
        for (std::size_t i = next++; i < jobs.size(); i = next++) {
            Job& job = jobs[i];
            if (job.error) continue;
            if (Progress::interrupted()) {
                job.error = Error(Errc::cancelled, "stopped before it began; give the same command again");
                continue;
            }
            if (const Result<> done = run_job(plan, board, job); !done) job.error = done.error();
            if (jobs.size() > 1 && !job.good()) board.note(job, job.sentence());
        }
    };
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < std::min(at_once, jobs.size()); ++i) others.emplace_back(work);
    work();
}

Record to_record(const Job& job, Format format) {
    const transfer::TakerStatistics& figures = job.outcome.statistics;
    Record out;
    out.add("account", job.line.account).add("source", job.line.url.host.empty() ? "" : job.line.url.source());
    out.add("complete", job.good()).add("folders", job.outcome.folders);
    out.add("taken", figures.taken).add("known", figures.known);
    out.add("flags_changed", figures.flags_changed).add("removed", figures.removed);
    out.add("failed", figures.failed + job.outcome.folders_failed);
    if (format == Format::json) {
        out.add("octets", figures.octets).add("failures", job.failures);
    } else {
        out.add("size", format_octets(figures.octets));
    }
    out.add("error", job.sentence());
    return out;
}

// One account: a sentence for people, an object for machines.
Result<> tell_one(Invocation& call, const Job& job) {
    if (call.out().json()) {
        call.out().record(to_record(job, Format::json));
        return job.good() ? Result<>() : Result<>(told_already());
    }
    const transfer::TakerStatistics& figures = job.outcome.statistics;
    if (!job.error && (job.outcome.verdict || figures.taken > 0)) {
        std::string text = fmt::format("{} messages ({}) were taken from {} folders into {}", figures.taken,
                                       format_octets(figures.octets), job.outcome.folders, job.line.account);
        if (figures.known > 0) text += fmt::format("; {} were there already", figures.known);
        if (figures.flags_changed > 0) text += fmt::format(", {} of them got new flags", figures.flags_changed);
        if (figures.removed > 0) text += fmt::format("; {} were removed", figures.removed);
        call.out().say(text + ".");
    }
    if (job.good()) return {};
    return Error(job.error ? job.error->code : Errc::refused, job.sentence());
}

Result<> tell_all(Invocation& call, const std::vector<Job>& jobs) {
    const Format format = call.out().json() ? Format::json : Format::text;
    std::vector<Record> rows;
    for (const Job& job : jobs) rows.push_back(to_record(job, format));
    call.out().table(rows, "The file names no account.");
    const auto bad = std::ranges::count_if(jobs, [](const Job& job) { return !job.good(); });
    if (bad == 0) return {};
    if (call.out().json()) return told_already();
    return Error(Errc::refused, fmt::format("{} of {} accounts were not imported completely; the others are done, and "
                                            "the same command tries again",
                                            bad, jobs.size()));
}

Result<std::string> read_text(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) return Error(Errc::io, fmt::format("{} cannot be read", file));
    std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (text.size() > transfer::kAccountsOctetsMax) return Error(Errc::too_large, fmt::format("{} is too large", file));
    struct stat info{};
    if (::stat(file.c_str(), &info) == 0 && (info.st_mode & (S_IRGRP | S_IROTH)) != 0) {
        std::cerr << "note: others on this machine can read the passwords in " << log::escape(file)
                  << "; chmod 600 keeps them out\n";
    }
    return text;
}

Result<std::vector<Job>> jobs_of_file(const std::string& file) {
    TRY(const std::string text, read_text(file));
    std::vector<Job> out;
    for (AccountLine& line : transfer::parse_accounts(text)) {
        Job job;
        job.line = std::move(line);
        job.error = job.line.wrong;
        if (!job.error && !job.line.password_file.empty()) {
            auto secret = read_given_secret(job.line.password_file, kPasswordVariable);
            if (secret) job.line.password = *std::move(secret);
            if (!secret) job.error = secret.error();
        }
        out.push_back(std::move(job));
    }
    return out;
}

Result<std::vector<Job>> job_of_arguments(Invocation& call) {
    if (!call.has("ACCOUNT") || !call.has("URL")) {
        return Error(Errc::invalid, "name the account here and its source, imaps://user@host, or give --accounts FILE");
    }
    std::vector<Job> out(1);
    out[0].line.account = ascii::to_lower(call.get("ACCOUNT"));
    TRY(out[0].line.url, transfer::parse_imap_url(call.get("URL")));
    TRY(out[0].line.password,
        read_known_secret(call.get("--password-file"), kPasswordVariable,
                          fmt::format("password of {} at {}", out[0].line.url.user, out[0].line.url.host)));
    return out;
}

// import imap ACCOUNT URL, or --accounts FILE
Result<> import_imap(Invocation& call) {
    const bool many = call.has("--accounts");
    if (many && call.has("ACCOUNT")) return Error(Errc::invalid, "give either an account or --accounts FILE, not both");
    TRY(std::vector<Job> jobs, many ? jobs_of_file(call.get("--accounts")) : job_of_arguments(call));
    Plan plan;
    TRY(plan.settings, call.settings());
    TRY(plan.store, call.store());
    plan.ca_file = call.get("--ca-file");
    plan.options.wishes.into = call.get("--into");
    plan.options.wishes.only = call.all("--folder");
    plan.options.wishes.exclude = call.all("--exclude");
    if (call.has("--delete")) plan.options.vanished = transfer::Vanished::remove;
    std::size_t at_once = 1;
    if (call.has("--at-once")) {
        const auto number = ascii::parse_number(call.get("--at-once"));
        if (!number || *number == 0 || *number > kAtOnceMax) {
            return Error(Errc::invalid, fmt::format("--at-once takes a number from 1 to {}", kAtOnceMax));
        }
        at_once = static_cast<std::size_t>(*number);
    }
    {
        Board board(call.out(), jobs);
        run_jobs(plan, board, jobs, at_once);
    }
    return many ? tell_all(call, jobs) : tell_one(call, jobs.front());
}

using Kind = Argument::Kind;
constexpr Argument kImap[] = {
    {Kind::positional_optional, "ACCOUNT", "the account here that the mail is for"},
    {Kind::positional_optional, "URL",
     "imaps://user@host, imap://user@host:143 (STARTTLS), imap+plain:// for private networks only"},
    {Kind::option, "--password-file",
     "read the password there from the first line of a file, - for standard input; else POSTHOUSE_IMPORT_PASSWORD, "
     "else a prompt"},
    {Kind::option, "--accounts", "a CSV file of accounts: account here, source URL, password or file:PATH"},
    {Kind::option, "--at-once", "how many accounts of the file at the same time [1]"},
    {Kind::option, "--into", "put everything below this mailbox, not into those of the same names"},
    {Kind::option_many, "--folder", "take only this folder; Name/* takes what lies below, too"},
    {Kind::option_many, "--exclude", "leave this folder out; Name/* leaves what lies below out, too"},
    {Kind::flag, "--delete", "remove here what is gone there; for repeated runs until cut-over"},
    {Kind::option, "--ca-file", "PEM file of the authority that signed the certificate of the server there"},
};
constexpr Command kCommands[] = {
    {"import", "imap", "take in all mail of an account at another IMAP server; repeat it to take what is new",
     "posthouse import imap alice@example.org imaps://alice@mail.old-host.example", kImap, import_imap},
};

}  // namespace

std::span<const Command> import_imap_commands() { return kCommands; }

}  // namespace posthouse::admin
