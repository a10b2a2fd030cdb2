#pragma once
/// admin/oidc/web: one HTTPS request and its answer, blocking. The certificate and its name are checked, redirects are
/// not followed, and what a server says is bounded. URLs come from the administrator alone.
/// Threads: any.   Limits: kWebTimeMax a request, kWebOctetsMax of an answer.
#include <chrono>
#include <functional>
#include <string>

#include "protocols/base/result.h"

namespace posthouse::admin {

inline constexpr std::chrono::seconds kWebTimeMax{10};
inline constexpr std::size_t kWebOctetsMax = 256UL * 1024;

struct WebRequest {
    std::string url;            ///< https://
    std::string ca_file;        ///< PEM trust anchors; "": the system's
    std::string form;           ///< not empty: POSTed as application/x-www-form-urlencoded
    std::string authorization;  ///< the field's value; "": none

    WebRequest() = default;
};

/// The body of a 200. Errc::unavailable for everything else, with the sentence to log.
using WebFetch = std::function<Result<std::string>(const WebRequest& request)>;
Result<std::string> fetch_web(const WebRequest& request);

/// Octets that a form or a Basic login cannot carry as they are (RFC 6749 B).
std::string form_encode(std::string_view text);

}  // namespace posthouse::admin
