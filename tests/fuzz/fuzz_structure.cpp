// Any octets are a message: the tree keeps its invariants, its stored form reads back, every section lies inside.
#include <cstdint>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/mime/body_text.h"
#include "protocols/mime/facts.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"

namespace {

using namespace posthouse;

void check_part(const mime::Structure& structure, std::string_view message, const mime::Part& part, std::uint64_t from,
                std::uint64_t end, std::vector<std::uint32_t>& path) {
    ASSERT(part.header_offset >= from);
    ASSERT(part.body_offset == part.header_offset + part.header_octets);
    ASSERT(part.body_offset + part.body_octets <= end);
    ASSERT(part.lines <= part.body_octets);
    ASSERT(!part.is_multipart() || !part.children.empty());
    ASSERT(!part.is_message_rfc822 || (part.children.size() == 1 && part.envelope.has_value()));
    ASSERT(path.size() <= mime::kLimits.depth_max);
    for (const auto kind :
         {mime::SectionKind::body, mime::SectionKind::header, mime::SectionKind::text, mime::SectionKind::mime}) {
        if (const auto extent = mime::find_section(structure, path, kind))
            ASSERT(extent->offset + extent->octets <= message.size());
    }
    if (part.children.empty()) {
        mime::Limits small;
        small.text_octets_max = 4096;
        ASSERT(mime::decoded_text(message, part, small).size() <= small.text_octets_max);
    }
    std::uint64_t next = part.body_offset;
    std::uint32_t number = 0;
    for (const mime::Part& child : part.children) {
        path.push_back(++number);
        check_part(structure, message, child, next, part.body_offset + part.body_octets, path);
        path.pop_back();
        next = child.body_offset + child.body_octets;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view message(reinterpret_cast<const char*>(data), size);
    // The stored form of a stranger: an error, or a tree that keeps the invariants.
    std::string text = "before";
    const auto decoded = mime::decode_structure(message);
    ASSERT(mime::append_imap_body(text, message, mime::Extension::with).has_value() == decoded.has_value());
    ASSERT(decoded.has_value() || text == "before");
    if (decoded) {
        ASSERT(decoded->root.body_offset + decoded->root.body_octets <= decoded->size_octets);
        ASSERT(mime::decode_structure(mime::encode_structure(*decoded)).value() == *decoded);
    }
    const auto structure = mime::parse_structure(message);
    std::vector<std::uint32_t> path;
    check_part(structure, message, structure.root, 0, message.size(), path);
    const auto back = mime::decode_structure(mime::encode_structure(structure));
    ASSERT(back.has_value() && *back == structure);
    ASSERT(mime::append_imap_body(text, mime::encode_structure(structure), mime::Extension::without));
    const auto facts = mime::compute_facts(message);
    ASSERT(facts.subject.size() <= mime::kFactOctetsMax && facts.from.size() <= mime::kFactOctetsMax);
    return 0;
}
