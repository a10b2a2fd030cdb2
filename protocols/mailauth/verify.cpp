#include "protocols/mailauth/verify.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mailauth/tag_list.h"

namespace posthouse::mailauth {

namespace {

constexpr std::size_t kKeyRecordsTried = 8;

BodyDigest digest_body(Canonical form, std::string_view body, std::optional<std::uint64_t> octets_max) {
    crypto::Sha256 hash;
    BodyDigest out;
    BodyCanonicaliser canonical(form, [&](std::string_view octets) {
        const std::uint64_t room =
            octets_max ? *octets_max - std::min(*octets_max, out.octets) : std::uint64_t{octets.size()};
        hash.update(octets.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(room, octets.size()))));
        out.octets += octets.size();
    });
    canonical.update(body);
    canonical.finish();
    const crypto::Sha256Digest digest = hash.finish();
    out.digest.assign(reinterpret_cast<const char*>(digest.data()), digest.size());
    return out;
}

}  // namespace

ReadMessage::ReadMessage(std::string_view message) : octets_(message) {
    std::size_t header_octets = 0;
    fields_ = mime::parse_fields(message, &header_octets);
    body_ = message.substr(header_octets);
}

std::string_view ReadMessage::raw_field(std::size_t index) const {
    return octets_.substr(fields_[index].offset, fields_[index].length);
}

const BodyDigest& ReadMessage::body_digest(Canonical form, std::optional<std::uint64_t> octets_max) const {
    const std::pair key(form, octets_max);
    const auto found = digests_.find(key);
    if (found != digests_.end()) return found->second;
    return digests_.emplace(key, digest_body(form, body_, octets_max)).first->second;
}

void ReadMessage::prepare() const {
    std::size_t left = kSignaturesChecked + 1;  // those of DKIM, and the one of ARC that counts
    for (std::size_t i = 0; i < fields_.size() && left > 0; ++i) {
        const bool dkim = ascii::equals_ci(fields_[i].name, kDkimSignature);
        if (!dkim && !ascii::equals_ci(fields_[i].name, kArcMessageSignature)) continue;
        --left;
        const std::string_view value = value_of(raw_field(i));
        const auto signature = dkim ? parse_signature(value, Time{}) : parse_arc_signature(value);
        if (signature) static_cast<void>(body_digest(signature->body_form, signature->body_octets));
    }
}

void set_status(DkimResult& result, DkimStatus status, std::string reason) {
    result.status = status;
    result.reason = std::move(reason);
}

std::string_view value_of(std::string_view raw_field) {
    return raw_field.substr(std::min(raw_field.find(':') + 1, raw_field.size()));
}

std::string field_without_value(std::string_view raw_field) {
    const auto tags = TagList::parse(value_of(raw_field));
    const Tag* tag = tags ? tags->find("b") : nullptr;
    if (tag == nullptr) return std::string(raw_field);
    const auto start = static_cast<std::size_t>(tag->whole.data() - raw_field.data());
    std::string out(raw_field.substr(0, start));
    return out.append(raw_field.substr(start + tag->whole.size()));
}

void judge_keys(const std::vector<std::string>& records, const Signature& signature, const crypto::Sha256Digest& digest,
                bool body_matches, DkimResult& result) {
    set_status(result, DkimStatus::permerror, "there is no key for the signature");
    for (std::size_t i = 0; i < std::min(records.size(), kKeyRecordsTried); ++i) {
        const auto key = parse_key_record(records[i]);
        const auto refuse = [&](std::string reason) {  // a wrong signature says more than an unfit key
            if (result.status != DkimStatus::fail) set_status(result, DkimStatus::permerror, std::move(reason));
        };
        if (!key) {
            refuse(key.error().context);
            continue;
        }
        if (key->algorithm != signature.algorithm) {
            refuse("the key is not of the signature's algorithm");
            continue;
        }
        if (key->same_domain_only && signature.identity_domain != signature.domain) {
            refuse("the key is for its own domain only, and i= is below it");
            continue;
        }
        const auto good = crypto::verify_digest(signature.algorithm, key->public_key, digest, signature.value);
        if (!good) {
            refuse(good.error().context);
        } else if (!body_matches) {
            set_status(result, DkimStatus::fail, "the body hash does not match");
        } else if (!*good) {
            set_status(result, DkimStatus::fail, "the signature does not match");
        } else {
            set_status(result, DkimStatus::pass, "");
            return;
        }
    }
}

}  // namespace posthouse::mailauth
