#include "protocols/mime/structure.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/mime/tokens.h"

namespace posthouse::mime {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);
constexpr std::size_t kDelimiterOctetsMax = 72;  // "--" and a boundary of 70, RFC 2046 5.1.1

/// A part while the message is read; the tree is put together at the end.
struct Node {
    Part part;
    std::size_t parent = kNone;
    std::size_t depth = 0;
};

/// A boundary that may still occur.
struct Boundary {
    std::string delimiter;  ///< "--" and the boundary parameter
    std::size_t node = 0;   ///< its multipart
};

/// A part whose end has not been seen, innermost last.
struct Open {
    std::size_t node = 0;
    bool in_header = true;
    std::uint64_t lines_before_body = 0;
};

/// One pass over the lines of a message. `open_` is the path from the root to the part being read.
class Reader {
 public:
    Reader(std::string_view message, const Limits& limits) : message_(message), limits_(limits) {}

    Structure read() {
        begin_part(kNone, 0, 0);
        std::size_t at = 0;
        while (at < message_.size()) at = read_line(at);
        close_down_to(0, message_.size(), 0);
        for (std::size_t i = 0; i < nodes_.size(); ++i) add_missing_child(i);
        return Structure{.root = assemble(), .size_octets = message_.size(), .limited = limited_};
    }

 private:
    /// Handles the line at `at` and returns where the next one starts.
    std::size_t read_line(std::size_t at) {
        if (boundaries_.empty() && !open_.back().in_header) {  // nothing can end this body
            lines_ += count_line_ends(message_.substr(at));
            return message_.size();
        }
        const auto newline = message_.find('\n', at);
        const std::size_t next = newline == std::string_view::npos ? message_.size() : newline + 1;
        if (message_.substr(at, 2) == "--" && !boundaries_.empty()) {
            const std::size_t hit = find_boundary(at, next);
            if (hit != kNone) {
                end_at_delimiter(hit, at, next);
                return next;
            }
        }
        if (newline != std::string_view::npos) ++lines_;
        if (open_.back().in_header && is_empty_line(at, next)) finish_header(next);
        return next;
    }

    static std::uint64_t count_line_ends(std::string_view text) {
        return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
    }

    bool is_empty_line(std::size_t at, std::size_t next) const {
        const std::string_view line = message_.substr(at, next - at);
        return line == "\n" || line == "\r\n";
    }

    /// RFC 2046 5.1.1: a delimiter need only stand at the start of a line, what follows it does not matter. Exactly the
    /// line wins, else the longest that fits, else the innermost. Delimiters beyond the RFC's length have no such
    /// claim: of those the innermost counts, which is how other servers read them.
    std::size_t find_boundary(std::size_t at, std::size_t next) const {
        std::string_view line = message_.substr(at, next - at);
        while (!line.empty() && is_blank_or_line_end(line.back())) line.remove_suffix(1);
        std::size_t best = kNone;
        for (std::size_t i = boundaries_.size(); i-- > 0;) {
            const std::string& delimiter = boundaries_[i].delimiter;
            if (!message_.substr(at, next - at).starts_with(delimiter)) continue;
            if (best != kNone &&
                (delimiter.size() > kDelimiterOctetsMax || boundaries_[best].delimiter.size() >= delimiter.size()))
                continue;
            best = i;
            if (line.size() <= delimiter.size() || line.substr(delimiter.size()) == "--") break;
        }
        return best;
    }

