#include "protocols/mailauth/signature.h"

#include <algorithm>
#include <map>

#include "protocols/base/ascii.h"
#include "protocols/mailauth/tag_list.h"

namespace posthouse::mailauth {

namespace {

using crypto::SigningAlgorithm;

bool is_one_of(std::string_view name, const std::vector<std::string_view>& list) {
    return std::ranges::any_of(list, [&](std::string_view each) { return ascii::equals_ci(each, name); });
}

bool is_within(std::string_view name, std::string_view domain) {
    if (name == domain) return true;
    return name.size() > domain.size() && name.ends_with(domain) && name[name.size() - domain.size() - 1] == '.';
}

Result<Canonical> parse_form(std::string_view text) {
    if (ascii::equals_ci(text, "simple")) return Canonical::simple;
    if (ascii::equals_ci(text, "relaxed")) return Canonical::relaxed;
    return Error(Errc::invalid, "the canonicalisation is unknown");
}

// sig-c-tag = header form [ "/" body form ]; simple where one is not given. RFC 6376 3.5
Result<> read_forms(const TagList& tags, Signature& out) {
    const auto text = tags.value("c");
    if (!text) return {};
    const std::size_t slash = text->find('/');
    TRY(out.header_form, parse_form(text->substr(0, slash)));
    if (slash == std::string_view::npos) return {};
    TRY(out.body_form, parse_form(text->substr(slash + 1)));
    return {};
}

// RFC 6376 6.1.1: i= is in d= or below it; without i=, it is d= itself.
Result<> read_identity(const TagList& tags, Signature& out) {
    out.identity_domain = out.domain;
    const auto text = tags.value("i");
    if (!text) return {};
    const std::size_t at = text->rfind('@');
    if (at == std::string_view::npos) return Error(Errc::invalid, "i= has no domain");
    out.identity_domain = ascii::to_lower(text->substr(at + 1));
    if (!is_within(out.identity_domain, out.domain)) return Error(Errc::invalid, "i= is outside d=");
    return {};
}

Result<> read_fields(std::string_view text, Signature& out) {
    for (const std::string_view name : split_colons(text)) {
        if (name.empty()) return Error(Errc::invalid, "h= has an empty name");
        if (out.fields.size() == kSignedFieldsMax) return Error(Errc::invalid, "h= has too many names");
        out.fields.emplace_back(name);
    }
    const auto is_from = [](const std::string& name) { return ascii::equals_ci(name, "from"); };
    if (std::ranges::none_of(out.fields, is_from)) return Error(Errc::invalid, "From is not signed");  // RFC 6376 5.4
    return {};
}

Result<std::optional<std::uint64_t>> read_number(const TagList& tags, std::string_view name) {
    const auto text = tags.value(name);
    if (!text) return std::optional<std::uint64_t>();
    const auto number = ascii::parse_number(*text);
    if (!number) return Error(Errc::invalid, "a number of the signature cannot be read");
    return number;
}

Result<> read_times(const TagList& tags, Time now) {
    TRY(const auto signed_at, read_number(tags, "t"));
    TRY(const auto expires_at, read_number(tags, "x"));
    if (!expires_at) return {};
    if (signed_at && *expires_at <= *signed_at) return Error(Errc::invalid, "x= is not after t=");
    const auto now_seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(0, to_unix_ms(now) / 1000));
    if (*expires_at < now_seconds) return Error(Errc::invalid, "the signature has expired");
    return {};
}

}  // namespace

Result<SigningAlgorithm> parse_algorithm(std::string_view text) {
    if (ascii::equals_ci(text, "rsa-sha256")) return SigningAlgorithm::rsa_sha256;
    if (ascii::equals_ci(text, "ed25519-sha256")) return SigningAlgorithm::ed25519_sha256;            // RFC 8463 3
    if (ascii::equals_ci(text, "rsa-sha1")) return Error(Errc::invalid, "rsa-sha1 is not accepted");  // RFC 8301 3.1
    return Error(Errc::invalid, "the signature algorithm is unknown");
}

std::string_view algorithm_name(SigningAlgorithm algorithm) {
    return algorithm == SigningAlgorithm::rsa_sha256 ? "rsa-sha256" : "ed25519-sha256";
}

std::string_view key_type_name(SigningAlgorithm algorithm) {
    return algorithm == SigningAlgorithm::rsa_sha256 ? "rsa" : "ed25519";
}

