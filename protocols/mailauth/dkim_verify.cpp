#include "protocols/base/ascii.h"
#include "protocols/mailauth/dkim.h"
#include "protocols/mailauth/signature.h"
#include "protocols/mailauth/tag_list.h"
#include "protocols/mailauth/verify.h"

namespace posthouse::mailauth {

namespace {

constexpr std::size_t kStartOctets = 8;  // of b=, RFC 6008 3

// What can be told of a signature even where it cannot be used: for Authentication-Results.
void describe(std::string_view raw_value, DkimResult& result) {
    const auto tags = TagList::parse(raw_value);
    if (!tags) return;
    result.domain = ascii::to_lower(tags->value("d").value_or(""));
    result.selector = tags->value("s").value_or("");
    result.algorithm = ascii::to_lower(tags->value("a").value_or(""));
    result.signature_start = without_fws(tags->value("b").value_or("")).substr(0, kStartOctets);
}

net::Task<DkimResult> verify_one(dns::Resolver& resolver, const ReadMessage& message, std::size_t index, Time now) {
    const std::string_view raw_field = message.raw_field(index);
    const std::string_view raw_value = value_of(raw_field);
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
    const BodyDigest& body = message.body_digest(signature->body_form, signature->body_octets);
    const std::string hashed_field = field_without_value(raw_field);
    const crypto::Sha256Digest digest = header_digest(signature->header_form, message.octets(), message.fields(),
                                                      signature->fields, index, hashed_field);
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
    const ReadMessage read(message);
    co_return co_await verify_dkim(resolver, read, now);
}

net::Task<std::vector<DkimResult>> verify_dkim(dns::Resolver& resolver, const ReadMessage& message, Time now) {
    std::vector<DkimResult> results;
    const mime::Fields& fields = message.fields();
    for (std::size_t i = 0; i < fields.size() && results.size() < kSignaturesChecked; ++i) {
        if (!ascii::equals_ci(fields[i].name, kDkimSignature)) continue;
        auto result = co_await verify_one(resolver, message, i, now);
        results.push_back(std::move(result));
    }
    co_return results;
}

}  // namespace posthouse::mailauth
