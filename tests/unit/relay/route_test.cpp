#include "relay/route.h"

#include <doctest/doctest.h>

#include "storage/route_match.h"

namespace posthouse {

TEST_CASE("relay URLs: what is read, and what is said to be wrong") {
    struct Case {
        std::string_view text;
        std::string_view shown;  // "" where it must be refused
    };
    constexpr Case cases[] = {
        {"direct", "direct"},
        {"smtp://alice@relay.example:587", "smtp://alice@relay.example:587"},
        {"smtp://alice@home.example@relay.example", "smtp://alice@home.example@relay.example:587"},
        {"SMTPS://u%3Ax@Relay.Example", "smtps://u%3Ax@relay.example:465"},
        {"smtp://u@192.0.2.1:2525?name=mail.example", "smtp://u@192.0.2.1:2525?name=mail.example"},
        {"smtps://[2001:db8::1]:465", "smtps://[2001:db8::1]:465"},
        {"smtp+plain://127.0.0.1:2525", "smtp+plain://127.0.0.1:2525"},
        {"smtp+plain://10.1.2.3", "smtp+plain://10.1.2.3:25"},
        {"preset:smtp2go:alice", "smtp://alice@mail.smtp2go.com:587"},
        {"preset:sendgrid", "smtp://apikey@smtp.sendgrid.net:587"},
        {"preset:mailgun", ""},
        {"preset:nobody:x", ""},
        {"smtp+plain://192.0.2.1", ""},
        {"smtp+plain://u@127.0.0.1", ""},
        {"smtp://u:secret@relay.example", ""},
        {"smtp://@relay.example", ""},
        {"smtp://relay.example:0", ""},
        {"smtp://relay.example:65536", ""},
        {"smtp://", ""},
        {"smtp://a b", ""},
        {"smtp://u%0A@relay.example", ""},
        {"http://relay.example", ""},
        {"", ""},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto url = smtp::parse_relay_url(c.text);
        CHECK(url.has_value() == !c.shown.empty());
        if (url) CHECK(url->to_string() == c.shown);
        if (!url) CHECK(url.error().context.contains("smtp://user@host:587"));
    }
}

TEST_CASE("routes: the first match by priority, then by age") {
    std::vector<storage::Route> routes(3);
    routes[0].id = storage::RouteId{1};
    routes[0].name = "all";
    routes[0].way = "smtp://u@all.example";
    routes[0].priority = 100;
    routes[1] = routes[0];
    routes[1].id = storage::RouteId{2};
    routes[1].name = "big";
    routes[1].recipient_domain = "*.big.example";
    routes[1].priority = 50;
    routes[2] = routes[0];
    routes[2].id = storage::RouteId{3};
    routes[2].name = "own";
    routes[2].sender_domain = "a.example";
    routes[2].way = "direct";
    routes[2].priority = 50;
    const auto name = [&](std::string_view from, std::string_view to) {
        const auto* route = storage::match_route(routes, from, to);
        return route == nullptr ? std::string() : route->name;
    };
    CHECK(name("x.example", "y.example") == "all");
    CHECK(name("", "mx.BIG.example") == "big");
    CHECK(name("", "big.example") == "all");
    CHECK(name("A.example", "y.example") == "own");
    CHECK(name("a.example", "in.big.example") == "big");
    CHECK(storage::match_route({}, "a.example", "b.example") == nullptr);
    CHECK(storage::explain_route({}, "a@a.example", "b@b.example").contains("MX"));
    CHECK(storage::explain_route(routes, "a@x.example", "b@b.example").contains("smtp://u@all.example"));
    CHECK(relay::choose_target(routes, "a@a.example", "b.example").value().is_mx());
    CHECK(relay::choose_target(routes, "a@x.example", "b.example").value().url.host == "all.example");
}

}  // namespace posthouse