namespace {

// What a signature of a message has, be it DKIM's or ARC's.
Result<Signature> read_common(const TagList& tags) {
    for (const char* required : {"a", "b", "bh", "d", "h", "s"}) {
        if (!tags.value(required)) return Error(Errc::invalid, std::string("the signature has no ") + required + "=");
    }
    Signature out;
    out.domain = ascii::to_lower(*tags.value("d"));
    out.identity_domain = out.domain;
    out.selector = *tags.value("s");
    if (out.domain.empty() || out.selector.empty()) return Error(Errc::invalid, "d= or s= is empty");
    TRY(out.algorithm, parse_algorithm(*tags.value("a")));
    TRY_VOID(read_forms(tags, out));
    TRY(out.body_octets, read_number(tags, "l"));
    // Methods we do not know are skipped (RFC 6376 3.5), but one must be known.
    if (const auto methods = tags.value("q"); methods && !is_one_of("dns/txt", split_colons(*methods))) {
        return Error(Errc::invalid, "no query method of q= is known");
    }
    TRY(out.body_hash, crypto::base64_decode(without_fws(*tags.value("bh"))));
    TRY(out.value, crypto::base64_decode(without_fws(*tags.value("b"))));
    if (out.value.empty()) return Error(Errc::invalid, "b= is empty");
    return out;
}

}  // namespace

Result<Signature> parse_signature(std::string_view raw_value, Time now) {
    TRY(const TagList tags, TagList::parse(raw_value));
    if (!tags.value("v")) return Error(Errc::invalid, "the signature has no v=");
    if (*tags.value("v") != "1") return Error(Errc::invalid, "the version of the signature is not 1");
    TRY(Signature out, read_common(tags));
    TRY_VOID(read_identity(tags, out));
    TRY_VOID(read_fields(*tags.value("h"), out));
    TRY_VOID(read_times(tags, now));
    return out;
}

Result<Signature> parse_arc_signature(std::string_view raw_value) {
    TRY(const TagList tags, TagList::parse(raw_value));
    TRY(Signature out, read_common(tags));
    TRY_VOID(read_number(tags, "t"));
    // What validators agree on where nothing is said, unlike DKIM.
    if (!tags.value("c")) out.header_form = out.body_form = Canonical::relaxed;
    // Here h= may be empty and hold empty names, which stand for nothing; From need not be signed.
    for (const std::string_view name : split_colons(*tags.value("h"))) {
        if (name.empty()) continue;
        if (out.fields.size() == kSignedFieldsMax) return Error(Errc::invalid, "h= has too many names");
        // RFC 8617 4.1.2: the seals sign the message signatures, never the other way round.
        if (ascii::equals_ci(name, "arc-seal")) return Error(Errc::invalid, "a message signature signs a seal");
        out.fields.emplace_back(name);
    }
    return out;
}

Result<KeyRecord> parse_key_record(std::string_view text) {
    TRY(const TagList tags, TagList::parse(text));
    if (const auto version = tags.value("v")) {
        // RFC 6376 3.6.1: DKIM1, and the first tag.
        if (*version != "DKIM1") return Error(Errc::invalid, "the key record is no DKIM1 record");
        if (tags.tags().front().name != "v") return Error(Errc::invalid, "v= is not first in the key record");
    }
    KeyRecord out;
    const std::string_view type = tags.value("k").value_or("rsa");
    if (ascii::equals_ci(type, "ed25519")) {
        out.algorithm = SigningAlgorithm::ed25519_sha256;
    } else if (!ascii::equals_ci(type, "rsa")) {
        return Error(Errc::invalid, "the key is of an unknown type");
    }
    if (const auto hashes = tags.value("h"); hashes && !is_one_of("sha256", split_colons(*hashes))) {
        return Error(Errc::invalid, "the key does not allow sha256");
    }
    if (const auto services = tags.value("s")) {
        const auto list = split_colons(*services);
        if (!is_one_of("*", list) && !is_one_of("email", list)) return Error(Errc::invalid, "the key is not for mail");
    }
    if (const auto flags = tags.value("t")) out.same_domain_only = is_one_of("s", split_colons(*flags));
    if (!tags.value("p")) return Error(Errc::invalid, "the key record has no p=");
    out.public_key = without_fws(*tags.value("p"));
    if (out.public_key.empty()) return Error(Errc::invalid, "the key is revoked");
    return out;
}

crypto::Sha256Digest header_digest(Canonical form, std::string_view message, const mime::Fields& fields,
                                   const std::vector<std::string>& names, std::size_t own,
                                   std::string_view signature_field) {
    // Field indexes by name; each use takes the last one that is left.
    std::map<std::string, std::vector<std::size_t>, std::less<>> left;
    for (std::size_t i = 0; i < fields.size(); ++i) {
        if (i != own) left[ascii::to_lower(fields[i].name)].push_back(i);
    }
    crypto::Sha256 hash;
    for (const std::string& name : names) {
        const auto found = left.find(ascii::to_lower(name));
        if (found == left.end() || found->second.empty()) continue;
        const mime::Field& field = fields[found->second.back()];
        found->second.pop_back();
        hash.update(canonical_field(form, message.substr(field.offset, field.length)));
    }
    std::string last = canonical_field(form, signature_field);
    last.resize(last.size() - 2);  // the signature field goes in without its CRLF
    hash.update(last);
    return hash.finish();
}

}  // namespace posthouse::mailauth
