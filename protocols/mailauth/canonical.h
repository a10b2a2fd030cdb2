#pragma once
/// protocols/mailauth/canonical: the forms of header fields and bodies that DKIM signs (RFC 6376 3.4).
/// Threads: values, no shared state.   Limits: memory does not grow with the body.
#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace posthouse::mailauth {

enum class Canonical { simple, relaxed };

/// One field in canonical form with its final CRLF. `raw_field` is the field as it stands, line ends included or not.
std::string canonical_field(Canonical form, std::string_view raw_field);

/// A body that comes in pieces, in canonical form. Empty lines and blanks are held back as numbers until it is known
/// whether they end the body or the line. A bare CR or LF is an ordinary octet: only CRLF ends a line.
class BodyCanonicaliser {
 public:
    using Sink = std::function<void(std::string_view)>;
    BodyCanonicaliser(Canonical form, Sink sink) : form_(form), sink_(std::move(sink)) {}

    void update(std::string_view piece);
    /// No update may follow.
    void finish();

 private:
    void update_simple(std::string_view piece);
    void update_relaxed(std::string_view piece);
    void end_line();
    void put(std::string_view octets);
    void flush_line_ends();
    void flush_buffer();

    static constexpr std::size_t kBufferOctets = 4096;

    Canonical form_;
    Sink sink_;
    std::array<char, kBufferOctets> buffer_{};
    std::size_t used_ = 0;
    std::size_t line_ends_ = 0;  ///< CRLFs seen and not yet written
    bool blank_ = false;         ///< relaxed: blanks seen since the last other octet of the line
    bool cr_ = false;            ///< the last piece ended in CR
    bool any_ = false;           ///< something was written
};

}  // namespace posthouse::mailauth
