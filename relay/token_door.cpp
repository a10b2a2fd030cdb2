#include "relay/token_door.h"

#include "protocols/http/client.h"

namespace posthouse::relay {

namespace {

class HttpsDoor final : public TokenDoor {
 public:
    HttpsDoor(const RelayDeps& deps, std::set<net::Stream*>& open) {
        deps_.open = &open;
        deps_.resolver = deps.resolver;
        deps_.dialer = deps.dialer;
        deps_.tls = deps.verified_tls;
        deps_.allow_private = deps.options.allow_loopback;
    }

    net::Task<Result<Answer>> post(std::string url, std::string form) override {
        if (deps_.tls == nullptr) co_return Error(Errc::tls, "TLS is not available on this server");
        CO_TRY(http::Request request, http::request_for(url));
        request.method = "POST";
        request.fields.emplace_back("Content-Type", "application/x-www-form-urlencoded");
        request.fields.emplace_back("Accept", "application/json");
        request.body = std::move(form);
        http::Limits limits;
        limits.body_octets_max = kTokenAnswerOctetsMax;
        limits.time_max = kTokenFetchMax;
        auto response = co_await http::exchange(deps_, std::move(request), limits);
        if (!response) co_return Error(response.error());
        Answer out;
        out.status = response->status;
        out.body = std::move(response->body);
        co_return out;
    }

 private:
    http::Deps deps_;
};

}  // namespace

std::unique_ptr<TokenDoor> make_token_door(const RelayDeps& deps, std::set<net::Stream*>& open) {
    return std::make_unique<HttpsDoor>(deps, open);
}

}  // namespace posthouse::relay
