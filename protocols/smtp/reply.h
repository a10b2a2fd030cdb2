#pragma once
/// protocols/smtp/reply: replies both ways: what a server says and what a client hears (RFC 5321 4.2, RFC 2034).
/// Threads: read_reply on the loop of its stream, the rest is pure.
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/buffered_stream.h"
#include "protocols/net/task.h"

namespace posthouse::smtp {

/// One reply. `lines` hold the text without code and enhanced code; there is always at least one.
struct Reply {
    int code = 0;          ///< 200..599
    std::string enhanced;  ///< "5.1.1", or "" where none goes with it (RFC 3463)
    std::vector<std::string> lines;

    Reply() : lines(1) {}
    Reply(int reply_code, std::string_view text) : code(reply_code), lines{std::string(text)} {}
    Reply(int reply_code, std::string_view enhanced_code, std::string_view text)
        : code(reply_code), enhanced(enhanced_code), lines{std::string(text)} {}

    bool is_positive() const { return code >= 200 && code < 400; }  ///< 2yz and 3yz
    bool is_success() const { return code >= 200 && code < 300; }
    bool is_transient() const { return code >= 400 && code < 500; }
    bool is_permanent() const { return code >= 500 && code < 600; }
    /// "550 5.1.1 No such user; try bob": one line for logs, events and delivery reports.
    std::string to_string() const;
};

/// The octets of a reply, every line with code and enhanced code and cut to kReplyLineOctetsMax. Control octets in the
/// text become '?': nothing that a peer sent can break the line structure.
std::string format_reply(const Reply& reply);
void append_reply(std::string& out, const Reply& reply);

/// Gathers the lines of one reply; the sans-I/O core of read_reply.
class ReplyParser {
 public:
    /// `line` without its CRLF. True when it was the last of the reply. Errc::invalid for anything that is no reply
    /// line or changes the code midway, too_large for over-long lines, limit for too many.
    Result<bool> add_line(std::string_view line);
    /// The reply, after add_line said true; the parser is empty again.
    Reply take();

 private:
    Reply reply_;
    std::size_t count_ = 0;
};

/// How a line of a reply may end. RFC 5321 2.3.8 knows CRLF alone.
enum class LineEnds {
    crlf,
    lf_too,  ///< printers, sensors and hand-written servers end theirs with a bare LF
};

/// Reads one whole reply: at most kReplyLinesMax lines of kReplyLineOctetsMax octets. What is left of a bare LF or CR
/// inside a line is Errc::invalid. Errors of the stream pass through. The deadline is the stream's.
net::Task<Result<Reply>> read_reply(net::BufferedStream& stream, LineEnds ends = LineEnds::lf_too);

/// "4.2.2 rest" -> "4.2.2"; "" where the text does not begin with an enhanced code of class `code_class` (RFC 3463 2).
std::string_view leading_enhanced_code(std::string_view text, char code_class);

}  // namespace posthouse::smtp
