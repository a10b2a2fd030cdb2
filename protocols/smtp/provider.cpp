#include "protocols/smtp/provider.h"

#include <algorithm>
#include <array>
#include <vector>

#include "protocols/base/ascii.h"

namespace posthouse::smtp {

namespace {

struct Row {
    Provider provider;
    std::array<std::string_view, 5> suffixes;  ///< with their dot: "." + domain
};

// Where tenants have host names of their own, a host answers for its tenant alone and `any_host` is false.
constexpr Row kProviders[] = {
    {{"google", true}, {".google.com", ".googlemail.com"}},
    {{"microsoft-consumer", true}, {".olc.protection.outlook.com"}},
    {{"microsoft-365", false}, {".mail.protection.outlook.com", ".mx.microsoft", ".mail.protection.outlook.de"}},
    {{"yahoo", true}, {".yahoodns.net"}},
    {{"apple", true}, {".mail.icloud.com", ".apple.com"}},
    {{"comcast", true}, {".comcast.net"}},
    {{"orange", true}, {".orange.fr", ".wanadoo.fr"}},
    {{"free", true}, {".free.fr"}},
    {{"united-internet", true}, {".gmx.net", ".web.de", ".mail.com"}},
    {{"ionos", true}, {".kundenserver.de", ".ionos.de", ".ionos.com", ".1and1.com"}},
    {{"t-online", true}, {".t-online.de"}},
    {{"yandex", true}, {".yandex.net", ".yandex.ru"}},
    {{"mail-ru", true}, {".mail.ru"}},
    {{"fastmail", true}, {".messagingengine.com"}},
    {{"proton", true}, {".protonmail.ch"}},
    {{"zoho", true}, {".zoho.com", ".zoho.eu", ".zoho.in"}},
    {{"rackspace", true}, {".emailsrvr.com"}},
    {{"ovh", true}, {".mail.ovh.net", ".ovh.net"}},
    {{"gandi", true}, {".mail.gandi.net"}},
    {{"proofpoint", false}, {".pphosted.com", ".ppe-hosted.com"}},
    {{"mimecast", false}, {".mimecast.com", ".mimecast.co.za"}},
    {{"barracuda", false}, {".barracudanetworks.com"}},
    {{"cloudflare", true}, {".mx.cloudflare.net"}},
    {{"messagelabs", false}, {".messagelabs.com"}},
};

}  // namespace

const Provider* provider_of(std::string_view host) {
    for (const Row& row : kProviders) {
        for (const std::string_view suffix : row.suffixes) {
            if (suffix.empty() || host.size() <= suffix.size()) continue;
            if (ascii::ends_with_ci(host, suffix)) return &row.provider;
        }
    }
    return nullptr;
}

std::string site_of(std::span<const std::string> hosts) {
    if (hosts.empty()) return "";
    if (const Provider* const provider = provider_of(hosts.front())) return std::string(provider->name);
    std::vector<std::string> names;
    for (const std::string& host : hosts) names.push_back(ascii::to_lower(host));
    std::ranges::sort(names);
    std::string out;
    for (const std::string& name : names) out += name + " ";
    return out;
}

}  // namespace posthouse::smtp
