#include <algorithm>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/mailauth/dkim.h"
#include "protocols/mailauth/signature.h"
#include "protocols/mailauth/tag_list.h"

namespace posthouse::mailauth {

namespace {

constexpr std::size_t kKeyRecordsTried = 8;
constexpr std::size_t kStartOctets = 8;  // of b=, RFC 6008 3

// What is read of the message once, for all its signatures.
struct Checked {
    std::string_view message;
    std::string_view body;
    mime::Fields fields;
};

void set_status(DkimResult& result, DkimStatus status, std::string reason) {
    result.status = status;
    result.reason = std::move(reason);
}

// What can be told of a signature even where it cannot be used: for Authentication-Results.
void describe(std::string_view raw_value, DkimResult& result) {
    const auto tags = TagList::parse(raw_value);
    if (!tags) return;
    result.domain = ascii::to_lower(tags->value("d").value_or(""));
    result.selector = tags->value("s").value_or("");
    result.algorithm = ascii::to_lower(tags->value("a").value_or(""));
    result.signature_start = without_fws(tags->value("b").value_or("")).substr(0, kStartOctets);
}

struct BodyDigest {
    std::string digest;
    std::uint64_t octets = 0;  ///< of the whole canonical body
};

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

// The field as it is hashed: all between "b=" and the next ";" is taken out (RFC 6376 3.5).
std::string field_without_value(std::string_view raw_field, std::string_view raw_value) {
    const auto tags = TagList::parse(raw_value);
    const Tag* tag = tags ? tags->find("b") : nullptr;
    if (tag == nullptr) return std::string(raw_field);
    const auto start = static_cast<std::size_t>(tag->whole.data() - raw_field.data());
    std::string out(raw_field.substr(0, start));
    return out.append(raw_field.substr(start + tag->whole.size()));
}

// Of several records at one name those that fit decide (RFC 6376 3.6.2.2 leaves them open): the first good one wins,
// else the last reason stands.
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

net::Task<DkimResult> verify_one(dns::Resolver& resolver, const Checked& checked, std::size_t index, Time now) {
    const mime::Field& field = checked.fields[index];
    const std::string_view raw_field = checked.message.substr(field.offset, field.length);
    const std::string_view raw_value = raw_field.substr(std::min(raw_field.find(':') + 1, raw_field.size()));
    DkimResult result;
    describe(raw_value, result);
    const auto signature = parse_signature(raw_value, now);
    if (!signature) {
        set_status(result, DkimStatus::permerror, signature.error().context);
        co_return result;
    }
    std::string key_name = signature->selector + "._domainkey." + signature->domain;  // RFC 6376 3.6.2.1
    const auto keys = co_await resolver.txt(std::move(key_name));
    if (!keys) {
        // A bogus answer may be an attack or a mistake that will be mended: neither is a verdict on the signature.
        const bool later = keys.error().code != Errc::invalid;
        set_status(result, later ? DkimStatus::temperror : DkimStatus::permerror, keys.error().context);
        co_return result;
    }
    const BodyDigest body = digest_body(signature->body_form, checked.body, signature->body_octets);
    const std::string hashed_field = field_without_value(raw_field, raw_value);
    const crypto::Sha256Digest digest =
        header_digest(signature->header_form, checked.message, checked.fields, signature->fields, index, hashed_field);
    judge_keys(keys->records, *signature, digest, body.digest == signature->body_hash, result);
    if (result.status != DkimStatus::pass || !signature->body_octets) co_return result;
    if (*signature->body_octets > body.octets) {  // RFC 6376 3.5: MUST NOT
        set_status(result, DkimStatus::permerror, "l= is larger than the body");
    }
    result.body_partly_signed = *signature->body_octets < body.octets;
    co_return result;
}

}  // namespace

std::string_view to_string(DkimStatus status) {
    switch (status) {
        case DkimStatus::none: return "none";
        case DkimStatus::pass: return "pass";
        case DkimStatus::fail: return "fail";
        case DkimStatus::neutral: return "neutral";
        case DkimStatus::policy: return "policy";
        case DkimStatus::temperror: return "temperror";
        case DkimStatus::permerror: return "permerror";
    }
    return "none";
}

net::Task<std::vector<DkimResult>> verify_dkim(dns::Resolver& resolver, std::string_view message, Time now) {
    Checked checked;
    checked.message = message;
    std::size_t header_octets = 0;
    checked.fields = mime::parse_fields(message, &header_octets);
    checked.body = message.substr(header_octets);
    std::vector<DkimResult> results;
    for (std::size_t i = 0; i < checked.fields.size() && results.size() < kSignaturesChecked; ++i) {
        if (!ascii::equals_ci(checked.fields[i].name, "dkim-signature")) continue;
        auto result = co_await verify_one(resolver, checked, i, now);
        results.push_back(std::move(result));
    }
    co_return results;
}

}  // namespace posthouse::mailauth
