#pragma once
/// server/imap/reader: one command off the wire, its literals granted, read and put in place (RFC 3501 4.3, RFC 7888).
///
/// Invariants  1. Octets of a literal are never read as a command: what cannot be granted is refused before "+", or
///                read and dropped, or ends the connection.
///             2. Nothing is promised or kept beyond the limits; before login they are small and count in all.
///             3. The message of an APPEND is left on the wire for its handler, which streams it.
/// Threads: the loop's.
#include <optional>
#include <string>

#include "protocols/imap/append.h"
#include "protocols/imap/grammar.h"
#include "protocols/net/buffered_stream.h"

namespace posthouse::server::imap {

enum class Login { before, after };

struct ReadCommand {
    std::string text;  ///< without the last CRLF; literals as "{n}" CRLF octets
    /// APPEND, REPLACE: this literal, octets of a message, follows on the wire; not in `text`.
    std::optional<posthouse::imap::LiteralMark> message;
    std::string refusal;  ///< not empty: answer BAD with it, the command is used up
};

posthouse::imap::Follows follows(const std::optional<posthouse::imap::LiteralMark>& mark);

class CommandReader {
 public:
    CommandReader(net::BufferedStream& stream, const posthouse::imap::Limits& limits)
        : stream_(stream), limits_(limits) {}

    /// Whether literals may come without being asked for (LITERAL+, RFC 7888).
    void grant_plus(bool granted) { plus_ = granted; }
    /// Errc::too_large: say BYE, since where the next command begins is not known. Else as Stream.
    net::Task<Result<ReadCommand>> read(Login login);
    /// Behind the octets of a message: the rest of the command, up to its end or the next octets of a message. `parser`
    /// stands where they ended. A refusal comes with the literal that was not read.
    net::Task<Result<ReadCommand>> read_on(posthouse::imap::AppendParser parser);
    /// A line that answers "+" before login. Errc::too_large: all that is allowed before login is used up.
    net::Task<Result<std::string>> read_answer();
    /// Reads and drops `octets`.
    net::Task<Result<>> swallow(std::uint64_t octets);
    /// After the message of an APPEND: the rest of its line with all that hangs on it. True where it was empty.
    net::Task<Result<bool>> finish_line();
    /// After STARTTLS nothing of before counts.
    void reset_budget() { spent_ = 0; }

 private:
    net::Task<Result<>> take_literal(const posthouse::imap::LiteralMark& mark, ReadCommand& command);
    bool fits(Login login, const posthouse::imap::LiteralMark& mark, const ReadCommand& command) const;

    net::BufferedStream& stream_;
    const posthouse::imap::Limits& limits_;
    std::size_t spent_ = 0;  // before login, all octets
    bool plus_ = true;
};

}  // namespace posthouse::server::imap
