// APPEND (RFC 3501 6.3.11) with APPENDUID (RFC 4315 3).
#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/response.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// Line ends on their way into the store: each bare LF becomes CRLF, so that RFC822.SIZE is the octets that BODY[]
// gives,
// whatever the client sent; a bare CR is data. NUL cannot be told to any client and is refused at the end.
class Intake {
 public:
    explicit Intake(std::unique_ptr<storage::BodyWriter> writer) : writer_(std::move(writer)) {}

    Result<> take(std::string_view piece) {
        has_nul_ = has_nul_ || piece.find('\0') != std::string_view::npos;
        out_.clear();
        for (std::size_t at = 0; at < piece.size();) {
            const std::size_t end = std::min(piece.find('\n', at), piece.size());
            out_ += piece.substr(at, end - at);
            if (end > at) after_cr_ = piece[end - 1] == '\r';
            at = end;
            if (at == piece.size()) break;
            out_ += after_cr_ ? "\n" : "\r\n";
            after_cr_ = false;
            ++at;
        }
        return writer_->append(out_);
    }
    Result<storage::StagedBodyPtr> finish() { return writer_->finish(); }
    bool has_nul() const { return has_nul_; }

 private:
    std::unique_ptr<storage::BodyWriter> writer_;
    std::string out_;
    bool after_cr_ = false;
    bool has_nul_ = false;
};

// The message is refused, its octets must not become commands: with "+" they never come, else they are dropped.
net::Task<Reply> refuse(Session& session, Reply reply) {
    const wire::LiteralMark& mark = *session.message_literal();
    if (mark.synchronising) co_return reply;
    if (mark.octets > session.limits().swallow_octets_max) co_return Reply::hang_up("[TOOBIG] Message is too large");
    const auto swallowed = co_await session.reader().swallow(mark.octets);
    if (!swallowed) co_return Reply::hang_up("");
    const auto rest = co_await session.reader().finish_line();
    if (!rest) co_return Reply::hang_up("");
    co_return reply;
}

// All octets off the wire, whatever becomes of them. Errc of the writer is kept for the end.
net::Task<Result<>> receive(Session& session, Intake& intake, Result<>& kept) {
    constexpr std::uint64_t kPieceOctets = 64UL * 1024;
    std::uint64_t left = session.message_literal()->octets;
    while (left > 0) {
        session.stream().raw().expires_in(session.limits().literal_stall_max);
        if (session.stream().buffered().empty()) session.stream().raw().acknowledge();
        const auto want = static_cast<std::size_t>(std::min(left, kPieceOctets));
        const auto piece = co_await session.stream().read_some(want);
        if (!piece) co_return Error(piece.error());
        left -= piece->size();
        if (kept) kept = intake.take(*piece);
    }
    if (session.stream().buffered().empty()) session.stream().raw().acknowledge();
    co_return Result<>();
}

net::Task<Reply> on_append(Session& session, Cursor args) {
    auto head = wire::parse_append_head(args.rest(), session.limits());
    if (!head) co_return syntax(head.error());
    if (!session.message_literal()) co_return Reply::bad("Message literal expected");
    const wire::LiteralMark mark = *session.message_literal();
    auto name = wire::decode_mailbox(head->mailbox_wire);
    Reply refusal = Reply::no("CANNOT", "Invalid mailbox name");
    if (!name) co_return co_await refuse(session, std::move(refusal));
    if (mark.octets == 0)
        refusal = Reply::no("CANNOT", "An empty message cannot be kept");
    else
        refusal = Reply::no("TOOBIG", "Message is too large");
    if (mark.octets == 0 || mark.octets > session.limits().message_octets_max) {
        co_return co_await refuse(session, std::move(refusal));
    }
    const auto target = co_await session.access().status(*name);
    if (!target) {
        refusal = reply_for_target(target.error());
        co_return co_await refuse(session, std::move(refusal));
    }
    auto writer = session.access().stage(mark.octets);
    if (!writer) {
        refusal = reply_for(writer.error());
        co_return co_await refuse(session, std::move(refusal));
    }
    if (mark.synchronising) session.put("+ OK\r\n");
    const auto flushed = co_await session.flush();
    if (!flushed) co_return Reply::hang_up("");
    Intake intake(*std::move(writer));
    Result<> kept;
    const auto received = co_await receive(session, intake, kept);
    if (!received) co_return reply_for(received.error());
    const auto line = co_await session.reader().finish_line();
    if (!line) co_return Reply::hang_up("");
    if (!*line) co_return Reply::bad("Unexpected arguments after the message");
    if (!kept) co_return reply_for(kept.error());
    if (intake.has_nul()) co_return Reply::no("CANNOT", "The message holds NUL");
    auto body = intake.finish();
    if (!body) co_return reply_for(body.error());
    storage::AppendOptions options;
    options.flags = head->flags.system;
    options.keywords = std::move(head->flags.keywords);
    options.internal_date_s = head->internal_date_s;
    const auto appended = co_await session.access().append(*std::move(name), *std::move(body), std::move(options));
    if (!appended) co_return reply_for_target(appended.error());
    if (session.has_selected() && session.selected().id() == appended->mailbox) session.expect_news();
    std::string code = "APPENDUID ";
    wire::append_number(code, appended->uid_validity);
    code += ' ';
    wire::append_number(code, appended->uid);
    co_return Reply::ok(std::move(code), "Message appended");
}

constexpr std::array<Command, 1> kCommands = {{
    {"APPEND", kLoggedIn, Expunges::told, "", on_append, "3501 6.3.11"},
}};

}  // namespace

std::span<const Command> append_commands() { return kCommands; }

}  // namespace posthouse::server::imap
