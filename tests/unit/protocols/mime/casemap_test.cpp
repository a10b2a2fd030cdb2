#include "protocols/mime/casemap.h"

#include <doctest/doctest.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf16.h>

#include "protocols/mime/text.h"

namespace posthouse::mime {

namespace {

bool same(std::string_view a, std::string_view b) { return casemap(a) == casemap(b); }
bool holds(std::string_view text, std::string_view needle) { return casemap(text).contains(casemap(needle)); }

// RFC 5051 2 by its letter, with ICU's whole-text functions.
std::string by_letter(const std::string& utf8) {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* const decompose = icu::Normalizer2::getNFKDInstance(status);
    const icu::UnicodeString text = icu::UnicodeString::fromUTF8(utf8);
    icu::UnicodeString titled;
    for (std::int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) titled.append(u_totitle(text.char32At(i)));
    std::string out;
    decompose->normalize(titled, status).toUTF8String(out);
    REQUIRE(U_SUCCESS(status));
    return out;
}

}  // namespace

TEST_CASE("i;unicode-casemap: characters as RFC 5051 2 maps them") {
    struct Case {
        std::string_view text, key;
    };
    constexpr Case kCases[] = {
        {"", ""},
        {"abcXYZ 019_{", "ABCXYZ 019_{"},
        {"\u01c4", "Dz\u030c"},  // the RFC's example
        {"\u01c5", "Dz\u030c"},
        {"\u01c6", "Dz\u030c"},
        {"\u00e9", "E\u0301"},
        {"\u00df", "\u00df"},  // sharp s has no titlecase by a simple mapping
        {"\u1e9e", "\u1e9e"},  // nor is its capital the titlecase of anything
        {"\u0131", "I"},       // dotless i
        {"\u0130", "I\u0307"},
        {"\u017f", "S"},  // long s
        {"\u03c3\u03c2\u03a3", "\u03a3\u03a3\u03a3"},
        {"\ufb01", "fi"},  // ligature fi: small letters come out of it
        {"\ufb03", "ffi"},
        {"\uff41", "A"},  // full width
        {"\u00b2", "2"},
        {"\u2460", "1"},
        {"\u00bd",
         "1\u2044"
         "2"},
        {"\u212b", "A\u030a"},  // Angstrom sign
        {"\u00b5", "\u039c"},   // micro sign
        {"\u1f80", "\u0391\u0313\u0345"},
        {"\u0345", "\u0399"},  // a mark whose titlecase is a letter
        {"\u00a0", " "},
        {"\u00ad", "\u00ad"},  // invisible, and there
        {"\u200d", "\u200d"},
        {"\ufdfa", "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064a\u0647 \u0648\u0633\u0644\u0645"},
        {"\uac00", "\u1100\u1161"},  // Hangul
        {"\u304c", "\u304b\u3099"},
        {"\u4e2d", "\u4e2d"},
        {"\u10d0", "\u10d0"},          // Georgian: the titlecase of a letter is itself
        {"\U0001d41a", "a"},           // mathematical bold a: no titlecase, decomposed to the small letter
        {"\U00010428", "\U00010400"},  // Deseret
        {"\U0001f600", "\U0001f600"},
        {"a\u0307\u0323", "A\u0323\u0307"},                // in canonical order, as NFKD has them (RFC 5051 4)
        {"\u00ea\u0323x", "E\u0323\u0302X"},               // as windows-1258 writes it
        {"a\u0301\u0301b\u0323", "A\u0301\u0301B\u0323"},  // in order already
    };
    for (const Case& c : kCases) {
        CAPTURE(c.text);
        CHECK(casemap(c.text) == c.key);
    }
}

TEST_CASE("i;unicode-casemap: what is equal and what is found") {
    CHECK(same("Stra\u00dfe", "STRA\u00dfE"));
    CHECK_FALSE(same("stra\u00dfe", "strasse"));
    CHECK(same("\u00c9t\u00e9", "e\u0301te\u0301"));
    CHECK(same("\u039f\u03b4\u03cc\u03c2", "\u03bf\u03b4\u03cc\u03c3"));
    CHECK(same("D\u0131YARBAKIR", "diyarbak\u0131r"));
    CHECK_FALSE(same("\ufb01", "FI"));
    CHECK_FALSE(same("soft\u00adhyphen", "softhyphen"));
    CHECK(holds("Caf\u00e9", "cafe"));
    CHECK(holds("Caf\u00e9", "CAF\u00c9"));
    CHECK_FALSE(holds("Caf\u00e9 noir", "cafe noir"));
    CHECK_FALSE(holds("cafe", "caf\u00e9"));
    CHECK(holds("\ud55c\uae00", "\ud558"));  // a syllable holds the one that lacks its last consonant
}

TEST_CASE("i;unicode-casemap: every character, and marks in any order, as ICU's functions for whole texts") {
    int wrong = 0;
    for (UChar32 c = 0x80; c <= 0x10ffff; ++c) {
        if (U_IS_SURROGATE(c)) continue;
        std::string utf8;
        icu::UnicodeString(c).toUTF8String(utf8);
        if (casemap(utf8) != by_letter(utf8)) ++wrong;
        if (u_getCombiningClass(c) == 0) continue;
        const std::string marked = "e\u0323" + utf8 + "\u0301\u00e9" + utf8 + "z";
        if (casemap(marked) != by_letter(marked)) ++wrong;
    }
    CHECK(wrong == 0);
}

TEST_CASE("texts are ordered by i;unicode-casemap; octets that are no UTF-8 as they are (RFC 5051 2, step 1b)") {
    CHECK(collation_key("\u00e4pfel") == casemap("\u00e4pfel"));
    CHECK(collation_key("\u00e4pfel") < collation_key("b"));
    CHECK(collation_key("a\xff") == "a\xff");
    CHECK(collation_key("\xc0\xa1") == "\xc0\xa1");
}

TEST_CASE("for searching, what is no UTF-8 takes nothing from the text beside it") {
    CHECK(fold_for_search("abc\xff \u00e9") == "ABC\ufffd E\u0301");
    CHECK(fold_for_search("\xe4\xb8") == fold_for_search("\xe4\xb8"));
    CHECK(fold_for_search("caf\xe9").contains(fold_for_search("Caf")));
}

}  // namespace posthouse::mime
