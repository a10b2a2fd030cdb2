#pragma once
/// server/smtp/alignment: asked before a message of our own people is taken for the outside: will its receivers believe
/// that it is from whom it says? Threads: the loop's.
#include <string>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/task.h"
#include "server/smtp/backend.h"

namespace posthouse::server::smtp {

struct AlignmentQuestion {
    std::string author_domain;            ///< of From
    std::string sender;                   ///< of MAIL FROM; "" for the null sender
    std::vector<std::string> recipients;  ///< that are elsewhere
    std::string client;                   ///< name of the relay client that hands it in, or ""
    SharedOctets octets;                  ///< what it is signed with already counts

    AlignmentQuestion() = default;
};

class AlignmentCheck {
 public:
    virtual ~AlignmentCheck() = default;
    /// Errc::denied with the sentence for the client where DMARC would have the message rejected; nothing else is ever
    /// an error.
    virtual net::Task<Result<>> check(AlignmentQuestion question) = 0;
};

}  // namespace posthouse::server::smtp
