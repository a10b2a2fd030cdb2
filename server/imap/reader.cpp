#include "server/imap/reader.h"

#include <algorithm>

#include "protocols/imap/append.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

wire::Follows follows(const std::optional<wire::LiteralMark>& mark) {
    if (!mark) return wire::Follows::nothing;
    return mark->literal8 ? wire::Follows::literal8 : wire::Follows::literal;
}

bool CommandReader::fits(Login login, const wire::LiteralMark& mark, const ReadCommand& command) const {
    if (!plus_ && !mark.synchronising) return false;
    if (login == Login::before) {
        return mark.octets <= limits_.before_login_literal_octets_max &&
               spent_ + mark.octets <= limits_.before_login_octets_max;
    }
    return mark.octets <= limits_.literal_octets_max && command.text.size() + mark.octets <= limits_.command_octets_max;
}

net::Task<Result<ReadCommand>> CommandReader::read(Login login) {
    ReadCommand command;
    for (;;) {
        std::size_t line_max =
            std::min(limits_.line_octets_max,
                     limits_.command_octets_max + 2 - std::min(limits_.command_octets_max, command.text.size()));
        if (login == Login::before) {
            if (spent_ >= limits_.before_login_octets_max) co_return Error(Errc::too_large, "too much before login");
            line_max = std::min(line_max, limits_.before_login_octets_max - spent_);
        }
        const auto line = co_await stream_.read_line(line_max);
        if (!line) co_return Error(line.error());
        spent_ += line->size() + 2;
        const auto mark = wire::literal_at_end(*line);
        if (!mark) {
            command.text += *line;
            co_return command;
        }
        const std::string_view before = line->substr(0, line->size() - mark->mark_octets);
        if (login == Login::after && command.refusal.empty() && (plus_ || mark->synchronising)) {
            std::string head = command.text;
            head += before;
            if (wire::opens_message(head, follows(*mark), limits_)) {
                command.text = std::move(head);
                command.message = mark;
                co_return command;
            }
        }
        command.text += *line;
        if (!command.refusal.empty() || !fits(login, *mark, command)) {
            command.refusal = plus_ || mark->synchronising ? "Literal is too large" : "Literals must be asked for";
            command.text.resize(std::min(command.text.size(), limits_.tag_octets_max + 1));  // the tag is still needed
            if (mark->synchronising) co_return command;  // without "+" the client sends nothing of it
            if (login == Login::before || mark->octets > limits_.swallow_octets_max) {
                co_return Error(Errc::too_large, "a literal is too large to be read and dropped");
            }
            CO_TRY_VOID(co_await swallow(mark->octets));
            continue;
        }
        CO_TRY_VOID(co_await take_literal(*mark, command));
    }
}

net::Task<Result<std::string>> CommandReader::read_answer() {
    if (spent_ >= limits_.before_login_octets_max) co_return Error(Errc::too_large, "too much before login");
    const auto line = co_await stream_.read_line(limits_.before_login_octets_max - spent_);
    if (!line) co_return Error(line.error());
    spent_ += line->size() + 2;
    co_return std::string(*line);
}

net::Task<Result<>> CommandReader::take_literal(const wire::LiteralMark& mark, ReadCommand& command) {
    if (mark.synchronising) {
        stream_.put("+ OK\r\n");
        CO_TRY_VOID(co_await stream_.flush());
    }
    command.text += "\r\n";
    std::uint64_t left = mark.octets;
    spent_ += static_cast<std::size_t>(mark.octets);
    while (left > 0) {
        const auto piece = co_await stream_.read_some(static_cast<std::size_t>(left));
        if (!piece) co_return Error(piece.error());
        command.text += *piece;
        left -= piece->size();
    }
    if (stream_.buffered().empty()) stream_.raw().acknowledge();
    co_return Result<>();
}

net::Task<Result<>> CommandReader::swallow(std::uint64_t octets) {
    constexpr std::uint64_t kPieceOctets = 64UL * 1024;
    while (octets > 0) {
        const auto piece = co_await stream_.read_some(static_cast<std::size_t>(std::min(octets, kPieceOctets)));
        if (!piece) co_return Error(piece.error());
        octets -= piece->size();
        stream_.raw().expires_in(limits_.literal_stall_max);
    }
    co_return Result<>();
}

net::Task<Result<ReadCommand>> CommandReader::read_on(wire::AppendParser parser) {
    ReadCommand more;
    for (;;) {
        const std::size_t room = limits_.command_octets_max - std::min(limits_.command_octets_max, more.text.size());
        const auto line = co_await stream_.read_line(std::min(limits_.line_octets_max, room + 2));
        if (!line) co_return Error(line.error());
        const auto mark = wire::literal_at_end(*line);
        if (!mark) {
            more.text += *line;
            co_return more;
        }
        std::string head = more.text;
        head += line->substr(0, line->size() - mark->mark_octets);
        wire::AppendParser copy = parser;
        const auto events = copy.take(head, follows(mark));
        const bool granted = plus_ || mark->synchronising;
        if (granted && events && !events->empty() && events->back().kind == wire::AppendEvent::Kind::octets) {
            more.text = std::move(head);
            more.message = mark;
            co_return more;
        }
        more.text += *line;
        if (!fits(Login::after, *mark, more)) {
            more.refusal = "Literal is too large";
            more.message = mark;
            co_return more;
        }
        CO_TRY_VOID(co_await take_literal(*mark, more));
    }
}

net::Task<Result<bool>> CommandReader::finish_line() {
    bool empty = true;
    for (;;) {
        const auto line = co_await stream_.read_line(limits_.line_octets_max);
        if (!line) co_return Error(line.error());
        empty = empty && line->empty();
        const auto mark = wire::literal_at_end(*line);
        if (!mark || mark->synchronising) co_return empty;
        if (mark->octets > limits_.swallow_octets_max) {
            co_return Error(Errc::too_large, "a literal is too large to be read and dropped");
        }
        CO_TRY_VOID(co_await swallow(mark->octets));
    }
}

}  // namespace posthouse::server::imap
