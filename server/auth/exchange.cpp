#include "server/auth/exchange.h"

#include <algorithm>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"

namespace posthouse::server {

namespace {

constexpr std::size_t kNonceOctets = 18;  // 24 characters of base64, none of them a comma
constexpr std::string_view kScram = "SCRAM-SHA-256";
constexpr std::string_view kScramPlus = "SCRAM-SHA-256-PLUS";

bool is_bound(const net::TlsBinding& binding) { return !binding.exporter.empty() || !binding.server_end_point.empty(); }

}  // namespace

std::vector<std::string> offered_mechanisms(const Authenticator& authenticator, const net::TlsBinding& binding) {
    std::vector<std::string> out;
    for (const std::string_view name : authenticator.mechanisms()) {
        if (name == kScram && is_bound(binding)) out.emplace_back(kScramPlus);
        out.emplace_back(name);
    }
    return out;
}

std::unique_ptr<LoginExchange> LoginExchange::begin(Authenticator& authenticator, std::string_view mechanism,
                                                    net::TlsBinding binding, net::IpAddress peer, std::string service) {
    const auto offered = offered_mechanisms(authenticator, binding);
    const auto same = [&](const std::string& name) { return ascii::equals_ci(name, mechanism); };
    if (std::ranges::none_of(offered, same)) return nullptr;
    sasl::ServerSide side;
    side.plus_offered = is_bound(binding);
    side.binding.exporter = std::move(binding.exporter);
    side.binding.end_point = std::move(binding.server_end_point);
    side.nonce = crypto::base64_encode(crypto::random_octets(kNonceOctets));
    auto made = sasl::make_server_mechanism(mechanism, std::move(side));
    ASSERT(made != nullptr);
    return std::unique_ptr<LoginExchange>(new LoginExchange(authenticator, std::move(made), peer, std::move(service)));
}

LoginExchange::LoginExchange(Authenticator& authenticator, std::unique_ptr<sasl::ServerMechanism> mechanism,
                             net::IpAddress peer, std::string service)
    : authenticator_(authenticator), mechanism_(std::move(mechanism)), peer_(peer), service_(std::move(service)) {}

net::Task<Result<LoginStep>> LoginExchange::start(std::optional<std::string> initial) {
    std::optional<std::string_view> first;
    if (initial) first = *initial;
    auto step = mechanism_->start(first);
    co_return co_await go_on(std::move(step));
}

net::Task<Result<LoginStep>> LoginExchange::answer(std::string response) {
    auto step = mechanism_->answer(response);
    co_return co_await go_on(std::move(step));
}

net::Task<Result<LoginStep>> LoginExchange::go_on(Result<sasl::Step> step) {
    LoginStep out;
    if (!step && step.error().code == Errc::unauthenticated && offer_) {
        // A wrong proof is a guess like a wrong password.
        const auto judged = co_await judge(std::nullopt);
        co_return Error(judged.error());
    }
    if (!step) co_return Error(step.error());
    if (step->credentials) co_return co_await check_password(*std::move(step->credentials));
    if (step->token) co_return co_await check_token(*std::move(step->token));
    if (step->keys_of) {
        CO_TRY(sasl::Step keys, co_await fetch_keys(*std::move(step->keys_of)));
        out.challenge = std::move(keys.challenge);
        co_return out;
    }
    if (step->proven) {
        CO_TRY(identity_, co_await judge(step->proven));
    } else if (identity_) {
        out.identity = std::exchange(identity_, std::nullopt);
        co_return out;
    }
    out.challenge = std::move(step->challenge);
    co_return out;
}

net::Task<Result<LoginStep>> LoginExchange::check_password(sasl::Credentials credentials) {
    LoginStep out;
    CO_TRY(out.identity, co_await authenticator_.authenticate(std::move(credentials.login),
                                                              std::move(credentials.password), peer_, service_));
    co_return out;
}

net::Task<Result<LoginStep>> LoginExchange::check_token(sasl::TokenClaim claim) {
    LoginStep out;
    auto identity =
        co_await authenticator_.authenticate_token(std::move(claim.login), std::move(claim.token), peer_, service_);
    if (identity) {
        out.identity = *std::move(identity);
        co_return out;
    }
    if (identity.error().code != Errc::unauthenticated) co_return Error(identity.error());
    CO_TRY(sasl::Step refusal, mechanism_->refuse_token());
    out.challenge = std::move(refusal.challenge);
    co_return out;
}

net::Task<Result<sasl::Step>> LoginExchange::fetch_keys(std::string login) {
    CO_TRY(offer_, co_await authenticator_.offer_proof(std::move(login), peer_, service_));
    co_return mechanism_->take_keys(offer_->keys);
}

net::Task<Result<Identity>> LoginExchange::judge(std::optional<std::size_t> proven) {
    ProofOffer offer = *std::exchange(offer_, std::nullopt);
    co_return co_await authenticator_.judge_proof(std::move(offer), proven, peer_, service_);
}

}  // namespace posthouse::server
