#include "storage/backup/job.h"

#include <fmt/format.h>

#include "protocols/base/log.h"
#include "storage/context.h"
#include "storage/settings.h"

namespace posthouse::storage::backup {

Result<BackupJob::Plan> BackupJob::read_plan() {
    return store_.read([](const Snapshot& snapshot) -> Result<Plan> {
        const CatalogView& catalog = snapshot.catalog();
        Plan out;
        TRY(out.directory, setting_text(catalog, "backup.directory"));
        TRY(out.key_file, setting_text(catalog, "backup.key_file"));
        TRY(const std::int64_t hours, setting_number(catalog, "backup.every_hours"));
        out.every = std::chrono::hours(hours);
        struct Row {
            std::string_view key;
            unsigned Keep::* count;
        };
        for (const Row& row : {Row{"backup.keep_newest", &Keep::newest}, Row{"backup.keep_daily", &Keep::daily},
                               Row{"backup.keep_weekly", &Keep::weekly}, Row{"backup.keep_monthly", &Keep::monthly}}) {
            TRY(const std::int64_t count, setting_number(catalog, row.key));
            out.keep.*row.count = static_cast<unsigned>(count);
        }
        return out;
    });
}

Result<std::chrono::milliseconds> BackupJob::step() {
    TRY(const Plan plan, read_plan());
    if (plan.directory.empty()) return kLook;
    const Result<> done = look(plan);
    if (done) {
        last_failure_.clear();
        return kLook;
    }
    if (done.error().code == Errc::cancelled && stopping()) return kLook;
    metrics_.counter("backup_failures_total", "Scheduled backups that failed or did not pass their verify").add();
    log::error("backup", "the scheduled backup failed: {}", done.error().context);
    if (last_failure_ != done.error().context) {
        last_failure_ = done.error().context;
        tell(fmt::format("The scheduled backup failed: {}", last_failure_));
    }
    return kRetry;
}

Result<> BackupJob::look(const Plan& plan) {
    Target target;
    target.directory = plan.directory;
    if (!plan.key_file.empty()) {
        TRY(target.key, read_key(plan.key_file));
    }
    TRY(const Ages before, ages(target));
    set_ages(before);
    // One that did not pass its verify does not count: the next try may put right what was damaged.
    if (before.verified_good && clock_.now() - *before.verified_good < plan.every) return {};
    const Result<> made = make(plan, target);
    if (const auto after = ages(target)) set_ages(*after);
    return made;
}

Result<> BackupJob::make(const Plan& plan, const Target& target) {
    CreateOptions options;
    options.hostname = hostname_;
    options.config_file = config_file_;
    options.keep = plan.keep;
    Watch watch;
    watch.stop = [this] { return stopping(); };
    TRY(const Created created, create(store_, target, options, watch));
    for (const std::string& sentence : created.damage.sentences) {
        log::warn("backup", "damaged in the store, copied as it is: {}", sentence);
    }
    if (!created.not_removed.empty()) log::warn("backup", "{}", created.not_removed);
    TRY(const Verified verified, verify(target, created.name, directory_of(store_).path() + "/tmp", watch));
    for (const std::string& sentence : verified.faults.sentences) {
        log::error("backup", "backup {}: {}", created.name, sentence);
    }
    if (verified.faults.count > 0) {
        return Error(Errc::corrupt,
                     fmt::format("backup {} in {} did not pass its verify, {} faults: {}", created.name, plan.directory,
                                 verified.faults.count, verified.faults.sentences.front()));
    }
    std::string sentence =
        fmt::format("Backup {} was made and verified: {} messages, {} MiB, {} MiB of them new", created.name,
                    created.messages, created.octets >> 20U, created.octets_written >> 20U);
    if (created.damage.count > 0) {
        sentence +=
            fmt::format("; {} places are damaged in the store itself: run posthouse fsck", created.damage.count);
    }
    log::info("backup", "{}", sentence);
    tell(sentence + ".");
    return {};
}

void BackupJob::set_ages(const Ages& ages) {
    const std::int64_t now = to_unix_ms(clock_.now()) / 1000;
    const std::int64_t good = ages.verified_good ? to_unix_ms(*ages.verified_good) / 1000 : 0;
    metrics_.gauge("backup_last_success_seconds", "Unix time of the newest backup that was verified good; 0: none")
        .set(good);
    metrics_.gauge("backup_verified_age_seconds", "Age of the newest backup that was verified good").set(now - good);
}

void BackupJob::tell(const std::string& sentence) {
    Event event;
    event.at = clock_.now();
    event.kind = EventKind::system;
    event.detail = sentence;
    const Result<> told = store_.write({}, [&](Tx& tx) { return tx.events().append(event); });
    if (!told) log::error("backup", "the event could not be written: {}", told.error().context);
}

}  // namespace posthouse::storage::backup
