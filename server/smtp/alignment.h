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
    std::string author_domain;               ///< of From
    std::string sender;                      ///< of MAIL FROM; "" for the null sender
    std::vector<std::string> recipients;     ///< that are elsewhere
    std::string client;                      ///< name of the relay client that hands it in, or ""
    std::optional<std::uint8_t> mail_class;  ///< that was wished; none: by who hands it in, and by what it is
    bool by_program = false;                 ///< over HTTP: no letter
    bool for_many = false;                   ///< by its recipients or its header
    SharedOctets octets;                     ///< what it is signed with already counts

    AlignmentQuestion() = default;
};

class AlignmentCheck {
 public:
    virtual ~AlignmentCheck() = default;
    /// Errc::denied with the sentence for the client where DMARC would have the message rejected; Errc::refused where
    /// the service that it would go by does not know its sender; nothing else is ever an error.
    virtual net::Task<Result<>> check(AlignmentQuestion question) = 0;
};

}  // namespace posthouse::server::smtp
