#pragma once
/// protocols/mime/structure_reader (internal): the binary form of a Structure part by part, nothing copied.
///
/// Whoever walks it calls part() for the root and then, as often as a part says, for its children in their order.
/// Invariants  1. After the first fault every further read yields nothing: look at ok() before a part is believed, and
///                at finish() before the whole is.
///             2. A part lies in the room it is given; depth, parts and lists are bounded.
/// Views point into what the reader was made from. Threads: pure.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/mime/envelope.h"
#include "protocols/mime/parameter.h"

namespace posthouse::mime {

inline constexpr char kStructureVersion = 1;

enum PartFlag : std::uint64_t {
    kHasId = 1,
    kHasDescription = 2,
    kHasDisposition = 4,
    kHasMd5 = 8,
    kHasLanguage = 16,
    kHasLocation = 32,
    kIsMessage = 64,
    kHasEnvelope = 128,
    kAllPartFlags = 255,
};

struct StructureHead {
    std::uint64_t size_octets = 0;
    bool limited = false;
};

/// Where a part may lie, in octets of the message, and how deep it is.
struct PartRoom {
    std::uint64_t from = 0;
    std::uint64_t end = 0;
    std::size_t depth = 0;
};

/// A list as it is written down, already found to be whole: `octets` holds `count` things.
struct RawList {
    std::string_view octets;
    std::size_t count = 0;
};

/// One part without its children.
struct RawPart {
    std::string_view type;
    std::string_view subtype;
    RawList params;  ///< read_params()
    std::optional<std::string_view> id;
    std::optional<std::string_view> description;
    std::string_view encoding;
    std::optional<std::string_view> disposition;
    RawList disposition_params;
    std::optional<std::string_view> md5;
    RawList language;  ///< read_texts()
    std::optional<std::string_view> location;
    std::optional<std::string_view> envelope;  ///< read_envelope()
    std::uint64_t header_offset = 0;
    std::uint64_t header_octets = 0;
    std::uint64_t body_offset = 0;
    std::uint64_t body_octets = 0;
    std::uint64_t lines = 0;
    std::size_t children = 0;
    bool is_message = false;
    bool is_multipart = false;

    /// The room of its first child.
    PartRoom inside(const PartRoom& own) const { return {body_offset, body_offset + body_octets, own.depth + 1}; }
};

class StructureReader {
 public:
    explicit StructureReader(std::string_view data) : in_(data) {}

    /// What stands before the root. Errc::corrupt: it is no structure.
    Result<StructureHead> head();
    /// The next part; of no meaning where ok() is false afterwards.
    RawPart part(const PartRoom& room);
    bool ok() const { return ok_; }
    /// Errc::corrupt where anything was wrong or is left over.
    Result<> finish() const;

    // Pieces of a part, for the functions below too.
    char octet();
    std::uint64_t number() {
        const char first = in_.peek();
        if (!ok_ || in_.at_end() || ascii::is_8bit(first)) return long_number();
        in_.take_octets(1);
        return static_cast<std::uint64_t>(first);
    }
    std::string_view octets(std::uint64_t length) {
        if (length > in_.rest().size()) ok_ = false;
        return ok_ ? in_.take_octets(static_cast<std::size_t>(length)) : std::string_view();
    }
    std::string_view text() { return octets(number()); }
    /// An absent text is 0, a present one its length plus one.
    std::optional<std::string_view> optional();
    /// A number that counts things which take at least one octet each.
    std::size_t count(std::size_t max);

 private:
    std::uint64_t long_number();
    RawList params();
    RawList texts();
    std::string_view envelope();
    void skip_addresses();
    void extents(RawPart& part, const PartRoom& room);
    static bool has_right_shape(const RawPart& part);

    Cursor in_;
    std::size_t parts_ = 0;
    bool ok_ = true;
};

std::vector<Parameter> read_params(const RawList& list);
std::vector<std::string> read_texts(const RawList& list);
Envelope read_envelope(std::string_view octets);

}  // namespace posthouse::mime
