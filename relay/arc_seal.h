#pragma once
/// relay/arc_seal: our word on a message that we pass on for somebody outside (RFC 8617): what was found out when it
/// came in stands on top of it, in an Authentication-Results field of our own, and is sealed with the DKIM key of the
/// domain that passes it on. Only a message with such a field is sealed: without it there is nothing to say.
/// Threads: pure; the key does the work.
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/mailauth/arc.h"

namespace posthouse::relay {

/// What is sealed, and in whose name.
struct ArcWish {
    std::string domain;       ///< that passes it on; "": no seal
    std::string authserv_id;  ///< whose Authentication-Results are ours

    ArcWish() = default;
    ArcWish(std::string by, std::string id) : domain(std::move(by)), authserv_id(std::move(id)) {}
};

/// Our verdict as it stands in `header`; nothing where there is none, or where the chain could not be looked at.
std::optional<mailauth::ArcSealing> find_verdict(std::string_view header, std::string_view authserv_id);

}  // namespace posthouse::relay
