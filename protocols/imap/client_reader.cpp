// The framing of responses: lines, literals within them, bodies that are handed on as they come (RFC 3501 2.2.2, 4.3).
#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/imap/client_response.h"

namespace posthouse::imap {

namespace {

// Whether a literal that stands behind `before` is the body of a message: "* n FETCH (... BODY[] ".
bool is_body_literal(std::string_view before) {
    Cursor in(before);
    in.take_while([](char c) { return c == '*' || c == ' ' || ascii::is_digit(c); });
    if (!in.take_word("FETCH ")) return false;
    while (before.ends_with(' ')) before.remove_suffix(1);
    const std::string_view tail = before.substr(before.size() - std::min<std::size_t>(before.size(), 24));
    if (tail.ends_with('>') && tail.contains('<')) before.remove_suffix(tail.size() - tail.rfind('<'));  // BODY[]<0>
    constexpr std::array<std::string_view, 3> kItems = {"BODY[]", "RFC822", "BINARY[]"};
    return std::ranges::any_of(kItems, [&](std::string_view item) {
        if (!ascii::ends_with_ci(before, item)) return false;
        const char left = before[before.size() - item.size() - 1];
        return left == ' ' || left == '(';
    });
}

}  // namespace

Result<ReaderEvent> ResponseReader::next(Cursor& in) {
    if (state_ == State::done) {
        state_ = State::line;
        text_.clear();
        line_at_ = 0;
        had_body_ = false;
    }
    for (;;) {
        if (in.at_end()) return ReaderEvent{};
        if (state_ == State::body) {
            const std::string_view piece =
                in.take_octets(static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.rest().size())));
            left_ -= piece.size();
            if (left_ == 0) state_ = State::line;
            return ReaderEvent{ReaderEvent::Kind::body, 0, piece};
        }
        if (state_ == State::literal) {
            const std::string_view piece =
                in.take_octets(static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.rest().size())));
            left_ -= piece.size();
            text_ += piece;
            if (left_ == 0) {
                state_ = State::line;
                line_at_ = text_.size();
            }
            continue;
        }
        const std::size_t end = in.rest().find('\n');
        const bool whole = end != std::string_view::npos;
        const std::size_t count = whole ? end : in.rest().size();
        if (text_.size() + count > limits_.response_octets_max) {
            return Error(Errc::too_large, "the server sent a response that is longer than any should be");
        }
        text_ += in.take_octets(count);
        if (!whole) return ReaderEvent{};
        in.take('\n');
        if (text_.size() > line_at_ && text_.ends_with('\r')) text_.pop_back();
        TRY(const ReaderEvent event, end_of_line());
        if (event.kind != ReaderEvent::Kind::more) return event;
    }
}

Result<ReaderEvent> ResponseReader::end_of_line() {
    const std::string_view line = std::string_view(text_).substr(line_at_);
    const auto mark = literal_at_end(line);
    // Only responses that carry data hold literals; the text of OK, NO and BAD may end in anything.
    const bool may_hold = text_.starts_with("* ") && !ascii::starts_with_ci(text_, "* OK") &&
                          !ascii::starts_with_ci(text_, "* NO") && !ascii::starts_with_ci(text_, "* BAD") &&
                          !ascii::starts_with_ci(text_, "* BYE") && !ascii::starts_with_ci(text_, "* PREAUTH");
    if (!mark || !may_hold) {
        state_ = State::done;
        return ReaderEvent{ReaderEvent::Kind::response, 0, {}};
    }
    std::size_t before = text_.size() - mark->mark_octets;
    if (before > line_at_ && text_[before - 1] == '~') --before;  // literal8, RFC 3516 4.4
    if (is_body_literal(std::string_view(text_).substr(0, before))) {
        if (had_body_) return Error(Errc::invalid, "the server sent two bodies in one response");
        had_body_ = true;
        text_.resize(before);
        text_ += "\"\"";
        line_at_ = text_.size();
        left_ = mark->octets;
        state_ = left_ == 0 ? State::line : State::body;
        return ReaderEvent{ReaderEvent::Kind::body_begin, mark->octets, {}};
    }
    if (mark->octets > limits_.literal_octets_max || text_.size() + mark->octets + 2 > limits_.response_octets_max) {
        return Error(Errc::too_large, "the server sent a literal that is larger than any should be");
    }
    text_.resize(before);
    text_ += "{" + std::to_string(mark->octets) + "}\r\n";
    line_at_ = text_.size();
    left_ = mark->octets;
    state_ = left_ == 0 ? State::line : State::literal;
    return ReaderEvent{};
}

}  // namespace posthouse::imap
