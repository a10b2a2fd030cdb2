#include "server/imap/incoming.h"

#include <algorithm>

#include "protocols/imap/fetch.h"
#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/response.h"
#include "protocols/mime/binary_parts.h"
#include "server/imap/offered.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

Result<> Intake::take(std::string_view piece) {
    has_nul_ = has_nul_ || piece.find('\0') != std::string_view::npos;
    out_.clear();
    for (std::size_t at = 0; at < piece.size();) {
        const std::size_t end = std::min(piece.find('\n', at), piece.size());
        out_ += piece.substr(at, end - at);
        if (end > at) after_cr_ = piece[end - 1] == '\r';
        at = end;
        if (at == piece.size()) break;
        has_bare_lf_ = has_bare_lf_ || !after_cr_;
        out_ += after_cr_ || ends_ == Ends::exact ? "\n" : "\r\n";
        after_cr_ = false;
        ++at;
    }
    return writer_->append(out_);
}

// The first refusal counts; what follows is only read off the wire.
void Incoming::refuse_with(Reply reply) {
    if (!refusal_) refusal_ = std::move(reply);
}

bool Incoming::check_size(std::uint64_t more) {
    const wire::Limits& limits = session_.limits();
    const std::uint64_t held = intake_ ? intake_->size_octets() : 0;
    if (more > limits.message_octets_max || held + more > limits.message_octets_max) {
        refuse_with(Reply::no("TOOBIG", "Message is too large"));
    } else if (octets_ + held + more > std::max(limits.append_octets_max, limits.message_octets_max)) {
        refuse_with(Reply::no("LIMIT", "Too many messages at once; send fewer"));
    }
    return !refusal_;
}

// On the pool, since it may be a large message.
net::Task<Result<>> Incoming::encode_binary() {
    CO_TRY(const storage::StagedBodyPtr came, intake_->finish());
    CO_TRY(auto writer, session_.access().stage(came->size_octets()));
    auto kept = std::make_shared<Intake>(std::move(writer));
    const auto done = std::make_shared<Result<>>();
    std::function<void()> work = [came, kept, done] {
        const auto take = [&](std::string_view piece) { return kept->take(piece); };
        *done = mime::write_binary_as_base64(came->view(), take);
    };
    CO_TRY_VOID(co_await session_.access().compute(std::move(work)));
    intake_ = std::make_unique<Intake>(std::move(*kept));
    co_return *done;
}

net::Task<bool> Incoming::finish_message() {
    if (!intake_ || refusal_) co_return !refusal_;
    if (intake_->is_raw()) {
        const auto encoded = co_await encode_binary();
        if (!encoded) {
            refuse_with(reply_for(encoded.error()));
            co_return false;
        }
    }
    // A header with 8-bit octets is taken from every client, not only after ENABLE UTF8=ACCEPT as RFC 9755 4 would have
    // it: people bring old mail along that has such, and to refuse it is to lose it. The README says so.
    if (intake_->has_nul()) {
        // Not in a part that says "binary": a client without BINARY could never be given it (RFC 3516 4.4).
        refuse_with(Reply::no(session_.offers("BINARY") ? "UNKNOWN-CTE" : "CANNOT", "The message holds NUL"));
    } else if (intake_->size_octets() == 0) {
        refuse_with(Reply::no("CANNOT", "An empty message cannot be kept"));
    } else {
        octets_ += intake_->size_octets();
        auto body = intake_->finish();
        if (body)
            messages_.emplace_back(*std::move(body), std::move(options_));
        else
            refuse_with(reply_for(body.error()));
    }
    intake_.reset();
    co_return !refusal_;
}

net::Task<void> Incoming::begin(const wire::AppendEvent& event) {
    const bool finished = co_await finish_message();
    if (!finished) co_return;
    options_ = storage::AppendOptions();
    options_.flags = event.flags.system;
    options_.keywords = event.flags.keywords;
    options_.internal_date_s = event.internal_date_s;
    // Before room on the disk is asked for: what is too large for us is no matter of room.
    if (mark_ && !check_size(mark_->octets)) co_return;
    auto writer = session_.access().stage(mark_ ? mark_->octets : 0);
    const bool exact = mark_ && mark_->literal8 && !event.utf8 && !event.catenate;
    if (writer)
        intake_ = std::make_unique<Intake>(*std::move(writer), exact ? Intake::Ends::exact : Intake::Ends::mended);
    else
        refuse_with(reply_for(writer.error()));
}

