#pragma once
/// protocols/mime/build: writing messages and changing headers. All text out has CRLF line ends.
/// A header can only be written from a HeaderValue, which cannot hold a line end: no header injection.
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/random.h"
#include "protocols/base/result.h"

namespace posthouse::mime {

/// The value of a header field: any text without CR, LF and NUL.
class HeaderValue {
 public:
    /// Errc::invalid where the text has CR, LF or NUL.
    static Result<HeaderValue> exactly(std::string_view text);
    /// CR, LF, NUL and other controls become blanks; UTF-8 stays (for structured fields of ours).
    static HeaderValue cleaned(std::string_view text);
    /// Unstructured text such as a subject: cleaned, and encoded words where it is not ASCII.
    static HeaderValue text(std::string_view utf8);

    const std::string& view() const { return value_; }

 private:
    explicit HeaderValue(std::string value) : value_(std::move(value)) {}
    std::string value_;
};

/// "Name: value\r\n", folded at blanks where lines would exceed 78 octets (RFC 5322 2.1.1).
std::string format_field(std::string_view name, const HeaderValue& value);

/// The message with the field before all others.
std::string add_field(std::string_view message, std::string_view name, const HeaderValue& value);
/// The message without any field of these names (Bcc, Return-Path, ...); all other octets stay.
std::string remove_fields(std::string_view message, std::span<const std::string_view> names);

/// "<time.random@domain>" (RFC 5322 3.6.4).
std::string make_message_id(Random& random, Time now, std::string_view domain);
/// A boundary that no line of text of ours can contain ("=_" cannot occur in quoted-printable or base64).
std::string make_boundary(Random& random);

/// Each bare LF and each bare CR becomes CRLF.
std::string normalise_crlf(std::string_view text);
/// Whether every line end is CRLF already (no copy needed).
bool has_only_crlf(std::string_view text);

/// One part of a multipart of ours. `headers` come first, e.g. Content-Type; `body` is written as it is, with CRLF.
struct BodyPart {
    std::vector<std::pair<std::string, HeaderValue>> headers;
    std::string body;
};

/// The body of a multipart: delimiters, parts, closing delimiter (RFC 2046 5.1.1).
std::string assemble_multipart(std::string_view boundary, std::span<const BodyPart> parts);

/// A whole multipart/report (RFC 6522): `headers` (From, To, Subject, Date, Message-ID ...), then MIME-Version and
/// Content-Type: multipart/report; report-type=..., then the parts.
std::string assemble_report(std::span<const std::pair<std::string, HeaderValue>> headers, std::string_view report_type,
                            std::string_view boundary, std::span<const BodyPart> parts);

}  // namespace posthouse::mime
