#pragma once
/// protocols/imap/fetch: the FETCH program (RFC 3501 6.4.5, 7.4.2). Pure.
/// An item is one row: its name, what must be read for it, and how it is written. Macros are rows too.
/// A new item (MODSEQ, BINARY[], PREVIEW ...) is a new row; parser, planner and writer follow it.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/limits.h"
#include "protocols/mime/structure.h"

namespace posthouse::imap {

/// What of a message must be at hand, each including those before it.
enum class Needs {
    index,  ///< uid, flags, dates, size: in the session's memory
    entry,  ///< ids and the date of saving: what else stands in the message's row
    facts,  ///< envelope and structure as computed at arrival
    body,   ///< octets of the message
};

enum class Seen { keep, set };

/// The values that items are written from; views owned by the caller.
struct FetchSource {
    std::uint32_t uid = 0;
    std::uint8_t system_flags = 0;
    bool recent = false;
    std::span<const std::string> keywords;
    std::int64_t internal_date_s = 0;
    std::uint64_t size_octets = 0;
    std::uint64_t modseq = 0;
    std::uint64_t email = 0;                     ///< what object_id.h writes; only where Needs::entry was asked for
    std::int64_t save_date_s = 0;                ///< likewise
    std::string_view envelope;                   ///< ready text; only where Needs::facts was asked for
    std::string_view body;                       ///< likewise, of BODY
    std::string_view bodystructure;              ///< likewise
    std::uint64_t header_octets = 0;             ///< likewise
    const mime::Structure* structure = nullptr;  ///< where a section with a path or a preview is asked for
};

enum class SectionKind { body, header, header_fields, header_fields_not, text, mime };

/// section and partial of BODY[...]<o.n>.
struct Section {
    std::vector<std::uint32_t> path;
    SectionKind kind = SectionKind::body;
    std::vector<std::string> fields;
    std::optional<std::uint64_t> partial_first;
    std::uint64_t partial_octets = 0;
    std::string label;  ///< the item's name in the response: "BODY[HEADER.FIELDS (SUBJECT)]<0>"
};

/// What becomes of the octets that an item reads.
enum class Shape {
    value,         ///< it reads none
    octets,        ///< they are told as they are
    decoded,       ///< without their transfer encoding (RFC 3516)
    decoded_size,  ///< likewise, and only how many
    preview,       ///< the first words (RFC 8970)
};

struct FetchItem {
    std::string_view name;
    Needs needs = Needs::index;
    Seen seen = Seen::keep;
    std::string_view expands_to;  ///< macros only (ALL, FAST, FULL)
    Shape shape = Shape::value;
    std::optional<SectionKind> section;                                    ///< items that are octets of the message
    void (*write)(std::string& out, const FetchSource& source) = nullptr;  ///< all others
    std::string_view rfc;
    std::string_view capability = "";  ///< what brings it; any of several; empty: IMAP4rev1
};

struct FetchUse {
    const FetchItem* item = nullptr;
    Section section;
};

struct FetchProgram {
    std::vector<FetchUse> items;
    Needs needs = Needs::index;
    Seen seen = Seen::keep;
    bool has(std::string_view name) const;
};

/// All rows, macros among them; names that end with "[" stand for every section.
std::span<const FetchItem> fetch_items();

/// section-spec as it stands within BODY[...] (RFC 3501 9), all of `text`.
Result<Section> parse_section(std::string_view text, const Limits& limits = {});
/// fetch-att / "(" fetch-att *(SP fetch-att) ")" / macro. Doubles are dropped; "()" and a macro in a list are refused.
Result<FetchProgram> take_fetch_program(Cursor& in, const Limits& limits = {});
/// Puts an item that takes no argument first (UID) or last (FLAGS) unless it is there.
enum class Place { first, last };
void add_item(FetchProgram& program, std::string_view name, Place place);
/// All of `more` behind what is there; doubles are dropped.
void add_items(FetchProgram& program, const FetchProgram& more);

/// Where a section's octets lie in the message: before `partial`. Nothing: there is no such part (NIL).
/// HEADER.FIELDS gives the header they are chosen from.
std::optional<mime::Extent> locate(const Section& section, const FetchSource& source);
/// The extent cut to "<first.octets>"; beyond the end it is empty (RFC 3501 6.4.5).
mime::Extent cut(const Section& section, mime::Extent extent);
/// Of a header, the chosen fields with the empty line and then the partial; other kinds are given back unchanged.
std::string choose_fields(const Section& section, std::string header);

}  // namespace posthouse::imap