    /// The line at `at` is a delimiter of boundaries_[hit]: whatever is open inside its multipart ends before it.
    void end_at_delimiter(std::size_t hit, std::size_t at, std::size_t next) {
        const Boundary boundary = std::move(boundaries_[hit]);
        boundaries_.resize(hit);
        // The line end before a delimiter belongs to it (RFC 2046 5.1.1).
        std::size_t end = at;
        std::uint64_t lines_taken = 0;
        if (end > 0 && message_[end - 1] == '\n') {
            --end;
            lines_taken = 1;
            if (end > 0 && message_[end - 1] == '\r') --end;
        }
        std::size_t keep = 0;
        while (open_[keep].node != boundary.node) ++keep;
        close_down_to(keep + 1, end, lines_taken);
        ++lines_;
        const std::string_view rest =
            message_.substr(at + boundary.delimiter.size(), next - at - boundary.delimiter.size());
        if (rest.starts_with("--")) return;  // the close-delimiter: what follows is epilogue
        if (nodes_.size() >= limits_.parts_max) {
            limited_ = true;
            return;
        }
        const std::size_t multipart = boundary.node;
        boundaries_.push_back(boundary);
        begin_part(multipart, next, lines_);
    }

    /// A part whose header starts at `at`.
    void begin_part(std::size_t parent, std::size_t at, std::uint64_t lines) {
        Node node;
        node.parent = parent;
        node.depth = parent == kNone ? 0 : nodes_[parent].depth + 1;
        node.part.header_offset = node.part.body_offset = at;
        open_.push_back(Open{.node = nodes_.size(), .in_header = true, .lines_before_body = lines});
        nodes_.push_back(std::move(node));
    }

    /// The header of the innermost open part ends at `end`: reads it and opens what the part contains.
    void finish_header(std::size_t end) {
        const std::size_t index = open_.back().node;
        open_.back().in_header = false;
        open_.back().lines_before_body = lines_;
        read_header(index, end);
        Part& part = nodes_[index].part;
        if (part.is_multipart()) {
            boundaries_.push_back(
                Boundary{.delimiter = "--" + std::string(raw_parameter(part.params, "boundary")), .node = index});
        } else if (part.is_message_rfc822) {
            begin_part(index, end, lines_);
        }
    }

    void read_header(std::size_t index, std::size_t end);
    void set_type(Node& node, const std::optional<std::string_view>& content_type);
    bool is_in_digest(const Node& node) const {
        return node.parent != kNone && nodes_[node.parent].part.is_multipart() &&
               ascii::equals_ci(nodes_[node.parent].part.subtype, "digest");
    }

    /// Ends every open part above the first `keep` at octet `end`, of which `lines_taken` line ends were counted but
    /// belong to a delimiter.
    void close_down_to(std::size_t keep, std::size_t end, std::uint64_t lines_taken) {
        if (open_.size() <= keep) return;
        // A part that starts right at the delimiter cannot give up a line end before it.
        const std::size_t stop = std::max(end, static_cast<std::size_t>(nodes_[open_[keep].node].part.header_offset));
        while (open_.size() > keep) {
            const std::size_t index = open_.back().node;
            Part& part = nodes_[index].part;
            part.header_offset = std::min<std::uint64_t>(part.header_offset, stop);
            if (open_.back().in_header) {
                finish_header(stop);
                if (open_.back().node != index) continue;  // it opened a contained message, which is closed first
            }
            close_one(nodes_[index].part, stop, lines_taken);
            std::erase_if(boundaries_, [&](const Boundary& b) { return b.node == index; });
            open_.pop_back();
        }
    }

    void close_one(Part& part, std::size_t stop, std::uint64_t lines_taken) {
        if (stop < part.body_offset) {  // the empty line after the header was the delimiter's own line end
            part.header_octets = stop - part.header_offset;
            part.body_offset = stop;
        }
        part.body_octets = stop - part.body_offset;
        const std::uint64_t seen = lines_ - open_.back().lines_before_body;
        part.lines = part.body_octets == 0 ? 0 : seen - std::min(lines_taken, seen);
    }

