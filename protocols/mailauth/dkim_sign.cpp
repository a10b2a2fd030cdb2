#include <fmt/format.h>

#include <array>
#include <iterator>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/mailauth/dkim.h"
#include "protocols/mailauth/folded_field.h"
#include "protocols/mailauth/signature.h"

namespace posthouse::mailauth {

namespace {

// Signed once more than they are there, so that nobody can add one (RFC 6376 8.15).
constexpr std::array<std::string_view, 12> kOversigned = {
    "from",       "to",          "cc",         "reply-to",     "subject",      "date",
    "message-id", "in-reply-to", "references", "mime-version", "content-type", "content-transfer-encoding"};
// Likewise, but only where they are there (RFC 6376 5.4.1; RFC 8058 4 wants the two of unsubscribing, RFC 8460 5.3
// those of TLS reports; without TLS-Required somebody could ask for less on the way). Where there is none, a list may
// add its own: what a reader relies on stays as it was.
constexpr std::array<std::string_view, 13> kOversignedIfPresent = {
    "sender",         "list-id",           "list-help",           "list-unsubscribe", "list-unsubscribe-post",
    "list-subscribe", "list-post",         "list-owner",          "list-archive",     "auto-submitted",
    "tls-required",   "tls-report-domain", "tls-report-submitter"};

std::vector<std::string> names_to_sign(const mime::Fields& fields) {
    std::vector<std::string> names;
    const auto add = [&](std::string_view name) {
        names.insert(names.end(), mime::find_all(fields, name).size() + 1, std::string(name));
    };
    for (const std::string_view name : kOversigned) add(name);
    for (const std::string_view name : kOversignedIfPresent) {
        if (mime::find_first(fields, name)) add(name);
    }
    return names;
}

FoldedField unsigned_field(const DkimSigner& signer, const std::vector<std::string>& names,
                           const std::string& body_hash, Time now) {
    FoldedField field("DKIM-Signature:");
    field.word("v=1;");
    field.word(fmt::format("a={};", algorithm_name(signer.key->algorithm())));
    field.word("c=relaxed/relaxed;");
    field.word(fmt::format("d={};", signer.domain));
    field.word(fmt::format("s={};", signer.selector));
    field.word(fmt::format("t={};", to_unix_ms(now) / 1000));
    field.word(fmt::format("x={};", to_unix_ms(now + kSignatureLife) / 1000));
    for (std::size_t i = 0; i < names.size(); ++i) {
        const bool last = i + 1 == names.size();
        const std::string word = fmt::format("{}{}{}", i == 0 ? "h=" : "", names[i], last ? ";" : ":");
        field.word(word);
    }
    field.word(fmt::format("bh={};", body_hash));
    field.word("b=");
    return field;
}

}  // namespace

Result<std::string> hash_body(MessageSource& message) {
    crypto::Sha256 body;
    BodyCanonicaliser canonical(Canonical::relaxed, [&body](std::string_view octets) { body.update(octets); });
    for (;;) {
        TRY(const std::string_view piece, message.next_piece());
        if (piece.empty()) break;
        canonical.update(piece);
    }
    canonical.finish();
    const crypto::Sha256Digest digest = body.finish();
    return crypto::base64_encode(std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

Result<std::string> sign_dkim(const std::vector<DkimSigner>& signers, MessageSource message,
                              [[maybe_unused]] const SigningEnvelope& envelope, Time now) {
    if (signers.empty()) return std::string();
    const mime::Fields fields = mime::parse_fields(message.header_block);
    if (fields.truncated) return Error(Errc::too_large, "the header has more fields than can be signed");
    if (!mime::find_first(fields, "from")) return Error(Errc::invalid, "a message without From cannot be signed");
    const std::vector<std::string> names = names_to_sign(fields);

    TRY(const std::string body_hash, hash_body(message));
    std::string out;
    for (const DkimSigner& signer : signers) {
        ASSERT(signer.key != nullptr);
        FoldedField field = unsigned_field(signer, names, body_hash, now);
        const crypto::Sha256Digest digest = header_digest(Canonical::relaxed, message.header_block, fields, names,
                                                          std::string_view::npos, field.text());
        TRY(const std::string signature, signer.key->sign_digest(digest));
        field.cut_anywhere(crypto::base64_encode(signature));
        out += field.text();
        out += "\r\n";
    }
    return out;
}

std::string dkim_dns_record(const crypto::SigningKey& key) {
    return fmt::format("v=DKIM1; k={}; p={}", key_type_name(key.algorithm()), key.dns_public_key());
}

}  // namespace posthouse::mailauth
