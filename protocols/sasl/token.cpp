#include "protocols/sasl/token.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/sasl/saslname.h"

namespace posthouse::sasl {

namespace {

constexpr char kSeparator = '\x01';  // kvsep
constexpr std::size_t kPairsMax = 16;

Error bad(std::string_view what) { return Error(Errc::invalid, std::string(what)); }

// "Bearer" 1*SP b64token; the scheme in any case                               RFC 6750 2.1
Result<std::string> parse_bearer(std::string_view value) {
    Cursor in(value);
    if (!in.take_word("Bearer ")) return bad("the token is of another scheme than Bearer");
    in.skip_blanks();
    const std::string_view token = in.rest();
    const auto fits = [](char c) { return ascii::is_alnum(c) || std::string_view("-._~+/=").contains(c); };
    if (token.empty() || !std::ranges::all_of(token, fits)) return bad("the token holds octets that no token may");
    if (token.size() > kTokenOctetsMax) return Error(Errc::too_large, "the token is too long");
    return std::string(token);
}

Result<> check_login(std::string_view login) {
    if (login.size() > kCredentialOctetsMax) return Error(Errc::too_large, "a login is too long");
    if (!ascii::is_valid_utf8(login) || std::ranges::any_of(login, ascii::is_control)) return bad("a login is no text");
    return {};
}

// What both have in common: pairs, a token among them, and one empty word from the client behind a refusal.
class TokenServer : public ServerMechanism {
 public:
    explicit TokenServer(std::string_view refusal) : refusal_(refusal) {}

    Result<Step> start(std::optional<std::string_view> initial) final {
        if (!initial || initial->empty()) return Step();
        return answer(*initial);
    }
    Result<Step> answer(std::string_view response) final {
        // RFC 7628 3.2.3: the client says one thing more before the exchange fails.
        if (refused_) return Error(Errc::unauthenticated, "the token opens nothing");
        TRY(TokenClaim claim, parse(response));
        TRY_VOID(check_login(claim.login));
        Step step;
        step.token = std::move(claim);
        return step;
    }
    Result<Step> refuse_token() final {
        refused_ = true;
        Step step;
        step.challenge = refusal_;
        return step;
    }

 private:
    virtual Result<TokenClaim> parse(std::string_view response) const = 0;

    std::string_view refusal_;
    bool refused_ = false;
};

// client-resp = gs2-header kvsep *(key "=" value kvsep) kvsep                  RFC 7628 3.1
class OauthBearer final : public TokenServer {
 public:
    OauthBearer() : TokenServer(R"({"status":"invalid_token","schemes":"bearer"})") {}

 private:
    Result<TokenClaim> parse(std::string_view response) const override {
        TokenClaim out;
        Cursor in(response);
        // It binds to no channel, so that "y" is as good as "n".
        if (!in.take('n') && !in.take('y')) return bad("OAUTHBEARER without its header");
        if (!in.take(',')) return bad("OAUTHBEARER without its header");
        if (in.take("a=")) {
            TRY(out.login, decode_saslname(in.take_until(',')));
        }
        if (!in.take(',') || !in.take(kSeparator)) return bad("OAUTHBEARER without its header");
        bool found = false;
        for (std::size_t pairs = 0; !in.take(kSeparator); ++pairs) {
            const std::string_view pair = in.take_until(kSeparator);
            if (pairs >= kPairsMax || pair.find('=') == std::string_view::npos || !in.take(kSeparator)) {
                return bad("OAUTHBEARER with pairs that are none");
            }
            if (!pair.starts_with("auth=")) continue;  // host and port say where the client thinks it is
            if (found) return bad("OAUTHBEARER with two tokens");
            TRY(out.token, parse_bearer(pair.substr(5)));
            found = true;
        }
        if (!found || !in.at_end()) return bad("OAUTHBEARER without a token");
        return out;
    }
};

// "user=" login kvsep "auth=Bearer " token kvsep kvsep
class Xoauth2 final : public TokenServer {
 public:
    Xoauth2() : TokenServer(R"({"status":"401","schemes":"bearer","scope":"mail"})") {}

 private:
    Result<TokenClaim> parse(std::string_view response) const override {
        TokenClaim out;
        Cursor in(response);
        if (!in.take_word("user=")) return bad("XOAUTH2 without a login");
        out.login = in.take_until(kSeparator);
        if (out.login.empty() || !in.take(kSeparator) || !in.take_word("auth=")) return bad("XOAUTH2 without a token");
        TRY(out.token, parse_bearer(in.take_until(kSeparator)));
        if (!in.take(kSeparator) || !in.take(kSeparator) || !in.at_end()) return bad("XOAUTH2 without its end");
        return out;
    }
};

}  // namespace

std::unique_ptr<ServerMechanism> make_oauthbearer_server() { return std::make_unique<OauthBearer>(); }
std::unique_ptr<ServerMechanism> make_xoauth2_server() { return std::make_unique<Xoauth2>(); }

}  // namespace posthouse::sasl
