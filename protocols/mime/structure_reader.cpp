#include "protocols/mime/structure_reader.h"

#include "protocols/base/ascii.h"

namespace posthouse::mime {
namespace {

constexpr std::size_t kDepthMax = 64;
constexpr std::size_t kPartsMax = 4096;
constexpr std::size_t kItemsMax = 65536;  // parameters, addresses, language tags of one list

}  // namespace

char StructureReader::octet() {
    if (in_.at_end()) ok_ = false;
    return ok_ ? in_.take_octets(1).front() : '\0';
}

std::uint64_t StructureReader::long_number() {
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

std::size_t StructureReader::count(std::size_t max) {
    const std::uint64_t value = number();
    if (value > max || value > in_.rest().size()) ok_ = false;
    return ok_ ? static_cast<std::size_t>(value) : 0;
}

std::optional<std::string_view> StructureReader::optional() {
    const std::uint64_t length = number();
    if (length == 0) return std::nullopt;
    return octets(length - 1);
}

RawList StructureReader::params() {
    RawList out;
    out.count = count(kItemsMax);
    const std::string_view from = in_.rest();
    for (std::size_t left = out.count; left > 0 && ok_; --left) {
        text();
        text();
    }
    out.octets = from.substr(0, from.size() - in_.rest().size());
    return out;
}

RawList StructureReader::texts() {
    RawList out;
    out.count = count(kItemsMax);
    const std::string_view from = in_.rest();
    for (std::size_t left = out.count; left > 0 && ok_; --left) text();
    out.octets = from.substr(0, from.size() - in_.rest().size());
    return out;
}

void StructureReader::skip_addresses() {
    for (std::size_t left = count(kItemsMax); left > 0 && ok_; --left) {
        const auto kind = static_cast<unsigned char>(octet());
        if (kind > static_cast<unsigned char>(Address::Kind::group_end)) ok_ = false;
        for (int texts = 0; texts < 4; ++texts) text();
    }
}

std::string_view StructureReader::envelope() {
    const std::string_view from = in_.rest();
    optional();
    optional();
    for (int lists = 0; lists < 6; ++lists) skip_addresses();
    optional();
    optional();
    return from.substr(0, from.size() - in_.rest().size());
}

// Every sum is compared by subtracting from what is left, so hostile numbers cannot wrap around.
void StructureReader::extents(RawPart& part, const PartRoom& room) {
    const std::uint64_t octets = room.end - room.from;  // from <= end holds for every caller
    const std::uint64_t gap = number();
    part.header_octets = number();
    part.body_octets = number();
    part.lines = number();
    if (gap > octets || part.header_octets > octets - gap || part.body_octets > octets - gap - part.header_octets ||
        part.lines > part.body_octets)
        ok_ = false;
    if (!ok_) return;
    part.header_offset = room.from + gap;
    part.body_offset = part.header_offset + part.header_octets;
}

bool StructureReader::has_right_shape(const RawPart& part) {
    if (part.is_multipart) return part.children >= 1 && !part.is_message;
    if (part.is_message) return part.children == 1 && part.envelope.has_value();
    return part.children == 0 && !part.envelope.has_value();
}

RawPart StructureReader::part(const PartRoom& room) {
    RawPart part;
    if (room.depth > kDepthMax || ++parts_ > kPartsMax) ok_ = false;
    const std::uint64_t flags = number();
    if (flags > kAllPartFlags) ok_ = false;
    if (!ok_) return part;
    part.type = text();
    part.subtype = text();
    part.params = params();
    extents(part, room);
    part.encoding = text();
    if ((flags & kHasId) != 0) part.id = text();
    if ((flags & kHasDescription) != 0) part.description = text();
    if ((flags & kHasDisposition) != 0) {
        part.disposition = text();
        part.disposition_params = params();
    }
    if ((flags & kHasMd5) != 0) part.md5 = text();
    if ((flags & kHasLanguage) != 0) part.language = texts();
    if ((flags & kHasLocation) != 0) part.location = text();
    if ((flags & kHasEnvelope) != 0) part.envelope = envelope();
    part.is_message = (flags & kIsMessage) != 0;
    part.is_multipart = ascii::equals_ci(part.type, "multipart");
    part.children = count(kPartsMax);
    if (!has_right_shape(part)) ok_ = false;
    return part;
}

Result<StructureHead> StructureReader::head() {
    if (octet() != kStructureVersion) return {Errc::corrupt, "the stored MIME structure has an unknown version"};
    StructureHead out;
    const char flags = octet();
    if (flags != '\0' && flags != '\1') ok_ = false;
    out.limited = flags == '\1';
    out.size_octets = number();
    if (!ok_) return {Errc::corrupt, "the stored MIME structure is damaged"};
    return out;
}

Result<> StructureReader::finish() const {
    if (!ok_ || !in_.at_end()) return {Errc::corrupt, "the stored MIME structure is damaged"};
    return {};
}

std::vector<Parameter> read_params(const RawList& list) {
    StructureReader in(list.octets);
    std::vector<Parameter> out(list.count);
    for (Parameter& param : out) {
        param.name = in.text();
        param.value = in.text();
    }
    return out;
}

std::vector<std::string> read_texts(const RawList& list) {
    StructureReader in(list.octets);
    std::vector<std::string> out;
    for (std::size_t i = 0; i < list.count; ++i) out.emplace_back(in.text());
    return out;
}

Envelope read_envelope(std::string_view octets) {
    StructureReader in(octets);
    const auto optional = [&in]() -> std::optional<std::string> {
        const auto text = in.optional();
        return text ? std::optional<std::string>(*text) : std::nullopt;
    };
    Envelope out;
    out.date = optional();
    out.subject = optional();
    for (auto* list : {&out.from, &out.sender, &out.reply_to, &out.to, &out.cc, &out.bcc}) {
        for (std::size_t left = in.count(kItemsMax); left > 0 && in.ok(); --left) {
            Address& address = list->emplace_back();
            address.kind = static_cast<Address::Kind>(in.octet());
            for (std::string* to : {&address.display_name, &address.route, &address.local_part, &address.domain})
                *to = in.text();
        }
    }
    out.in_reply_to = optional();
    out.message_id = optional();
    return out;
}

}  // namespace posthouse::mime
