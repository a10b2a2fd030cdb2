#include "protocols/imap/search.h"

namespace posthouse::imap {

const std::string& SearchContent::header() {
    if (!header_) header_ = load_header_();
    return *header_;
}

std::string_view SearchContent::folded_header() {
    if (folded_header_) return *folded_header_;
    if (load_kept_) folded_header_ = load_kept_(Part::header);
    if (folded_header_) return *folded_header_;
    own_header_ = mime::search_header(header());
    return *(folded_header_ = own_header_);
}

std::string_view SearchContent::folded_body() {
    if (folded_body_) return *folded_body_;
    if (load_kept_) folded_body_ = load_kept_(Part::body);
    if (folded_body_) return *folded_body_;
    own_body_ = mime::search_body(load_message_());
    return *(folded_body_ = own_body_);
}

}  // namespace posthouse::imap
