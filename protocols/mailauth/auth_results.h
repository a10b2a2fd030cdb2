#pragma once
/// protocols/mailauth/auth_results: the Authentication-Results field, ours written and forged ones removed (RFC 8601).
/// Threads: pure functions.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/mailauth/dkim.h"

namespace posthouse::mailauth {

/// One "method=result" with what it was judged by.
struct AuthResult {
    std::string method;                                           ///< "dkim", "spf", "dmarc", "auth"
    std::string result;                                           ///< "pass", "fail", ...
    std::string reason;                                           ///< "" or one sentence; quoted where needed
    std::vector<std::pair<std::string, std::string>> properties;  ///< "header.d" -> "example.org"
};

AuthResult to_auth_result(const DkimResult& result);

/// "Authentication-Results: ...\r\n", folded after each result; "none" where there are no results (RFC 8601 2.2).
/// Octets that would end the line or the value never come out, whatever the results hold.
std::string format_auth_results(std::string_view authserv_id, const std::vector<AuthResult>& results);

/// The results alone, as they stand behind the authserv-id: "none" where there are none.
std::string format_results(const std::vector<AuthResult>& results);

/// What somebody else wrote in such a field.
struct ReadAuthResults {
    std::string authserv_id;
    std::vector<AuthResult> results;  ///< method and result in lower case, properties; without reasons
    std::string text;                 ///< all behind the authserv-id and its ";", as it stands
    std::string result_of(std::string_view method) const;  ///< of the first of that method; "" where there is none
};
inline constexpr std::size_t kAuthResultsMax = 100;  ///< later ones are not read
/// Errc::invalid where the authserv-id cannot be read; results that break the grammar end the reading.
Result<ReadAuthResults> parse_auth_results(std::string_view raw_value);

/// `header_block` without the fields that claim to be ours (RFC 8601 5): same authserv-id in any case, quoted or not,
/// with or without a version, with comments around it. A field whose authserv-id cannot be read goes too.
std::string remove_foreign(std::string_view header_block, std::string_view authserv_id);

}  // namespace posthouse::mailauth
