#pragma once
/// protocols/base/cursor: a string_view that only moves forward, the one way parsers here read their input.
/// Every take_ either advances or leaves the cursor as it was and says no. Views it hands out point into the input.
#include <cstddef>
#include <string_view>

#include "protocols/base/ascii.h"

namespace posthouse {

class Cursor {
 public:
    explicit Cursor(std::string_view input) : rest_(input), size_(input.size()) {}

    bool at_end() const { return rest_.empty(); }
    std::string_view rest() const { return rest_; }
    std::size_t position() const { return size_ - rest_.size(); }
    /// The octet `ahead` places on, or NUL past the end.
    char peek(std::size_t ahead = 0) const { return ahead < rest_.size() ? rest_[ahead] : '\0'; }

    bool take(char wanted) {
        if (rest_.empty() || rest_.front() != wanted) return false;
        rest_.remove_prefix(1);
        return true;
    }
    bool take(std::string_view wanted) {
        if (!rest_.starts_with(wanted)) return false;
        rest_.remove_prefix(wanted.size());
        return true;
    }
    /// As take(), without regard to ASCII case.
    bool take_word(std::string_view wanted) {
        if (!ascii::starts_with_ci(rest_, wanted)) return false;
        rest_.remove_prefix(wanted.size());
        return true;
    }
    /// The next `count` octets, fewer at the end of the input.
    std::string_view take_octets(std::size_t count) {
        const std::string_view out = rest_.substr(0, count);
        rest_.remove_prefix(out.size());
        return out;
    }
    /// The longest run (maybe empty) of octets that satisfy `wanted`.
    template <class Predicate>
    std::string_view take_while(Predicate wanted) {
        std::size_t length = 0;
        while (length < rest_.size() && wanted(rest_[length])) ++length;
        return take_octets(length);
    }
    /// All up to `stop` (not included), or the whole rest where it does not occur.
    std::string_view take_until(char stop) {
        return take_octets(rest_.find(stop) == std::string_view::npos ? rest_.size() : rest_.find(stop));
    }
    void skip_blanks() { take_while(ascii::is_space); }

 private:
    std::string_view rest_;
    std::size_t size_;
};

}  // namespace posthouse
