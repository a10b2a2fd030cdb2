#pragma once
/// tests/support/smtp_test_backend: a Backend in memory for sessions under test and for fuzzers. Everything answers at
/// once; what was accepted is kept in `messages`.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/sasl/sasl.h"
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
    Result<> accept_result;                        ///< what accept() says
    Result<> room_result;                          ///< what check_room() says
    std::optional<server::smtp::Login> neighbour;  ///< whom client_at() knows

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

    std::vector<std::string> auth_mechanisms(const net::TlsBinding&) override { return {"PLAIN", "LOGIN"}; }
    std::unique_ptr<server::smtp::AuthExchange> begin_auth(std::string_view name, server::smtp::AuthPeer) override {
        if (!ascii::equals_ci(name, "PLAIN") && !ascii::equals_ci(name, "LOGIN")) return nullptr;
        return std::make_unique<Exchange>(accounts, sasl::make_server_mechanism(name, sasl::ServerSide()));
    }
    std::optional<server::smtp::Login> client_at(const net::IpAddress&, std::string_view) override { return neighbour; }
    net::Task<Result<>> check_login(server::smtp::Login) override { co_return Result<>(); }

    net::Task<Result<>> check_sender(server::smtp::Login login, posthouse::smtp::Path address) override {
        if (ascii::equals_ci(login.address, address.spec())) co_return Result<>();
        co_return Error(Errc::denied, "not owned");
    }

    net::Task<Result<std::optional<posthouse::smtp::Reply>>> check_wanted(server::smtp::Login, posthouse::smtp::Path,
                                                                          posthouse::smtp::Path recipient) override {
        std::optional<posthouse::smtp::Reply> out;
        if (recipient.local_part.starts_with("unwanted")) out.emplace(550, "5.1.1", "Not sent, nobody is there");
        co_return out;
    }

    Result<> check_room(std::uint64_t) override { return room_result; }

    std::unique_ptr<server::smtp::BodySink> begin_body() override { return std::make_unique<Sink>(); }

    net::Task<Result<server::smtp::AcceptedMessage>> accept(std::unique_ptr<server::smtp::BodySink> body,
                                                            server::smtp::Envelope envelope) override {
        if (!accept_result) co_return Error(accept_result.error());
        Message message;
        message.envelope = std::move(envelope);
        message.octets = std::move(static_cast<Sink&>(*body).text);
        messages.push_back(std::move(message));
        co_return server::smtp::AcceptedMessage("m" + std::to_string(messages.size()));
    }

 private:
    // Compares plain passwords.
    class Exchange final : public server::smtp::AuthExchange {
     public:
        Exchange(const std::map<std::string, std::string>& accounts, std::unique_ptr<sasl::ServerMechanism> mechanism)
            : accounts_(accounts), mechanism_(std::move(mechanism)) {}
        net::Task<Result<server::smtp::AuthStep>> start(std::optional<std::string> initial) override {
            std::optional<std::string_view> first;
            if (initial) first = *initial;
            co_return judge(mechanism_->start(first));
        }
        net::Task<Result<server::smtp::AuthStep>> answer(std::string response) override {
            co_return judge(mechanism_->answer(response));
        }

     private:
        Result<server::smtp::AuthStep> judge(Result<sasl::Step> step) const {
            if (!step) return Error(step.error());
            server::smtp::AuthStep out;
            out.challenge = step->challenge;
            if (!step->credentials) return out;
            const auto found = accounts_.find(step->credentials->login);
            if (found == accounts_.end() || found->second != step->credentials->password) {
                return Error(Errc::unauthenticated, "wrong");
            }
            out.login.emplace(1, found->first);
            return out;
        }
        const std::map<std::string, std::string>& accounts_;
        std::unique_ptr<sasl::ServerMechanism> mechanism_;
    };
    struct Sink final : server::smtp::BodySink {
        std::string text;
        Result<> append(std::string_view more) override {
            text += more;
            return {};
        }
        Result<server::smtp::SharedOctets> octets() override {
            const auto copy = std::make_shared<std::string>(text);
            return server::smtp::SharedOctets(copy, *copy);
        }
        net::Task<Result<>> add_fields(std::string fields) override {
            text.insert(text.find("\r\n") + 2, fields);
            co_return Result<>();
        }
    };
};

}  // namespace posthouse::test
