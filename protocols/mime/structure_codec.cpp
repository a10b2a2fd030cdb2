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
#include <cstddef>
#include <cstdint>

#include "protocols/base/cursor.h"
#include "protocols/mime/structure.h"

namespace posthouse::mime {
namespace {

constexpr char kVersion = 1;
constexpr std::size_t kDepthMax = 64;
constexpr std::size_t kPartsMax = 4096;
constexpr std::size_t kItemsMax = 65536;  // parameters, addresses, language tags of one list

enum PartFlag : std::uint64_t {
    kHasId = 1,
    kHasDescription = 2,
    kHasDisposition = 4,
    kHasMd5 = 8,
    kHasLanguage = 16,
    kHasLocation = 32,
    kIsMessage = 64,
    kHasEnvelope = 128,
    kAllFlags = 255,
};

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

/// Reads the binary form. After the first fault every further read yields nothing, so callers check ok() at the end
/// of each loop step only.
class Decoder {
 public:
    explicit Decoder(std::string_view data) : in_(data) {}

    bool ok() const { return ok_; }
    bool at_end() const { return in_.at_end(); }
    void fail() { ok_ = false; }

    char octet() {
        if (in_.at_end()) ok_ = false;
        return ok_ ? in_.take_octets(1).front() : '\0';
    }

    std::uint64_t number() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64 && ok_; shift += 7) {
            const auto byte = static_cast<unsigned char>(octet());
            if (shift == 63 && byte > 1) break;
            value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
            if ((byte & 0x80U) == 0) return value;
        }
        ok_ = false;
        return 0;
    }

    /// A number that counts things which take at least one octet each.
    std::size_t count(std::size_t max) {
        const std::uint64_t value = number();
        if (value > max || value > in_.rest().size()) ok_ = false;
        return ok_ ? static_cast<std::size_t>(value) : 0;
    }

    std::string octets(std::uint64_t length) {
        if (length > in_.rest().size()) ok_ = false;
        return ok_ ? std::string(in_.take_octets(static_cast<std::size_t>(length))) : std::string();
    }
    std::string text() { return octets(number()); }

    std::optional<std::string> optional() {
        const std::uint64_t length = number();
        if (length == 0) return std::nullopt;
        return octets(length - 1);
    }

    std::vector<Parameter> params() {
        std::vector<Parameter> out;
        for (std::size_t left = count(kItemsMax); left > 0 && ok_; --left) {
            Parameter& param = out.emplace_back();
            param.name = text();
            param.value = text();
        }
        return out;
    }

    std::vector<Address> addresses() {
        std::vector<Address> out;
        for (std::size_t left = count(kItemsMax); left > 0 && ok_; --left) {
            Address& address = out.emplace_back();
            const auto kind = static_cast<unsigned char>(octet());
            if (kind > static_cast<unsigned char>(Address::Kind::group_end)) ok_ = false;
            address.kind = static_cast<Address::Kind>(kind);
            for (std::string* to : {&address.display_name, &address.route, &address.local_part, &address.domain})
                *to = text();
        }
        return out;
    }

    Envelope envelope() {
        Envelope out;
        out.date = optional();
        out.subject = optional();
        for (auto* list : {&out.from, &out.sender, &out.reply_to, &out.to, &out.cc, &out.bcc}) *list = addresses();
        out.in_reply_to = optional();
        out.message_id = optional();
        return out;
    }

    /// One part that must lie within [from, end).
    Part part(std::uint64_t from, std::uint64_t end, std::size_t depth);

 private:
    void extents(Part& part, std::uint64_t from, std::uint64_t end);

    Cursor in_;
    std::size_t parts_ = 0;
    bool ok_ = true;
};

// Every sum is compared by subtracting from what is left, so hostile numbers cannot wrap around.
void Decoder::extents(Part& part, std::uint64_t from, std::uint64_t end) {
    const std::uint64_t room = end - from;  // from <= end holds for every caller
    const std::uint64_t gap = number();
    part.header_octets = number();
    part.body_octets = number();
    part.lines = number();
    if (gap > room || part.header_octets > room - gap || part.body_octets > room - gap - part.header_octets ||
        part.lines > part.body_octets)
        ok_ = false;
    if (!ok_) return;
    part.header_offset = from + gap;
    part.body_offset = part.header_offset + part.header_octets;
}

Part Decoder::part(std::uint64_t from, std::uint64_t end, std::size_t depth) {
    Part part;
    if (depth > kDepthMax || ++parts_ > kPartsMax) ok_ = false;
    const std::uint64_t flags = number();
    if (flags > kAllFlags) ok_ = false;
    if (!ok_) return part;
    part.type = text();
    part.subtype = text();
    part.params = params();
    extents(part, from, end);
    part.encoding = text();
    if ((flags & kHasId) != 0) part.id = text();
    if ((flags & kHasDescription) != 0) part.description = text();
    if ((flags & kHasDisposition) != 0) {
        part.disposition = text();
        part.disposition_params = params();
    }
    if ((flags & kHasMd5) != 0) part.md5 = text();
    if ((flags & kHasLanguage) != 0)
        for (std::size_t left = count(kItemsMax); left > 0 && ok_; --left) part.language.push_back(text());
    if ((flags & kHasLocation) != 0) part.location = text();
    if ((flags & kHasEnvelope) != 0) part.envelope = envelope();
    part.is_message_rfc822 = (flags & kIsMessage) != 0;
    const std::size_t children = count(kPartsMax);
    const bool shape_ok = part.is_multipart()      ? children >= 1 && !part.is_message_rfc822
                          : part.is_message_rfc822 ? children == 1 && part.envelope.has_value()
                                                   : children == 0 && !part.envelope.has_value();
    if (!shape_ok) ok_ = false;
    std::uint64_t next = part.body_offset;
    const std::uint64_t body_end = part.body_offset + part.body_octets;
    for (std::size_t i = 0; i < children && ok_; ++i) {
        part.children.push_back(this->part(next, body_end, depth + 1));
        next = part.children.back().body_offset + part.children.back().body_octets;
    }
    return part;
}

}  // namespace

std::string encode_structure(const Structure& structure) {
    std::string out;
    out.push_back(kVersion);
    out.push_back(structure.limited ? '\1' : '\0');
    put_number(out, structure.size_octets);
    put_part(out, structure.root, 0);
    return out;
}

Result<Structure> decode_structure(std::string_view data) {
    Decoder in(data);
    if (in.octet() != kVersion) return {Errc::corrupt, "the stored MIME structure has an unknown version"};
    Structure out;
    const char flags = in.octet();
    if (flags != '\0' && flags != '\1') in.fail();
    out.limited = flags == '\1';
    out.size_octets = in.number();
    if (in.ok()) out.root = in.part(0, out.size_octets, 0);
    if (!in.ok() || !in.at_end()) return {Errc::corrupt, "the stored MIME structure is damaged"};
    return out;
}

}  // namespace posthouse::mime
