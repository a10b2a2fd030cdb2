#pragma once
/// protocols/bounce: what a refusal means. From a reply of a remote server (or of our own attempt) to its cause and to
/// what must follow, by provider rule, enhanced status code, code and text, in this order (RFC 3463, RFC 5321 4.2,
/// RFC 7505, RFC 7372). The rules are data (reply_rules.cpp); the text is compared word by word, never by a regular
/// expression. A bare 5.7.1 counts against our address only where the text speaks of a list or of the address.
/// Pure.   Limits: kReplyTextMax octets of the text are looked at.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "protocols/base/clock.h"

namespace posthouse::bounce {

inline constexpr std::size_t kReplyTextMax = 4096;

enum class ReplyClass : std::uint8_t {
    delivered,           ///< 2yz
    recipient_unknown,   ///< no such mailbox
    recipient_disabled,  ///< the mailbox is closed or moved
    recipient_policy,    ///< the recipient takes no mail from the likes of us
    domain_no_mail,      ///< null MX, a domain that takes no mail
    mailbox_full,
    too_big,
    greylisted,
    throttled,       ///< too fast, too many connections, too many recipients a while
    ip_blocked,      ///< our address is listed or has a bad name
    sender_auth,     ///< SPF, DKIM, DMARC or the login at a smarthost failed
    sender_fault,    ///< the reverse-path is no good
    content,         ///< this message, not the address
    envelope_split,  ///< too many recipients at once: fewer, at once
    policy,
    network,  ///< no connection, it broke, no route
    dns,
    tls,
    protocol,  ///< commands refused, syntax
    loop,
    expired,
    other,
};
std::string_view to_string(ReplyClass what);  ///< "recipient-unknown"

/// Whose fault it is decides what follows: only recipients are suppressed, only addresses are drained.
enum class Fault : std::uint8_t { nobody, recipient, our_address, our_domain, message, remote };
Fault fault_of(ReplyClass what);

struct ReplyFacts {
    unsigned code = 0;           ///< 0: no reply was had (network, DNS, TLS)
    std::string_view enhanced;   ///< "5.1.1", or ""
    std::string_view text;       ///< all lines, without codes
    std::string_view host;       ///< the MX or smarthost that said it; chooses the provider's rules
    bool first_contact = false;  ///< the first attempt of this recipient: a 4yz may be greylisting
    ReplyFacts() = default;
};

/// Whom a throttled reply is about, and so what slows down.
enum class Pace : std::uint8_t {
    usual,      ///< the lane, as its controller does
    recipient,  ///< one mailbox gets too much: nobody else's mail waits for it
    group,      ///< all that this provider takes: a long pause, then a little at a time
    few,        ///< one or two connections from now on
};

struct Classification {
    ReplyClass what = ReplyClass::other;
    bool permanent = false;            ///< hard: trying again will not help
    std::optional<Milliseconds> wait;  ///< "try again in 300 seconds": what the text asks for
    std::string_view rule;             ///< name of the rule that decided, for traces
    bool is_bare = false;              ///< throttled by a code that is used for much else, and not a word says why
    Pace pace = Pace::usual;           ///< of what is throttled
    bool alarm = false;                ///< somebody must hear of it at once, whatever becomes of this message
    Classification() = default;
};
Classification classify(const ReplyFacts& reply);

/// The address itself is bad for good: no such mailbox, no such domain, moved. Narrower than `permanent`, which a full
/// mailbox or a listed sender also is for this message.
bool is_dead_address(const Classification& found);

}  // namespace posthouse::bounce
