#pragma once
/// storage/upkeep: what keeps the store small over the years, as jobs of storage/background.h.
///
///   purge:    retention rules -> expunge (the ordinary way: sessions hear of it, undelete applies)
///             removed mail older than `undelete.days` -> its rows go, its references too -> dead octets in segments
///             events older than `events.days`, figures of reports older than `report.days` -> go
///             what QRESYNC remembers of a mailbox is kept to kExpungedKept removals
///   compact:  a sealed segment that is `compact.dead_percent` dead -> its living records, packed, in a new segment
///             -> the rows are moved -> the old file goes
/// Invariants  1. All writes are small transactions like everybody's; `purge.messages_per_second` and
///                `compact.octets_per_second` bound how much of the disk the jobs take.
///             2. At every moment, after a power cut too, each message lies whole where its row says. What is left over
///                of a compaction that was cut short is a segment that no row names: the next start removes it. So it
///                does with files that no commit named, after a while (segment_files.h).
///             3. A segment is removed only under DATA/segments.lock (exclusive): a backup or a check that holds it
///                shared finds every segment that its snapshot names.
///             4. Where anything in a segment does not check out, it is left as it is, for posthouse fsck.
/// Threads: each job its own.  Layer: keeps SQL of its own, above storage/context.h.
#include <cstdint>
#include <functional>
#include <memory>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "storage/background.h"
#include "storage/store.h"

namespace posthouse::storage {

/// Removals that QRESYNC (RFC 7162) can tell one by one, for each mailbox; older ones are told as "all that is not
/// there".
inline constexpr std::uint64_t kExpungedKept = 100'000;

/// Job "purge". `freed` is called on its thread when octets of segments have died; it may be empty.
std::unique_ptr<Job> make_purge_job(Store& store, Metrics& metrics, const Clock& clock, std::function<void()> freed);
/// Job "compact".
std::unique_ptr<Job> make_compact_job(Store& store, Metrics& metrics);

/// Keeps the `kept` latest removals of a mailbox, less those that share a MODSEQ with one that goes; gives back how
/// many were forgotten. For the job and its test.
Result<std::uint64_t> trim_expunged(Store& store, MailboxId mailbox, std::uint64_t kept);

}  // namespace posthouse::storage
