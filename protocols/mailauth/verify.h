#pragma once
/// protocols/mailauth/verify (internal): what checking DKIM and ARC have in common: the message read once, digests of
/// its body made once for each form, keys tried.
/// Threads: prepare() may run on another thread than the checks, before them; a ReadMessage is used by one at a time.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/mailauth/dkim.h"
#include "protocols/mailauth/signature.h"
#include "protocols/mime/header.h"

namespace posthouse::mailauth {

inline constexpr std::string_view kDkimSignature = "DKIM-Signature";
inline constexpr std::string_view kArcMessageSignature = "ARC-Message-Signature";

struct BodyDigest {
    std::string digest;
    std::uint64_t octets = 0;  ///< of the whole canonical body
};

/// A message and what is computed of it. The octets must outlive it.
class ReadMessage {
 public:
    explicit ReadMessage(std::string_view message);

    std::string_view octets() const { return octets_; }
    std::string_view header() const { return octets_.substr(0, octets_.size() - body_.size()); }
    std::string_view body() const { return body_; }
    const mime::Fields& fields() const { return fields_; }
    /// The field as it stands, with its line end.
    std::string_view raw_field(std::size_t index) const;
    /// Made when it is asked for the first time.
    const BodyDigest& body_digest(Canonical form, std::optional<std::uint64_t> octets_max) const;
    /// Makes the digests that the signatures of the message will ask for: the part that costs time with a large body.
    void prepare() const;

 private:
    std::string_view octets_;
    std::string_view body_;
    mime::Fields fields_;
    mutable std::map<std::pair<Canonical, std::optional<std::uint64_t>>, BodyDigest> digests_;
};

void set_status(DkimResult& result, DkimStatus status, std::string reason);
/// All after the colon.
std::string_view value_of(std::string_view raw_field);
/// The field as it is hashed: all between "b=" and the next ";" is taken out (RFC 6376 3.5).
std::string field_without_value(std::string_view raw_field);
/// Of several records at one name those that fit decide (RFC 6376 3.6.2.2 leaves them open): the first good one wins,
/// else the last reason stands.
void judge_keys(const std::vector<std::string>& records, const Signature& signature, const crypto::Sha256Digest& digest,
                bool body_matches, DkimResult& result);

}  // namespace posthouse::mailauth
