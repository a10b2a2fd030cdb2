#pragma once
/// server/smtp/content: the octets between DATA and the end of data, without I/O. Pure; works on whole buffers and
/// never line by line.
/// Invariants  1. Only CRLF "." CRLF ends DATA (RFC 5321 4.1.1.4); no other line end ever counts as one.
///             2. What LineScan calls clean holds no bare CR, no bare LF and no NUL (RFC 5321 2.3.8).
#include <cstdint>
#include <string_view>

namespace posthouse::server::smtp {

/// Finds the end of data and takes off the dots that the client doubled (RFC 5321 4.5.2). Begins at a line start.
class DotDecoder {
 public:
    /// Takes octets from the front of `input` and moves it on; gives back the next run of message octets, maybe empty.
    /// Call until `input` is empty or done().
    std::string_view next(std::string_view& input);
    bool done() const { return state_ == State::done; }

 private:
    enum class State : std::uint8_t {
        line_start,  ///< behind a CRLF
        inside,      ///< in a line
        cr,          ///< behind a CR inside a line
        dot,         ///< behind a dot at a line start; the dot is dropped
        dot_cr,      ///< behind that and a CR
        done,
    };
    State state_ = State::line_start;
};

/// Watches for bare CR, bare LF and NUL over any cut of the octets.
class LineScan {
 public:
    void feed(std::string_view octets);
    /// Whether everything so far is clean; a trailing CR counts as bare, so ask at the end.
    bool clean() const { return cr_ == pairs_ && lf_ == pairs_ && nul_ == 0; }
    bool has_8bit() const { return high_ != 0; }

 private:
    std::uint64_t cr_ = 0;
    std::uint64_t lf_ = 0;
    std::uint64_t pairs_ = 0;  // CR directly before LF
    std::uint64_t nul_ = 0;
    unsigned char high_ = 0;
    char last_ = '\0';
};

}  // namespace posthouse::server::smtp
