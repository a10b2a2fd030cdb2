#include "protocols/mime/body_text.h"

#include <array>
#include <charconv>

#include "protocols/base/ascii.h"
#include "protocols/mime/envelope.h"
#include "protocols/mime/structure_reader.h"

namespace posthouse::mime {
namespace {

void append_number(std::string& out, std::uint64_t number) {
    std::array<char, 20> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    out.append(digits.data(), end);
}

/// nstring = string / nil, RFC 3501 9
void append_nstring(std::string& out, const std::optional<std::string_view>& text) {
    if (text)
        append_imap_string(out, *text);
    else
        out += "NIL";
}

/// body-fld-param, RFC 3501 9
void append_params(std::string& out, const RawList& params) {
    out.push_back(' ');
    if (params.count == 0) {
        out += "NIL";
        return;
    }
    StructureReader in(params.octets);
    char before = '(';
    for (std::size_t i = 0; i < params.count; ++i) {
        out.push_back(before);
        append_imap_string(out, in.text());
        out.push_back(' ');
        append_imap_string(out, in.text());
        before = ' ';
    }
    out.push_back(')');
}

/// body-fld-lang, RFC 3501 9
void append_languages(std::string& out, const RawList& languages) {
    StructureReader in(languages.octets);
    if (languages.count == 0) {
        out += "NIL";
    } else if (languages.count == 1) {
        append_imap_string(out, in.text());
    } else {
        char before = '(';
        for (std::size_t i = 0; i < languages.count; ++i) {
            out.push_back(before);
            append_imap_string(out, in.text());
            before = ' ';
        }
        out.push_back(')');
    }
}

/// body-fld-dsp SP body-fld-lang SP body-fld-loc
void append_disposition_and_on(std::string& out, const RawPart& part) {
    out.push_back(' ');
    if (part.disposition) {
        out.push_back('(');
        append_imap_string(out, *part.disposition);
        append_params(out, part.disposition_params);
        out.push_back(')');
    } else {
        out += "NIL";
    }
    out.push_back(' ');
    append_languages(out, part.language);
    out.push_back(' ');
    append_nstring(out, part.location);
}

class BodyWriter {
 public:
    BodyWriter(std::string& out, StructureReader& in, Extension extension, Globals globals)
        : out_(out), in_(in), extension_(extension), globals_(globals) {}

    /// body, RFC 3501 9; gives back where the part ends. Recurses as deep as the tree, which the reader bounds.
    std::uint64_t write(const PartRoom& room) {
        const RawPart part = in_.part(room);
        if (!in_.ok()) return 0;
        out_.push_back('(');
        if (part.is_multipart)
            write_multipart(part, room);
        else
            write_leaf(part, room);
        out_.push_back(')');
        return part.body_offset + part.body_octets;
    }

 private:
    void write_multipart(const RawPart& part, const PartRoom& room) {
        PartRoom inside = part.inside(room);
        for (std::size_t i = 0; i < part.children && in_.ok(); ++i) inside.from = write(inside);
        out_.push_back(' ');
        append_imap_string(out_, part.subtype);
        if (extension_ == Extension::without) return;
        append_params(out_, part.params);
        append_disposition_and_on(out_, part);
    }

    void write_leaf(const RawPart& part, const PartRoom& room) {
        append_imap_string(out_, part.type);
        out_.push_back(' ');
        append_imap_string(out_, part.subtype);
        append_params(out_, part.params);
        out_.push_back(' ');
        append_nstring(out_, part.id);
        out_.push_back(' ');
        append_nstring(out_, part.description);
        out_.push_back(' ');
        append_imap_string(out_, part.encoding);
        out_.push_back(' ');
        append_number(out_, part.body_octets);
        if (part.is_message) write_contained(part, room);
        if (is_message_shown(part) || (!part.is_message && ascii::equals_ci(part.type, "text"))) {
            out_.push_back(' ');
            append_number(out_, part.lines);
        }
        if (extension_ == Extension::without) return;
        out_.push_back(' ');
        append_nstring(out_, part.md5);
        append_disposition_and_on(out_, part);
    }

    bool is_message_shown(const RawPart& part) const {
        return part.is_message && !(globals_ == Globals::leaves && ascii::equals_ci(part.subtype, "global"));
    }

    // What is not shown is read all the same: the parts behind it come after it.
    void write_contained(const RawPart& part, const PartRoom& room) {
        const std::size_t before = out_.size();
        out_.push_back(' ');
        out_ += format_imap_envelope(read_envelope(*part.envelope));
        out_.push_back(' ');
        write(part.inside(room));
        if (!is_message_shown(part)) out_.resize(before);
    }

    std::string& out_;
    StructureReader& in_;
    Extension extension_;
    Globals globals_;
};

}  // namespace

Result<> append_imap_body(std::string& out, std::string_view encoded, Extension extension, Globals globals) {
    StructureReader in(encoded);
    TRY(const StructureHead head, in.head());
    const std::size_t before = out.size();
    BodyWriter(out, in, extension, globals).write(PartRoom{0, head.size_octets, 0});
    const Result<> done = in.finish();
    if (!done) out.resize(before);
    return done;
}

}  // namespace posthouse::mime
