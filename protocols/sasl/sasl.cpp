#include "protocols/sasl/sasl.h"

#include "protocols/base/ascii.h"
#include "protocols/sasl/scram.h"
#include "protocols/sasl/token.h"

namespace posthouse::sasl {

namespace {

Error bad(std::string_view what) { return Error(Errc::invalid, std::string(what)); }

Result<> check_field(std::string_view text) {
    if (text.empty()) return bad("an empty login or password");
    if (text.size() > kCredentialOctetsMax) return Error(Errc::too_large, "a login or password is too long");
    if (!ascii::is_valid_utf8(text) || text.contains('\0')) return bad("a login or password is no UTF-8");
    return {};
}

Step challenge(std::string_view text) {
    Step step;
    step.challenge = text;
    return step;
}

Result<Step> finish(std::string_view login, std::string_view password) {
    TRY_VOID(check_field(login));
    TRY_VOID(check_field(password));
    Step step;
    step.credentials.emplace(std::string(login), std::string(password));
    return step;
}

// message = [authzid] UTF8NUL authcid UTF8NUL passwd                 RFC 4616 2
class Plain final : public ServerMechanism {
 public:
    Result<Step> start(std::optional<std::string_view> initial) override {
        if (!initial) return challenge("");
        return answer(*initial);
    }
    Result<Step> answer(std::string_view response) override {
        const std::size_t first = response.find('\0');
        if (first == std::string_view::npos) return bad("PLAIN without its two NULs");
        const std::size_t second = response.find('\0', first + 1);
        if (second == std::string_view::npos) return bad("PLAIN without its two NULs");
        const std::string_view authzid = response.substr(0, first);
        const std::string_view login = response.substr(first + 1, second - first - 1);
        if (!authzid.empty() && prepare_login(authzid) != prepare_login(login))
            return Error(Errc::denied, "PLAIN asks to act for someone else");
        return finish(login, response.substr(second + 1));
    }
};

// Two challenges, "User Name" and "Password"; clients look for nothing in their text. Some send the login at once.
class Login final : public ServerMechanism {
 public:
    Result<Step> start(std::optional<std::string_view> initial) override {
        if (!initial || initial->empty()) return challenge("Username:");
        return answer(*initial);
    }
    Result<Step> answer(std::string_view response) override {
        if (login_) return finish(*login_, response);
        TRY_VOID(check_field(response));
        login_ = std::string(response);
        return challenge("Password:");
    }

 private:
    std::optional<std::string> login_;
};

}  // namespace

Credentials::~Credentials() {
    // volatile: the compiler may not drop writes to memory that is about to be freed.
    volatile char* at = password.data();
    for (std::size_t i = 0; i < password.size(); ++i) at[i] = '\0';
}

Result<Step> ServerMechanism::take_keys(std::vector<crypto::ScramKeys>) {
    return Error(Errc::internal, "this mechanism asked for no keys");
}

Result<Step> ServerMechanism::refuse_token() { return Error(Errc::unauthenticated, "this mechanism takes no token"); }

std::unique_ptr<ServerMechanism> make_server_mechanism(std::string_view name, ServerSide side) {
    if (ascii::equals_ci(name, "PLAIN")) return std::make_unique<Plain>();
    if (ascii::equals_ci(name, "LOGIN")) return std::make_unique<Login>();
    if (ascii::equals_ci(name, "SCRAM-SHA-256")) return make_scram_server(Binding::none, std::move(side));
    if (ascii::equals_ci(name, "SCRAM-SHA-256-PLUS")) return make_scram_server(Binding::required, std::move(side));
    if (ascii::equals_ci(name, "OAUTHBEARER")) return make_oauthbearer_server();
    if (ascii::equals_ci(name, "XOAUTH2")) return make_xoauth2_server();
    return nullptr;
}

Result<std::string> plain_response(std::string_view login, std::string_view password) {
    if (login.contains('\0') || password.contains('\0')) return bad("a login or password holds a NUL");
    std::string out(1, '\0');
    out += login;
    out.push_back('\0');
    out += password;
    return out;
}

Result<std::string> login_response(std::size_t step, std::string_view login, std::string_view password) {
    if (step > 1) return bad("LOGIN has two challenges only");
    return std::string(step == 0 ? login : password);
}

}  // namespace posthouse::sasl
