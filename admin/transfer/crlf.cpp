#include "admin/transfer/crlf.h"

namespace posthouse::transfer {

void append_as_crlf(std::string& out, std::string_view piece, char& last) {
    while (!piece.empty()) {
        const std::size_t lf = piece.find('\n');
        if (lf == std::string_view::npos) {
            out += piece;
            last = piece.back();
            return;
        }
        const char before = lf == 0 ? last : piece[lf - 1];
        out += piece.substr(0, lf);
        out += before == '\r' ? "\n" : "\r\n";
        last = '\n';
        piece.remove_prefix(lf + 1);
    }
}

Result<> CrlfWriter::append(std::string_view piece) {
    buffer_.clear();
    append_as_crlf(buffer_, piece, last_);
    return body_.append(buffer_);
}

bool is_plain_crlf(std::string_view piece, char& last) {
    for (const char c : piece) {
        // CR CR is refused as such: whether an LF follows may stand in the next piece, and the loss is small.
        if (last == '\r' ? c == '\r' : c == '\n') return false;
        last = c;
    }
    return true;
}

void append_as_lf(std::string& out, std::string_view piece, bool& held_cr) {
    if (piece.empty()) return;
    if (held_cr && piece.front() != '\n') out += '\r';
    held_cr = false;
    while (!piece.empty()) {
        const std::size_t cr = piece.find('\r');
        out += piece.substr(0, cr);
        if (cr == std::string_view::npos) return;
        piece.remove_prefix(cr + 1);
        if (piece.empty()) {
            held_cr = true;
            return;
        }
        if (piece.front() != '\n') out += '\r';
    }
}

}  // namespace posthouse::transfer