    /// A multipart without any part and a message cut off in its header get the one child that the grammar of
    /// BODYSTRUCTURE asks for: an empty text part.
    void add_missing_child(std::size_t index) {
        if (!nodes_[index].part.is_multipart() && !nodes_[index].part.is_message_rfc822) return;
        // Nodes lie in the order of their start: a first child follows its parent.
        if (index + 1 < nodes_.size() && nodes_[index + 1].parent == index) return;
        Node child;
        child.parent = index;
        child.depth = nodes_[index].depth + 1;
        child.part.header_offset = child.part.body_offset =
            nodes_[index].part.body_offset + nodes_[index].part.body_octets;
        set_type(child, std::nullopt);
        child.part.encoding = "7bit";
        if (nodes_[index].part.is_message_rfc822) nodes_[index].part.envelope.emplace();
        nodes_.push_back(std::move(child));
    }

    /// Children come after their parent in `nodes_`: moving them in from the back keeps every index valid.
    Part assemble() {
        for (std::size_t i = nodes_.size(); i-- > 1;) {
            Part& part = nodes_[i].part;
            std::reverse(part.children.begin(), part.children.end());
            nodes_[nodes_[i].parent].part.children.push_back(std::move(part));
        }
        Part& root = nodes_.front().part;
        std::reverse(root.children.begin(), root.children.end());
        return std::move(root);
    }

    std::string_view message_;
    const Limits& limits_;
    std::vector<Node> nodes_;
    std::vector<Open> open_;
    std::vector<Boundary> boundaries_;
    std::uint64_t lines_ = 0;
    bool limited_ = false;
};

// Repeated Content- fields: the first one counts, as in other servers, so that all look at the same tree.
void Reader::read_header(std::size_t index, std::size_t end) {
    Node& node = nodes_[index];
    Part& part = node.part;
    part.header_octets = end - part.header_offset;
    part.body_offset = end;
    const std::string_view block = message_.substr(static_cast<std::size_t>(part.header_offset), part.header_octets);
    const Fields fields = parse_fields(block, nullptr, limits_);
    if (fields.truncated) limited_ = true;
    std::optional<std::string_view> type;
    for (const Field& field : fields) {
        if (!ascii::starts_with_ci(field.name, "Content-")) continue;
        const std::string_view name = field.name.substr(8);
        if (ascii::equals_ci(name, "Type") && !type)
            type = field.raw_value;
        else if (ascii::equals_ci(name, "Transfer-Encoding") && part.encoding.empty())
            part.encoding = parse_token_value(field.raw_value);
        else if (ascii::equals_ci(name, "Disposition") && !part.disposition) {
            ContentValue value = parse_content_disposition(field.raw_value, limits_);
            if (value.type.empty()) continue;
            part.disposition = std::move(value.type);
            part.disposition_params = std::move(value.parameters);
        } else if (ascii::equals_ci(name, "ID") && !part.id)
            part.id = unfold(field.raw_value);
        else if (ascii::equals_ci(name, "Description") && !part.description)
            part.description = unfold(field.raw_value);
        else if (ascii::equals_ci(name, "MD5") && !part.md5)
            part.md5 = unfold(field.raw_value);
        else if (ascii::equals_ci(name, "Location") && !part.location)
            part.location = unfold(field.raw_value);
        else if (ascii::equals_ci(name, "Language") && part.language.empty()) {
            Cursor in(field.raw_value);  // RFC 3282 2: a list of tags
            while (!in.at_end() && part.language.size() < limits_.params_max) {
                std::string tag = parse_token_value(in.take_until(','));
                in.take(',');
                if (!tag.empty()) part.language.push_back(std::move(tag));
            }
        }
    }
    if (part.encoding.empty()) part.encoding = "7bit";  // RFC 2045 6.1
    set_type(node, type);
    if (node.parent != kNone && nodes_[node.parent].part.is_message_rfc822)
        nodes_[node.parent].part.envelope = envelope_from(fields, limits_);
}

