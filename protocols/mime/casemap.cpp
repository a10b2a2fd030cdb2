#include "protocols/mime/casemap.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <array>
#include <cstdint>
#include <memory>

#include "protocols/base/ascii.h"

namespace posthouse::mime {

namespace {

/// Null where ICU has lost its data: then only ASCII is mapped.
const icu::Normalizer2* decomposition() {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* const out = icu::Normalizer2::getNFKDInstance(status);
    return U_FAILURE(status) ? nullptr : out;
}

void append_utf8(std::string& out, UChar32 c) {
    std::array<char, U8_MAX_LENGTH> octets{};
    std::int32_t length = 0;
    U8_APPEND_UNSAFE(octets.data(), length, c);
    out.append(octets.data(), static_cast<std::size_t>(length));
}

/// What a character becomes, with the canonical combining classes at its ends: between two that fall a mark stands
/// where it must not.
struct Mapped {
    std::uint32_t offset = 0;
    std::uint8_t octets = 0;  ///< 0: it stays as it is
    std::uint8_t first_class = 0;
    std::uint8_t last_class = 0;
};

// Steps (2) and (3) of RFC 5051 2 for one character; its octets are appended to `out`.
Mapped map_character(const icu::Normalizer2& decompose, UChar32 c, std::string& out) {
    const UChar32 title = u_totitle(c);
    Mapped mapped;
    mapped.offset = static_cast<std::uint32_t>(out.size());
    icu::UnicodeString parts;
    if (!decompose.getDecomposition(title, parts)) parts = title;
    for (std::int32_t i = 0; i < parts.length(); i = parts.moveIndex32(i, 1)) append_utf8(out, parts.char32At(i));
    mapped.octets = static_cast<std::uint8_t>(out.size() - mapped.offset);
    mapped.first_class = decompose.getCombiningClass(parts.char32At(0));
    mapped.last_class = decompose.getCombiningClass(parts.char32At(parts.length() - 1));
    return mapped;
}

/// The characters of the Basic Multilingual Plane, by pages; one where all stay as they are is not there.
class Table {
 public:
    explicit Table(const icu::Normalizer2& decompose) {
        for (UChar32 c = 0; c < kEnd; ++c) {
            if (U_IS_SURROGATE(c) || (u_totitle(c) == c && decompose.isInert(c))) continue;
            const std::size_t before = octets_.size();
            Mapped mapped = map_character(decompose, c, octets_);
            std::string same;
            append_utf8(same, c);
            if (octets_.compare(before, std::string::npos, same) == 0) {
                octets_.resize(before);
                mapped.octets = 0;
                if (mapped.first_class == 0) continue;
            }
            auto& page = pages_[static_cast<std::size_t>(c) / kPage];
            if (!page) page = std::make_unique<Page>();
            (*page)[static_cast<std::size_t>(c) % kPage] = mapped;
        }
    }
    /// Null: it stays as it is, and is no mark.
    const Mapped* find(UChar32 c) const {
        const auto& page = pages_[static_cast<std::size_t>(c) / kPage];
        return page ? &(*page)[static_cast<std::size_t>(c) % kPage] : nullptr;
    }
    std::string_view octets(const Mapped& mapped) const {
        return std::string_view(octets_).substr(mapped.offset, mapped.octets);
    }
    static bool holds(UChar32 c) { return c < kEnd; }

 private:
    static constexpr UChar32 kEnd = 0x10000;
    static constexpr std::size_t kPage = 256;
    using Page = std::array<Mapped, kPage>;
    std::array<std::unique_ptr<Page>, kEnd / kPage> pages_;
    std::string octets_;
};

/// Appends characters as they become, and notes whether marks are left to be put in order.
class Mapping {
 public:
    Mapping(const icu::Normalizer2& decompose, const Table& table, std::size_t octets)
        : decompose_(decompose), table_(table) {
        out_.reserve(octets + octets / 8);
    }
    void add_ascii(char c) {
        out_ += ascii::upper(c);
        last_class_ = 0;
    }
    /// `as_it_is`: its octets.
    void add(UChar32 c, std::string_view as_it_is) {
        if (!Table::holds(c)) return note(map_character(decompose_, c, out_));
        const Mapped* const mapped = table_.find(c);
        if (mapped == nullptr || mapped->octets == 0)
            out_ += as_it_is;
        else
            out_ += table_.octets(*mapped);
        note(mapped == nullptr ? Mapped() : *mapped);
    }
    std::string take() {
        if (!out_of_order_) return std::move(out_);
        UErrorCode status = U_ZERO_ERROR;
        std::string ordered;
        icu::StringByteSink<std::string> sink(&ordered);
        const icu::StringPiece text(out_.data(), static_cast<std::int32_t>(out_.size()));
        decompose_.normalizeUTF8(0, text, sink, nullptr, status);
        return U_FAILURE(status) ? std::move(out_) : ordered;
    }

 private:
    void note(const Mapped& mapped) {
        out_of_order_ = out_of_order_ || (mapped.first_class != 0 && mapped.first_class < last_class_);
        last_class_ = mapped.last_class;
    }

    const icu::Normalizer2& decompose_;
    const Table& table_;
    std::string out_;
    std::uint8_t last_class_ = 0;
    bool out_of_order_ = false;
};

}  // namespace

std::string casemap(std::string_view utf8) {
    constexpr std::size_t kOctetsMax = 256UL * 1024 * 1024;  // times a character's growth it fits ICU's sizes
    if (!ascii::has_8bit(utf8)) return ascii::to_upper(utf8);
    const icu::Normalizer2* const decompose = decomposition();
    if (decompose == nullptr || utf8.size() > kOctetsMax) return ascii::to_upper(utf8);
    static const Table table(*decompose);
    Mapping mapping(*decompose, table, utf8.size());
    const auto size = static_cast<std::int32_t>(utf8.size());
    for (std::int32_t i = 0; i < size;) {
        const std::int32_t begin = i;
        if (!ascii::is_8bit(utf8[static_cast<std::size_t>(i)])) {
            mapping.add_ascii(utf8[static_cast<std::size_t>(i++)]);
            continue;
        }
        UChar32 c = 0;
        U8_NEXT_UNSAFE(utf8.data(), i, c);
        mapping.add(c, utf8.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(i - begin)));
    }
    return mapping.take();
}

}  // namespace posthouse::mime
