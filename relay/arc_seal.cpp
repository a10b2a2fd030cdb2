#include "relay/arc_seal.h"

#include "protocols/base/ascii.h"
#include "protocols/mailauth/auth_results.h"
#include "protocols/mime/header.h"

namespace posthouse::relay {

std::optional<mailauth::ArcSealing> find_verdict(std::string_view header, std::string_view authserv_id) {
    // Forged ones were taken off at the door, and ours was put on top: the first of our name is ours.
    for (const std::string_view value : mime::find_all(mime::parse_fields(header), "Authentication-Results")) {
        const auto found = mailauth::parse_auth_results(value);
        if (!found || !ascii::equals_ci(found->authserv_id, authserv_id)) continue;
        const std::string arc = found->result_of("arc");
        mailauth::ArcSealing out;
        out.authserv_id = found->authserv_id;
        out.results = found->text;
        if (arc == "none") return out;
        out.chain = arc == "pass" ? mailauth::ArcStatus::pass : mailauth::ArcStatus::fail;
        if (arc == "pass" || arc == "fail") return out;
        return std::nullopt;
    }
    return std::nullopt;
}

}  // namespace posthouse::relay
