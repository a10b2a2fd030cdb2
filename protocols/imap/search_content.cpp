#include "protocols/imap/search.h"

namespace posthouse::imap {

const std::string& SearchContent::header() {
    if (!header_) header_ = load_header_();
    return *header_;
}

const std::string& SearchContent::folded_header() {
    if (const mime::SearchText* const kept = kept_text()) return kept->header;
    if (!folded_header_) folded_header_ = mime::search_header(header());
    return *folded_header_;
}

const std::string& SearchContent::folded_body() {
    if (const mime::SearchText* const kept = kept_text()) return kept->body;
    if (!folded_body_) folded_body_ = mime::search_body(load_message_());
    return *folded_body_;
}

const mime::SearchText* SearchContent::kept_text() {
    if (load_kept_) {
        kept_ = load_kept_();
        load_kept_ = nullptr;
    }
    return kept_;
}

}  // namespace posthouse::imap
