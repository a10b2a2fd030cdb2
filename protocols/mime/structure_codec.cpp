// The binary form of a Structure, kept in the store's message row.
//
//   structure = version(1) flags(1) size:varint part
//   part      = flags:varint type subtype params header_gap:varint header_octets:varint body_octets:varint
//               lines:varint encoding [id] [description] [disposition params] [md5] [language] [location]
//               [envelope] children:varint *part
//   string    = length:varint octets        params = count:varint *(string string)
//
// varint is little-endian base 128. A part starts `header_gap` octets after the end of the one before it (or after the
// start of its parent's body), so a part outside its parent cannot be written down at all.
// It is read by structure_reader.h: into a tree here, into the text of IMAP in envelope.cpp.
#include <cstddef>
#include <cstdint>

#include "protocols/mime/structure.h"
#include "protocols/mime/structure_reader.h"

namespace posthouse::mime {
namespace {

void put_number(std::string& out, std::uint64_t value) {
    while (value >= 0x80) {
        out.push_back(static_cast<char>((value & 0x7fU) | 0x80U));
        value >>= 7U;
    }
    out.push_back(static_cast<char>(value));
}

void put_text(std::string& out, std::string_view text) {
    put_number(out, text.size());
    out += text;
}

void put_params(std::string& out, const std::vector<Parameter>& params) {
    put_number(out, params.size());
    for (const Parameter& param : params) {
        put_text(out, param.name);
        put_text(out, param.value);
    }
}

/// An absent text is 0, a present one its length plus one.
void put_optional(std::string& out, const std::optional<std::string>& text) {
    put_number(out, text ? text->size() + 1 : 0);
    if (text) out += *text;
}

void put_addresses(std::string& out, const std::vector<Address>& addresses) {
    put_number(out, addresses.size());
    for (const Address& address : addresses) {
        out.push_back(static_cast<char>(address.kind));
        for (const std::string* text : {&address.display_name, &address.route, &address.local_part, &address.domain})
            put_text(out, *text);
    }
}

void put_envelope(std::string& out, const Envelope& envelope) {
    put_optional(out, envelope.date);
    put_optional(out, envelope.subject);
    for (const auto* list :
         {&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc})
        put_addresses(out, *list);
    put_optional(out, envelope.in_reply_to);
    put_optional(out, envelope.message_id);
}

/// Recurses as deep as the tree, whose depth its makers bound. `from` is where the part may start at the earliest.
void put_part(std::string& out, const Part& part, std::uint64_t from) {
    std::uint64_t flags = 0;
    if (part.id) flags |= kHasId;
    if (part.description) flags |= kHasDescription;
    if (part.disposition) flags |= kHasDisposition;
    if (part.md5) flags |= kHasMd5;
    if (!part.language.empty()) flags |= kHasLanguage;
    if (part.location) flags |= kHasLocation;
    if (part.is_message_rfc822) flags |= kIsMessage;
    if (part.envelope) flags |= kHasEnvelope;
    put_number(out, flags);
    put_text(out, part.type);
    put_text(out, part.subtype);
    put_params(out, part.params);
    put_number(out, part.header_offset - from);
    put_number(out, part.header_octets);
    put_number(out, part.body_octets);
    put_number(out, part.lines);
    put_text(out, part.encoding);
    if (part.id) put_text(out, *part.id);
    if (part.description) put_text(out, *part.description);
    if (part.disposition) {
        put_text(out, *part.disposition);
        put_params(out, part.disposition_params);
    }
    if (part.md5) put_text(out, *part.md5);
    if (!part.language.empty()) {
        put_number(out, part.language.size());
        for (const std::string& tag : part.language) put_text(out, tag);
    }
    if (part.location) put_text(out, *part.location);
    if (part.envelope) put_envelope(out, *part.envelope);
    put_number(out, part.children.size());
    std::uint64_t next = part.body_offset;
    for (const Part& child : part.children) {
        put_part(out, child, next);
        next = child.body_offset + child.body_octets;
    }
}

void take_texts(Part& part, const RawPart& raw) {
    const auto own = [](const std::optional<std::string_view>& text) {
        return text ? std::optional<std::string>(*text) : std::nullopt;
    };
    part.type = raw.type;
    part.subtype = raw.subtype;
    part.params = read_params(raw.params);
    part.id = own(raw.id);
    part.description = own(raw.description);
    part.encoding = raw.encoding;
    part.disposition = own(raw.disposition);
    part.disposition_params = read_params(raw.disposition_params);
    part.md5 = own(raw.md5);
    part.language = read_texts(raw.language);
    part.location = own(raw.location);
}

// Recurses as deep as the tree, which the reader bounds.
Part part_of(StructureReader& in, const PartRoom& room) {
    Part part;
    const RawPart raw = in.part(room);
    if (!in.ok()) return part;
    take_texts(part, raw);
    part.header_offset = raw.header_offset;
    part.header_octets = raw.header_octets;
    part.body_offset = raw.body_offset;
    part.body_octets = raw.body_octets;
    part.lines = raw.lines;
    part.is_message_rfc822 = raw.is_message;
    if (raw.envelope) part.envelope = read_envelope(*raw.envelope);
    PartRoom inside = raw.inside(room);
    for (std::size_t i = 0; i < raw.children && in.ok(); ++i) {
        part.children.push_back(part_of(in, inside));
        inside.from = part.children.back().body_offset + part.children.back().body_octets;
    }
    return part;
}

}  // namespace

std::string encode_structure(const Structure& structure) {
    std::string out;
    out.push_back(kStructureVersion);
    out.push_back(structure.limited ? '\1' : '\0');
    put_number(out, structure.size_octets);
    put_part(out, structure.root, 0);
    return out;
}

Result<Structure> decode_structure(std::string_view data) {
    StructureReader in(data);
    TRY(const StructureHead head, in.head());
    Structure out;
    out.limited = head.limited;
    out.size_octets = head.size_octets;
    out.root = part_of(in, PartRoom{0, head.size_octets, 0});
    TRY_VOID(in.finish());
    return out;
}

}  // namespace posthouse::mime
