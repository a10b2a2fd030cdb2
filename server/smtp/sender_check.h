#pragma once
/// server/smtp/sender_check: asked when a message from outside has come in whole and before it is acknowledged: is it
/// from whom it says? The session sees no DNS; it gets a field for the header and what is to be done.
/// Threads: the loop's.
#include <string>

#include "protocols/net/address.h"
#include "protocols/net/task.h"
#include "server/smtp/backend.h"

namespace posthouse::server::smtp {

struct SenderQuestion {
    net::IpAddress peer;
    std::string hello;   ///< what it called itself
    std::string sender;  ///< of MAIL FROM; "" for the null sender
    std::vector<std::string> recipients;
    SharedOctets octets;

    SenderQuestion() = default;
};

struct SenderVerdict {
    enum class Action {
        accept,
        junk,    ///< the author's domain asks for quarantine
        refuse,  ///< ... for rejection
    };
    Action action = Action::accept;
    bool sender_proven = false;  ///< SPF of MAIL FROM passes: whoever writes may be told at that address
    std::string field;     ///< "Authentication-Results: ...\r\n"; "" where nothing was looked at
    std::string summary;   ///< "SPF pass (b.example), ..." for the trace
    std::string sentence;  ///< to the client, where it is refused; holds no text of a peer

    SenderVerdict() = default;
};

class SenderCheck {
 public:
    virtual ~SenderCheck() = default;
    /// Never an error, and never longer than its own limit: what cannot be found out is in the sender's favour.
    virtual net::Task<SenderVerdict> check(SenderQuestion question) = 0;
    /// The server stops: who waits is answered at once, as if the time were over, and so is whoever asks from now on.
    virtual void stop() {}
};

}  // namespace posthouse::server::smtp
