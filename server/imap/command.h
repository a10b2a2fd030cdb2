#pragma once
/// server/imap/command: a command is one row beside its handler. The dispatcher (session.cpp) alone checks states and
/// decides when EXPUNGE may be sent; CAPABILITY is printed from the rows. A new command is a new row.
#include <cstdint>
#include <span>
#include <string_view>

#include "protocols/base/cursor.h"
#include "protocols/net/task.h"
#include "server/imap/reply.h"

namespace posthouse::server::imap {

class Session;

/// RFC 3501 3; see session.h for the diagram.
enum class Phase : std::uint8_t { not_authenticated = 1, authenticated = 2, selected = 4, logout = 8 };

template <class... Phases>
constexpr std::uint8_t phases(Phases... of) {
    return static_cast<std::uint8_t>((static_cast<unsigned>(of) | ...));
}
inline constexpr std::uint8_t kAnyPhase = phases(Phase::not_authenticated, Phase::authenticated, Phase::selected);
inline constexpr std::uint8_t kLoggedIn = phases(Phase::authenticated, Phase::selected);
inline constexpr std::uint8_t kSelected = phases(Phase::selected);
inline constexpr std::uint8_t kBeforeLogin = phases(Phase::not_authenticated);

/// RFC 3501 7.4.1: no EXPUNGE in the answer to a command that takes message numbers.
enum class Expunges { told, held };
/// NUL stands in no command but within a literal8, which its handler takes as one (RFC 3516 4.4).
enum class Octets { text, any };
/// Whether the client hears that the command goes on (progress.h). Where it does, the handler flushes nothing.
enum class Progress { untold, told };

struct Command {
    std::string_view verb;  ///< upper case; "UID FETCH" for the forms with UID
    std::uint8_t phases = kAnyPhase;
    Expunges expunges = Expunges::told;
    std::string_view capability;  ///< what it adds to CAPABILITY; may be empty
    net::Task<Reply> (*run)(Session& session, Cursor args) = nullptr;
    std::string_view rfc;
    Progress progress = Progress::untold;
    Octets octets = Octets::text;
};

/// A command that a client asks for, and what stands behind its verb.
struct Asked {
    const Command* row = nullptr;
    Cursor args{{}};
};

/// The rows of commands_any.cpp, commands_login.cpp ...
std::span<const Command> any_commands();
std::span<const Command> login_commands();
std::span<const Command> mailbox_commands();
std::span<const Command> list_commands();
std::span<const Command> status_commands();
std::span<const Command> quota_commands();
std::span<const Command> metadata_commands();
std::span<const Command> acl_commands();
std::span<const Command> select_commands();
std::span<const Command> append_commands();
std::span<const Command> replace_commands();
std::span<const Command> fetch_commands();
std::span<const Command> store_commands();
std::span<const Command> copy_commands();
std::span<const Command> search_commands();
std::span<const Command> esearch_commands();
std::span<const Command> sort_commands();
std::span<const Command> thread_commands();
std::span<const Command> idle_commands();
std::span<const Command> notify_commands();
std::span<const Command> compress_commands();
std::span<const Command> batch_commands();  // commands_batches.cpp

/// All rows, in the order of the files above.
std::span<const std::span<const Command>> all_commands();
/// nullptr where there is none; `verb` in any case.
const Command* find_command(std::string_view verb);

/// Whether it speaks of messages by number, and has a form with UID for a client that does not (RFC 9586).
bool takes_numbers(const Command& row);
/// BAD's text to one that switched message numbers off and sends some.
inline constexpr std::string_view kUidRequired = "[UIDREQUIRED] Message numbers are switched off";

/// A capability that no command stands for.
struct Extension {
    std::string_view capability;
    std::uint8_t phases = kAnyPhase;  ///< where it is announced
    std::string_view rfc;
};
std::span<const Extension> extensions();

/// What a client has switched on for its session; bits.
enum class Enabled : std::uint8_t {
    condstore = 1,
    qresync = 2,
    utf8_accept = 4,
    imap4rev2 = 8,
    uidonly = 16,
    metadata = 32
};
constexpr std::uint8_t operator|(Enabled a, Enabled b) {
    return static_cast<std::uint8_t>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

/// A name that ENABLE takes (RFC 5161).
struct Enabling {
    std::string_view name;
    std::uint8_t enables = 0;
    std::string_view rfc;
};
std::span<const Enabling> enablings();

}  // namespace posthouse::server::imap
