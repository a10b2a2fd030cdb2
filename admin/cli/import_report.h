#pragma once
/// admin/cli/import_report: what an import or export tells while it runs and at its end; shared by all kinds.
/// Threads: one.
#include <string>
#include <vector>

#include "admin/cli/output.h"
#include "admin/cli/progress.h"
#include "admin/transfer/export.h"
#include "admin/transfer/taker.h"
#include "admin/transfer/watch.h"

namespace posthouse::admin {

/// The account, or the sentence that there is none.
Result<storage::Account> import_account(storage::Store& store, const std::string& address);

class ImportReport {
 public:
    ImportReport(Output& output, std::string account);

    /// For the Taker: shows each failure at once on standard error; with --json it is kept for the end.
    transfer::FailureListener listener();
    transfer::Watch watch();
    /// Prints the figures. An error where the import ended early or a message was left out.
    Result<> end(const transfer::Taker& taker, const Result<>& done);
    /// The same for an export.
    Result<> end(const transfer::ExportStatistics& figures, const Result<>& done);

 private:
    Output& output_;
    const std::string account_;
    Progress progress_;
    std::vector<std::string> failures_;  ///< at most kFailuresKeptMax
};

}  // namespace posthouse::admin
