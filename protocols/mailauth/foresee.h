#pragma once
/// protocols/mailauth/foresee: what DMARC will say at the receiver about a message that we are about to send, so that a
/// sender hears it now and not from a bounce. Only what the DNS says for certain counts against a message: an error, or
/// a path that we cannot see (a smarthost that may sign, addresses we do not know), is in its favour.
/// Threads: the resolver's loop.
#include <optional>
#include <string>
#include <vector>

#include "protocols/dns/resolver.h"
#include "protocols/net/address.h"

namespace posthouse::mailauth {

struct ForeseeQuestion {
    struct Key {
        std::string domain;      ///< d=
        std::string selector;    ///< s=
        std::string dns_record;  ///< what should stand at selector._domainkey.domain
    };
    std::string author_domain;    ///< of From, A-labels
    std::string envelope_domain;  ///< of MAIL FROM; "" for the null sender
    std::vector<Key> keys;        ///< that will sign
    /// The addresses the message may leave from; nothing where they are not known (a smarthost).
    std::optional<std::vector<net::IpAddress>> from_addresses;
    /// A smarthost of which is known what its customers' SPF must include ("mailgun.org"); "" where nothing is known.
    std::string spf_include;
    /// Who the SPF record must name, for the sentence: "this server", "192.0.2.7 (way news)".
    std::string sends = "this server";
    std::string helo;
    ForeseeQuestion() = default;
};

enum class Foresight {
    passes,   ///< or nothing is known against it
    weak,     ///< it would fail, but the domain asks for no consequence; or one of two supports is missing
    refused,  ///< the domain itself asks receivers to quarantine or reject what fails, and this will
};

struct ForeseeAnswer {
    Foresight what = Foresight::passes;
    std::string sentence;  ///< why, and what to do
    ForeseeAnswer() = default;
};
net::Task<ForeseeAnswer> foresee_dmarc(dns::Resolver& resolver, ForeseeQuestion question);

/// Whether the record in the DNS is this key's: the same p=, whatever else. Nothing where the DNS cannot say now.
net::Task<std::optional<bool>> is_key_published(dns::Resolver& resolver, ForeseeQuestion::Key key);

}  // namespace posthouse::mailauth