// All octets of the literal off the wire, whatever becomes of them.
net::Task<Result<>> Incoming::take_literal() {
    constexpr std::uint64_t kPieceOctets = 64UL * 1024;
    net::BufferedStream& stream = session_.stream();
    std::uint64_t left = mark_->octets;
    while (left > 0) {
        stream.raw().expires_in(session_.limits().literal_stall_max);
        if (stream.buffered().empty()) stream.raw().acknowledge();
        const auto want = static_cast<std::size_t>(std::min(left, kPieceOctets));
        const auto piece = co_await stream.read_some(want);
        if (!piece) co_return Error(piece.error());
        left -= piece->size();
        if (refusal_) continue;
        const auto taken = intake_->take(*piece);
        if (!taken) refuse_with(reply_for(taken.error()));
    }
    if (stream.buffered().empty()) stream.raw().acknowledge();
    co_return Result<>();
}

// "BADURL" and the URL, without what would end the code.
static Reply bad_url(std::string_view url) {
    std::string shown = wire::clean_text(url);
    std::erase(shown, ']');
    return Reply::no("BADURL " + shown, "That URL names nothing here");
}

net::Task<Result<>> Incoming::copy_part(MailboxId mailbox, const wire::MessageUrl& url, const wire::Section& section) {
    std::vector<Uid> uids = {url.uid};
    FactsOf of;
    of.message = true;
    of.tree = true;
    CO_TRY(const auto facts, co_await session_.access().facts(mailbox, std::move(uids), of));
    const FetchFacts& found = facts.messages.front();
    if (found.uid == 0) co_return Error(Errc::not_found, "no such message");
    wire::FetchSource source;
    source.size_octets = found.size_octets;
    source.header_octets = found.header_octets;
    source.structure = found.structure.get();
    const auto extent = wire::locate(section, source);
    if (!extent) co_return Error(Errc::not_found, "no such part");
    const bool chosen = !section.fields.empty();
    if (chosen && extent->octets > session_.limits().literal_octets_max) co_return Error(Errc::not_found, "too large");
    const std::uint64_t skipped = chosen ? 0 : std::min(url.offset, extent->octets);
    std::uint64_t left = extent->octets - skipped;
    if (url.octets && !chosen) left = std::min(left, *url.octets);
    if (!check_size(left)) co_return Result<>();
    std::uint64_t at = extent->offset + skipped;
    while (left > 0 && !refusal_) {
        std::vector<BodyRange> range;
        range.push_back({url.uid, at, chosen ? left : std::min<std::uint64_t>(left, wire::kStreamPieceOctets)});
        const std::uint64_t want = range.front().octets;
        CO_TRY(auto read, co_await session_.access().read(mailbox, std::move(range)));
        if (!read.front() || read.front()->size() != want) co_return Error(Errc::not_found, "the message is gone");
        std::string piece = wire::choose_fields(section, *std::move(read.front()));
        if (chosen && url.offset > 0)
            piece.erase(0, static_cast<std::size_t>(std::min<std::uint64_t>(url.offset, piece.size())));
        if (chosen && url.octets)
            piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(*url.octets, piece.size())));
        const auto taken = intake_->take(piece);
        if (!taken) refuse_with(reply_for(taken.error()));
        at += want;
        left -= want;
    }
    co_return Result<>();
}

// Octets of a message part as FETCH BODY[...] would give them; \Seen stays as it is (RFC 4469 3).
net::Task<Result<>> Incoming::take_url(std::string_view url) {
    const auto parsed = wire::parse_message_url(url);
    auto section = parsed ? wire::parse_section(parsed->section, session_.limits())
                          : Result<wire::Section>(Error(Errc::invalid, "no URL"));
    if (!section) {
        refuse_with(bad_url(url));
        co_return Result<>();
    }
    MailboxId mailbox{};
    std::uint32_t validity = 0;
    if (parsed->mailbox) {
        auto name = wire::decode_mailbox(*parsed->mailbox, wire::NameForm::utf8);
        if (name) {
            const auto status = co_await session_.access().status(*std::move(name));
            if (!status && status.error().code != Errc::not_found) co_return Error(status.error());
            if (status) {
                mailbox = status->mailbox.id;
                validity = status->mailbox.uid_validity;
            }
        }
    } else if (session_.has_selected()) {
        mailbox = session_.selected().id();
        validity = session_.selected().mailbox().uid_validity;
    }
    const bool known = mailbox != MailboxId{} && (!parsed->uid_validity || *parsed->uid_validity == validity);
    if (!known) {
        refuse_with(bad_url(url));
        co_return Result<>();
    }
    const auto copied = co_await copy_part(mailbox, *parsed, *section);
    if (copied) co_return Result<>();
    const Errc why = copied.error().code;
    if (why != Errc::not_found && why != Errc::denied && why != Errc::corrupt) co_return Error(copied.error());
    refuse_with(bad_url(url));
    co_return Result<>();
}

