#pragma once
/// server/delivery/program_door: what programs hand in over HTTP goes the way of submission: the same judges, the same
/// limits, the same commit. Callers are threads of their own and wait; the work is the loop's.
///
/// Invariants  1. An outcome without a refusal is given only when the message is durable.
///             2. A request whose key is known gets the first answer; with another request it is refused, and so is one
///                whose first is still being worked on.
///             3. stop() lets what was begun end; whoever comes later is told that the server stops.
/// Threads: submit() any but the loop's; all else the loop's.   Limits: those of submission (SmtpLimits).
#include <memory>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/base/random.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "server/delivery/directory.h"
#include "server/smtp/alignment.h"
#include "server/smtp/backend.h"
#include "server/smtp/options.h"
#include "storage/store.h"
#include "storage/submissions.h"

namespace posthouse::server {

/// All of it outlives the door.
struct ProgramDoorDeps {
    ProgramDoorDeps(storage::Store& s, net::Loop& l, net::ThreadPool& p, smtp::Backend& b, smtp::AlignmentCheck* a,
                    Directory& d, const smtp::SmtpServiceOptions& o, Metrics& m)
        : store(&s), loop(&l), pool(&p), backend(&b), alignment(a), directory(&d), options(&o), metrics(&m) {}
    storage::Store* store;
    net::Loop* loop;
    net::ThreadPool* pool;
    smtp::Backend* backend;
    smtp::AlignmentCheck* alignment;  ///< may be null
    Directory* directory;
    const smtp::SmtpServiceOptions* options;  ///< of submission
    Metrics* metrics;
    const Clock* clock = &system_clock();
    Random* random = &system_random();
};

class ProgramDoor {
 public:
    explicit ProgramDoor(ProgramDoorDeps deps);
    /// stop() and join() must have been done, or nothing ever submitted.
    ~ProgramDoor();
    ProgramDoor(const ProgramDoor&) = delete;
    ProgramDoor& operator=(const ProgramDoor&) = delete;

    storage::SubmissionOutcome submit(storage::Submission submission);
    /// Any thread.
    void stop();
    /// Completes when no submission is under way; after stop().
    net::Task<void> join();

 private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace posthouse::server
