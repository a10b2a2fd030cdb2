#pragma once
/// server/smtp/phase: the states of a session and every edge between them.
///
///   start ──banner──> greeted ──EHLO/HELO──> ready <─────────────────────────────┐
///                        ^                     │ MAIL                             │ RSET, EHLO, HELO,
///                   TLS  │                     v                                  │ end of the message
///   handshake <─STARTTLS─┴── greeted, ready   mail ──RCPT──> rcpt ──DATA──> data ─┤ (taken or refused)
///                                              │               └──BDAT──> chunk ──┤
///   auth <──AUTH── ready;  auth ──> ready      └─────RSET──>                ^│    │
///                                                                       BDAT└v    │
///   closing: from anywhere, by QUIT, 421, an error of the stream          chunks ─┘
///
/// | phase     | input is        | a transaction exists | leaves by                                              |
/// |-----------|-----------------|----------------------|--------------------------------------------------------|
/// | start     | nothing         | no                   | greeted: Session::greet                                |
/// | greeted   | commands        | no                   | ready: on_ehlo, on_helo; handshake: on_starttls        |
/// | ready     | commands        | no                   | mail: on_mail; auth: on_auth; handshake: on_starttls   |
/// | mail      | commands        | yes                  | rcpt: on_rcpt; ready: drop_transaction                 |
/// | rcpt      | commands        | yes                  | data: on_data; chunk: on_bdat; ready: drop_transaction |
/// | data      | message octets  | yes                  | ready: receive_data                                    |
/// | chunk     | message octets  | yes or no (swallow)  | chunks, ready, greeted: receive_chunk                  |
/// | chunks    | commands        | yes                  | chunk: on_bdat; ready: drop_transaction                |
/// | auth      | one response    | no                   | ready: answer_auth                                     |
/// | handshake | TLS             | no                   | greeted: start_tls                                     |
/// | closing   | nothing         | no                   | the end                                                |
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace posthouse::server::smtp {

enum class Phase : std::uint8_t { start, greeted, ready, mail, rcpt, data, chunk, chunks, auth, handshake, closing };
std::string_view to_string(Phase phase);

/// A set of phases.
class Phases {
 public:
    constexpr Phases(std::initializer_list<Phase> list) {
        for (const Phase phase : list) bits_ |= 1U << static_cast<unsigned>(phase);
    }
    constexpr bool has(Phase phase) const { return ((bits_ >> static_cast<unsigned>(phase)) & 1U) != 0; }

 private:
    unsigned bits_ = 0;
};

/// Every phase in which a command line is read.
inline constexpr Phases kAnyCommand{Phase::greeted, Phase::ready, Phase::mail, Phase::rcpt, Phase::chunks};

/// Whether the table above has this edge. Staying in a phase is none.
bool is_edge(Phase from, Phase to);

}  // namespace posthouse::server::smtp
