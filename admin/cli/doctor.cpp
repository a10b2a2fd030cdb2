// posthouse doctor: is everything as it should be? Local checks, and the DNS where it answers.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "admin/cli/command.h"
#include "admin/cli/dns_facts.h"
#include "admin/cli/return_paths.h"
#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "protocols/dns/public_resolver.h"
#include "protocols/net/address.h"
#include "storage/incidents.h"
#include "storage/relay_clients.h"
#include "storage/reputation.h"
#include "storage/settings.h"
#include "storage/streams.h"
#include "storage/transport.h"

namespace posthouse::admin {
namespace {

constexpr std::uint64_t kFreeOctetsMin = 512ULL * 1024 * 1024;  // as the store's floor
constexpr std::int64_t kCertificateWarnS = 14LL * 24 * 3600;
constexpr int kConnectMaxMs = 1000;

enum class Verdict { good, warning, bad, skipped };
constexpr std::string_view kVerdicts[] = {"ok", "warning", "BAD", "skipped"};

struct Check {
    std::string name;
    Verdict verdict = Verdict::good;
    std::string sentence;
};
// What was found; told as it is found, since some of it takes long.
class Checks {
 public:
    explicit Checks(Output& out) : out_(out) { out_.say_now(line("STATUS", "CHECK", "FINDING")); }
    void push_back(Check check) {
        out_.say_now(line(kVerdicts[static_cast<std::size_t>(check.verdict)], check.name, check.sentence));
        all_.push_back(std::move(check));
    }
    const std::vector<Check>& all() const { return all_; }

 private:
    static std::string line(std::string_view verdict, std::string_view name, std::string_view sentence) {
        return fmt::format("{:<7}  {:<26}  {}", verdict, to_text(std::string(name)), to_text(std::string(sentence)));
    }

