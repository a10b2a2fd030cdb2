#pragma once
/// server/smtp/alignment: asked before a message of our own people is taken for the outside: will its receivers believe
/// that it is from whom it says? Threads: the loop's.
#include <string>

#include "protocols/base/result.h"
#include "protocols/net/task.h"

namespace posthouse::server::smtp {

class AlignmentCheck {
 public:
    virtual ~AlignmentCheck() = default;
    /// Domains of From and of MAIL FROM ("" for the null sender). Errc::denied with the sentence for the client where
    /// DMARC would have the message rejected; nothing else is ever an error.
    virtual net::Task<Result<>> check(std::string author_domain, std::string envelope_domain) = 0;
};

}  // namespace posthouse::server::smtp
