#pragma once
/// protocols/mailauth/dkim: DKIM signatures, made and checked (RFC 6376, RFC 8301, RFC 8463).
///
/// Signing covers the message as it will go out: CRLF only, transfer encoding final. relaxed/relaxed, no l=, the usual
/// fields oversigned (one more h= entry than there are fields, RFC 6376 8.15), good for kSignatureLife: who collects
/// signed messages to send them again gets little time for it.
/// Threads: pure functions; verify asks a Resolver on its loop. Limits: kSignaturesChecked, keys below 1024 bit fail.
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "protocols/crypto/crypto.h"
#include "protocols/dns/resolver.h"

namespace posthouse::mailauth {

inline constexpr std::size_t kSignaturesChecked = 5;
/// x= behind t=: longer than any queue on the way keeps a message (RFC 5321 4.5.4.1 speaks of 4 to 5 days).
inline constexpr std::chrono::hours kSignatureLife{14 * 24};

struct DkimSigner {
    std::string domain;    ///< d=
    std::string selector;  ///< s=
    const crypto::SigningKey* key = nullptr;
};

/// The octets of a message to sign: the header block (with its empty line) apart, the body by pieces, so that a large
/// message is never whole in memory. `next_piece` gives "" at the end.
struct MessageSource {
    std::string_view header_block;
    std::function<Result<std::string_view>()> next_piece;
};

/// What the message leaves with. RFC 6376 signs nothing of it; its successor does (mf=, rt=).
struct SigningEnvelope {
    std::string reverse_path;             ///< as MAIL says it; "" is the null sender
    std::vector<std::string> recipients;  ///< of this transaction
    SigningEnvelope() = default;
};

/// One "DKIM-Signature: ...\r\n" field per signer, to be put on top of the message in that order.
/// The body is read once whatever the number of signers.
Result<std::string> sign_dkim(const std::vector<DkimSigner>& signers, MessageSource message,
                              const SigningEnvelope& envelope, Time now);

enum class DkimStatus { none, pass, fail, neutral, policy, temperror, permerror };
std::string_view to_string(DkimStatus status);

struct DkimResult {
    DkimStatus status = DkimStatus::none;
    std::string domain;
    std::string selector;
    std::string algorithm;
    std::string signature_start;      ///< first 8 characters of b=, for header.b (RFC 6008)
    std::string reason;               ///< one sentence where it is not pass
    bool body_partly_signed = false;  ///< l= leaves the end of the body open (RFC 6376 8.2): not to be trusted for more
};

/// Checks the first kSignaturesChecked signatures; one result each, in the order of the message.
net::Task<std::vector<DkimResult>> verify_dkim(dns::Resolver& resolver, std::string_view message, Time now);
class ReadMessage;  // protocols/mailauth/verify.h
net::Task<std::vector<DkimResult>> verify_dkim(dns::Resolver& resolver, const ReadMessage& message, Time now);

/// The DNS record of a key: "v=DKIM1; k=rsa; p=...".
std::string dkim_dns_record(const crypto::SigningKey& key);

}  // namespace posthouse::mailauth
