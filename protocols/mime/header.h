#pragma once
/// protocols/mime: the shape of a message. Header fields, addresses, dates, encodings, the MIME tree, message building.
///   in:  the octets of one message -> Fields, Envelope, Structure, MessageFacts   (RFC 5322, RFC 2045-2049, RFC 2231)
///   out: IMAP ENVELOPE and BODYSTRUCTURE text, section extents, new messages      (RFC 3501 7.4.2, RFC 6522)
/// It leaves to others: SMTP paths (protocols/smtp), DKIM canonical forms (protocols/mailauth), storing anything.
/// Invariants  1. Reading never fails: every octet string is a message. Damage is flagged, never an error.
///             2. Field, and nothing else, holds views into its input; every other type owns its octets.
///             3. A child part lies strictly inside its parent, so a tree cannot have a cycle.
///             4. All offsets are octets from the start of the message given.
/// Threads: all functions are pure.   Limits: below; what lies beyond them is kept but not looked into.
///
/// This header: fields, RFC 5322 2.2 and 4.5. A line ends with CRLF or a bare LF; a lone CR is data.
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace posthouse::mime {

/// Bounds of all readers in this room. Reaching one truncates and flags, and is never an error.
struct Limits {
    std::size_t field_octets_max = 256UL * 1024;    ///< one header field; the rest of it is not seen
    std::size_t header_octets_max = 1024UL * 1024;  ///< all fields together; later fields are not listed
    std::size_t fields_max = 2000;
    std::size_t addresses_max = 5000;  ///< in one field
    std::size_t comment_depth_max = 16;
    std::size_t params_max = 64;
    std::size_t depth_max = 50;  ///< nesting of parts; deeper ones stay opaque
    std::size_t parts_max = 1000;
    std::size_t text_octets_max = 8UL * 1024 * 1024;  ///< decoded text of one part
};
inline constexpr Limits kLimits{};

/// One header field; views into the message that was given to parse_fields().
struct Field {
    std::string_view name;       ///< as written, without blanks before the colon
    std::string_view raw_value;  ///< all after the colon, still folded, without the last line end
    std::size_t offset = 0;      ///< of the name
    std::size_t length = 0;      ///< octets with the last line end
};

/// The fields of one header block in their order.
class Fields {
 public:
    std::vector<Field> list;
    bool truncated = false;  ///< a limit was reached: not every field is listed
    bool damaged = false;    ///< lines that are no fields were met

    std::vector<Field>::const_iterator begin() const { return list.begin(); }
    std::vector<Field>::const_iterator end() const { return list.end(); }
    std::size_t size() const { return list.size(); }
    bool empty() const { return list.empty(); }
    const Field& operator[](std::size_t index) const { return list[index]; }
};

/// Reads the header block at the start of `message`. `header_octets`, where given, receives its size with the empty
/// line that ends it (the whole message where there is none). A line without a colon is skipped and flagged.
Fields parse_fields(std::string_view message, std::size_t* header_octets = nullptr, const Limits& limits = kLimits);

/// Octets of the header block with the empty line, found without listing the fields.
std::size_t find_header_end(std::string_view message);

/// The value without its line ends and outer blanks (RFC 5322 2.2.3): each CRLF or LF goes, the blank after it stays.
std::string unfold(std::string_view raw_value);

/// The raw value of the first field of that name (ASCII case ignored), or nothing.
std::optional<std::string_view> find_first(const Fields& fields, std::string_view name);
/// The raw values of all fields of that name, in their order.
std::vector<std::string_view> find_all(const Fields& fields, std::string_view name);

enum class Matching { only, except };
/// BODY[HEADER.FIELDS (...)] and BODY[HEADER.FIELDS.NOT (...)], RFC 3501 6.4.5: the chosen fields as they stand, then
/// the empty line. `header_block` is the header with or without its empty line.
std::string select_fields(std::string_view header_block, std::span<const std::string> names, Matching matching);

}  // namespace posthouse::mime
