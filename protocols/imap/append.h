#pragma once
/// protocols/imap/append: what follows the mailbox of APPEND and REPLACE, a piece at a time. Pure.
///
///   append         = "APPEND" SP mailbox 1*append-message                   RFC 3502 6.3.11
///   replace        = "REPLACE" SP seq-number SP mailbox append-message      RFC 8508 5
///   append-message = [SP flag-list] [SP date-time] SP append-data           RFC 4466 2.3
///   append-data    = literal / literal8 / "UTF8" SP "(" literal8 ")" / "CATENATE" SP "(" cat-part *(SP cat-part) ")"
///                                                                           RFC 3516 4.4, RFC 6855 4, RFC 4469 5
/// The octets of messages stay on the wire: a piece of text ends where they begin, and the next one begins behind them.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/grammar.h"
#include "protocols/imap/limits.h"

namespace posthouse::imap {

/// What stands behind a piece of text.
enum class Follows { nothing, literal, literal8 };
enum class Messages { one, many };

struct AppendEvent {
    enum class Kind {
        begin,   ///< a message, with its flags and date; it ends where the next begins or the command ends
        octets,  ///< of the message: the literal that follows the piece, always the last event of it
        url,     ///< of the message: what an IMAP URL names
    };
    Kind kind = Kind::begin;
    FlagList flags;
    std::optional<std::int64_t> internal_date_s;
    bool utf8 = false;      ///< begin: "UTF8 (": its header may hold UTF-8
    bool catenate = false;  ///< begin: "CATENATE (": it is put together of parts
    std::string url;
};

class AppendParser {
 public:
    AppendParser(Messages messages, const Limits& limits) : messages_(messages), limits_(limits) {}
    /// `text` in whole. The first piece begins behind the mailbox and its SP. Errc::invalid with a sentence for BAD.
    Result<std::vector<AppendEvent>> take(std::string_view text, Follows follows);

 private:
    enum class State { head, part, after_part, after_utf8, after_message };
    Result<> take_head(Cursor& in, Follows follows, std::vector<AppendEvent>& out);
    Result<> take_part(Cursor& in, Follows follows, std::vector<AppendEvent>& out);
    Result<> take_octets(Cursor& in, Follows follows, std::vector<AppendEvent>& out);

    Messages messages_;
    Limits limits_;
    State state_ = State::head;
    std::size_t count_ = 0;  // messages and their parts
};

/// The beginning of a command line up to a literal, from its tag on: whether that literal is the message of an APPEND
/// or a REPLACE.
bool opens_message(std::string_view text, Follows follows, const Limits& limits = {});

/// msg-or-part of RFC 5092, relative to the session's own mail (RFC 4469 3).
struct MessageUrl {
    std::optional<std::string> mailbox;  ///< UTF-8 (RFC 5092 8); nothing: the selected one
    std::optional<std::uint32_t> uid_validity;
    std::uint32_t uid = 0;
    std::string section;  ///< as within BODY[...]; "" the whole message
    std::uint64_t offset = 0;
    std::optional<std::uint64_t> octets;
};
Result<MessageUrl> parse_message_url(std::string_view url);

}  // namespace posthouse::imap
