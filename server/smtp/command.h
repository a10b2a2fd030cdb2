#pragma once
/// server/smtp/command: a command is one row; its handler stands above it in the same file. The dispatcher alone checks
/// phase, TLS, login and syntax of the line, so that a handler holds only its own rule. Handlers return a Reply and
/// never write; what the next input is, they say by Session::enter().
#include <span>
#include <string_view>

#include "protocols/net/task.h"
#include "protocols/smtp/reply.h"
#include "server/smtp/options.h"
#include "server/smtp/phase.h"

namespace posthouse::server::smtp {

class Session;

using Handler = net::Task<::posthouse::smtp::Reply> (*)(Session& session, std::string_view args);

/// What a command needs on a submission service; reception needs nothing.
enum class Need { nothing, tls, login };
/// RFC 2920 3.1: which commands may be followed by more in the same segment.
enum class Pipelining { anywhere, last };
enum class Offered { always, submission_only, with_tls };
/// When does a refused BDAT still carry octets? The dispatcher must swallow them (RFC 3030 2).
enum class Payload { none, chunk };

struct Command {
    std::string_view verb;
    Phases phases = kAnyCommand;
    Need need = Need::nothing;
    Pipelining pipelining = Pipelining::anywhere;
    Offered offered = Offered::always;
    Payload payload = Payload::none;
    bool is_idle = false;  ///< moves no mail: so many in a row are a flood
    Handler run = nullptr;
    std::string_view help;  ///< one line, printed by HELP
    std::string_view rfc;
};

std::span<const Command> hello_commands();  // commands_hello.cpp: EHLO HELO NOOP RSET VRFY HELP QUIT
std::span<const Command> mail_commands();   // commands_mail.cpp: MAIL RCPT
std::span<const Command> data_commands();   // commands_data.cpp: DATA BDAT
std::span<const Command> tls_commands();    // commands_security.cpp: STARTTLS AUTH

/// All rows, in the order HELP lists them.
std::span<const Command> all_commands();
/// Null for an unknown verb (ASCII case ignored).
const Command* find_command(std::string_view verb);

}  // namespace posthouse::server::smtp
