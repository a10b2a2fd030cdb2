#pragma once
/// protocols/mailauth/signature: one DKIM-Signature field and one key record as values, and what is hashed for them.
///   in:  the value of a field, the text of a TXT record   -> Signature, KeyRecord   (RFC 6376 3.5, 3.6.1)
/// Errors: Errc::invalid with the reason that goes into a "permerror".   Threads: pure functions.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/crypto/crypto.h"
#include "protocols/mailauth/canonical.h"
#include "protocols/mime/header.h"

namespace posthouse::mailauth {

inline constexpr std::size_t kSignedFieldsMax = 1000;  ///< entries of h=

struct Signature {
    crypto::SigningAlgorithm algorithm = crypto::SigningAlgorithm::rsa_sha256;
    Canonical header_form = Canonical::simple;
    Canonical body_form = Canonical::simple;
    std::string domain;                        ///< d=, lower case
    std::string selector;                      ///< s=
    std::string identity_domain;               ///< the domain of i=, lower case
    std::vector<std::string> fields;           ///< h=, as written
    std::string body_hash;                     ///< bh=, decoded
    std::string value;                         ///< b=, decoded
    std::optional<std::uint64_t> body_octets;  ///< l=
};

/// `raw_value` is all after the colon. Checks RFC 6376 6.1.1, x= against `now` included.
Result<Signature> parse_signature(std::string_view raw_value, Time now);

/// An ARC-Message-Signature (RFC 8617 4.1.2): a DKIM signature without v=, whose i= is the number of its set.
Result<Signature> parse_arc_signature(std::string_view raw_value);

struct KeyRecord {
    crypto::SigningAlgorithm algorithm = crypto::SigningAlgorithm::rsa_sha256;
    std::string public_key;         ///< p=, base64 without white space
    bool same_domain_only = false;  ///< t=s: i= must not be in a subdomain of d=
};

Result<KeyRecord> parse_key_record(std::string_view text);

/// The value of a=. Errc::invalid for rsa-sha1 (RFC 8301 3.1) and the unknown.
Result<crypto::SigningAlgorithm> parse_algorithm(std::string_view text);
/// The name in a= and k=: "rsa-sha256", "rsa".
std::string_view algorithm_name(crypto::SigningAlgorithm algorithm);
std::string_view key_type_name(crypto::SigningAlgorithm algorithm);

/// The digest over the chosen fields and the signature field itself, whose b= is empty (RFC 6376 3.7).
/// `names` is h=; of fields of one name the last comes first, each once; a name too many stands for nothing (5.4.2).
/// `own` is the index of the signature's field within `fields`, which is never taken for an entry of h=; or npos.
crypto::Sha256Digest header_digest(Canonical form, std::string_view message, const mime::Fields& fields,
                                   const std::vector<std::string>& names, std::size_t own,
                                   std::string_view signature_field);

}  // namespace posthouse::mailauth
