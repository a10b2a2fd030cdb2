#pragma once
/// relay: the outbound leg. Takes what lies due in the queue, signs it, hands it to relay hosts or to the MX of its
/// domain, records what became of it, and tells the sender when it could not be done.
///
///   runner   which messages are due; lanes and their connections; wakes on store notices and timers
///   lane     one source and one site: whose mail next, how fast, over how many connections (schedule, controller,
///            fairness, retry are its pure parts)
///   route    from the route table to a target;  mx  hosts of a domain;  connect  an open connection to a target
///   client   the SMTP dialogue;  message  the octets that go out, signed;  report  delivery reports (RFC 3464)
/// Invariants  1. An attempt is recorded before the first octet of its message leaves, its outcome as soon as the
///                reply is read. A crash in between may send one copy twice; it never loses one.
///             2. A recipient's outcome and the report about it are one commit.
///             3. No report is ever made about a message with the null sender (RFC 5321 6.1).
///             4. What is held in memory is bounded (RelayOptions::recipients_in_memory_max); the rest stays on disk.
/// Threads: one loop, but for the pool (reading, signing). start, stop and join on the loop's thread.
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/base/random.h"
#include "protocols/dns/resolver.h"
#include "protocols/net/dialer.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "protocols/net/tls.h"
#include "relay/client.h"
#include "relay/tokens.h"
#include "storage/store.h"

namespace posthouse::relay {

struct RelayOptions {
    bool allow_loopback = false;  ///< MX on loopback and private networks are refused otherwise (tests, deploy/try)
    std::uint16_t mx_port = 25;
    std::uint16_t sts_port = 443;                      ///< of MTA-STS policies (tests)
    bool serves_pages = false;  ///< an https service of this server shows what links in our mail lead to
    std::size_t recipients_in_memory_max = 2'000'000;  ///< some 40 octets each while they wait in a lane
    std::size_t connections_max = 100;  ///< at work at once (relay/places); the last fifth is for letters
    std::size_t slow_max = 400;         ///< besides, who waits for a server that hangs
    std::chrono::milliseconds patience{5'000};  ///< at one parcel for longer: that is hanging
    std::chrono::milliseconds turn{1'000};      ///< of a worker while other lanes wait for a place
    std::size_t connections_per_lane_max = 20;  ///< a lane starts with 5 and learns what its site bears
    std::size_t messages_per_connection_max = 100;
    std::chrono::milliseconds idle{5'000};            ///< an open connection waits so long for its next message
    std::chrono::milliseconds refill_interval{2};     ///< between two looks at the queue
    std::chrono::milliseconds stop_patience{10'000};  ///< after stop(): then connections are interrupted
    std::chrono::milliseconds delay_notice_after{4 * 3'600'000};
    std::chrono::milliseconds lifetime{5 * 24 * 3'600'000LL};  ///< where the queue row says none
    /// So long after a start nothing is given up because its time is over: while we were down it was not tried, and the
    /// net may come up after us.
    std::chrono::milliseconds patience_after_start{3'600'000};
    Time give_up_from{};  ///< set by start()
    /// What is refused for a fault of ours is kept so long; the setting incident.hold_hours goes before.
    std::chrono::milliseconds hold_max{72 * 3'600'000LL};
    /// The first wait where an outcome cannot be written; it doubles.
    std::chrono::milliseconds write_again{1'000};
    /// After midnight UTC: then the TLS reports of the day before go out.
    std::chrono::milliseconds tls_reports_after{90 * 60'000};
    ClientTimeouts timeouts;
    RelayOptions() = default;
};

/// All must outlive the Relay.
struct RelayDeps {
    storage::Store* store = nullptr;
    net::Loop* loop = nullptr;
    net::ThreadPool* pool = nullptr;
    net::Dialer* dialer = nullptr;
    dns::Resolver* resolver = nullptr;
    Random* random = nullptr;
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    std::string hostname;
    std::vector<std::string> dns_servers;                ///< that the resolver asks; empty: it asks the root itself
    net::TlsClientContext* verified_tls = nullptr;       ///< Verify::required with the system's anchors
    std::string ca_file;  ///< anchors beside the system's, as verified_tls has them; "": none
    net::TlsClientContext* opportunistic_tls = nullptr;  ///< Verify::opportunistic; null: MX delivery in clear
    TokenDoor* token_door = nullptr;                     ///< how tokens are asked for; null: over HTTPS
    RelayOptions options;
    RelayDeps() = default;
};

class Relay {
 public:
    explicit Relay(RelayDeps deps);
    ~Relay();  ///< after join()
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    /// Takes back what a crash left in the air, then begins to work.
    void start();
    /// Messages under way are finished, no new ones begun.
    void stop();
    /// Completes when all connections are closed.
    net::Task<void> join();
    /// Look at the queue now (the clock of a test was turned). Commits of this process are noticed without it.
    void wake();
    /// Completes when nothing that is due is left and no message is under way.
    net::Task<void> drained();
    /// Completes when webhooks have been told all that they can be told now.
    net::Task<void> told();

 private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace posthouse::relay
