#include "protocols/smtp/provider.h"

#include <algorithm>
#include <array>
#include <vector>

#include "protocols/base/ascii.h"

namespace posthouse::smtp {

namespace {

struct Row {
    Provider provider;
    /// Names of mail servers. With a dot in front: whatever lies below it, where nobody but the provider has names.
    /// Else one name, in which a '*' stands for any letters of a label.
    std::array<std::string_view, 8> names;
};

// Where tenants have host names of their own, a host answers for its tenant alone and `any_host` is false.
constexpr Row kProviders[] = {
    {{"google", true},
     {"smtp.google.com", "aspmx*.l.google.com", "*.aspmx.l.google.com", "aspmx*.googlemail.com",
      "gmail-smtp-in.l.google.com", "*.gmail-smtp-in.l.google.com", "gmr-smtp-in.l.google.com",
      "*.gmr-smtp-in.l.google.com"}},
    {{"microsoft-consumer", true}, {".olc.protection.outlook.com"}},
    {{"microsoft-365", false}, {".mail.protection.outlook.com", ".mx.microsoft", ".mail.protection.outlook.de"}},
    {{"yahoo", true}, {".am0.yahoodns.net", ".gm0.yahoodns.net"}},
    {{"apple", true}, {".mail.icloud.com", "mx-in*.apple.com", "mail-in*.apple.com"}},
    {{"comcast", true}, {"mx*.comcast.net", "mx*.mxge.comcast.net"}},
    {{"orange", true}, {"smtp-in*.orange.fr", "smtp-in*.wanadoo.fr"}},
    {{"free", true}, {"mx*.free.fr"}},
    {{"united-internet", true}, {"mx*.gmx.net", "mx*.emig.gmx.net", "mx*.web.de", "mx*.mail.com"}},
    {{"ionos", true}, {"mx*.kundenserver.de", "mx*.ionos.de", "mx*.ionos.com", "mx*.1and1.com"}},
    {{"t-online", true}, {"mx*.t-online.de"}},
    {{"yandex", true}, {"mx*.yandex.net", "mx*.yandex.ru"}},
    {{"mail-ru", true}, {"mx*.mail.ru", "emx.mail.ru"}},
    {{"fastmail", true}, {"in*-smtp.messagingengine.com"}},
    {{"proton", true}, {"mail*.protonmail.ch"}},
    {{"zoho", true}, {"mx*.zoho.com", "mx*.zoho.eu", "mx*.zoho.in"}},
    {{"rackspace", true}, {"mx*.emailsrvr.com"}},
    {{"ovh", true}, {"mx*.mail.ovh.net", "mx0.ovh.net", "mx1.ovh.net", "mx2.ovh.net", "mx3.ovh.net", "mxb.ovh.net"}},
    {{"gandi", true}, {".mail.gandi.net"}},
    {{"proofpoint", false}, {".pphosted.com", ".ppe-hosted.com"}},
    {{"mimecast", false}, {".mimecast.com", ".mimecast.co.za"}},
    {{"barracuda", false}, {".ess.barracudanetworks.com", ".ess.de.barracudanetworks.com",
                            ".ess.uk.barracudanetworks.com", ".ess.ca.barracudanetworks.com"}},
    {{"cloudflare", true}, {".mx.cloudflare.net"}},
    {{"messagelabs", false}, {".messagelabs.com"}},
};

bool is_named(std::string_view host, std::string_view name) {
    if (name.empty()) return false;
    if (name.front() == '.') return host.size() > name.size() && ascii::ends_with_ci(host, name);
    const std::size_t star = name.find('*');
    if (star == std::string_view::npos) return ascii::equals_ci(host, name);
    const std::string_view before = name.substr(0, star);
    const std::string_view behind = name.substr(star + 1);
    if (host.size() < before.size() + behind.size()) return false;
    const std::string_view any = host.substr(before.size(), host.size() - before.size() - behind.size());
    return ascii::starts_with_ci(host, before) && ascii::ends_with_ci(host, behind) && !any.contains('.');
}

}  // namespace

const Provider* provider_of(std::string_view host) {
    for (const Row& row : kProviders) {
        if (std::ranges::any_of(row.names, [&](std::string_view name) { return is_named(host, name); })) {
            return &row.provider;
        }
    }
    return nullptr;
}

const Provider* provider_of_all(std::span<const std::string> hosts) {
    if (hosts.empty()) return nullptr;
    const Provider* const first = provider_of(hosts.front());
    const bool is_one = std::ranges::all_of(hosts, [&](const std::string& one) { return provider_of(one) == first; });
    return is_one ? first : nullptr;
}

std::string site_of(std::span<const std::string> hosts) {
    if (const Provider* const provider = provider_of_all(hosts)) return std::string(provider->name);
    std::vector<std::string> names;
    for (const std::string& host : hosts) names.push_back(ascii::to_lower(host));
    std::ranges::sort(names);
    std::string out;
    for (const std::string& name : names) out += name + " ";
    return out;
}

}  // namespace posthouse::smtp
