#pragma once
/// tests/support/smtp_test_backend: a Backend in memory for sessions under test and for fuzzers. Everything answers at
/// once; what was accepted is kept in `messages`.
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "protocols/base/ascii.h"
#include "server/smtp/backend.h"

namespace posthouse::test {

class SmtpTestBackend final : public server::smtp::Backend {
 public:
    struct Message {
        server::smtp::Envelope envelope;
        std::string octets;
    };

    std::map<std::string, std::string> accounts{{"alice@home.example", "secret"}, {"bob@home.example", "secret2"}};
    std::vector<Message> messages;
    Result<> accept_result;  ///< what accept() says
    Result<> room_result;    ///< what check_room() says

    net::Task<Result<server::smtp::RecipientKind>> lookup_recipient(posthouse::smtp::Path recipient,
                                                                    std::optional<server::smtp::Login> login,
                                                                    std::uint64_t /*declared_octets*/) override {
        using server::smtp::RecipientKind;
        const std::string address = ascii::to_lower(recipient.spec());
        if (address == "postmaster" || accounts.contains(address)) co_return RecipientKind::local;
        if (address.ends_with("@home.example")) co_return Error(Errc::not_found, "no such account");
        if (login) co_return RecipientKind::remote;
        co_return Error(Errc::denied, "not our domain");
    }

    net::Task<Result<server::smtp::Login>> authenticate(std::string login, std::string password,
                                                        net::IpAddress) override {
        const auto found = accounts.find(login);
        if (found == accounts.end() || found->second != password) co_return Error(Errc::unauthenticated, "wrong");
        co_return server::smtp::Login(1, login);
    }

    net::Task<Result<>> check_sender(server::smtp::Login login, posthouse::smtp::Path address) override {
        if (ascii::equals_ci(login.address, address.spec())) co_return Result<>();
        co_return Error(Errc::denied, "not owned");
    }

    Result<> check_room(std::uint64_t) override { return room_result; }

    std::unique_ptr<server::smtp::BodySink> begin_body() override { return std::make_unique<Sink>(); }

    net::Task<Result<server::smtp::AcceptedMessage>> accept(std::unique_ptr<server::smtp::BodySink> body,
                                                            server::smtp::Envelope envelope) override {
        if (!accept_result) co_return Error(accept_result.error());
        Message message;
        message.envelope = std::move(envelope);
        message.octets = std::move(static_cast<Sink&>(*body).octets);
        messages.push_back(std::move(message));
        co_return server::smtp::AcceptedMessage("m" + std::to_string(messages.size()));
    }

 private:
    struct Sink final : server::smtp::BodySink {
        std::string octets;
        Result<> append(std::string_view more) override {
            octets += more;
            return {};
        }
    };
};

}  // namespace posthouse::test
