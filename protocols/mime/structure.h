#pragma once
/// protocols/mime/structure: the MIME tree of a message (RFC 2045, RFC 2046 5.1), read in one pass, linear in its size.
///
/// Invariants  1. A child's header and body lie inside its parent's body, children in their order.
///             2. Nesting is at most Limits::depth_max and parts at most Limits::parts_max: what lies beyond stays an
///                opaque leaf (type as declared, no children).
///             3. A multipart has one child or more; one without any delimiter line has a single empty text part.
///             4. message/rfc822 and message/global have exactly one child, the contained message, and its Envelope.
/// A delimiter line is "--boundary" at the start of a line; the nearest enclosing boundary that fits ends the part.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/mime/envelope.h"
#include "protocols/mime/header.h"
#include "protocols/mime/parameter.h"

namespace posthouse::mime {

struct Part {
    std::string type;     ///< as written; defaults of RFC 2045 5.2 and RFC 2046 5.1.5 filled in
    std::string subtype;  ///< as written
    std::vector<Parameter> params;
    std::optional<std::string> id;
    std::optional<std::string> description;
    std::string encoding;  ///< as written; "7BIT" where the field is absent
    std::optional<std::string> disposition;
    std::vector<Parameter> disposition_params;
    std::optional<std::string> md5;
    std::vector<std::string> language;
    std::optional<std::string> location;
    std::uint64_t header_offset = 0;  ///< octets from the start of the message
    std::uint64_t header_octets = 0;  ///< with the empty line
    std::uint64_t body_offset = 0;
    std::uint64_t body_octets = 0;  ///< without the line end that belongs to the next delimiter
    std::uint64_t lines = 0;        ///< line ends in the body
    std::vector<Part> children;
    bool is_message_rfc822 = false;    ///< message/rfc822 or message/global, looked into
    std::optional<Envelope> envelope;  ///< of the contained message, for is_message_rfc822

    bool is_multipart() const;
    bool operator==(const Part&) const = default;
};

struct Structure {
    Part root;
    std::uint64_t size_octets = 0;
    bool limited = false;  ///< a limit was reached: something stayed opaque
    bool operator==(const Structure&) const = default;
};

/// Never fails; see the invariants.
Structure parse_structure(std::string_view message, const Limits& limits = kLimits);

/// A compact, versioned binary form for the store.
std::string encode_structure(const Structure& structure);
/// Errc::corrupt for anything encode_structure() cannot have written; every offset is checked against its parent.
Result<Structure> decode_structure(std::string_view data);

/// What of a part is asked for, RFC 3501 6.4.5.
enum class SectionKind {
    body,    ///< BODY[] and BODY[1.2]
    header,  ///< HEADER and HEADER.FIELDS: only of the message or a contained message
    text,    ///< TEXT: likewise
    mime,    ///< 1.2.MIME: the part's own header
};

struct Extent {
    std::uint64_t offset = 0;
    std::uint64_t octets = 0;
    bool operator==(const Extent&) const = default;
};

/// The part that a section path names; an empty path is the root. nullptr where there is none.
/// Part 1 of a message that is no multipart is that message's own body. The pointer lives as long as `structure`.
const Part* find_part(const Structure& structure, std::span<const std::uint32_t> path);

/// Whether only its reader can open the part (RFC 1847 2.2, RFC 8551 3.5).
bool is_encrypted(const Part& part);

/// Where the octets of a section lie. Nothing: no such part, or HEADER/TEXT of a part that is no message, or MIME
/// without a path. A client gets an empty string or NIL for that.
std::optional<Extent> find_section(const Structure& structure, std::span<const std::uint32_t> path, SectionKind kind);

}  // namespace posthouse::mime
