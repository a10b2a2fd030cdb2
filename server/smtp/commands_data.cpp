// The message itself: DATA and BDAT. Their octets are read by Session::receive_data and receive_chunk.
#include "protocols/base/ascii.h"
#include "server/smtp/session.h"

namespace posthouse::server::smtp {

namespace {

using wire::Reply;

// data = "DATA" CRLF                                                   RFC 5321 4.1.1.4
net::Task<Reply> on_data(Session& session, std::string_view args) {
    if (!ascii::trim(args).empty()) co_return Reply(501, "5.5.4", "Syntax: DATA");
    session.begin_content();
    session.enter(Phase::data);
    co_return Reply(354, "Send the message, end with a dot on a line of its own");
}
constexpr Command kData{.verb = "DATA",
                        .phases = {Phase::rcpt},
                        .need = Need::login,
                        .pipelining = Pipelining::last,
                        .run = on_data,
                        .help = "DATA: the message follows, ended by a dot on a line of its own",
                        .rfc = "5321 4.1.1.4"};

// bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ] CRLF               RFC 3030 2
// The octets of the chunk follow whatever the reply will be, so a chunk that is out of order is swallowed first.
net::Task<Reply> on_bdat(Session& session, std::string_view args) {
    const auto chunk = wire::parse_chunk_header(ascii::trim(args));
    if (!chunk) {
        // How many octets follow is not known: nothing after this can be told apart from content.
        session.close_after_reply();
        co_return Reply(501, "5.5.4", "Syntax: BDAT size [LAST]; closing");
    }
    const bool in_order = session.phase() == Phase::rcpt || session.phase() == Phase::chunks;
    std::optional<Reply> refusal;
    if (!session.is_esmtp()) {
        refusal = Reply(503, "5.5.1", "BDAT needs EHLO first");
    } else if (!in_order) {
        refusal = session.phase() == Phase::mail ? Reply(554, "5.5.1", "No valid recipients")
                                                 : Reply(503, "5.5.1", "BDAT needs MAIL and RCPT first");
    }
    if (!refusal && session.phase() == Phase::rcpt) session.begin_content();
    session.begin_chunk(*chunk, std::move(refusal));
    session.enter(Phase::chunk);
    co_return Reply();  // the reply comes when the chunk is in
}
constexpr Command kBdat{.verb = "BDAT",
                        .phases = kAnyCommand,
                        .payload = Payload::chunk,
                        .run = on_bdat,
                        .help = "BDAT size [LAST]: so many octets of the message follow",
                        .rfc = "3030 2"};

constexpr Command kRows[] = {kData, kBdat};

}  // namespace

std::span<const Command> data_commands() { return kRows; }

}  // namespace posthouse::server::smtp
