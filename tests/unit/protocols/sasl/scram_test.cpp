#include "protocols/sasl/scram.h"

#include <doctest/doctest.h>

#include "protocols/crypto/crypto.h"

using namespace posthouse;
using sasl::Binding;

namespace {

constexpr std::uint32_t kTurns = 4096;

std::vector<crypto::ScramKeys> keys_of(std::string_view password, std::uint32_t turns = kTurns) {
    return {crypto::derive_scram_keys(password, crypto::base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==").value(), turns)};
}

sasl::ServerSide side(sasl::ChannelBinding binding = {}, bool plus = false) {
    sasl::ServerSide out;
    out.nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    out.binding = std::move(binding);
    out.plus_offered = plus;
    return out;
}

sasl::ChannelBinding channel(std::string exporter, std::string end_point = "") {
    return {std::move(exporter), std::move(end_point)};
}

// Both sides together; what the server said last, and whether each believed the other.
struct Outcome {
    bool server = false;
    bool client = false;
    Errc code = Errc::internal;
};

Outcome run(sasl::ScramClient& client, sasl::ServerMechanism& server, std::vector<crypto::ScramKeys> keys) {
    Outcome out;
    const auto failed = [&out](const Error& error) {
        out.code = error.code;
        return out;
    };
    auto step = server.start(client.first());
    if (!step) return failed(step.error());
    REQUIRE(step->keys_of);
    step = server.take_keys(std::move(keys));
    REQUIRE(step);
    const auto answer = client.answer(step->challenge);
    if (!answer) return failed(answer.error());
    step = server.answer(*answer);
    if (!step) return failed(step.error());
    out.server = step->proven.has_value();
    out.client = client.check(step->challenge).has_value();
    step = server.answer("");
    REQUIRE(step);
    CHECK_FALSE(step->proven);
    return out;
}

}  // namespace

TEST_CASE("the example of RFC 7677 3, octet by octet, from both sides") {
    REQUIRE(crypto::init());
    sasl::ScramClient client("user", "pencil", {}, false, "rOprNGfwEbeRWgbNEkqO");
    CHECK(client.mechanism() == "SCRAM-SHA-256");
    CHECK(client.first() == "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    const auto server = sasl::make_scram_server(Binding::none, side());
    auto step = server->start(client.first());
    REQUIRE(step);
    CHECK(step->keys_of == "user");
    step = server->take_keys(keys_of("pencil"));
    REQUIRE(step);
    CHECK(step->challenge == "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    const auto answer = client.answer(step->challenge);
    REQUIRE(answer);
    CHECK(*answer ==
          "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
          "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    step = server->answer(*answer);
    REQUIRE(step);
    CHECK(step->proven == 0U);
    CHECK(step->challenge == "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    CHECK(client.check(step->challenge));
    CHECK(client.check("v=AAAA").error().code == Errc::unauthenticated);
    CHECK(client.check("e=other-error").error().code == Errc::unauthenticated);
}

TEST_CASE("a wrong password, a decoy, and one password of several") {
    sasl::ScramClient wrong("user", "pen", {}, false, "abc");
    CHECK(run(wrong, *sasl::make_scram_server(Binding::none, side()), keys_of("pencil")).code == Errc::unauthenticated);
    std::vector<crypto::ScramKeys> several = keys_of("other");
    several.push_back(keys_of("pencil").front());
    sasl::ScramClient right("user", "pencil", {}, false, "abc");
    const Outcome outcome = run(right, *sasl::make_scram_server(Binding::none, side()), several);
    CHECK(outcome.server);
    CHECK(outcome.client);
    sasl::ScramClient dear("user", "pencil", {}, false, "abc");
    std::vector<crypto::ScramKeys> costly = keys_of("pencil", 1);
    costly.front().iterations = 2'000'000'000;
    CHECK(run(dear, *sasl::make_scram_server(Binding::none, side()), costly).code == Errc::too_large);
}

TEST_CASE("channel binding: only over the same connection, and a downgrade is seen (RFC 5802 6)") {
    const auto bound = channel(std::string(32, 'x'), "end");
    sasl::ScramClient client("user", "pencil", bound, true, "abc");
    CHECK(client.mechanism() == "SCRAM-SHA-256-PLUS");
    CHECK(run(client, *sasl::make_scram_server(Binding::required, side(bound, true)), keys_of("pencil")).client);
    // Somebody in between has two connections of his own.
    sasl::ScramClient deceived("user", "pencil", channel(std::string(32, 'y')), true, "abc");
    CHECK(run(deceived, *sasl::make_scram_server(Binding::required, side(bound, true)), keys_of("pencil")).code ==
          Errc::unauthenticated);
    // He took -PLUS out of the list: the client says "y", the server knows better.
    sasl::ScramClient downgraded("user", "pencil", bound, false, "abc");
    CHECK(downgraded.first().starts_with("y,,"));
    CHECK(run(downgraded, *sasl::make_scram_server(Binding::none, side(bound, true)), keys_of("pencil")).code ==
          Errc::denied);
    sasl::ScramClient honest("user", "pencil", bound, false, "abc");
    CHECK(run(honest, *sasl::make_scram_server(Binding::none, side()), keys_of("pencil")).client);
    // A client that knows nothing of it may do without.
    sasl::ScramClient plain("user", "pencil", {}, true, "abc");
    CHECK(run(plain, *sasl::make_scram_server(Binding::none, side(bound, true)), keys_of("pencil")).client);
}

TEST_CASE("logins are escaped and prepared, acting for others is refused") {
    sasl::ScramClient odd("a=b,c", "pencil", {}, false, "abc");
    CHECK(odd.first() == "n,,n=a=3Db=2Cc,r=abc");
    CHECK(sasl::make_scram_server(Binding::none, side())->start(odd.first())->keys_of == "a=b,c");
    const auto start = [](std::string_view first) {
        return sasl::make_scram_server(Binding::none, side())->start(first);
    };
    CHECK(start("n,a=user,n=user,r=abc"));
    CHECK(start("n,a=,n=user,r=abc"));  // GNU SASL
    CHECK(start("n,a=bob,n=user,r=abc").error().code == Errc::denied);
    for (const std::string_view bad :
         {"", "n", "n,", "n,,", "x,,n=user,r=abc", "n,,n=user", "n,,r=abc,n=user", "n,,n=,r=abc", "n,,n=us=er,r=abc",
          "n,,m=ext,n=user,r=abc", "n,,n=user,r=", "n,,n=user,r=a\x01", "p=tls-unique,,n=user,r=abc",
          "p=tls-exporter,,n=user,r=abc", "n,b=x,n=user,r=abc"}) {
        CAPTURE(bad);
        CHECK(start(bad).error().code == Errc::invalid);
    }
    const auto plus = [](std::string_view first) {
        return sasl::make_scram_server(Binding::required, side(channel("exporter"), true))->start(first);
    };
    CHECK(plus("p=tls-exporter,,n=user,r=abc"));
    CHECK(plus("n,,n=user,r=abc").error().code == Errc::invalid);
    CHECK(plus("y,,n=user,r=abc").error().code == Errc::invalid);
    CHECK(plus("p=tls-server-end-point,,n=user,r=abc").error().code == Errc::invalid);  // there is none here
    CHECK(plus("p=tls-unique,,n=user,r=abc").error().code == Errc::invalid);
    CHECK(start(std::string(5000, 'n')).error().code == Errc::too_large);
}

TEST_CASE("last messages that are none, and passwords as RFC 4013 wants them") {
    const auto last = [](std::string_view message) {
        const auto server = sasl::make_scram_server(Binding::none, side());
        REQUIRE(server->start("n,,n=user,r=abc"));
        REQUIRE(server->take_keys(keys_of("pencil")));
        return server->answer(message);
    };
    for (const std::string_view bad : {"", "c=biws", "c=biws,r=abc", "c=biws,r=abc,p=", "c=!,r=abc,p=AAAA",
                                       "r=abc,c=biws,p=AAAA", "c=biws,r=abc,p=AAAA"}) {
        CAPTURE(bad);
        CHECK(last(bad).error().code == Errc::invalid);
    }
    // RFC 4013 3
    CHECK(sasl::prepare("I\u00adX").value() == "IX");
    CHECK(sasl::prepare("user").value() == "user");
    CHECK(sasl::prepare("\u00aa").value() == "a");
    CHECK(sasl::prepare("\u2168").value() == "IX");
    CHECK_FALSE(sasl::prepare("\x07"));
    CHECK_FALSE(sasl::prepare("\u0627\u0031"));
    CHECK_FALSE(sasl::prepare(""));
}

TEST_CASE("passwords: SASLprep, and what it refuses as an opaque string, RFC 8265 4.2.2") {
    CHECK(sasl::prepare_password("pa\u0308ss").value() == "p\u00e4ss");
    CHECK(sasl::prepare_password("\u2168").value() == "IX");
    CHECK(sasl::prepare_password("correct horse battery staple").value() == "correct horse battery staple");
    CHECK(sasl::prepare_password("\u03c0\u00df\u00e5").value() == "\u03c0\u00df\u00e5");
    CHECK(sasl::prepare_password("Jack of \u2666s").value() == "Jack of \u2666s");
    CHECK(sasl::prepare_password("\u0627\u0031").value() == "\u0627\u0031");
    CHECK(sasl::prepare_password("\U0001f511\u1680a\u0308").value() == "\U0001f511 \u00e4");
    for (const char* bad : {"", "my cat is a \tby", "\x7f", "\ufdd0\U0001f511", "\ue000\U0001f511", "\xff"}) {
        CAPTURE(bad);
        CHECK(sasl::prepare_password(bad).error().code == Errc::invalid);
    }
    CHECK(sasl::prepare_login("\uff21LICE@A.example") == "alice@a.example");
    CHECK(sasl::prepare_login("B\u00fccher@A.example") == "b\u00fccher@a.example");
    CHECK(sasl::prepare_login("A\tB") == "a\tb");
}
