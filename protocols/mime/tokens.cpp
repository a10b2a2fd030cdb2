#include "protocols/mime/tokens.h"

#include <algorithm>

namespace posthouse::mime {

std::string take_comment(Cursor& in, std::size_t* depth) {
    std::string text;
    std::size_t open = 0;
    std::size_t deepest = 0;
    while (!in.at_end()) {
        const char c = in.take_octets(1).front();
        if (c == '(') {
            if (++open > 1) text.push_back(c);
            deepest = std::max(deepest, open);
        } else if (c == ')') {
            if (--open == 0) break;
            text.push_back(c);
        } else if (c == '\\' && !in.at_end()) {
            text += in.take_octets(1);
        } else if (c != '\r' && c != '\n') {
            text.push_back(c);
        }
    }
    if (depth != nullptr) *depth = open == 0 ? deepest : 0;
    return text;
}

bool skip_cfws(Cursor& in) {
    const std::size_t start = in.position();
    while (!in.at_end()) {
        if (is_blank_or_line_end(in.peek())) {
            in.take_while(is_blank_or_line_end);
        } else if (in.peek() == '(') {
            take_comment(in);
        } else {
            break;
        }
    }
    return in.position() != start;
}

std::string take_quoted(Cursor& in, bool* closed) {
    std::string text;
    if (closed != nullptr) *closed = false;
    in.take('"');
    while (!in.at_end()) {
        text += in.take_while([](char c) { return c != '"' && c != '\\' && c != '\r' && c != '\n'; });
        if (in.at_end()) break;
        const char c = in.take_octets(1).front();
        if (c == '"') {
            if (closed != nullptr) *closed = true;
            break;
        }
        if (c == '\\') text += in.take_octets(1);
    }
    return text;
}

}  // namespace posthouse::mime
