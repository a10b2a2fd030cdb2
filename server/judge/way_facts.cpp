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

}  // namespace

std::vector<WayFacts> ways_of(const storage::RoutePicture& picture, const smtp::AlignmentQuestion& question, Time now) {
    std::vector<WayFacts> out;
    std::size_t routed = 0;
    for (const std::string& recipient : question.recipients) {
        if (out.size() >= kWaysJudgedMax || ++routed > kRecipientsRouted) break;
        storage::ChoiceInput input;
        input.mail = storage::MailFacts(question.sender, recipient);
        input.mail.size_octets = question.octets.view.size();
        input.mail.client = question.client;
        input.now = now;
        const storage::Choice choice = storage::choose_way(picture, input);
        if (choice.kind != storage::Choice::Kind::take) continue;
        WayFacts facts = facts_of(picture, choice.way);
        if (std::ranges::find(out, facts.key, &WayFacts::key) == out.end()) out.push_back(std::move(facts));
    }
    return out;
}

}  // namespace posthouse::server
