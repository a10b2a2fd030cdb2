#include "protocols/imap/fetch.h"

#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/object_id.h"
#include "protocols/imap/response.h"

namespace posthouse::imap {

namespace {

void write_flags(std::string& out, const FetchSource& source) {
    append_flags(out, source.system_flags, source.keywords, source.recent ? Recent::yes : Recent::no);
}
void write_uid(std::string& out, const FetchSource& source) { append_number(out, source.uid); }
void write_size(std::string& out, const FetchSource& source) { append_number(out, source.size_octets); }
void write_date(std::string& out, const FetchSource& source) { append_internal_date(out, source.internal_date_s); }
void write_modseq(std::string& out, const FetchSource& source) {
    out += '(';
    append_number(out, source.modseq);
    out += ')';
}
void write_email_id(std::string& out, const FetchSource& source) {
    out += '(';
    out += format_email_id(source.email);
    out += ')';
}
// Threads are not kept (RFC 8474 5.2 allows that).
void write_thread_id(std::string& out, const FetchSource&) { out += "NIL"; }
void write_save_date(std::string& out, const FetchSource& source) { append_internal_date(out, source.save_date_s); }
void write_envelope(std::string& out, const FetchSource& source) { out += source.envelope; }
void write_body(std::string& out, const FetchSource& source) { out += source.body; }
void write_bodystructure(std::string& out, const FetchSource& source) { out += source.bodystructure; }

constexpr FetchItem value(std::string_view name, Needs needs, void (*write)(std::string&, const FetchSource&),
                          std::string_view rfc) {
    FetchItem item;
    item.name = name;
    item.needs = needs;
    item.write = write;
    item.rfc = rfc;
    return item;
}
constexpr FetchItem octets(std::string_view name, SectionKind kind, Seen seen, std::string_view rfc) {
    FetchItem item;
    item.name = name;
    item.needs = Needs::body;
    item.seen = seen;
    item.shape = Shape::octets;
    item.section = kind;
    item.rfc = rfc;
    return item;
}
constexpr FetchItem shaped(std::string_view name, Shape shape, Seen seen, std::string_view rfc) {
    FetchItem item = octets(name, SectionKind::body, seen, rfc);
    item.shape = shape;
    return item;
}
constexpr FetchItem macro(std::string_view name, std::string_view expands_to) {
    FetchItem item;
    item.name = name;
    item.expands_to = expands_to;
    item.rfc = "3501 6.4.5";
    return item;
}

constexpr FetchItem of(std::string_view capability, FetchItem item) {
    item.capability = capability;
    return item;
}

constexpr auto kItems = std::to_array<FetchItem>({
    macro("ALL", "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"),
    macro("FAST", "(FLAGS INTERNALDATE RFC822.SIZE)"),
    macro("FULL", "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY)"),
    value("UID", Needs::index, write_uid, "3501 7.4.2"),
    value("FLAGS", Needs::index, write_flags, "3501 7.4.2"),
    value("INTERNALDATE", Needs::index, write_date, "3501 7.4.2"),
    value("RFC822.SIZE", Needs::index, write_size, "3501 7.4.2"),
    of("CONDSTORE", value("MODSEQ", Needs::index, write_modseq, "7162 3.1.4.2")),
    value("ENVELOPE", Needs::facts, write_envelope, "3501 7.4.2"),
    value("BODYSTRUCTURE", Needs::facts, write_bodystructure, "3501 7.4.2"),
    value("BODY", Needs::facts, write_body, "3501 7.4.2"),
    octets("BODY[", SectionKind::body, Seen::set, "3501 6.4.5"),
    octets("BODY.PEEK[", SectionKind::body, Seen::keep, "3501 6.4.5"),
    octets("RFC822", SectionKind::body, Seen::set, "3501 6.4.5"),
    octets("RFC822.HEADER", SectionKind::header, Seen::keep, "3501 6.4.5"),
    octets("RFC822.TEXT", SectionKind::text, Seen::set, "3501 6.4.5"),
    of("OBJECTID", value("EMAILID", Needs::entry, write_email_id, "8474 5.1")),
    of("OBJECTID", value("THREADID", Needs::index, write_thread_id, "8474 5.2")),
    of("SAVEDATE", value("SAVEDATE", Needs::entry, write_save_date, "8514 4.2")),
    of("BINARY", shaped("BINARY[", Shape::decoded, Seen::set, "3516 4.2")),
    of("BINARY", shaped("BINARY.PEEK[", Shape::decoded, Seen::keep, "3516 4.2")),
    of("BINARY", shaped("BINARY.SIZE[", Shape::decoded_size, Seen::keep, "3516 4.2")),
    of("PREVIEW", shaped("PREVIEW", Shape::preview, Seen::keep, "8970 3")),
});

const FetchItem* find_item(std::string_view name) {
    const auto rows = fetch_items();
    const auto at = std::find_if(rows.begin(), rows.end(),
                                 [&](const FetchItem& item) { return ascii::equals_ci(item.name, name); });
    return at == rows.end() ? nullptr : &*at;
}

// section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
Result<> take_section_text(Cursor& in, Section& out, const Limits& limits) {
    if (in.take_word("HEADER.FIELDS")) {
        out.kind = in.take_word(".NOT") ? SectionKind::header_fields_not : SectionKind::header_fields;
        TRY_VOID(take_space(in));
        if (!in.take('(')) return bad("Header list expected");
        do {
            if (out.fields.size() >= limits.section_fields_max) return bad("Too many header fields");
            TRY(std::string field, take_astring(in));
            out.fields.push_back(std::move(field));
        } while (in.take(' '));
        if (!in.take(')')) return bad("Header list is not closed");
        return {};
    }
    if (in.take_word("HEADER"))
        out.kind = SectionKind::header;
    else if (in.take_word("TEXT"))
        out.kind = SectionKind::text;
    else if (!out.path.empty() && in.take_word("MIME"))
        out.kind = SectionKind::mime;
    else
        return bad("Invalid section");
    return {};
}

// section = "[" [section-msgtext / (section-part ["." section-text])] "]"; the "[" is taken.
Result<> take_section(Cursor& in, Section& out, const Limits& limits) {
    while (ascii::is_digit(in.peek())) {
        if (out.path.size() >= limits.section_depth_max) return bad("Section is too deep");
        TRY(const std::uint32_t number, take_nz_number(in));
        out.path.push_back(number);
        if (in.peek() == ']') break;
        if (!in.take('.')) return bad("Invalid section");
        if (in.peek() == ']') return bad("Invalid section");
    }
    if (in.peek() != ']') TRY_VOID(take_section_text(in, out, limits));
    if (!in.take(']')) return bad("Section is not closed");
    return {};
}

std::string_view name_of(SectionKind kind) {
    switch (kind) {
        case SectionKind::body: return "";
        case SectionKind::header: return "HEADER";
        case SectionKind::header_fields: return "HEADER.FIELDS";
        case SectionKind::header_fields_not: return "HEADER.FIELDS.NOT";
        case SectionKind::text: return "TEXT";
        case SectionKind::mime: return "MIME";
    }
    return "";
}

// The item's name but for ".PEEK", which is not repeated in the answer.
std::string label_of(const FetchItem& item, const Section& section) {
    std::string out = "BODY[";
    if (item.shape == Shape::decoded) out = "BINARY[";
    if (item.shape == Shape::decoded_size) out = "BINARY.SIZE[";
    for (const std::uint32_t number : section.path) {
        if (out.back() != '[') out += '.';
        append_number(out, number);
    }
    const std::string_view kind = name_of(section.kind);
    if (!kind.empty() && !section.path.empty()) out += '.';
    out += kind;
    if (!section.fields.empty()) {
        out += " (";
        for (const std::string& field : section.fields) {
            if (out.back() != '(') out += ' ';
            append_astring(out, field);
        }
        out += ')';
    }
    out += ']';
    if (section.partial_first) {
        out += '<';
        append_number(out, *section.partial_first);
        out += '>';
    }
    return out;
}

// fetch-att; the name runs to SP, ")" or "[".
Result<FetchUse> take_item(Cursor& in, const Limits& limits) {
    std::string name(in.take_while([](char c) { return c == '.' || ascii::is_alnum(c); }));
    if (in.take('[')) name += '[';
    FetchUse use;
    use.item = find_item(name);
    if (use.item == nullptr) return bad("Unknown FETCH item");
    if (!use.item->section) return use;
    use.section.kind = *use.item->section;
    use.section.label = use.item->name;
    if (use.item->shape == Shape::preview) {
        // RFC 8970 4.1: LAZY asks for no more than is cheap, which is all that is done here.
        static_cast<void>(in.take_word(" (LAZY)"));
        return use;
    }
    if (!name.ends_with('[')) return use;
    TRY_VOID(take_section(in, use.section, limits));
    // section-binary = "[" [section-part] "]" (RFC 3516 7)
    const bool part_only = use.item->shape != Shape::octets;
    if (part_only && use.section.kind != SectionKind::body) return bad("BINARY takes a part's number only");
    if (use.item->shape != Shape::decoded_size && in.take('<')) {
        // "<" number64 "." nz-number64 ">" (RFC 9051 9); no client asks for none of the octets by "<0.0>" and means it.
        TRY(const std::uint64_t first, take_number64(in));
        if (!in.take('.')) return bad("Invalid partial");
        TRY(use.section.partial_octets, take_number64(in));
        if (use.section.partial_octets == 0) return bad("Invalid partial");
        if (!in.take('>')) return bad("Invalid partial");
        use.section.partial_first = first;
    }
    use.section.label = label_of(*use.item, use.section);
    return use;
}

bool same(const FetchUse& a, const FetchUse& b) {
    return a.item == b.item && a.section.label == b.section.label &&
           a.section.partial_octets == b.section.partial_octets;
}

void add(FetchProgram& program, FetchUse use) {
    const bool known = std::any_of(program.items.begin(), program.items.end(),
                                   [&](const FetchUse& other) { return same(other, use); });
    if (known) return;
    program.needs = std::max(program.needs, use.item->needs);
    if (use.item->seen == Seen::set) program.seen = Seen::set;
    program.items.push_back(std::move(use));
}

}  // namespace

std::span<const FetchItem> fetch_items() { return kItems; }

bool FetchProgram::has(std::string_view name) const {
    return std::any_of(items.begin(), items.end(), [&](const FetchUse& use) { return use.item->name == name; });
}

Result<FetchProgram> take_fetch_program(Cursor& in, const Limits& limits) {
    FetchProgram program;
    if (!in.take('(')) {
        TRY(FetchUse use, take_item(in, limits));
        if (!use.item->expands_to.empty()) {
            Cursor expanded(use.item->expands_to);
            return take_fetch_program(expanded, limits);  // one level: macros hold no macros
        }
        add(program, std::move(use));
        return program;
    }
    for (;;) {
        if (program.items.size() >= limits.fetch_items_max) return bad("Too many FETCH items");
        TRY(FetchUse use, take_item(in, limits));
        if (!use.item->expands_to.empty()) return bad("A macro must stand alone");
        add(program, std::move(use));
        if (in.take(')')) return program;
        TRY_VOID(take_space(in));
    }
}

Result<Section> parse_section(std::string_view text, const Limits& limits) {
    const std::string closed = std::string(text) + "]";
    Cursor in(closed);
    Section out;
    TRY_VOID(take_section(in, out, limits));
    if (!in.at_end()) return bad("Invalid section");
    return out;
}

void add_item(FetchProgram& program, std::string_view name, Place place) {
    if (program.has(name)) return;
    FetchUse use;
    use.item = find_item(name);
    ASSERT(use.item != nullptr);
    const auto at = place == Place::first ? program.items.begin() : program.items.end();
    program.items.insert(at, std::move(use));
}

void add_items(FetchProgram& program, const FetchProgram& more) {
    for (const FetchUse& use : more.items) add(program, use);
}

std::optional<mime::Extent> locate(const Section& section, const FetchSource& source) {
    if (section.path.empty()) {
        // The whole message and its two halves need no structure.
        const std::uint64_t header = std::min(source.header_octets, source.size_octets);
        switch (section.kind) {
            case SectionKind::body: return mime::Extent{0, source.size_octets};
            case SectionKind::text: return mime::Extent{header, source.size_octets - header};
            default: return mime::Extent{0, header};
        }
    }
    if (source.structure == nullptr) return std::nullopt;
    mime::SectionKind kind = mime::SectionKind::header;
    if (section.kind == SectionKind::body) kind = mime::SectionKind::body;
    if (section.kind == SectionKind::text) kind = mime::SectionKind::text;
    if (section.kind == SectionKind::mime) kind = mime::SectionKind::mime;
    auto extent = mime::find_section(*source.structure, section.path, kind);
    // The structure may be that of the stored octets only; nothing outside the message is ever read.
    if (extent && (extent->offset > source.size_octets || extent->octets > source.size_octets - extent->offset)) {
        return std::nullopt;
    }
    return extent;
}

mime::Extent cut(const Section& section, mime::Extent extent) {
    const bool of_fields = section.kind == SectionKind::header_fields || section.kind == SectionKind::header_fields_not;
    if (!section.partial_first || of_fields) return extent;
    const std::uint64_t skipped = std::min<std::uint64_t>(*section.partial_first, extent.octets);
    return {extent.offset + skipped, std::min<std::uint64_t>(section.partial_octets, extent.octets - skipped)};
}

std::string choose_fields(const Section& section, std::string header) {
    if (section.kind != SectionKind::header_fields && section.kind != SectionKind::header_fields_not) return header;
    const auto matching = section.kind == SectionKind::header_fields ? mime::Matching::only : mime::Matching::except;
    std::string chosen = mime::select_fields(header, section.fields, matching);
    if (!section.partial_first) return chosen;
    if (*section.partial_first >= chosen.size()) return {};
    return chosen.substr(*section.partial_first, section.partial_octets);
}

}  // namespace posthouse::imap
