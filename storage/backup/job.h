#pragma once
/// storage/backup/job: backups by the clock, in the server: when backup.directory is set, one is made as often as
/// backup.every_hours says, by the time of the newest one there, and verified at once.
///
/// A failure is in the log, in the events (EventKind::system) and in the metrics; the next try comes after kRetry.
///   posthouse_backup_last_success_seconds  Unix time of the newest backup this server made and verified
///   posthouse_backup_verified_age_seconds  age of the newest backup that was verified good; since 1970 where none was
///   posthouse_backup_failures_total        tries that failed, and backups that did not pass their verify
/// Threads: step() on the job's own.
#include <string>

#include "protocols/base/metrics.h"
#include "storage/background.h"
#include "storage/backup/backup.h"
#include "storage/store.h"

namespace posthouse::storage::backup {

class BackupJob final : public Job {
 public:
    static constexpr std::chrono::minutes kLook{1};
    static constexpr std::chrono::minutes kRetry{15};

    BackupJob(Store& store, Metrics& metrics, std::string hostname, std::string config_file, const Clock& clock)
        : store_(store),
          metrics_(metrics),
          hostname_(std::move(hostname)),
          config_file_(std::move(config_file)),
          clock_(clock) {}
    std::string_view name() const override { return "backup"; }
    Result<std::chrono::milliseconds> step() override;

 private:
    struct Plan {
        std::string directory;
        std::string key_file;
        std::chrono::hours every{24};
        Keep keep;
    };
    Result<Plan> read_plan();
    /// Looks whether it is time, and if so makes one; gives back what went wrong.
    Result<> look(const Plan& plan);
    Result<> make(const Plan& plan, const Target& target);
    void tell(const std::string& sentence);
    void set_ages(const Ages& ages);

    Store& store_;
    Metrics& metrics_;
    const std::string hostname_;
    const std::string config_file_;
    const Clock& clock_;
    std::string last_failure_;  ///< told once, until it is another one or a backup succeeds
};

}  // namespace posthouse::storage::backup
