// posthouse route explain: which route a message would take now, which of its ways, from which address, and why.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "admin/cli/command.h"
#include "admin/cli/dns_facts.h"
#include "admin/cli/return_paths.h"
#include "admin/cli/ways.h"
#include "protocols/base/ascii.h"
#include "protocols/smtp/path.h"
#include "protocols/smtp/provider.h"
#include "storage/address_walk.h"
#include "storage/relay_clients.h"
#include "storage/route_choice.h"

namespace posthouse::admin {
namespace {

using storage::Choice;
using storage::Snapshot;

// What the DNS says about the recipient's domain; empty where it cannot be asked.
struct SiteFacts {
    std::string site;
    std::string provider;
    std::string trouble;
};

SiteFacts look_up(const Settings& settings, const std::string& domain) {
    SiteFacts out;
    const auto lookup = make_lookup(settings);
    if (!lookup) return out.trouble = lookup.error().context, out;
    const auto found = (*lookup)->ask("MX", domain);
    if (!found) return out.trouble = found.error().context, out;
    std::vector<std::pair<std::uint64_t, std::string>> records;  // "10 mx.example.org."
    for (const std::string& record : *found) {
        const std::size_t blank = record.find(' ');
        std::string host = ascii::to_lower(record.substr(blank + 1));
        if (host.ends_with('.')) host.pop_back();
        records.emplace_back(ascii::parse_number(record.substr(0, blank)).value_or(0), std::move(host));
    }
    if (records.empty()) records.emplace_back(0, domain);
    std::ranges::sort(records);
    std::vector<std::string> hosts;
    for (auto& [preference, host] : records) hosts.push_back(std::move(host));
    out.site = smtp::site_of(hosts);
    if (const smtp::Provider* const provider = smtp::provider_of_all(hosts)) out.provider = provider->name;
    return out;
}

// Where no pool names an address, the system's routes choose one: the one it would dial from now. Nothing is sent.
std::string system_address(int family) {
    const int socket = ::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return {};
    const char* const far_away = family == AF_INET ? "198.41.0.4" : "2001:503:ba3e::2:30";  // a root server
    std::string out;
    char text[INET6_ADDRSTRLEN] = {};
    if (family == AF_INET) {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(25);
        sockaddr_in from{};
        socklen_t size = sizeof from;
        const bool found = ::inet_pton(family, far_away, &to.sin_addr) == 1 &&
                           ::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 &&
                           ::getsockname(socket, reinterpret_cast<sockaddr*>(&from), &size) == 0;
        if (found && ::inet_ntop(family, &from.sin_addr, text, sizeof text) != nullptr) out = text;
    } else {
        sockaddr_in6 to{};
        to.sin6_family = AF_INET6;
        to.sin6_port = htons(25);
        sockaddr_in6 from{};
        socklen_t size = sizeof from;
        const bool found = ::inet_pton(family, far_away, &to.sin6_addr) == 1 &&
                           ::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 &&
                           ::getsockname(socket, reinterpret_cast<sockaddr*>(&from), &size) == 0;
        if (found && ::inet_ntop(family, &from.sin6_addr, text, sizeof text) != nullptr) out = text;
    }
    ::close(socket);
    return out;
}

std::string system_addresses() {
    std::string out = system_address(AF_INET);
    const std::string six = system_address(AF_INET6);
    if (!six.empty()) out += (out.empty() ? "" : " or ") + six;
    return out;
}

std::string address_of(const Choice& choice) {
    if (choice.kind != Choice::Kind::take || choice.way.kind != storage::WayKind::direct) return {};
    return choice.source ? choice.source->address : system_addresses();
}

std::string describe(const Choice& choice, const std::string& domain) {
    switch (choice.kind) {
        case Choice::Kind::hold: return "it is held in the queue until it is released (posthouse queue release)";
        case Choice::Kind::fail: return "it is refused and the sender is told";
        case Choice::Kind::incident:
            return fmt::format("it is held under incident {} until that is over (posthouse incident show {})",
                               storage::raw(choice.incident->id), storage::raw(choice.incident->id));
        case Choice::Kind::wait:
            return fmt::format("none of its ways can take it now, so it waits; looked at again at {}",
                               format_rfc3339(choice.until));
        case Choice::Kind::take: break;
    }
    const std::string probe = choice.probe ? " (one message, to see whether it works again)" : "";
    if (choice.way.kind == storage::WayKind::smarthost) {
        return fmt::format("it is handed to {} by way \"{}\"{}", choice.way.url, choice.way.name, probe);
    }
    const std::string address = address_of(choice);
    const std::string from = address.empty()  ? ""
                             : !choice.source ? fmt::format(" from {} (the system chooses it)", address)
                                              : fmt::format(" from {}", address);
    const std::string ehlo =
        choice.source && !choice.source->ehlo.empty() ? fmt::format(" ({})", choice.source->ehlo) : "";
    return fmt::format("it goes directly to the mail servers (MX) of {}{}{}{}", domain, from, ehlo, probe);
}

/// Messages are spread over the ways and addresses of one step by their number.
struct SharedChoice {
    Choice choice;
    unsigned messages = 0;
};

constexpr std::string_view kKinds[] = {"take", "hold", "fail", "wait", "incident"};
std::size_t index_of(const Choice& choice) { return static_cast<std::size_t>(choice.kind); }

constexpr unsigned kMessagesAsked = 10'000;  // weights of a step may sum up to thousands

// What becomes of so many messages, the most frequent first.
std::vector<SharedChoice> choose_all(const storage::RoutePicture& picture, storage::ChoiceInput input) {
    std::vector<SharedChoice> out;
    for (input.ticket = 0; input.ticket < kMessagesAsked; ++input.ticket) {
        Choice choice = storage::choose_way(picture, input);
        const auto same = std::ranges::find_if(out, [&](const SharedChoice& one) {
            return one.choice.kind == choice.kind && one.choice.way.name == choice.way.name &&
                   one.choice.source == choice.source;
        });
        if (same != out.end()) {
            ++same->messages;
        } else {
            out.push_back(SharedChoice(std::move(choice), 1));
        }
    }
    std::ranges::sort(out, std::ranges::greater(), &SharedChoice::messages);
    return out;
}

// Where mail to an address of this server's domains goes, in words.
Result<std::string> explain_at_home(storage::Store& store, const std::string& to, const std::string& domain) {
    TRY(const smtp::Path path, smtp::parse_mailbox(to));
    TRY(const auto found,
        store.read([&](const Snapshot& snapshot) { return storage::AddressView(snapshot).resolve(path); }));
    std::string out = fmt::format("{} is a domain of this server", domain);
    if (found.kind == storage::Resolution::Kind::unknown) return out + fmt::format(": there is nobody at {}.", to);
    if (found.kind == storage::Resolution::Kind::too_many) {
        return out + fmt::format(": the alias {} leads to too many.", to);
    }
    if (found.remote.empty()) return out + fmt::format(": mail to {} stays here.", to);
    out += fmt::format(": mail to {} {}goes on, as mail of its own, to", to,
                       found.accounts.empty() ? "" : "stays here and ");
    for (const std::string& address : found.remote) out += " " + address;
    return out + "; ask for the way of each of them.";
}

Result<> read_facts(Invocation& call, storage::MailFacts& mail) {
    if (call.has("--size") && !parse_octets(call.get("--size"), mail.size_octets)) {
        return Error(Errc::invalid, fmt::format("\"{}\" is no size; write for example 10M", call.get("--size")));
    }
    if (!call.has("--class")) return {};
    const auto mail_class = storage::parse_class(call.get("--class"));
    if (!mail_class) return Error(Errc::invalid, "--class takes interactive, transactional or bulk");
    mail.mail_class = *mail_class;
    return {};
}

// "backup 33.3", "direct 192.0.2.1 66.7": of a hundred messages.
std::vector<std::string> shares_of(const std::vector<SharedChoice>& shared) {
    std::vector<std::string> out;
    for (const SharedChoice& one : shared) {
        const std::string address = one.choice.source ? " " + one.choice.source->address : std::string();
        const bool taken = one.choice.kind == Choice::Kind::take;
        out.push_back(fmt::format("{}{} {:.3g}", taken ? one.choice.way.name : kKinds[index_of(one.choice)], address,
                                  100.0 * one.messages / kMessagesAsked));
    }
    return out;
}

Record record_of(const Choice& choice, const SiteFacts& site, const std::string& sentence) {
    Record record;
    record.add("local", false).add("route", choice.route).add("decision", kKinds[index_of(choice)]);
    const bool taken = choice.kind == Choice::Kind::take;
    record.add("way", !taken                                           ? std::string()
                      : choice.way.kind == storage::WayKind::smarthost ? choice.way.url
                                                                       : choice.way.name);
    record.add("way_name", taken ? choice.way.name : std::string());
    record.add("address", address_of(choice)).add("probe", choice.probe);
    record.add("site", site.site).add("provider", site.provider);
    record.add("passed_over", choice.passed_over).add("sentence", sentence);
    return record;
}

// What the envelope sender will be, where it is not the sender's own, and whether the DNS is ready for it.
Result<std::string> explain_return_path(Invocation& call, const storage::Way& way, const std::string& sender_domain) {
    const std::string domain = return_path_domain(way, sender_domain);
    if (domain.empty() || domain == sender_domain) return std::string();
    std::string out = way.return_path.empty() ? fmt::format("\nThe service puts {} into the envelope sender.", domain)
                                              : fmt::format("\nThe envelope sender bears the domain {}.", domain);
    if (call.has("--no-dns")) return out;
    TRY(const Settings settings, call.settings());
    const auto lookup = make_lookup(settings);
    if (!lookup) return out;
    const auto wanted = return_path_records(way, sender_domain, settings.hostname);
    for (const ReturnPathFinding& found : check_return_paths(**lookup, wanted, kDnsBudget)) {
        if (found.status == RecordStatus::good) continue;
        out += fmt::format("\n{} {}: {}", found.name, to_string(found.status), found.sentence);
    }
    return out;
}

// route explain FROM TO
Result<> route_explain(Invocation& call) {
    const std::string from = call.get("FROM");
    const std::string to = call.get("TO");
    const bool is_report = from.empty() || from == "<>";  // the null sender of delivery reports
    for (const std::string& address : {is_report ? to : from, to}) {
        if (!smtp::parse_mailbox(address))
            return Error(Errc::invalid, fmt::format("\"{}\" is not an address", address));
    }
    const std::string client = ascii::to_lower(call.get("--client"));
    const std::string domain = storage::address_domain(to);
    TRY(storage::Store* const store, call.store());
    TRY(const auto domains, store->read([](const Snapshot& snapshot) { return snapshot.catalog().hosted_domains(); }));
    if (std::ranges::find(domains, domain, &storage::Domain::name) != domains.end()) {
        TRY(const std::string sentence, explain_at_home(*store, to, domain));
        if (!call.out().json()) return call.out().say(sentence), Result<>();
        Record record;
        record.add("local", true).add("route", "").add("way", "local").add("sentence", sentence);
        return call.out().record(record), Result<>();
    }
    storage::ChoiceInput input;
    input.now = system_clock().now();
    input.mail = storage::MailFacts(is_report ? std::string_view() : from, to);
    input.mail.client = client;
    TRY_VOID(read_facts(call, input.mail));
    if (!client.empty()) {
        TRY(const auto known,
            store->read([&](const Snapshot& snapshot) { return storage::RelayClientView(snapshot).by_name(client); }));
        if (!call.has("--class")) input.mail.mail_class = known.mail_class;
    }
    TRY(const auto picture, store->read([&](const Snapshot& snapshot) {
        return storage::RouteView(snapshot).picture(storage::day_number(input.now));
    }));
    SiteFacts site;
    if (!call.has("--no-dns") && storage::needs_site(picture, input)) {
        TRY(const Settings settings, call.settings());
        site = look_up(settings, domain);
        input.site = site.site;
        input.mail.provider = site.provider;
    }
    // As the relay does: another route is not its route for a DNS that is silent.
    if (!site.trouble.empty() && storage::asks_for_provider(picture.routes, input.mail)) {
        Choice waits;
        waits.kind = Choice::Kind::wait;
        const std::string sentence = fmt::format(
            "Mail to {}: its route hangs on who keeps the mail of {}, and that is not known now ({}): it waits until "
            "the DNS answers.",
            to, domain, site.trouble);
        if (call.out().json()) return call.out().record(record_of(waits, site, sentence)), Result<>();
        return call.out().say(sentence), Result<>();
    }
    const std::vector<SharedChoice> shared = choose_all(picture, input);
    const Choice& choice = shared.front().choice;
    std::string sentence = fmt::format("Mail to {}: {}; {}.", to, choice.why, describe(choice, domain));
    for (std::size_t i = 0; i < shared.size() && shared.size() > 1; ++i) {
        const double percent = 100.0 * shared[i].messages / kMessagesAsked;
        sentence += fmt::format("\n{:.3g} in a hundred messages: {}", percent, describe(shared[i].choice, domain));
    }
    for (const std::string& why : choice.passed_over) sentence += fmt::format("\nPassed over: {}", why);
    if (!site.trouble.empty())
        sentence += fmt::format("\nThe mail servers of {} are not known: {}", domain, site.trouble);
    if (choice.kind == Choice::Kind::take && !is_report) {
        TRY(const std::string more, explain_return_path(call, choice.way, storage::address_domain(from)));
        sentence += more;
    }
    if (call.out().json()) {
        return call.out().record(record_of(choice, site, sentence).add("shares", shares_of(shared))), Result<>();
    }
    call.out().say(sentence);
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kArguments[] = {{Kind::positional, "FROM", "the sender's address; <> for a delivery report"},
                                   {Kind::positional, "TO", "the recipient's address"},
                                   {Kind::option, "--size", "of the message, for example 10M"},
                                   {Kind::option, "--class", "interactive (the default), transactional or bulk"},
                                   {Kind::option, "--client", "as if this relay client handed it in"},
                                   {Kind::flag, "--no-dns", "do not ask the DNS who keeps the recipient's mail"}};
constexpr Command kRows[] = {
    {"route", "explain", "tell which way a message would take now, and why",
     "posthouse route explain alice@example.org bob@example.net --size 20M", kArguments, route_explain},
};

}  // namespace

std::span<const Command> explain_commands() { return kRows; }

}  // namespace posthouse::admin
