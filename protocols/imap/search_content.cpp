#include "protocols/imap/search.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/header.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"

namespace posthouse::imap {

namespace {

constexpr std::size_t kSearchTextOctetsMax = 16UL * 1024 * 1024;  // of one message, decoded

void append_header(std::string& out, std::string_view header) {
    for (const mime::Field& field : mime::parse_fields(header)) {
        out += field.name;
        out += ": ";
        out += mime::decode_encoded_words(field.raw_value);
        out += '\n';
    }
}

// Texts of all leaves and the headers of contained messages, with a stack of our own.
std::string searchable_text(const std::string& message) {
    const mime::Structure structure = mime::parse_structure(message);
    std::string out;
    std::vector<const mime::Part*> waiting = {&structure.root};
    while (!waiting.empty() && out.size() < kSearchTextOctetsMax) {
        const mime::Part& part = *waiting.back();
        waiting.pop_back();
        if (part.is_message_rfc822 && !part.children.empty()) {
            const mime::Part& inner = part.children.front();
            append_header(out, std::string_view(message).substr(inner.header_offset, inner.header_octets));
        }
        if (part.children.empty() && ascii::equals_ci(part.type, "text")) {
            out += mime::decoded_text(message, part);
            out += '\n';
        }
        for (auto child = part.children.rbegin(); child != part.children.rend(); ++child) waiting.push_back(&*child);
    }
    return out;
}

}  // namespace

const std::string& SearchContent::header() {
    if (!header_) header_ = load_header_();
    return *header_;
}

const std::string& SearchContent::message() {
    if (!message_) message_ = load_message_();
    return *message_;
}

const std::string& SearchContent::folded_header() {
    if (!folded_header_) {
        std::string text;
        append_header(text, header());
        folded_header_ = mime::fold_for_search(text);
    }
    return *folded_header_;
}

const std::string& SearchContent::folded_body() {
    if (!folded_body_) folded_body_ = mime::fold_for_search(searchable_text(message()));
    return *folded_body_;
}

}  // namespace posthouse::imap
