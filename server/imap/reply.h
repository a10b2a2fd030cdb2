#pragma once
/// server/imap/reply: the tagged answer of a command (RFC 3501 7.1) and what an Error becomes for a client.
/// Texts are generic: what the operator needs is in the log. Threads: values.
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::server::imap {

struct Reply {
    enum class Kind { ok, no, bad, hang_up, said };
    Kind kind = Kind::ok;
    std::string code;  ///< response code without its brackets: "READ-WRITE"; may be empty
    std::string text;  ///< printable ASCII

    Reply(Kind of, std::string response_code, std::string sentence)
        : kind(of), code(std::move(response_code)), text(std::move(sentence)) {}
    static Reply ok(std::string sentence) { return {Kind::ok, "", std::move(sentence)}; }
    static Reply ok(std::string response_code, std::string sentence) {
        return {Kind::ok, std::move(response_code), std::move(sentence)};
    }
    static Reply no(std::string response_code, std::string sentence) {
        return {Kind::no, std::move(response_code), std::move(sentence)};
    }
    static Reply bad(std::string sentence) { return {Kind::bad, "", std::move(sentence)}; }
    static Reply said() { return {Kind::said, "", ""}; }  ///< the handler has answered already (STARTTLS)
    /// The connection is of no use any more: `text` is said in an untagged BYE where it is not empty.
    static Reply hang_up(std::string sentence) { return {Kind::hang_up, "", std::move(sentence)}; }
};

/// NO with the response codes of RFC 5530, or BAD where the client must change what it sent. `module` errors that are
/// ours (io, corrupt, internal) go to the log.
Reply reply_for(const Error& error);
/// The same for commands that name a target mailbox: a missing one is [TRYCREATE] (RFC 3501 7.1).
Reply reply_for_target(const Error& error);
/// An argument that broke the grammar: BAD with the parser's sentence. Errc::denied (see names.h): NO [CANNOT].
Reply syntax(const Error& error);

}  // namespace posthouse::server::imap