    Output& out_;
    std::vector<Check> all_;
};

void check_data(const Settings& settings, Checks& out) {
    struct stat info {};
    if (::stat(settings.data.c_str(), &info) != 0) {
        out.push_back({"data", Verdict::bad, fmt::format("{}: {}", settings.data, std::strerror(errno))});
    } else if ((info.st_mode & 077U) != 0) {
        out.push_back({"data", Verdict::bad,
                       fmt::format("others may look into {}; run chmod 700 {}", settings.data, settings.data)});
    } else if (info.st_uid != ::geteuid() && ::geteuid() != 0) {
        out.push_back({"data", Verdict::warning, fmt::format("{} belongs to another user", settings.data)});
    } else {
        out.push_back({"data", Verdict::good, fmt::format("{} is closed to others", settings.data)});
    }
    struct statvfs disk {};
    if (::statvfs(settings.data.c_str(), &disk) != 0) return;
    const std::uint64_t free = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
    const bool low = free < kFreeOctetsMin;
    const std::string left = fmt::format("{} free", format_octets(free));
    out.push_back(
        {"disk", low ? Verdict::bad : Verdict::good, low ? left + ": mail is refused below 512 MiB; make room" : left});
}

bool covers(std::string_view pattern, std::string_view host) {
    if (pattern.starts_with("*.")) {  // RFC 9525 6.3: one label
        const std::size_t dot = host.find('.');
        return dot != std::string_view::npos && ascii::equals_ci(pattern.substr(1), host.substr(dot));
    }
    return ascii::equals_ci(pattern, host);
}

void check_certificate(const Settings& settings, Checks& out) {
    std::ifstream file(settings.tls_certificate, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    const auto facts = crypto::read_certificate(text.str());
    if (!file || !facts) {
        out.push_back({"certificate", Verdict::bad,
                       fmt::format("{} cannot be read as PEM; see [tls]", settings.tls_certificate)});
        return;
    }
    const std::int64_t left = facts->not_after_unix - to_unix_ms(system_clock().now()) / 1000;
    const std::string ends = format_rfc3339(from_unix_ms(facts->not_after_unix * 1000)).substr(0, 10);
    const bool named =
        std::ranges::any_of(facts->dns_names, [&](const std::string& name) { return covers(name, settings.hostname); });
    if (left < 0) {
        out.push_back({"certificate", Verdict::bad, fmt::format("it ended on {}; renew it and send SIGHUP", ends)});
    } else if (!named) {
        out.push_back({"certificate", Verdict::bad,
                       fmt::format("it does not name {}; clients will refuse it", settings.hostname)});
    } else if (left < kCertificateWarnS) {
        out.push_back({"certificate", Verdict::warning, fmt::format("it ends soon, on {}", ends)});
    } else if (facts->self_signed) {
        out.push_back({"certificate", Verdict::warning,
                       fmt::format("self-signed, until {}; clients will ask: put a real one into [tls]", ends)});
    } else {
        out.push_back({"certificate", Verdict::good, fmt::format("names {}, until {}", settings.hostname, ends)});
    }
    struct stat info {};
    if (::stat(settings.tls_key.c_str(), &info) != 0) {
        out.push_back({"key", Verdict::bad, fmt::format("{}: {}", settings.tls_key, std::strerror(errno))});
    } else if ((info.st_mode & 077U) != 0) {
        out.push_back({"key", Verdict::warning,
                       fmt::format("others may read {}; run chmod 600 {}", settings.tls_key, settings.tls_key)});
    }
}

// The socket address of an endpoint; a wildcard becomes loopback, which is where we knock.
socklen_t fill_address(const net::Endpoint& endpoint, sockaddr_storage& out, bool knock) {
    const bool any = knock && endpoint.address.is_unspecified();
    if (endpoint.address.family() == net::IpAddress::Family::v4) {
        auto* v4 = reinterpret_cast<sockaddr_in*>(&out);
        v4->sin_family = AF_INET;
        v4->sin_port = htons(endpoint.port);
        std::memcpy(&v4->sin_addr, endpoint.address.octets().data(), 4);
        if (any) v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof(sockaddr_in);
    }
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(endpoint.port);
    std::memcpy(&v6->sin6_addr, endpoint.address.octets().data(), 16);
    if (any) v6->sin6_addr = in6addr_loopback;
    return sizeof(sockaddr_in6);
}

bool answers(const net::Endpoint& endpoint) {
    sockaddr_storage address{};
    const socklen_t length = fill_address(endpoint, address, true);
    const int fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool open = ::connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0;
    if (!open && errno == EINPROGRESS) {
        pollfd wait{fd, POLLOUT, 0};
        int error = 1;
        socklen_t size = sizeof error;
        open = ::poll(&wait, 1, kConnectMaxMs) == 1 && ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
               error == 0;
    }
    ::close(fd);
    return open;
}

// 0 where it could be bound, else errno.
int bind_error(const net::Endpoint& endpoint) {
    sockaddr_storage address{};
    const socklen_t length = fill_address(endpoint, address, false);
    const int fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.ss_family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    const int error = ::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 ? 0 : errno;
    ::close(fd);
    return error;
}

void check_ports(const Settings& settings, Checks& out) {
    for (const Settings::Listen& row : settings.listen) {
        const auto endpoint = net::Endpoint::parse(row.endpoint);
        if (!endpoint || endpoint->port == 0) continue;
        const std::string name = fmt::format("port {} ({})", row.endpoint, row.service);
        if (answers(*endpoint)) {
            out.push_back({name, Verdict::good, "somebody answers"});
            continue;
        }
        const int error = bind_error(*endpoint);
        if (error == 0) {
            out.push_back({name, Verdict::warning, "free, but nobody answers; is posthouse serve running?"});
        } else if (error == EACCES) {
            out.push_back(
                {name, Verdict::warning, "nobody answers, and this user may not open it; the systemd unit may"});
        } else {
            out.push_back({name, Verdict::bad, fmt::format("cannot be opened: {}", std::strerror(error))});
        }
    }
}

void check_clock(Checks& out) {
    timex state{};
    const int result = ::adjtimex(&state);
    const bool synced = result >= 0 && result != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
    out.push_back({"clock", synced ? Verdict::good : Verdict::warning,
                   synced ? "kept by a time service"
                          : fmt::format("no time service seems to keep it; is it {} (UTC)?",
                                        format_rfc3339(system_clock().now()))});
}

void check_store(Invocation& call, Checks& out) {
    const auto store = call.store();
    if (!store) {
        out.push_back({"store", Verdict::bad, store.error().context});
        return;
    }
    const auto waiting =
        (*store)->read([](const storage::Snapshot& snapshot) { return snapshot.queue().waiting_count(); });
    const auto health = (*store)->health();
    if (!waiting) {
        out.push_back({"store", Verdict::bad, waiting.error().context});
    } else if (health != storage::Health::good) {
        out.push_back({"store", Verdict::bad, fmt::format("its health is {}", storage::to_string(health))});
    } else {
        out.push_back({"store", Verdict::good, fmt::format("it opens; {} recipients wait in the queue", *waiting)});
    }
}

// A listed address that is a gateway would open the relay to everybody behind it.
void check_clients(Invocation& call, Checks& out) {
    const auto store = call.store();
    if (!store) return;
    const auto clients =
        (*store)->read([](const storage::Snapshot& snapshot) { return storage::RelayClientView(snapshot).list(); });
    if (!clients) return;
    for (const storage::RelayClient& client : *clients) {
        if (client.disabled || client.addresses.empty()) continue;
        const std::string name = "client " + client.name;
        out.push_back({name, client.distrust.empty() ? Verdict::good : Verdict::bad,
                       client.distrust.empty()
                           ? fmt::format("known by its address on port 25, for {}", client.sender_domains.front())
                           : fmt::format("refused: {}. posthouse client trust {} believes it again", client.distrust,
                                         client.name)});
    }
}

// What others say of us: open incidents, and the lists and the reverse DNS as the server found them last.
void check_reputation(Invocation& call, const std::vector<std::string>& servers, Checks& out) {
    const auto store = call.store();
    if (!store) return;
    const auto incidents =
        (*store)->read([](const storage::Snapshot& snapshot) { return storage::IncidentView(snapshot).open(); });
    const auto checks =
        (*store)->read([](const storage::Snapshot& snapshot) { return storage::ReputationView(snapshot).checks(); });
    if (!incidents || !checks) return;
    if (const auto resolver = dns::public_resolver(servers)) {
        out.push_back({"block lists", Verdict::warning, dns::lists_do_not_answer(*resolver)});
    }
    for (const storage::Incident& one : *incidents) {
        out.push_back({fmt::format("incident {}", storage::raw(one.id)), Verdict::bad,
                       fmt::format("{}: {}. {}", storage::describe(one), one.reply, storage::advice(one))});
    }
    for (const storage::AddressCheck& one : *checks) {
        const std::string name = fmt::format("{} at {}", one.source, one.list == "ptr" ? "reverse DNS" : one.list);
        const std::string detail = one.detail.empty() ? "" : ": " + one.detail;
        switch (one.found) {
            case storage::AddressCheck::Found::clear: out.push_back({name, Verdict::good, "clear" + detail}); break;
            case storage::AddressCheck::Found::bad: break;  // an incident says it
            case storage::AddressCheck::Found::unknown:
                out.push_back({name, Verdict::skipped, "nobody knows" + detail});
                break;
        }
    }
}

// RFC 8461 3.3: who fetches a policy checks the certificate against mta-sts.DOMAIN.
void check_policies(Invocation& call, const Settings& settings, Checks& out) {
    const bool is_served =
        std::ranges::any_of(settings.listen, [](const Settings::Listen& one) { return one.service == "https"; });
    const auto store = call.store();
    std::ifstream file(settings.tls_certificate, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    const auto facts = crypto::read_certificate(text.str());
    if (!is_served || !store || !facts) return;
    const auto hosts = (*store)->read([](const storage::Snapshot& snapshot) -> Result<std::vector<std::string>> {
        std::vector<std::string> found;
        TRY(const auto domains, snapshot.catalog().hosted_domains());
        for (const storage::Domain& domain : domains) {
            TRY(const auto served, storage::TransportView(snapshot).sts_served(domain.name));
            if (served) found.push_back("mta-sts." + domain.name);
        }
        return found;
    });
    if (!hosts) return;
    for (const std::string& host : *hosts) {
        const bool named =
            std::ranges::any_of(facts->dns_names, [&](const std::string& name) { return covers(name, host); });
        out.push_back({host, named ? Verdict::good : Verdict::bad,
                       named ? "the certificate names it"
                             : "the certificate in [tls] does not name it: nobody can fetch this policy. Get one that "
                               "does, and send SIGHUP"});
    }
}

Check judge(const RecordCheck& found) {
    const bool good = found.status == RecordStatus::good;
    const bool counts = found.wanted.need != Need::advised;
    Check out;
    out.name = fmt::format("dns {} {}", found.wanted.name, found.wanted.type);
    out.verdict = good ? Verdict::good : counts ? Verdict::bad : Verdict::warning;
    out.sentence = good ? "as it should be" : fmt::format("{}: {}", to_string(found.status), found.sentence);
    if (found.status != RecordStatus::unknown) return out;
    out.verdict = Verdict::skipped;
    out.sentence = found.sentence;
    return out;
}

// The records of all domains, asked for at the same time.
// Lists: providers press the button over https, from outside.
void check_lists(Invocation& call, const Settings& settings, Checks& out) {
    const auto store = call.store();
    if (!store) return;
    const auto names = (*store)->read([](const storage::Snapshot& snapshot) -> Result<std::string> {
        TRY(const auto streams, storage::StreamView(snapshot).list());
        std::string lists;
        for (const storage::Stream& one : streams) {
            if (one.is_list) lists += (lists.empty() ? "" : ", ") + one.name;
        }
        return lists;
    });
    if (!names || names->empty()) return;
    const auto url = (*store)->read(
        [](const storage::Snapshot& snapshot) { return storage::setting_text(snapshot.catalog(), "unsubscribe.url"); });
    const bool is_open = std::ranges::any_of(settings.listen, [](const auto& row) { return row.service == "https"; });
    const std::string base = !url || url->empty() ? "https://" + settings.hostname : *url;
    if (!base.starts_with("https://")) {
        return out.push_back({"lists", Verdict::bad,
                              fmt::format("unsubscribe.url is {}: it must begin with https:// (RFC 8058)", base)});
    }
    if (!is_open && (!url || url->empty())) {
        return out.push_back({"lists", Verdict::warning,
                              fmt::format("{}: {}/unsubscribe/ must be reachable from outside: open https under "
                                          "[listen], or have a web server lead it to the http service",
                                          *names, base)});
    }
    out.push_back(
        {"lists", Verdict::good,
         fmt::format("{}: who leaves presses {}/unsubscribe/; see that it opens from outside", *names, base)});
}

void check_dns(Invocation& call, const Settings& settings, Lookup& lookup, std::chrono::milliseconds budget,
               Checks& out) {
    const auto store = call.store();
    if (!store) return;
    const auto domains = (*store)->read([](const storage::Snapshot& snapshot) { return snapshot.catalog().domains(); });
    if (!domains) {
        out.push_back({"dns", Verdict::skipped, domains.error().context});
        return;
    }
    std::vector<DnsRecord> wanted;
    for (const storage::Domain& domain : *domains) {
        const auto facts = load_domain_facts(**store, settings, domain.name);
        if (!facts) continue;
        const auto records = expected_records(*facts);
        wanted.insert(wanted.end(), records.begin(), records.end());
    }
    bool answered = false;
    std::vector<Check> skipped;
    lookup.check(wanted, budget, [&](const RecordCheck& found) {
        Check check = judge(found);
        if (check.verdict == Verdict::skipped) return skipped.push_back(std::move(check));
        answered = true;
        out.push_back(std::move(check));
    });
    // Where nothing is answered one line says so.
    if (!answered && !skipped.empty()) return out.push_back({"dns", Verdict::skipped, skipped.front().sentence});
    for (Check& check : skipped) out.push_back(std::move(check));
}

// The envelope senders of ways: their own domains, and those that a service puts there.
void check_return_paths(Invocation& call, const Settings& settings, Lookup& lookup, std::chrono::milliseconds budget,
                        Checks& out) {
    const auto store = call.store();
    if (!store) return;
    const auto ways =
        (*store)->read([](const storage::Snapshot& snapshot) { return storage::RouteView(snapshot).ways(); });
    const auto domains = (*store)->read([](const storage::Snapshot& snapshot) { return snapshot.catalog().domains(); });
    if (!ways || !domains) return;
    std::vector<DnsRecord> wanted;
    std::vector<std::string> names;  // of the ways, one a record
    for (const storage::Way& way : *ways) {
        for (const storage::Domain& domain : *domains) {
            const auto records = return_path_records(way, domain.name, settings.hostname);
            wanted.insert(wanted.end(), records.begin(), records.end());
            names.insert(names.end(), records.size(), way.name);
            if (!way.return_path.empty()) break;  // it is one for all of them
        }
    }
    const auto findings = check_return_paths(lookup, wanted, budget);
    for (std::size_t i = 0; i < findings.size(); ++i) {
        const ReturnPathFinding& found = findings[i];
        const Verdict verdict = found.status == RecordStatus::good      ? Verdict::good
                                : found.status == RecordStatus::unknown ? Verdict::skipped
                                                                        : Verdict::warning;
        out.push_back({fmt::format("return path of way {}: {}", names[i], found.name), verdict,
                       verdict == Verdict::good ? "as it should be" : found.sentence});
    }
}

// Whether the DNS answers at all.
bool check_dnssec(Lookup& lookup, std::chrono::milliseconds budget, Checks& out) {
    const dns::DnssecState found = lookup.test_dnssec(budget);
    switch (found.state) {
        case dns::Dnssec::working:
            out.push_back({"dane", Verdict::good, "DNSSEC answers are validated: DANE is in use"});
            return true;
        case dns::Dnssec::off:
            out.push_back({"dane", Verdict::warning,
                           "DANE unavailable: set trust_anchor in [dns], such as /usr/share/dns/root.ds"});
            return true;
        case dns::Dnssec::broken:
            out.push_back({"dane", Verdict::warning,
                           "DANE unavailable: the servers in [dns] lose DNSSEC signatures; use others, or none"});
            return true;
        case dns::Dnssec::unknown: break;
    }
    out.push_back({"dane", Verdict::skipped, found.why});
    return false;
}

void check_outside(Invocation& call, const Settings& settings, std::chrono::milliseconds budget, Checks& out) {
    const auto lookup = make_lookup(settings);
    if (!lookup) return out.push_back({"dns", Verdict::skipped, lookup.error().context});
    // One silence is long enough: then the records have a moment only.
    const bool answers = check_dnssec(**lookup, budget, out);
    check_dns(call, settings, **lookup, answers ? budget : budget / 5, out);
    if (answers) check_return_paths(call, settings, **lookup, budget, out);
}

// doctor
Result<> doctor(Invocation& call) {
    std::chrono::milliseconds budget = kDnsBudget;
    if (call.has("--dns-seconds")) {
        const auto seconds = ascii::parse_number(call.get("--dns-seconds"));
        if (!seconds || *seconds == 0 || *seconds > 600) {
            return Error(Errc::invalid, "--dns-seconds is a number from 1 to 600");
        }
        budget = std::chrono::seconds(*seconds);
    }
    Checks checks(call.out());
    const auto settings = call.settings();
    if (!settings) {
        checks.push_back({"config", Verdict::bad, settings.error().context});
    } else {
        checks.push_back({"config", Verdict::good, fmt::format("{} is read", settings->file)});
        check_data(*settings, checks);
        check_certificate(*settings, checks);
        check_ports(*settings, checks);
        check_clock(checks);
        check_store(call, checks);
        check_clients(call, checks);
        check_policies(call, *settings, checks);
        check_lists(call, *settings, checks);
        check_reputation(call, settings->dns_servers, checks);
        if (!call.has("--no-dns")) check_outside(call, *settings, budget, checks);
    }
    std::vector<Record> rows;
    for (const Check& check : checks.all()) {
        const std::string verdict(kVerdicts[static_cast<std::size_t>(check.verdict)]);
        Record row;
        row.add("status", ascii::to_lower(verdict)).add("check", check.name).add("finding", check.sentence);
        rows.push_back(std::move(row));
    }
    if (call.out().json()) call.out().table(rows, "");
    const auto bad = std::ranges::count(checks.all(), Verdict::bad, &Check::verdict);
    if (bad == 0) return {};
    return Error(Errc::refused,
                 fmt::format("{} of {} checks found something that must be put right", bad, checks.all().size()));
}

constexpr Argument kArguments[] = {
    {Argument::Kind::flag, "--no-dns", "leave the DNS out"},
    {Argument::Kind::option, "--dns-seconds", "how long to wait for the DNS (10)"},
};
constexpr Command kRows[] = {{"", "doctor", "look for what is wrong", "posthouse doctor", kArguments, doctor}};

}  // namespace

std::span<const Command> doctor_commands() { return kRows; }

}  // namespace posthouse::admin
