#pragma once
/// protocols/mailauth/folded_field (internal): how the fields of signatures are written, and what they say of a body.
/// Threads: values.
#include <cstddef>
#include <string>
#include <string_view>

#include "protocols/mailauth/dkim.h"

namespace posthouse::mailauth {

/// Writes a field in lines of kLineOctets: words are kept whole, base64 is cut anywhere.
class FoldedField {
 public:
    explicit FoldedField(std::string_view start) : text_(start), column_(start.size()) {}

    void word(std::string_view word) {
        if (column_ + word.size() + 1 > kLineOctets) {
            text_ += "\r\n\t";
            column_ = 1;
        } else {
            text_ += ' ';
            ++column_;
        }
        glue(word);
    }
    void glue(std::string_view octets) {
        text_ += octets;
        column_ += octets.size();
    }
    void cut_anywhere(std::string_view octets) {
        while (!octets.empty()) {
            if (column_ >= kLineOctets) {
                text_ += "\r\n\t";
                column_ = 1;
            }
            const std::string_view part = octets.substr(0, kLineOctets - column_);
            glue(part);
            octets.remove_prefix(part.size());
        }
    }
    const std::string& text() const { return text_; }

 private:
    static constexpr std::size_t kLineOctets = 76;
    std::string text_;
    std::size_t column_;
};

/// base64 of the digest of the body in relaxed form; reads the source to its end.
Result<std::string> hash_body(MessageSource& message);

}  // namespace posthouse::mailauth
