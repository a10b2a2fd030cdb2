#pragma once
/// server/smtp/header_rules: what happens to a header block at the door: trace fields on top (RFC 5321 4.4), loops and
/// doubled authors refused, fields that only we may write taken off.
/// Pure but for the clock and the random source that are handed in.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/base/random.h"
#include "server/smtp/intake.h"
#include "server/smtp/options.h"

namespace posthouse::server::smtp {

/// All that a trace field says about one transaction.
struct Trace {
    std::string hostname;
    std::string client_name;     ///< what it said to EHLO
    std::string client_literal;  ///< "[192.0.2.1]"
    std::string protocol;        ///< "ESMTPS" and its kin (RFC 3848, RFC 6531 4.3)
    std::string tls;             ///< "TLSv1.3 TLS_AES_256_GCM_SHA384", or ""
    std::string id;
    std::string only_recipient;  ///< for the "for" clause; "" where there are several (RFC 5321 7.6)
    std::string sender;          ///< as it goes into Return-Path, "" for the null path
    bool of_client = false;      ///< a relay client known by its address: its mail is looked at as submission is
    Time now{};
};

/// "Return-Path: <...>" and "Received: ...", each a whole field.
std::string format_trace(const Trace& trace);

/// The rules of port 25, or of submission.
PreparedHeader prepare_header(const Trace& trace, const SmtpServiceOptions& options, Random& random,
                              std::string_view header_block);

/// Whether an Authentication-Results value claims to be ours (RFC 8601 5): its authserv-id is `hostname`.
bool claims_our_results(std::string_view raw_value, std::string_view hostname);

}  // namespace posthouse::server::smtp
