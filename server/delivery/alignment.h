#pragma once
/// server/delivery/alignment: what DMARC will say at the receiver, judged from our keys, our routes and the DNS.
/// An answer is kept for kAlignmentKept; the DNS failing, or mail that leaves by a relay service, is in the sender's
/// favour. Setting "dmarc.submission": refuse or warn.
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
inline constexpr std::size_t kAlignmentsMax = 1000;

struct AlignmentDeps {
    storage::Store* store = nullptr;
    net::Loop* loop = nullptr;
    net::ThreadPool* pool = nullptr;
    dns::Resolver* resolver = nullptr;
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    std::string hostname;
    AlignmentDeps() = default;
    AlignmentDeps(storage::Store& s, net::Loop& l, net::ThreadPool& p, dns::Resolver& r, const Clock& c, Metrics& m,
                  std::string name)
        : store(&s), loop(&l), pool(&p), resolver(&r), clock(&c), metrics(&m), hostname(std::move(name)) {}
};
/// All pointers outlive the check.
std::unique_ptr<smtp::AlignmentCheck> make_alignment_check(AlignmentDeps deps);

}  // namespace posthouse::server
