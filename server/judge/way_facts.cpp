#include "server/judge/way_facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/smtp/presets.h"
#include "server/judge/alignment.h"
#include "storage/route_choice.h"

namespace posthouse::server {
namespace {

WayFacts facts_of(const storage::RoutePicture& picture, const storage::Way& way) {
    WayFacts out;
    out.key = way.name;
    out.return_path = way.return_path;
    if (way.kind == storage::WayKind::smarthost) {
        const ::posthouse::smtp::Preset* const preset = ::posthouse::smtp::find_preset(way.preset);
        // Where the service puts a domain of its own into the reverse-path, SPF of the sender's is not asked.
        const bool own_path = preset != nullptr && !preset->return_path.empty() && way.return_path.empty();
        if (preset != nullptr && !own_path) out.spf_include = spf_include_of(*preset);
        out.sends =
            fmt::format("{} (way {})", out.spf_include.empty() ? way.url : "include:" + out.spf_include, way.name);
        return out;
    }
    out.own_host = way.pool.empty();
    for (const storage::SourceAddress& source : picture.addresses) {
        if (way.pool.empty() || source.pool != way.pool) continue;
        const auto address = net::IpAddress::parse(source.address);
        // What it is seen as from outside is not known of a private address.
        if (address && !address->is_private() && !address->is_loopback()) out.addresses.push_back(*address);
    }
    if (out.own_host) return out;
    for (const net::IpAddress& address : out.addresses) {
        out.key += " " + address.to_string();
    }
    if (!out.addresses.empty()) out.sends = fmt::format("{} (way {})", out.key.substr(way.name.size() + 1), way.name);
    return out;
}

storage::MailFacts facts_of(const smtp::AlignmentQuestion& question, const std::string& recipient,
                            const MailTraits& traits) {
    storage::MailFacts out(question.sender, recipient);
    out.size_octets = question.octets.view.size();
    out.client = question.client;
    out.mail_class = traits.mail_class;
    const auto provider = traits.providers.find(storage::address_domain(recipient));
    if (provider != traits.providers.end()) out.provider = provider->second;
    return out;
}

// Null where the way may take it, or is no service.
const storage::Memory* refuses_sender(const storage::RoutePicture& picture, const std::string& way,
                                      const std::string& site, Time now) {
    const auto found = std::ranges::find_if(picture.memory, [&](const storage::Memory& memory) {
        return memory.way == way && memory.site == site && memory.probe > now;
    });
    return found == picture.memory.end() ? nullptr : &*found;
}

void add_once(std::vector<WayFacts>& to, WayFacts one) {
    if (std::ranges::find(to, one.key, &WayFacts::key) == to.end()) to.push_back(std::move(one));
}

// What else the route names, in its order: the mail goes there when `taken` is refused or does not work.
std::vector<WayFacts> others_of(const storage::RoutePicture& picture, const storage::MailFacts& mail,
                                const storage::Way& taken) {
    std::vector<WayFacts> out;
    const storage::Route* const route = storage::match_route(picture.routes, mail);
    if (route == nullptr) return out;
    for (const storage::Step& step : route->steps) {
        for (const storage::Step::Share& share : step.shares) {
            const auto way = storage::find_way(picture.ways, share.way);
            if (!way || way->name == taken.name) continue;
            if (way->kind == storage::WayKind::hold || way->kind == storage::WayKind::fail) continue;
            out.push_back(facts_of(picture, *way));
            out.back().later = true;
        }
    }
    return out;
}

}  // namespace

std::vector<std::string> domains_to_ask(const storage::RoutePicture& picture, const smtp::AlignmentQuestion& question,
                                        std::uint8_t mail_class) {
    std::vector<std::string> out;
    MailTraits traits;
    traits.mail_class = mail_class;
    std::size_t routed = 0;
    for (const std::string& recipient : question.recipients) {
        if (++routed > kRecipientsRouted || out.size() >= kProvidersAsked) break;
        std::string domain = storage::address_domain(recipient);
        const bool asks = storage::asks_for_provider(picture.routes, facts_of(question, recipient, traits));
        if (asks && std::ranges::find(out, domain) == out.end()) out.push_back(std::move(domain));
    }
    return out;
}

std::optional<std::string> unknown_sender(const storage::RoutePicture& picture, const smtp::AlignmentQuestion& question,
                                          const MailTraits& traits, Time now) {
    const std::string site = storage::sender_site(question.sender);
    std::size_t routed = 0;
    for (const std::string& recipient : question.recipients) {
        if (++routed > kRecipientsRouted) break;
        const storage::Route* const route = storage::match_route(picture.routes, facts_of(question, recipient, traits));
        if (route == nullptr) continue;
        const storage::Memory* refused = nullptr;
        bool any_other = false;
        for (const storage::Step& step : route->steps) {
            for (const storage::Step::Share& share : step.shares) {
                const auto way = storage::find_way(picture.ways, share.way);
                if (!way || way->kind == storage::WayKind::fail) continue;
                const auto* const here = refuses_sender(picture, share.way, site, now);
                if (here == nullptr) any_other = true;
                if (refused == nullptr) refused = here;
            }
        }
        if (refused == nullptr || any_other) continue;
        return fmt::format(
            "The relay \"{}\" does not take mail from {}: {}. Have the domain verified there, then "
            "posthouse way forget {}",
            refused->way, storage::address_domain(question.sender), refused->reply, refused->way);
    }
    return std::nullopt;
}

std::vector<WayFacts> ways_of(const storage::RoutePicture& picture, const smtp::AlignmentQuestion& question,
                              const MailTraits& traits, Time now) {
    std::vector<WayFacts> out;
    std::vector<WayFacts> later;
    std::size_t routed = 0;
    for (const std::string& recipient : question.recipients) {
        if (out.size() >= kWaysJudgedMax || ++routed > kRecipientsRouted) break;
        storage::ChoiceInput input;
        input.mail = facts_of(question, recipient, traits);
        input.now = now;
        const storage::Choice choice = storage::choose_way(picture, input);
        if (choice.kind != storage::Choice::Kind::take) continue;
        add_once(out, facts_of(picture, choice.way));
        if (later.size() >= kWaysJudgedMax) continue;
        for (WayFacts& other : others_of(picture, input.mail, choice.way)) add_once(later, std::move(other));
    }
    for (WayFacts& other : later) {
        if (out.size() < kWaysJudgedMax) add_once(out, std::move(other));
    }
    return out;
}

}  // namespace posthouse::server
