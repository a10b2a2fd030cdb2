#include "protocols/sasl/client.h"

#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/crypto/hmac_md5.h"
#include "protocols/sasl/scram.h"

namespace posthouse::sasl {

namespace {

// volatile: the compiler may not drop writes to memory that is about to be freed.
void wipe(std::string& secret) {
    volatile char* at = secret.data();
    for (std::size_t i = 0; i < secret.size(); ++i) at[i] = '\0';
}

Error asked_too_much() { return Error(Errc::invalid, "the server asks for more than the login has to say"); }

class Plain final : public ClientMechanism {
 public:
    explicit Plain(const ClientLogin& login) : login_(login) {}
    std::string_view name() const override { return "PLAIN"; }
    Result<std::optional<std::string>> initial() override {
        TRY(std::string out, plain_response(login_.user, login_.password));
        return std::optional(std::move(out));
    }
    Result<std::string> answer(std::string_view) override { return asked_too_much(); }

 private:
    ClientLogin login_;
};

class Login final : public ClientMechanism {
 public:
    explicit Login(const ClientLogin& login) : login_(login) {}
    std::string_view name() const override { return "LOGIN"; }
    Result<std::optional<std::string>> initial() override { return std::optional<std::string>(); }
    Result<std::string> answer(std::string_view) override {
        if (step_ > 1) return asked_too_much();
        return login_response(step_++, login_.user, login_.password);
    }

 private:
    ClientLogin login_;
    std::size_t step_ = 0;
};

// response = user SP hex(HMAC-MD5(password, challenge))                     RFC 2195 2
class CramMd5 final : public ClientMechanism {
 public:
    explicit CramMd5(const ClientLogin& login) : login_(login) {}
    std::string_view name() const override { return "CRAM-MD5"; }
    Result<std::optional<std::string>> initial() override { return std::optional<std::string>(); }
    Result<std::string> answer(std::string_view challenge) override {
        if (std::exchange(answered_, true)) return asked_too_much();
        TRY(const std::string proof, crypto::hmac_md5_hex(login_.password, challenge));
        return login_.user + " " + proof;
    }

 private:
    ClientLogin login_;
    bool answered_ = false;
};

// "user=" user ^A "auth=Bearer " token ^A ^A; a refusal is told in a challenge, which an empty answer takes note of.
class Xoauth2 final : public ClientMechanism {
 public:
    explicit Xoauth2(const ClientLogin& login) : login_(login) {}
    std::string_view name() const override { return "XOAUTH2"; }
    Result<std::optional<std::string>> initial() override {
        constexpr char kEnd = '\x01';
        if (login_.user.contains(kEnd) || login_.token.contains(kEnd)) {
            return Error(Errc::invalid, "the user or the token holds a control character");
        }
        return std::optional("user=" + login_.user + kEnd + "auth=Bearer " + login_.token + kEnd + kEnd);
    }
    Result<std::string> answer(std::string_view) override {
        if (std::exchange(answered_, true)) return asked_too_much();
        return std::string();
    }

 private:
    ClientLogin login_;
    bool answered_ = false;
};

class Scram final : public ClientMechanism {
 public:
    Scram(const ClientLogin& login, const ScramSide& side)
        : client_(login.user, login.password, side.binding, side.plus_offered, side.nonce) {}
    std::string_view name() const override { return client_.mechanism(); }
    Result<std::optional<std::string>> initial() override { return std::optional(client_.first()); }
    Result<std::string> answer(std::string_view challenge) override {
        switch (step_++) {
            case 0: return client_.answer(challenge);
            case 1: {
                if (challenge.starts_with("e=")) return std::string();  // it refuses the proof, and will say so
                TRY_VOID(client_.check(challenge));
                proven_ = true;
                return std::string();
            }
            default: return asked_too_much();
        }
    }
    Result<> finish() const override {
        if (proven_) return {};
        return Error(Errc::unauthenticated, "the server did not prove that it knows the password");
    }

 private:
    ScramClient client_;
    std::size_t step_ = 0;
    bool proven_ = false;
};

constexpr std::string_view kWithPassword[] = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"};
constexpr std::string_view kWithToken[] = {"XOAUTH2"};

}  // namespace

ClientLogin::~ClientLogin() {
    wipe(password);
    wipe(token);
}

std::span<const std::string_view> client_mechanisms(const ClientLogin& login) {
    if (!login.token.empty()) return kWithToken;
    return kWithPassword;
}

bool is_scram(std::string_view mechanism) { return ascii::starts_with_ci(mechanism, "SCRAM-SHA-256"); }

std::unique_ptr<ClientMechanism> make_client_mechanism(std::string_view name, const ClientLogin& login,
                                                       const ScramSide& side) {
    if (is_scram(name)) {
        if (side.nonce.empty()) return nullptr;
        auto scram = std::make_unique<Scram>(login, side);
        // With nothing to bind to there is no -PLUS.
        return ascii::equals_ci(scram->name(), name) ? std::move(scram) : nullptr;
    }
    if (ascii::equals_ci(name, "PLAIN")) return std::make_unique<Plain>(login);
    if (ascii::equals_ci(name, "LOGIN")) return std::make_unique<Login>(login);
    if (ascii::equals_ci(name, "CRAM-MD5")) return std::make_unique<CramMd5>(login);
    if (ascii::equals_ci(name, "XOAUTH2")) return std::make_unique<Xoauth2>(login);
    return nullptr;
}

}  // namespace posthouse::sasl
