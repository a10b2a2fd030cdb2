#include "server/imap/fetch_sections.h"

#include <algorithm>
#include <utility>

#include "protocols/imap/response.h"
#include "protocols/mime/preview.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

void append_literal(std::string& out, std::string_view octets) {
    out += '{';
    wire::append_number(out, octets.size());
    out += "}\r\n";
    out += octets;
}

}  // namespace

bool chooses_fields(const wire::Section& section) {
    return section.kind == wire::SectionKind::header_fields || section.kind == wire::SectionKind::header_fields_not;
}

WantedSection want_section(const wire::FetchUse& use, const wire::FetchSource& source) {
    WantedSection out;
    if (!use.item->section) return out;
    if (use.item->shape == wire::Shape::preview) {
        out.part = source.structure == nullptr ? nullptr : mime::preview_part(*source.structure);
        const std::uint64_t most = mime::kPreviewReadOctetsMax;
        if (out.part != nullptr) out.extent = {out.part->body_offset, std::min(out.part->body_octets, most)};
        return out;
    }
    out.extent = wire::locate(use.section, source);
    if (!out.extent) return out;
    if (use.item->shape == wire::Shape::octets) {
        out.extent = wire::cut(use.section, *out.extent);
        return out;
    }
    // "<0.99>" counts in what is decoded, so all is read.
    const mime::Part* part = use.section.path.empty() ? nullptr : mime::find_part(*source.structure, use.section.path);
    if (part != nullptr && part->children.empty()) out.encoding = mime::transfer_encoding(part->encoding);
    return out;
}

void write_section(std::string& out, const wire::FetchUse& use, const WantedSection& wanted, std::string octets) {
    const wire::Shape shape = use.item->shape;
    if (shape == wire::Shape::preview) {
        wire::append_string(out, wanted.part == nullptr ? "" : mime::preview_text(octets, *wanted.part));
    } else if (!wanted.extent) {
        out += shape == wire::Shape::decoded_size ? "0" : "NIL";
    } else if (shape == wire::Shape::octets) {
        append_literal(out, chooses_fields(use.section) ? wire::choose_fields(use.section, std::move(octets)) : octets);
    } else {
        const std::string decoded = mime::decode_transfer(octets, wanted.encoding).data;
        if (shape == wire::Shape::decoded_size) {
            wire::append_number(out, decoded.size());
            return;
        }
        const mime::Extent part = wire::cut(use.section, mime::Extent{0, decoded.size()});
        wire::append_literal8(out, std::string_view(decoded).substr(part.offset, part.octets));
    }
}

}  // namespace posthouse::server::imap