// Of the extensions of APPEND those that are not for this client.
Result<> Incoming::check_offered_event(const wire::AppendEvent& event) {
    using Kind = wire::AppendEvent::Kind;
    if (event.kind == Kind::begin) {
        if (begun_) TRY_VOID(check_offered(session_, "MULTIAPPEND", "Unexpected arguments after the message"));
        if (event.catenate) TRY_VOID(check_offered(session_, "CATENATE", "Message literal expected"));
        if (event.utf8) TRY_VOID(check_offered(session_, "UTF8=ACCEPT", "Message literal expected"));
        begun_ = true;
        utf8_ = event.utf8;
    }
    const bool literal8 = event.kind == Kind::octets && mark_->literal8 && !utf8_;
    if (literal8) TRY_VOID(check_offered(session_, "BINARY", "Message literal expected"));
    return {};
}

net::Task<Result<>> Incoming::take_events(std::vector<wire::AppendEvent> events) {
    using Kind = wire::AppendEvent::Kind;
    for (const wire::AppendEvent& event : events) {
        if (refusal_) break;
        const auto offered = check_offered_event(event);
        if (!offered) {
            refuse_with(syntax(offered.error()));
            break;
        }
        if (event.kind == Kind::begin) co_await begin(event);
        if (event.kind == Kind::url && !refusal_) CO_TRY_VOID(co_await take_url(event.url));
        if (event.kind != Kind::octets || refusal_) continue;
        if (mark_->octets == 0) refuse_with(Reply::no("CANNOT", "An empty message cannot be kept"));
        static_cast<void>(check_size(mark_->octets));
    }
    co_return Result<>();
}

// The rest of a refused command: with "+" it never comes, else it is read and dropped.
net::Task<std::optional<Reply>> Incoming::drain(Reply reply) {
    if (!mark_ || mark_->synchronising) co_return reply;
    if (mark_->octets > session_.limits().swallow_octets_max) co_return Reply::hang_up("[TOOBIG] Message is too large");
    const auto swallowed = co_await session_.reader().swallow(mark_->octets);
    if (!swallowed) co_return Reply::hang_up("");
    const auto rest = co_await session_.reader().finish_line();
    if (!rest) co_return Reply::hang_up("");
    co_return reply;
}

net::Task<Reply> Incoming::refuse(std::string_view, Reply reply) {
    mark_ = session_.message_literal();
    auto said = co_await drain(std::move(reply));
    co_return *std::move(said);
}

net::Task<std::optional<Reply>> Incoming::receive(std::string_view text) {
    ReadCommand piece;
    piece.text = text;
    piece.message = session_.message_literal();
    for (;;) {
        mark_ = piece.message;
        auto events = parser_.take(piece.text, follows(mark_));
        if (!piece.refusal.empty()) events = Error(Errc::invalid, piece.refusal);
        if (!events) co_return co_await drain(syntax(events.error()));
        const auto taken = co_await take_events(*std::move(events));
        if (!taken) refuse_with(reply_for(taken.error()));
        if (refusal_) co_return co_await drain(*std::move(refusal_));
        if (!mark_) break;
        if (mark_->synchronising) session_.put("+ OK\r\n");
        const auto flushed = co_await session_.flush();
        if (!flushed) co_return Reply::hang_up("");
        const auto received = co_await take_literal();
        if (!received) co_return reply_for(received.error());
        auto more = co_await session_.reader().read_on(parser_);
        if (!more)
            co_return more.error().code == Errc::too_large ? Reply::hang_up("[TOOBIG] Command is too long")
                                                           : Reply::hang_up("");
        piece = *std::move(more);
    }
    const bool finished = co_await finish_message();
    if (!finished) co_return *std::move(refusal_);
    co_return std::nullopt;
}

}  // namespace posthouse::server::imap
