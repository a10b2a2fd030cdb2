// SASLprep (RFC 4013) with ICU's tables.
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

}  // namespace

Result<std::string> prepare(std::string_view text) {
    if (text.empty() || text.size() > kCredentialOctetsMax || !ascii::is_valid_utf8(text)) {
        return Error(Errc::invalid, "a login or password is empty, too long or no UTF-8");
    }
    if (std::ranges::any_of(text, ascii::is_control)) {
        return Error(Errc::invalid, "a login or password holds control characters");
    }
    if (std::ranges::none_of(text, ascii::is_8bit)) return std::string(text);  // nothing to map or to refuse is left
    const UStringPrepProfile* const profile = saslprep();
    if (profile == nullptr) return Error(Errc::internal, "ICU has no table for SASLprep");
    const icu::UnicodeString from =
        icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int>(text.size())));
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

}  // namespace posthouse::sasl
