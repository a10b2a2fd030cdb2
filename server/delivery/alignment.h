#pragma once
/// server/delivery/alignment: what DMARC will say at the receiver, judged from our keys, our routes and the DNS.
/// An answer is kept for kAlignmentKept; the DNS failing, or taking longer than kAlignmentWaitMax, and mail that leaves
/// by a relay service are in the sender's favour: a slow DNS holds no letter up, its answer counts for the next one.
/// Setting "dmarc.submission": refuse or warn.
/// Threads: the loop's.   Limits: kAlignmentsMax kept answers.
#include <memory>
#include <string>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/dns/resolver.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "server/smtp/alignment.h"
#include "storage/store.h"

namespace posthouse::server {

inline constexpr Milliseconds kAlignmentKept{10 * 60'000};
inline constexpr Milliseconds kRefusalKept{60'000};  ///< whoever is refused mends his DNS and tries again
inline constexpr Milliseconds kAlignmentWaitMax{2'000};
inline constexpr std::size_t kAlignmentsMax = 1000;

struct AlignmentDeps {
    storage::Store* store = nullptr;
    net::Loop* loop = nullptr;
    net::ThreadPool* pool = nullptr;
    net::TaskGroup* tasks = nullptr;  ///< what the DNS is asked goes on in it
    dns::Resolver* resolver = nullptr;
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    std::string hostname;
    AlignmentDeps() = default;
    AlignmentDeps(storage::Store& s, net::Loop& l, net::ThreadPool& p, net::TaskGroup& t, dns::Resolver& r,
                  const Clock& c, Metrics& m, std::string name)
        : store(&s), loop(&l), pool(&p), tasks(&t), resolver(&r), clock(&c), metrics(&m), hostname(std::move(name)) {}
};
/// All pointers outlive the check.
std::unique_ptr<smtp::AlignmentCheck> make_alignment_check(AlignmentDeps deps);

}  // namespace posthouse::server
