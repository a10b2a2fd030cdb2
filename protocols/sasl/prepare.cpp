// SASLprep (RFC 4013) and OpaqueString (RFC 8265 4.2) with ICU's tables.
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/usprep.h>

#include <algorithm>
#include <memory>

#include "protocols/base/ascii.h"
#include "protocols/sasl/sasl.h"

namespace posthouse::sasl {

namespace {

struct CloseProfile {
    void operator()(UStringPrepProfile* profile) const { usprep_close(profile); }
};

const UStringPrepProfile* saslprep() {
    static const std::unique_ptr<UStringPrepProfile, CloseProfile> profile = [] {
        UErrorCode failed = U_ZERO_ERROR;
        std::unique_ptr<UStringPrepProfile, CloseProfile> opened(usprep_openByType(USPREP_RFC4013_SASLPREP, &failed));
        return U_SUCCESS(failed) ? std::move(opened) : nullptr;
    }();
    return profile.get();
}

icu::UnicodeString to_unicode(std::string_view text) {
    return icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int>(text.size())));
}

Result<> check_text(std::string_view text) {
    if (text.empty() || text.size() > kCredentialOctetsMax || !ascii::is_valid_utf8(text)) {
        return Error(Errc::invalid, "a login or password is empty, too long or no UTF-8");
    }
    if (std::ranges::any_of(text, ascii::is_control)) {
        return Error(Errc::invalid, "a login or password holds control characters");
    }
    return {};
}

// Of what RFC 8264 4.3 disallows that which no keyboard gives.
bool is_refused(UChar32 c) {
    const auto type = u_charType(c);
    return type == U_CONTROL_CHAR || type == U_SURROGATE || type == U_PRIVATE_USE_CHAR || U_IS_UNICODE_NONCHAR(c);
}

Result<std::string> prepare_opaque(std::string_view text) {
    const icu::UnicodeString from = to_unicode(text);
    icu::UnicodeString mapped;
    for (std::int32_t at = 0; at < from.length(); at = from.moveIndex32(at, 1)) {
        const UChar32 c = from.char32At(at);
        if (is_refused(c)) return Error(Errc::invalid, "a password holds characters that none may (RFC 8265)");
        mapped.append(u_charType(c) == U_SPACE_SEPARATOR ? UChar32{' '} : c);
    }
    UErrorCode failed = U_ZERO_ERROR;
    const icu::Normalizer2* const compose = icu::Normalizer2::getNFCInstance(failed);
    if (U_FAILURE(failed)) return Error(Errc::internal, "ICU has no table for NFC");
    const icu::UnicodeString composed = compose->normalize(mapped, failed);
    if (U_FAILURE(failed)) return Error(Errc::internal, "ICU cannot compose a password");
    std::string out;
    composed.toUTF8String(out);
    return out;
}

}  // namespace

Result<std::string> prepare(std::string_view text) {
    TRY_VOID(check_text(text));
    if (std::ranges::none_of(text, ascii::is_8bit)) return std::string(text);  // nothing to map or to refuse is left
    const UStringPrepProfile* const profile = saslprep();
    if (profile == nullptr) return Error(Errc::internal, "ICU has no table for SASLprep");
    const icu::UnicodeString from = to_unicode(text);
    // Normalisation may lengthen: by three at most (NFKC of one BMP character is up to 18, but such a text is refused).
    std::u16string into(static_cast<std::size_t>(from.length()) * 3 + 32, u'\0');
    UErrorCode failed = U_ZERO_ERROR;
    const std::int32_t length =
        usprep_prepare(profile, from.getBuffer(), from.length(), into.data(), static_cast<std::int32_t>(into.size()),
                       USPREP_DEFAULT, nullptr, &failed);
    if (U_FAILURE(failed) || length <= 0) {
        return Error(Errc::invalid, "a login or password holds characters that none may (RFC 4013)");
    }
    std::string out;
    icu::UnicodeString(into.data(), length).toUTF8String(out);
    return out;
}

Result<std::string> prepare_password(std::string_view text) {
    if (auto prepared = prepare(text)) return prepared;
    TRY_VOID(check_text(text));
    return prepare_opaque(text);
}

std::string prepare_login(std::string_view text) { return ascii::to_lower(prepare(text).value_or(std::string(text))); }

}  // namespace posthouse::sasl
