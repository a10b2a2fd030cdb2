#pragma once
/// tests/transcripts/transcript: dialogues as text files, played against a real session over a memory stream.
///
///   # covers: MAIL, RCPT            comment; "covers:" names the rows (or hard cases) the file is about
///   @server smtp                    directives, several on a line; before the first dialogue line they are the set-up
///   @set key=value                  @account address password      @alias address target...    @tls
///   C: EHLO client.test             the client sends the line and CRLF (no escapes)
///   S: 250-*...                     a reply of any number of lines "250-", the last one "250 "
///   S: 250 2.1.0 *                  one line; '*' is any run of octets
///   S: ...                          any lines up to one that matches the next S:
///   C2: / S2:                       another connection, opened at its first use
///   @raw a\r\n\x00                  octets on the connection used last; \r \n \t \0 \\ \xNN, no CRLF is added
///   @repeat N text                  the line text, N times (with CRLF, # becomes 1..N), in one write
///   @literal N                      N octets "x" on the connection used last
///   @closed                         the server closes; nothing more comes
///   @compress                      both ways on the connection used last (RFC 4978)
///   @keep NAME                      what the first '*' of the next S: line stands for; "<NAME>" is it from there on
///   @hangup                         the client closes the connection used last
///   @anything else                  handed to the World of the runner, in its place
///
/// A test program per protocol parses a file, makes its World from the set-up and plays the steps.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/buffered_stream.h"
#include "protocols/net/loop.h"
#include "protocols/net/stream.h"

namespace posthouse::test {

struct Directive {
    std::string name;                    ///< without '@'
    std::vector<std::string> arguments;  ///< split at blanks
    std::string rest;                    ///< everything behind the name
    std::size_t line = 0;
};

struct Step {
    enum class Kind { client, server, skip, directive };
    Kind kind = Kind::client;
    int connection = 1;
    std::string text;
    Directive directive;
    std::size_t line = 0;
};

struct Transcript {
    std::string path;
    std::vector<std::string> covers;
    std::vector<Directive> setup;  ///< directives before the first dialogue line
    std::vector<Step> steps;

    /// The value of the last "@set key=..." of the set-up, or `fallback`.
    std::string setting(std::string_view key, std::string_view fallback) const;
    const Directive* find(std::string_view name) const;
};

Result<Transcript> parse_transcript(std::string_view text, std::string path);
Result<Transcript> load_transcript(const std::string& path);

/// '*' stands for any run of octets, maybe empty.
bool matches(std::string_view pattern, std::string_view line);
/// \r \n \t \0 \\ \xNN.
Result<std::string> unescape(std::string_view text);

/// What the steps are played against.
class World {
 public:
    virtual ~World() = default;
    /// The client's end of a new connection `number`; the server's session runs on its other end.
    virtual net::Task<Result<std::unique_ptr<net::Stream>>> connect(int number) = 0;
    /// A directive that the player does not know, in its place. Errc::unsupported for an unknown one.
    virtual net::Task<Result<>> perform(Directive directive) = 0;
};

/// Plays all steps. An error names the file, the line, what was wanted and what came.
net::Task<Result<>> play(const Transcript& transcript, World& world);

}  // namespace posthouse::test
