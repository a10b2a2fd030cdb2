#include "relay/route.h"

#include <fmt/format.h>

namespace posthouse::relay {

std::string Target::lane_key() const {
    const std::string from = source ? source->to_string() : std::string();
    if (is_mx()) return fmt::format("mx:{}:{}:{}{}", way.name, from, ehlo_name, slow ? ":slow" : "");
    // Another secret or another trust is another lane: what is open was opened with the old one.
    return fmt::format("host:{}:{}:{}:{}:{}:{}", way.name, url.to_string(), way.ca_file, way.sealed_secret, from,
                       ehlo_name);
}

std::string Target::describe() const {
    return is_mx() ? "the mail servers of " + domain : fmt::format("{}:{}", url.host, url.port);
}

storage::ChoiceInput choice_input(const storage::QueueItem& item, const storage::QueueRecipient& recipient,
                                  std::string_view site, std::string_view provider, Time now) {
    storage::ChoiceInput out;
    out.mail = storage::MailFacts(item.reverse_path, recipient.address);
    out.mail.provider = provider;
    out.mail.size_octets = item.size_octets;
    out.mail.mail_class = item.mail_class;
    out.mail.client = item.client;
    out.site = site;
    out.released = recipient.released;
    out.tried = recipient.last_reply.starts_with(storage::kHeldByIncident) ||
                recipient.last_reply.starts_with(storage::kTriedForIncident);
    out.now = now;
    out.ticket = static_cast<std::uint64_t>(storage::raw(item.id));
    out.last_source = recipient.last_source;
    return out;
}

Result<Target> make_target(const storage::Choice& choice, std::string_view recipient_domain) {
    Target out;
    out.route = choice.route;
    out.way = choice.way;
    out.has_other = choice.has_other;
    out.has_end = choice.has_end;
    out.probe = choice.probe;
    out.slow = choice.slow;
    if (choice.source) {
        TRY(out.source, net::IpAddress::parse(choice.source->address));
        out.ehlo_name = choice.source->ehlo;
    }
    if (choice.way.kind == storage::WayKind::direct) {
        out.domain = recipient_domain;
        return out;
    }
    TRY(out.url, smtp::parse_relay_url(choice.way.url));
    // A route of old may say "direct" where a relay is expected.
    if (out.url.direct) out.domain = recipient_domain;
    return out;
}

std::string why_waiting(const storage::Choice& choice) {
    std::string out = fmt::format("None of the ways of route \"{}\" can take it now", choice.route);
    for (const std::string& why : choice.passed_over) out += "; " + why;
    return out;
}

std::string why_failed(const storage::Choice& choice) {
    std::string out = fmt::format("This server does not send such mail (route \"{}\")", choice.route);
    for (const std::string& why : choice.passed_over) out += "; " + why;
    return out;
}

}  // namespace posthouse::relay
