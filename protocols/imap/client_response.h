#pragma once
/// protocols/imap/client_response: what an IMAP server says, as its client reads it. No sockets, no storage.
///   in:  octets as they arrive  -> ResponseReader  -> one response as text, bodies of messages piece by piece
///   in:  that text              -> parse_response  -> values                                  (RFC 3501 7, RFC 9051 7)
/// What this reader does not know (unknown responses, FETCH items, codes) is stepped over, never an error: servers may
/// send anything at any time (RFC 3501 2.2.2).
/// Invariants  1. Linear in the octets given; no recursion: nesting is counted (depth_max) and skipped.
///             2. A literal of more than literal_octets_max that is no message body is Errc::too_large; the body of a
///                message is handed out as it arrives and never gathered here.
///             3. Parsed values own their octets.
/// Leniencies: lines that end in LF alone, several blanks, UTF-8 in names and texts, and system flags that no RFC knows
/// (dropped), because old servers send them.
/// Threads: values.   Limits: ClientLimits.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/grammar.h"

namespace posthouse::imap {

struct ClientLimits {
    std::size_t response_octets_max = 1024UL * 1024;  ///< one response without its streamed body
    std::size_t literal_octets_max = 256UL * 1024;    ///< names, envelopes: what is no body
    std::size_t depth_max = 64;
    std::size_t keywords_max = 256;  ///< of one message; more are dropped
    ClientLimits() = default;
};

/// One step of the reader.
struct ReaderEvent {
    enum class Kind {
        more,        ///< all octets are used up; feed more
        body_begin,  ///< a message body of `octets_total` follows; it belongs to the response that ends behind it
        body,        ///< the next piece: `octets`, a view into what was fed
        response,    ///< complete: ResponseReader::text()
    };
    Kind kind = Kind::more;
    std::uint64_t octets_total = 0;
    std::string_view octets;
};

/// Cuts the stream into responses. Literals that are message bodies (behind BODY[], RFC822 or BINARY[] of a FETCH) are
/// streamed; in text() an empty quoted string stands in their place. Other literals stand in text() as on the wire.
class ResponseReader {
 public:
    explicit ResponseReader(const ClientLimits& limits = {}) : limits_(limits) {}

    /// Takes from `in` up to the next event. Errc::too_large, or invalid for a second body in one response.
    Result<ReaderEvent> next(Cursor& in);
    /// The response that was told last, without its line end. Valid until next() is called again.
    std::string_view text() const { return text_; }
    /// Whether a body was streamed within it.
    bool had_body() const { return had_body_; }
    /// Nothing of a response has come in yet.
    bool idle() const { return text_.empty() && state_ == State::line; }

 private:
    enum class State { line, literal, body, done };
    Result<ReaderEvent> end_of_line();

    ClientLimits limits_;
    State state_ = State::line;
    std::string text_;
    std::size_t line_at_ = 0;  // where the present line begins in text_ (behind the last literal)
    std::uint64_t left_ = 0;   // of the literal
    bool had_body_ = false;
};

/// resp-cond-state and the like: OK, NO, BAD, PREAUTH, BYE with an optional code.
struct Condition {
    enum class Kind { ok, no, bad, preauth, bye };
    Kind kind = Kind::ok;
    std::string code;       ///< upper case: "UIDVALIDITY", "TRYCREATE"; empty where there is none
    std::string arguments;  ///< what stands behind the code
    std::string text;       ///< for people; not trusted
};
struct Continuation {
    std::string text;
};
struct Capabilities {
    std::vector<std::string> names;  ///< upper case
};
struct ListEntry {
    bool subscribed_list = false;         ///< LSUB
    std::vector<std::string> attributes;  ///< with the backslash, as sent
    char delimiter = '\0';                ///< NUL for NIL: a flat name
    std::string name;                     ///< as on the wire
};
struct StatusEntry {
    std::string name;
    std::optional<std::uint64_t> messages, uid_next, uid_validity, unseen, size_octets, highest_modseq;
};
/// "* 23 EXISTS" and its like.
struct Count {
    enum class Kind { exists, recent, expunge };
    Kind kind = Kind::exists;
    std::uint32_t number = 0;
};
struct Fetched {
    enum class Body { none, nil, quoted, streamed };
    std::uint32_t number = 0;
    std::uint32_t uid = 0;          ///< 0: not given
    std::optional<FlagList> flags;  ///< \Recent is left out
    std::optional<std::uint64_t> size_octets;
    std::optional<std::int64_t> internal_date_s;
    std::optional<std::uint64_t> modseq;
    std::optional<std::uint64_t> lasting_id;  ///< X-GM-MSGID: the same in all folders
    Body body = Body::none;
    std::string quoted_body;  ///< Body::quoted
};
struct Namespaces {
    struct One {
        std::string prefix;  ///< as on the wire
        char delimiter = '\0';
    };
    std::vector<One> personal, others, shared;
};
/// Understood as a response, of no use here.
struct OtherResponse {
    std::string keyword;
};
using ResponseData = std::variant<OtherResponse, Condition, Continuation, Capabilities, ListEntry, StatusEntry, Count,
                                  Fetched, Namespaces, std::vector<std::uint32_t>>;  // the last: SEARCH

struct ServerResponse {
    std::string tag;  ///< empty for untagged ones; then `data` may be anything
    ResponseData data;
};

/// `text` as ResponseReader gives it. Errc::invalid where it is no response at all.
Result<ServerResponse> parse_response(std::string_view text, bool had_body, const ClientLimits& limits = {});
/// The names of "CAPABILITY ..." as in a response code.
Capabilities parse_capabilities(std::string_view text);

}  // namespace posthouse::imap
