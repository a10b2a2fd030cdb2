#pragma once
/// server/smtp/options: what one SMTP service is: its kind, its name and its limits. Values only.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "protocols/net/listener.h"

namespace posthouse::server::smtp {

enum class Kind {
    reception,   ///< port 25: mail for our domains from anyone, no AUTH
    submission,  ///< ports 587 and 465: mail from our own people to anywhere, AUTH over TLS first (RFC 6409)
};

struct SmtpLimits {
    std::uint64_t message_octets_max = 50ULL * 1024 * 1024;  ///< SIZE; counted on the octets received
    std::size_t recipients_max = 1000;                       ///< LIMITS RCPTMAX; RFC 5321 4.5.3.1.8 asks for 100
    std::size_t mails_max = 100;                             ///< LIMITS MAILMAX, transactions a session
    std::size_t mails_of_this_host_max = 1'000'000;          ///< the same for clients on loopback
    std::size_t errors_max = 10;                             ///< bad commands, then 421
    std::size_t idle_commands_max = 100;                     ///< RSET, NOOP and their like without a message between
    std::size_t recipient_errors_max = 50;                   ///< refused recipients, then 421
    std::size_t auth_failures_max = 3;                       ///< a connection
    std::size_t header_octets_max = 1024UL * 1024;
    std::size_t header_field_octets_max = 256UL * 1024;
    std::size_t header_fields_max = 2000;
    std::size_t hops_max = 50;                ///< Received fields, RFC 5321 6.3
    std::size_t own_hops_max = 5;             ///< Received fields of this host: a loop of ours shows early
    std::chrono::milliseconds idle{300'000};  ///< for a whole command, RFC 5321 4.5.3.2.7
    std::chrono::milliseconds handshake{60'000};
    std::chrono::milliseconds goodbye{10'000};       ///< for the last reply
    std::chrono::milliseconds greet_pause{0};        ///< waits this long for early talkers before the banner
    std::uint64_t data_octets_per_second_min = 500;  ///< slower senders run into the deadline
    SmtpLimits() = default;
};

struct SmtpServiceOptions {
    std::string hostname;  ///< in the banner, EHLO and Received
    SmtpLimits limits;
    Kind kind = Kind::reception;

    SmtpServiceOptions() = default;
    /// The usual limits of the kind.
    SmtpServiceOptions(std::string name, Kind service) : hostname(std::move(name)), kind(service) {
        if (service == Kind::submission) limits.mails_max = 1000;
    }
};

/// Strangers may take half of the room, and come two a second; people at home behind one address come as they like.
inline net::ListenLimits listen_limits(Kind kind) {
    net::ListenLimits out;
    if (kind == Kind::reception) {
        out.connections_max /= 2;
        out.new_per_minute_max = 120;
    }
    return out;
}

}  // namespace posthouse::server::smtp