// The declared type, or the default where it is absent or broken; containers beyond the limits lose theirs.
void Reader::set_type(Node& node, const std::optional<std::string_view>& content_type) {
    Part& part = node.part;
    if (content_type) {
        ContentValue value = parse_content_type(*content_type, limits_);
        part.type = std::move(value.type);
        part.subtype = std::move(value.subtype);
        part.params = std::move(value.parameters);
    }
    if (part.type.empty() || part.subtype.empty()) {  // absent or broken, RFC 2045 5.2
        const bool digest = is_in_digest(node);       // RFC 2046 5.1.5
        part.type = digest ? "message" : "text";
        part.subtype = digest ? "rfc822" : "plain";
        part.params.clear();
        if (!digest) part.params.push_back(Parameter{.name = "charset", .value = "us-ascii"});
    }
    const bool message = ascii::equals_ci(part.type, "message") &&
                         (ascii::equals_ci(part.subtype, "rfc822") || ascii::equals_ci(part.subtype, "global"));
    if (part.is_multipart() && raw_parameter(part.params, "boundary").empty()) {
        part.type = "text";  // no way to tell its parts apart
        part.subtype = "plain";
        part.params.clear();
    } else if (part.is_multipart() || message) {
        if (node.depth + 1 < limits_.depth_max && nodes_.size() < limits_.parts_max) {
            part.is_message_rfc822 = message;
        } else {
            limited_ = true;
            part.type = "application";
            part.subtype = "octet-stream";
            part.params.clear();
        }
    }
}

/// One step of a section path from a message whose outermost part is `content` (RFC 3501 6.4.5).
const Part* step_into_message(const Part& content, std::uint32_t number) {
    if (content.is_multipart())
        return number >= 1 && number <= content.children.size() ? &content.children[number - 1] : nullptr;
    return number == 1 ? &content : nullptr;
}

/// The message inside a message/rfc822 part.
const Part* contained_message(const Part& part) {
    return part.is_message_rfc822 && !part.children.empty() ? &part.children.front() : nullptr;
}

}  // namespace

bool Part::is_multipart() const { return ascii::equals_ci(type, "multipart"); }

Structure parse_structure(std::string_view message, const Limits& limits) { return Reader(message, limits).read(); }

const Part* find_part(const Structure& structure, std::span<const std::uint32_t> path) {
    if (path.empty()) return &structure.root;
    const Part* part = step_into_message(structure.root, path.front());
    for (std::size_t i = 1; i < path.size() && part != nullptr; ++i) {
        if (part->is_multipart())
            part = step_into_message(*part, path[i]);
        else if (const Part* content = contained_message(*part))
            part = step_into_message(*content, path[i]);
        else
            part = nullptr;
    }
    return part;
}

std::optional<Extent> find_section(const Structure& structure, std::span<const std::uint32_t> path, SectionKind kind) {
    const Part* part = find_part(structure, path);
    if (part == nullptr) return std::nullopt;
    if (path.empty()) {
        switch (kind) {
            case SectionKind::body: return Extent{0, structure.size_octets};
            case SectionKind::header: return Extent{0, part->header_octets};
            case SectionKind::text: return Extent{part->body_offset, structure.size_octets - part->body_offset};
            case SectionKind::mime: return std::nullopt;
        }
    }
    if (kind == SectionKind::body) return Extent{part->body_offset, part->body_octets};
    if (kind == SectionKind::mime) return Extent{part->header_offset, part->header_octets};
    const Part* content = contained_message(*part);
    if (content == nullptr) return std::nullopt;
    if (kind == SectionKind::header) return Extent{content->header_offset, content->header_octets};
    return Extent{content->body_offset, content->body_octets};
}

bool is_encrypted(const Part& part) {
    if (ascii::equals_ci(part.type, "multipart")) return ascii::equals_ci(part.subtype, "encrypted");
    return ascii::equals_ci(part.type, "application") &&
           (ascii::equals_ci(part.subtype, "pkcs7-mime") || ascii::equals_ci(part.subtype, "x-pkcs7-mime"));
}

}  // namespace posthouse::mime
