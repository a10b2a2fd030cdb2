#pragma once
/// server/judge/way_facts: what the receiver's SPF will look at, for each of the ways that a message will take.
/// Pure.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/net/address.h"
#include "server/smtp/alignment.h"
#include "storage/routes.h"

namespace posthouse::server {

struct WayFacts {
    std::string key;                        ///< equal for ways that are judged alike
    bool own_host = false;                  ///< directly, from the address that the DNS gives this host
    std::vector<net::IpAddress> addresses;  ///< directly, from one of these
    std::string spf_include;                ///< a service that asks for this in SPF; "" where it is not known
    std::string return_path;                ///< domain of the reverse-path; "" for the sender's own
    std::string sends = "this server";      ///< for the sentence
    bool later = false;                     ///< it takes the mail only where the ways before it do not
};

/// What a route may ask about the mail beside what the question says.
struct MailTraits {
    std::uint8_t mail_class = 0;
    std::map<std::string, std::string, std::less<>> providers;  ///< by recipient domain
    MailTraits() = default;
};

/// The recipient domains whose provider decides about their route.
std::vector<std::string> domains_to_ask(const storage::RoutePicture& picture, const smtp::AlignmentQuestion& question,
                                        std::uint8_t mail_class);
/// Each way once: those that it takes now, and behind them those that its routes name besides. Held and refused mail
/// takes none.
std::vector<WayFacts> ways_of(const storage::RoutePicture& picture, const smtp::AlignmentQuestion& question,
                              const MailTraits& traits, Time now);
/// The sentence where every way of a recipient's route is a service that has said that it does not know this sender's
/// domain, and is not due to be asked again.
std::optional<std::string> unknown_sender(const storage::RoutePicture& picture, const smtp::AlignmentQuestion& question,
                                          const MailTraits& traits, Time now);

}  // namespace posthouse::server
