#include "server/returns/report_proof.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mailauth/auth_results.h"
#include "protocols/mime/header.h"

namespace posthouse::server {

namespace {

constexpr std::string_view kTokenMark = "PHT0=";
constexpr std::size_t kTokenOctetsMax = 64;

std::string domain_in(std::string_view value) {
    std::string out = ascii::to_lower(value.substr(value.rfind('@') + 1));
    if (out.ends_with('.')) out.pop_back();
    return out;
}

// `name` is `domain`, or lies below it.
bool is_within(std::string_view name, std::string_view domain) {
    if (domain.find('.') == std::string_view::npos || !name.ends_with(domain)) return false;
    return name.size() == domain.size() || name[name.size() - domain.size() - 1] == '.';
}

}  // namespace

std::vector<std::string> vouching_domains(std::string_view message, std::string_view authserv_id) {
    std::vector<std::string> out;
    for (const std::string_view value : mime::find_all(mime::parse_fields(message), "Authentication-Results")) {
        const auto found = mailauth::parse_auth_results(value);
        if (!found || !ascii::equals_ci(found->authserv_id, authserv_id)) continue;
        for (const mailauth::AuthResult& one : found->results) {
            const bool is_proof = one.result == "pass" && (one.method == "spf" || one.method == "dkim");
            if (!is_proof) continue;
            for (const auto& [name, text] : one.properties) {
                if (name != "smtp.mailfrom" && name != "smtp.helo" && name != "header.d") continue;
                out.push_back(domain_in(text));
            }
        }
        return out;
    }
    return out;
}

bool vouches(const std::vector<std::string>& domains, std::string_view name) {
    const std::string wanted = domain_in(name);
    return !wanted.empty() && std::ranges::any_of(domains, [&](const std::string& domain) {
        return is_within(wanted, domain) || is_within(domain, wanted);
    });
}

std::optional<mailauth::ReturnToken> find_token(std::string_view message, const mailauth::ReturnKeys& keys, Time now) {
    std::size_t looked = 0;
    for (std::size_t at = 0; looked < kCandidatesMax; ++looked) {
        const std::size_t found = ascii::find_ci(message.substr(at), kTokenMark);
        if (found == std::string_view::npos) return std::nullopt;
        at += found;
        std::string_view local = message.substr(at, kTokenOctetsMax);
        const auto is_part = [](char c) { return ascii::is_alpha(c) || ascii::is_digit(c) || c == '='; };
        local = local.substr(0, static_cast<std::size_t>(std::ranges::find_if_not(local, is_part) - local.begin()));
        const auto token = mailauth::read_return_token(keys, local, now);
        if (token) return *token;
        at += kTokenMark.size();
    }
    return std::nullopt;
}

}  // namespace posthouse::server
