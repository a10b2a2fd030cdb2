#include "protocols/mime/binary_parts.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/encoding.h"
#include "protocols/mime/structure.h"

namespace posthouse::mime {

namespace {

using Write = std::function<Result<>(std::string_view)>;

constexpr std::string_view kField = "Content-Transfer-Encoding:";
constexpr std::size_t kLineOctets = 76;
constexpr std::size_t kPieceOctets = 57UL * 1024;  // whole lines

std::string_view cut(std::string_view message, std::uint64_t from, std::uint64_t octets) {
    return message.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(octets));
}

// The field with its continuation lines, within `header`; empty where there is none.
Extent find_field(std::string_view header) {
    for (std::size_t at = 0; at < header.size();) {
        const auto next_line = [&](std::size_t from) {
            const std::size_t end = header.find('\n', from);
            return end == std::string_view::npos ? header.size() : end + 1;
        };
        std::size_t end = next_line(at);
        if (ascii::equals_ci(header.substr(at, kField.size()), kField)) {
            while (end < header.size() && (header[end] == ' ' || header[end] == '\t')) end = next_line(end);
            return {at, end - at};
        }
        at = end;
    }
    return {};
}

Result<> write_base64(std::string_view body, bool last, const Write& write) {
    for (std::size_t at = 0; at < body.size(); at += kPieceOctets) {
        std::string lines = encode_base64(body.substr(at, kPieceOctets), kLineOctets);
        // The line end in front of a delimiter is there already.
        if (!last && at + kPieceOctets >= body.size()) lines.resize(lines.size() - 2);
        TRY_VOID(write(lines));
    }
    return {};
}

struct Rewriter {
    std::string_view message;
    const Write& write;
    std::uint64_t at = 0;  // written up to here

    Result<> take(const Part& part) {
        for (const Part& child : part.children) TRY_VOID(take(child));  // bounded by parse_structure()
        if (!part.children.empty() || !ascii::equals_ci(ascii::trim(part.encoding), "binary")) return {};
        const Extent field = find_field(cut(message, part.header_offset, part.header_octets));
        if (field.octets == 0) return {};
        const std::uint64_t begin = part.header_offset + field.offset;
        TRY_VOID(write(cut(message, at, begin - at)));
        TRY_VOID(write("Content-Transfer-Encoding: base64\r\n"));
        const std::uint64_t behind = begin + field.octets;
        TRY_VOID(write(cut(message, behind, part.body_offset - behind)));
        at = part.body_offset + part.body_octets;
        return write_base64(cut(message, part.body_offset, part.body_octets), at == message.size(), write);
    }
};

}  // namespace

Result<> write_binary_as_base64(std::string_view message, const Write& write) {
    const Structure structure = parse_structure(message);
    Rewriter rewriter{message, write};
    TRY_VOID(rewriter.take(structure.root));
    return write(message.substr(static_cast<std::size_t>(rewriter.at)));
}

}  // namespace posthouse::mime
