#pragma once
/// protocols/sasl/scram: SCRAM-SHA-256 with and without channel binding, both sides (RFC 5802, RFC 7677, RFC 9266).
///
/// The server learns no password and the client learns that the server knows its keys. Several keys may fit one login
/// (the account's password and those of its programs), since all of an account are made with one salt.
/// Invariants  1. A client that says it would bind, but believes the server cannot ('y'), is refused where the server
///                had offered it: somebody between them took the offer away (RFC 5802 6).
///             2. Comparisons of proofs take the same time whatever they find.
/// Threads: values.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "protocols/sasl/sasl.h"

namespace posthouse::sasl {

enum class Binding { none, required };

std::unique_ptr<ServerMechanism> make_scram_server(Binding binding, ServerSide side);

/// The client's side: first(), then answer() to the server's first message, then check() of its last.
class ScramClient {
 public:
    /// `binding`: its exporter, where not empty, is bound to. `plus_offered`: the server announced -PLUS.
    ScramClient(std::string login, std::string password, ChannelBinding binding, bool plus_offered, std::string nonce);
    ~ScramClient();
    ScramClient(const ScramClient&) = delete;
    ScramClient& operator=(const ScramClient&) = delete;

    /// "SCRAM-SHA-256-PLUS" where the server offers it and there is something to bind to, else "SCRAM-SHA-256".
    std::string_view mechanism() const;
    std::string first() const;
    /// Errc::invalid for a bad message; too_large for more iterations than anybody should be made to compute.
    Result<std::string> answer(std::string_view server_first);
    /// Errc::unauthenticated: the server does not know our keys, whoever it is.
    Result<> check(std::string_view server_final) const;

 private:
    std::string gs2_header() const;

    std::string login_;
    std::string password_;
    ChannelBinding binding_;
    bool plus_ = false;
    std::string nonce_;
    std::string server_signature_;
};

inline constexpr std::uint32_t kScramIterationsMax = 1'000'000;  ///< that a client computes for a server

}  // namespace posthouse::sasl
